"""`micro events dlq`."""

from __future__ import annotations

import pytest

from microd.wire import events_pb2 as pb

from .conftest import Call, Daemon, User

LIST, RETRY, DROP = "/events.DeadLetters/List", "/events.DeadLetters/Retry", "/events.DeadLetters/Drop"


def letter(number: int) -> pb.DeadLetter:
    """A dead letter."""
    event = pb.Event(
        topic="orders.dlq",
        id=f"letter-{number}",
        offset=number,
        payload=b'{"id": %d}' % number,
        metadata={"shop": "a", "Micro-Dead-Group": "billing"},
        timestamp_ms=1_700_000_000_000,
    )
    return pb.DeadLetter(
        event=event,
        group="billing",
        id=f"id-{number}",
        offset=number * 10,
        attempts=4,
        error="no\nmoney " * 20,
    )


def lists(daemon: Daemon, count: int) -> None:
    """Let there be so many."""

    def answer(call: Call) -> pb.DeadLettersResponse:
        request = pb.DeadLettersRequest.FromString(call.body)
        rest = range(request.after + 1, count + 1)[: request.limit]
        more = rest[-1] if rest and rest[-1] < count else 0
        return pb.DeadLettersResponse(letters=[letter(each) for each in rest], next=more)

    daemon.handlers[LIST] = answer


def test_list(user: User, daemon: Daemon) -> None:
    """Each dead letter is a row: which event it was, who gave it up, and why."""
    lists(daemon, 2)
    got = user.micro("events", "dlq", "list", "orders", "--group=billing")
    assert (got.code, got.err) == (0, "")
    head, first, _ = got.out.splitlines()
    assert head.split() == ["ID", "GROUP", "OFFSET", "ATTEMPTS", "DIED", "ERROR", "PAYLOAD"]
    assert first.split()[:5] == ["letter-1", "billing", "10", "4", "2023-11-14T22:13:20.000Z"]
    assert first.endswith('no\\nmon...   {"id": 1}')
    request = pb.DeadLettersRequest.FromString(daemon.asked(LIST)[0].body)
    assert (request.topic, request.group) == ("orders", "billing")


def test_list_json(user: User, daemon: Daemon) -> None:
    """In JSON a letter has everything, and the whole error."""
    lists(daemon, 1)
    assert user.micro("events", "dlq", "list", "orders", "--output=json").json == [
        {
            "id": "letter-1",
            "offset": 1,
            "topic": "orders",
            "event": {"id": "id-1", "offset": 10},
            "group": "billing",
            "attempts": 4,
            "error": "no\nmoney " * 20,
            "died": "2023-11-14T22:13:20.000Z",
            "metadata": {"shop": "a"},
            "payload": {"id": 1},
        }
    ]


def test_list_many(user: User, daemon: Daemon) -> None:
    """As many as are wanted come, in pages, and what goes on is said."""
    lists(daemon, 700)
    got = user.micro("events", "dlq", "list", "orders")
    assert (len(got.out.splitlines()), got.err) == (101, "There are more: add --after 100.\n")
    got = user.micro("events", "dlq", "list", "orders", "--after=100", "--limit=600")
    assert (len(got.out.splitlines()), got.err) == (601, "")


def test_list_none(user: User, daemon: Daemon) -> None:
    """None is good news."""
    lists(daemon, 0)
    got = user.micro("events", "dlq", "list", "orders")
    assert (got.code, got.out, got.err) == (0, "", "There are no dead letters of orders.\n")
    assert user.micro("events", "dlq", "list", "orders", "--json").json == []


@pytest.mark.parametrize(
    ("verb", "path", "told"),
    [
        ("retry", RETRY, "2 dead letters of orders will be tried again.\n"),
        ("drop", DROP, "2 dead letters of orders were dropped.\n"),
    ],
)
def test_settle(user: User, daemon: Daemon, verb: str, path: str, told: str) -> None:
    """Some by their ids, or all, of a group or of all groups; how many it was is told."""
    daemon.answers(path, pb.Done(count=2))
    assert user.micro("events", "dlq", verb, "orders", "a", "b").out == told
    assert user.micro("events", "dlq", verb, "orders", "--all", "-g", "billing", "--json").json == {
        "count": 2
    }
    assert [pb.DeadLettersRequest.FromString(call.body) for call in daemon.asked(path)] == [
        pb.DeadLettersRequest(topic="orders", ids=["a", "b"]),
        pb.DeadLettersRequest(topic="orders", group="billing"),
    ]


@pytest.mark.parametrize("verb", ["retry", "drop"])
def test_settle_which(user: User, daemon: Daemon, verb: str) -> None:
    """All are never meant by accident."""
    got = user.micro("events", "dlq", verb, "orders")
    assert (got.code, got.out) == (1, "")
    assert got.err == (
        f"Which ones? Name their ids, or give --all to {verb} all. See `micro events dlq list orders`.\n"
    )
    assert user.micro("events", "dlq", verb, "orders", "a", "--all").code == 1
    assert user.micro("events", "dlq", verb).err.startswith("Missing topic.")
    assert not daemon.calls


def test_settle_none(user: User, daemon: Daemon) -> None:
    """Ids of which there is none are a mistake; none at all are not."""
    daemon.answers(RETRY, pb.Done(count=0))
    got = user.micro("events", "dlq", "retry", "orders", "nowhere")
    assert (got.code, got.err) == (1, "Not found. See `micro events dlq list orders`.\n")
    got = user.micro("events", "dlq", "retry", "orders", "--all")
    assert (got.code, got.out) == (0, "0 dead letters of orders will be tried again.\n")
