"""`micro events read`, `topics` and `lag`."""

from __future__ import annotations

from microd.wire import events_pb2 as pb

from .conftest import Call, Daemon, User

READ, LIST, LAG = "/events.Store/Read", "/events.Topics/List", "/events.Topics/Lag"
#: 2023-11-14T22:13:20Z
MOMENT = 1_700_000_000_000


def event(offset: int, payload: bytes = b"", **more: str) -> pb.Event:
    """An event as it is read."""
    return pb.Event(
        topic="orders",
        id=f"id-{offset}",
        offset=offset,
        payload=payload or b'{"id": %d}' % offset,
        metadata=more,
        timestamp=MOMENT // 1000,
        timestamp_ms=MOMENT + offset,
    )


def keeps(daemon: Daemon, events: list[pb.Event]) -> None:
    """Let the daemon keep these."""

    def read(call: Call) -> pb.ReadResponse:
        request = pb.ReadRequest.FromString(call.body)
        assert request.limit <= 250
        found = [each for each in events if each.offset > request.after]
        found = [each for each in found if each.timestamp_ms >= request.start_time]
        if request.newest:
            return pb.ReadResponse(events=found[-request.limit :])
        page = found[: request.limit]
        return pb.ReadResponse(events=page, next=page[-1].offset if len(page) < len(found) else 0)

    daemon.handlers[READ] = read


def asked(daemon: Daemon) -> list[pb.ReadRequest]:
    """The pages that were asked for."""
    return [pb.ReadRequest.FromString(call.body) for call in daemon.asked(READ)]


def test_read(user: User, daemon: Daemon) -> None:
    """Events are lines, with their offsets, times and metadata; nothing in them reaches the terminal as it is."""
    keeps(daemon, [event(1), event(2, b"\x1b[2J\n", shop="a\nb"), event(3, b"\xff\x00")])
    got = user.micro("events", "read", "orders")
    assert (got.code, got.err) == (0, "")
    assert got.out.splitlines() == [
        '1  2023-11-14T22:13:20.001Z  {"id": 1}',
        "2  2023-11-14T22:13:20.002Z  \\x1b[2J  [shop=a\\nb]",
        "3  2023-11-14T22:13:20.003Z  (2 bytes) ff00",
    ]


def test_read_payload(user: User, daemon: Daemon) -> None:
    """The bare payload is printed byte for byte."""
    keeps(daemon, [event(1, b"\x1b[2J"), event(2, b"two")])
    assert user.micro("events", "read", "orders", "--output=payload").out == "\x1b[2J\ntwo\n"


def test_read_json(user: User, daemon: Daemon) -> None:
    """In JSON a payload is JSON where it is an object or an array, else text, else base64."""
    keeps(
        daemon,
        [
            event(1, b'{"a": [1.5]}', k="v"),
            event(2, b"7"),
            event(3, b"{no"),
            event(4, b"\xff"),
            event(5, b"[1e999]"),
        ],
    )
    found = user.micro("events", "read", "orders", "--json").json
    assert found[0] == {
        "topic": "orders",
        "offset": 1,
        "id": "id-1",
        "timestamp": "2023-11-14T22:13:20.001Z",
        "metadata": {"k": "v"},
        "payload": {"a": [1.5]},
    }
    assert [each.get("payload") for each in found[1:]] == ["7", "{no", None, "[1e999]"]
    assert found[3]["payload_base64"] == "/w=="
    assert user.micro("events", "read", "orders", "-o", "json").json == found


def test_read_pages(user: User, daemon: Daemon) -> None:
    """The first hundred are shown unless more are wanted, in pages; what goes on is said."""
    keeps(daemon, [event(offset) for offset in range(1, 1001)])
    got = user.micro("events", "read", "orders")
    assert len(got.out.splitlines()) == 100
    assert got.err == "There are more: add --after 100, or --all.\n"
    got = user.micro("events", "read", "orders", "--after", "100", "--limit=600")
    assert (got.out.splitlines()[-1].split()[0], len(got.out.splitlines())) == ("700", 600)
    got = user.micro("events", "read", "orders", "--all")
    assert (len(got.out.splitlines()), got.err) == (1000, "")
    for count in (3, 700, 5000):
        got = user.micro("events", "read", "orders", "--last", str(count))
        offsets = [int(line.split()[0]) for line in got.out.splitlines()]
        assert offsets == list(range(max(0, 1000 - count) + 1, 1001))
        assert got.err == ""


def test_read_since(user: User, daemon: Daemon) -> None:
    """A time ago, or a moment, is where it begins."""
    keeps(daemon, [event(1), event(500)])
    user.now = MOMENT / 1000 + 60
    assert user.micro("events", "read", "orders", "--since", "59.9s").out.split()[0] == "500"
    assert user.micro("events", "read", "orders", "--since", "2023-11-14T22:13:20.1Z").out.split()[0] == "500"
    got = user.micro("events", "read", "orders", "--since", "5s")
    assert (got.code, got.out, got.err) == (0, "", "There are no such events in orders.\n")


def test_read_nothing(user: User, daemon: Daemon) -> None:
    """Nothing is nothing, and a person is told."""
    keeps(daemon, [])
    got = user.micro("events", "read", "orders")
    assert (got.code, got.out, got.err) == (0, "", "orders has no events.\n")
    assert user.micro("events", "read", "orders", "--json").json == []


def test_read_wrongly(user: User, daemon: Daemon) -> None:
    """What contradicts itself is refused before anything is asked."""
    for words in (["--last=1", "--all"], ["--last=1", "--limit=2"], ["--all", "-l", "2"], ["--since=x"]):
        assert user.micro("events", "read", "orders", *words).code == 1
    got = user.micro("events", "read")
    assert (got.code, got.err) == (1, "Missing topic. Write `micro events read TOPIC`.\n")
    assert not daemon.calls


def test_namespace(user: User, daemon: Daemon) -> None:
    """The namespace which is worked in travels with the question."""
    keeps(daemon, [])
    user.micro("events", "read", "orders", "--namespace", "shop")
    assert daemon.asked(READ)[0].metadata["micro-namespace"] == "shop"


def topics(daemon: Daemon, *found: pb.Topic) -> None:
    """Let the daemon have these topics, and tell of two at a time."""

    def answer(call: Call) -> pb.TopicsResponse:
        request = pb.TopicsRequest.FromString(call.body)
        rest = [each for each in found if each.name > request.after]
        return pb.TopicsResponse(topics=rest[:2], next=rest[1].name if len(rest) > 2 else "")

    daemon.handlers[LIST] = answer


ORDERS = pb.Topic(
    name="orders", first=5, last=12, size=1536, created=MOMENT, max_age=7 * 86400, max_size=1 << 30, groups=2
)


def test_topics(user: User, daemon: Daemon) -> None:
    """All topics are listed, with what they keep."""
    topics(
        daemon,
        pb.Topic(name="a", first=1, last=0, created=MOMENT),
        ORDERS,
        pb.Topic(name="z", first=3, last=2, created=MOMENT, max_age=-1, max_size=-1),
    )
    got = user.micro("events", "topics")
    assert (got.code, got.err) == (0, "")
    assert got.out.splitlines() == [
        "TOPIC    EVENTS   OFFSETS   SIZE      KEPT FOR    UP TO       GROUPS   CREATED",
        "a        0        -         0 B       default     default     0        2023-11-14T22:13:20.000Z",
        "orders   8        5-12      1.5 KiB   7d          1 GiB       2        2023-11-14T22:13:20.000Z",
        "z        0        -         0 B       unlimited   unlimited   0        2023-11-14T22:13:20.000Z",
    ]
    found = user.micro("events", "topics", "--output=json").json
    assert found[1] == {
        "topic": "orders",
        "first": 5,
        "last": 12,
        "size": 1536,
        "groups": 2,
        "max_age": 604800,
        "max_size": 1 << 30,
        "created": "2023-11-14T22:13:20.000Z",
    }


def test_no_topics(user: User, daemon: Daemon) -> None:
    """Where there are none, it says how to make one."""
    topics(daemon)
    got = user.micro("events", "topics")
    assert (got.code, got.out) == (0, "")
    assert "`micro events publish TOPIC MESSAGE`" in got.err
    assert user.micro("events", "topics", "--json").json == []


def test_lag(user: User, daemon: Daemon) -> None:
    """Each group is a row: how far it is, what is left, and what went wrong."""
    groups = [
        pb.Group(topic="orders", name="", consumers=1, acknowledged=12),
        pb.Group(
            topic="orders",
            name="billing",
            consumers=2,
            acknowledged=7,
            delivered=9,
            lag=5,
            in_flight=1,
            waiting=1,
            oldest=65_000,
            missed=3,
            redelivered=4,
            dead=6,
        ),
    ]
    daemon.answers(LAG, pb.LagResponse(groups=reversed(groups)))
    got = user.micro("events", "lag", "orders")
    assert (got.code, got.err) == (0, "")
    assert [line.split() for line in got.out.splitlines()] == [
        [
            "TOPIC",
            "GROUP",
            "CONSUMERS",
            "ACKED",
            "LAG",
            "IN",
            "FLIGHT",
            "WAITING",
            "OLDEST",
            "AGAIN",
            "DEAD",
            "MISSED",
        ],
        ["orders", "(private)", "1", "12", "0", "0", "0", "-", "0", "0", "0"],
        ["orders", "billing", "2", "7", "5", "1", "1", "1m5s", "4", "6", "3"],
    ]
    found = user.micro("events", "lag", "--json").json
    assert (found[1]["group"], found[1]["oldest"], found[1]["delivered"]) == ("billing", 65_000, 9)
    requests = [pb.LagRequest.FromString(call.body).topic for call in daemon.asked(LAG)]
    assert requests == ["orders", ""]


def test_no_groups(user: User, daemon: Daemon) -> None:
    """Nobody who consumes is no failure."""
    daemon.answers(LAG, pb.LagResponse())
    got = user.micro("events", "lag", "orders")
    assert (got.code, got.out, got.err) == (0, "", "Nobody consumes orders.\n")


def test_help(user: User) -> None:
    """Help lists every command, and each of them has an example."""
    words = ["publish", "consume", "read", "topics", "lag", "dlq", "seek", "delete", "configure", "groups"]
    listed = user.micro("events", "--help").out
    for word in words:
        assert f"\n  {word} " in listed
        assert "Example:" in user.micro("events", word, "--help").out or word == "groups"
    for path in (["dlq", "list"], ["dlq", "retry"], ["dlq", "drop"], ["groups", "delete"]):
        assert "Example:" in user.micro("events", *path, "--help").out
