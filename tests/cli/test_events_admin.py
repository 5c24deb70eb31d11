"""`micro events seek`, `configure`, `delete` and `groups`."""

from __future__ import annotations

import pytest

from microd.wire import events_pb2 as pb

from .conftest import Call, Daemon, User

SEEK, CONFIGURE, DELETE, LIST, DELETE_GROUP = (
    "/events.Groups/Seek",
    "/events.Topics/Configure",
    "/events.Topics/Delete",
    "/events.Topics/List",
    "/events.Groups/Delete",
)
ORDERS = pb.Topic(name="orders", first=1, last=12, max_age=3600, groups=2, created=1_700_000_000_000)


@pytest.fixture(autouse=True)
def topics(daemon: Daemon) -> None:
    """A daemon which has topics."""
    found = [pb.Topic(name="order"), pb.Topic(name="orderr"), ORDERS, pb.Topic(name="orderz")]

    def answer(call: Call) -> pb.TopicsResponse:
        after = pb.TopicsRequest.FromString(call.body).after
        rest = [each for each in found if each.name > after]
        return pb.TopicsResponse(topics=rest[:1], next=rest[0].name if len(rest) > 1 else "")

    def configure(call: Call) -> pb.Topic:
        request = pb.ConfigureRequest.FromString(call.body)
        made = pb.Topic()
        made.CopyFrom(ORDERS)
        made.max_age, made.max_size = request.max_age, request.max_size
        return made

    daemon.handlers[LIST] = answer
    daemon.handlers[CONFIGURE] = configure
    daemon.answers(DELETE, pb.Done(count=1))
    daemon.answers(DELETE_GROUP, pb.Done(count=1))
    daemon.answers(SEEK, pb.Group(topic="orders", name="billing", acknowledged=4, lag=8))


def configured(daemon: Daemon) -> list[tuple[int, int]]:
    """What was asked for."""
    requests = [pb.ConfigureRequest.FromString(call.body) for call in daemon.asked(CONFIGURE)]
    return [(request.max_age, request.max_size) for request in requests]


def test_seek(user: User, daemon: Daemon) -> None:
    """A group goes on elsewhere; where, and how much that is, is told."""
    got = user.micro("events", "seek", "orders", "billing", "--to", "5")
    assert (got.code, got.out) == (0, "billing goes on with offset 5 of orders: 8 events are to come.\n")
    user.micro("events", "seek", "orders", "billing", "--to", "5m ago")
    user.micro("events", "seek", "orders", "billing", "--to=earliest")
    requests = [pb.SeekRequest.FromString(call.body) for call in daemon.asked(SEEK)]
    assert requests == [
        pb.SeekRequest(topic="orders", group="billing", start="OFFSET", start_offset=5),
        pb.SeekRequest(topic="orders", group="billing", start="TIME", start_time=1_699_999_700_000),
        pb.SeekRequest(topic="orders", group="billing", start="EARLIEST"),
    ]
    assert user.micro("events", "seek", "orders", "billing", "--to=latest", "--json").json["lag"] == 8


def test_configure(user: User, daemon: Daemon) -> None:
    """What is given is set, what is not stays."""
    got = user.micro("events", "configure", "orders", "--max-size", "1GiB")
    assert (got.code, got.out) == (0, "max-age:  1h\nmax-size: 1 GiB\n")
    user.micro("events", "configure", "orders", "--max-age", "7d", "--max-size=unlimited")
    user.micro("events", "configure", "orders", "--max-age", "default")
    assert configured(daemon) == [(3600, 1 << 30), (7 * 86400, -1), (0, 0)]


def test_configuration(user: User, daemon: Daemon) -> None:
    """Without anything to set, what is set is shown."""
    assert user.micro("events", "configure", "orders").out == "max-age:  1h\nmax-size: default\n"
    assert user.micro("events", "configure", "orders", "--json").json["max_age"] == 3600
    assert not configured(daemon)


@pytest.mark.parametrize("words", [["orders", "--max-age=x"], ["orders", "--max-age=0s"], ["orders", "--max-size=1.5"],
    ["orders", "--max-size=0"], ["orders", f"--max-size={1 << 63}"], ["orders", f"--max-age={'9' * 400}d"]])  # fmt: skip
def test_configure_wrongly(user: User, daemon: Daemon, words: list[str]) -> None:
    """What is no duration or size, or none that travels, is refused, with the flag's name."""
    got = user.micro("events", "configure", *words)
    assert (got.code, got.err.startswith(words[1].partition("=")[0])) == (1, True)
    assert not daemon.calls


def test_unknown_topic(user: User, daemon: Daemon) -> None:
    """A topic that is not there cannot be configured."""
    got = user.micro("events", "configure", "orderq", "--max-age=1h")
    assert (got.code, got.err) == (1, 'Topic "orderq" not found. See `micro events topics`.\n')
    assert not configured(daemon)


def test_delete(user: User, daemon: Daemon) -> None:
    """A program is not asked; what was asked for is done."""
    got = user.micro("events", "delete", "orders")
    assert (got.code, got.out, got.err) == (0, "", "")
    assert pb.TopicRequest.FromString(daemon.asked(DELETE)[0].body).topic == "orders"


def test_delete_asks(user: User, daemon: Daemon) -> None:
    """A person is asked first, and told what it is about; no is the answer unless it is yes."""
    user.terminal.interactive = True
    for answer in ("", "n", "what?"):
        user.terminal.answers = [answer]
        got = user.micro("events", "delete", "orders")
        assert (got.code, got.err) == (1, "The topic orders stays as it is\n")
    assert user.terminal.asked[0][0] == "Delete orders with its 12 events and 2 groups? (yes or no): "
    assert not daemon.asked(DELETE)
    user.terminal.answers = ["y"]
    assert user.micro("events", "delete", "orders").code == 0
    assert user.micro("events", "delete", "orders", "--yes").code == 0
    assert len(daemon.asked(DELETE)) == 2


def test_delete_group(user: User, daemon: Daemon) -> None:
    """A group is forgotten; one which somebody consumes for is not, in the server's words."""
    assert user.micro("events", "groups", "delete", "orders", "billing").code == 0
    request = pb.GroupRequest.FromString(daemon.asked(DELETE_GROUP)[0].body)
    assert (request.topic, request.group) == ("orders", "billing")
    daemon.refuses(DELETE_GROUP, 409, "somebody consumes for billing")
    got = user.micro("events", "groups", "delete", "orders", "billing")
    assert (got.code, "omebody consumes for billing" in got.err) == (127, True)


@pytest.mark.parametrize(
    "words",
    [["seek"], ["seek", "orders", "billing"], ["configure"], ["delete"], ["groups", "delete", "orders"]],
)
def test_missing_words(user: User, daemon: Daemon, words: list[str]) -> None:
    """Without what it needs a command says what to write."""
    got = user.micro("events", *words)
    assert (got.code, got.out) == (1, "")
    assert "Write `micro events" in got.err
    assert not daemon.calls
