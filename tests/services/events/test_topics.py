"""Events as a service: pages of events and of topics, and the wire."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import Message

from microd.kernel.caller import Account, Caller
from microd.kernel.errors import BadRequest, Forbidden, NotFound, Unauthorized, Unimplemented
from microd.services.events import rpc
from microd.services.events.groups.consumption import Consumption
from microd.services.events.model import Draft
from microd.services.events.service import Events
from microd.wire import events_pb2 as pb

Rest = Any

ANN = Account("ann", "user", "acme")
BOSS = Account("boss", "user", "acme", scopes=("admin",))
BOB = Account("bob", "user", "other", scopes=("admin",))
ADMIN = Account("admin", "user", "micro", scopes=("admin",))


class Wire:
    """Asks the endpoints of events by name, as C{ann} of C{acme} unless it is said otherwise."""

    def __init__(self, rest: Rest) -> None:
        self.rest = rest
        self.events = Events(
            rest.store, rest.logs, Consumption(rest.logs, rest.clock, rest.limits, lambda: 0.5)
        )
        self.endpoints = {each.name: each for each in rpc.endpoints(self.events)}

    def ask(self, name: str, request: Message, account: Account | None = ANN, namespace: str = "acme") -> Any:
        """The answer."""
        return self.rest.done(self.endpoints[name].handler(request, Caller(account, namespace)))

    def publish(self, payload: bytes = b"x", topic: str = "orders", **more: Any) -> Any:
        """Publish an event."""
        return self.ask("Stream.Publish", pb.PublishRequest(topic=topic, payload=payload, **more))

    def read(self, topic: str = "orders", **more: Any) -> Any:
        """A page of events."""
        return self.ask("Store.Read", pb.ReadRequest(topic=topic, **more))


@pytest.fixture
def wire(rest: Rest) -> Wire:
    """The endpoints."""
    return Wire(rest)


def offsets(reply: Any) -> list[int]:
    return [event.offset for event in reply.events]


def test_publish(wire: Wire) -> None:
    """An event is answered with its id and offset, and read as it was published; its time is in seconds."""
    answer = wire.publish(b"hello", metadata={"k": "v"}, timestamp=1234)
    (event,) = wire.read().events
    assert (answer.id, answer.offset) == (event.id, 1)
    assert (event.topic, event.payload, dict(event.metadata)) == ("orders", b"hello", {"k": "v"})
    assert (event.timestamp, event.timestamp_ms, event.offset) == (1234, 1_234_000, 1)


@pytest.mark.parametrize("timestamp", [0, -62135596800])
def test_now(wire: Wire, timestamp: int) -> None:
    """An event without a time, as Go clients write that, too, happened now."""
    wire.publish(timestamp=timestamp)
    assert wire.read().events[0].timestamp == 1_800_000_000


def test_publish_many(wire: Wire) -> None:
    """Several events are stored together, with consecutive offsets; what they say of topic, id and offset is of no account."""
    wire.publish()
    events = [
        pb.Event(payload=b"a", topic="else", id="x", offset=99, timestamp_ms=1234),
        pb.Event(payload=b"b", timestamp=5),
    ]
    answer = wire.ask("Stream.PublishMany", pb.PublishManyRequest(topic="orders", events=events))
    assert (answer.first, answer.last) == (2, 3)
    found = wire.read(after=1).events
    assert [(event.payload, event.topic, event.timestamp_ms) for event in found] == [
        (b"a", "orders", 1234),
        (b"b", "orders", 5000),
    ]


def test_read(wire: Wire) -> None:
    """Pages are in the order of the offsets; a page says where the next one begins."""
    for number in range(10):
        wire.publish(timestamp=number + 1)
    first = wire.read(limit=4)
    assert (offsets(first), first.next) == ([1, 2, 3, 4], 4)
    last = wire.read(limit=6, after=first.next)
    assert (offsets(last), last.next) == ([5, 6, 7, 8, 9, 10], 0)
    assert offsets(wire.read(offset=3, limit=2)) == [4, 5]
    assert offsets(wire.read(start_time=7500, offset=1)) == [9, 10]
    assert offsets(wire.read(newest=True, limit=3)) == [8, 9, 10]
    assert offsets(wire.read(after=10)) == []
    assert offsets(wire.read(offset=99)) == []
    assert offsets(wire.read(start_time=99_000)) == []


def test_read_default(wire: Wire) -> None:
    """A page has 250 events unless it is said; and no more than 10,000 even so."""
    wire.rest.publish(*([b"x"] * 5000))
    wire.rest.publish(*([b"x"] * 5500))
    assert len(wire.read().events) == 250
    assert len(wire.read(limit=1 << 40).events) == 10_000


def test_read_nothing(wire: Wire) -> None:
    """Reading a topic that is not there gives nothing, and makes none."""
    assert offsets(wire.read()) == []
    assert wire.rest.logs.names("acme", "", 9) == ((), "")


def test_texts(wire: Wire) -> None:
    """Errors are those of the reference (spec 6.6, 8)."""
    ask = wire.ask
    with pytest.raises(BadRequest, match=r"^Missing topic$"):
        ask("Stream.Publish", pb.PublishRequest(payload=b"x"))
    with pytest.raises(BadRequest, match=r"^Missing topic$"):
        ask("Stream.PublishMany", pb.PublishManyRequest(events=[pb.Event()]))
    with pytest.raises(BadRequest, match=r"^Missing topic$"):
        ask("Store.Read", pb.ReadRequest())
    with pytest.raises(Unimplemented, match=r"^Writing to the store directly is not supported$"):
        ask("Store.Write", pb.WriteRequest())
    for name, request in (
        ("Stream.Publish", pb.PublishRequest(topic="t")),
        ("Store.Read", pb.ReadRequest(topic="t")),
        ("Store.Write", pb.WriteRequest()),
        ("Topics.List", pb.TopicsRequest()),
        ("Topics.Delete", pb.TopicRequest(topic="t")),
    ):
        with pytest.raises(Unauthorized, match="an account is required"):
            ask(name, request, None)


def test_bad(wire: Wire) -> None:
    """What cannot be meant is refused."""
    with pytest.raises(BadRequest):
        wire.read(after=-1)
    with pytest.raises(BadRequest):
        wire.read(start_time=-1)
    with pytest.raises(BadRequest):
        wire.read("a\nb")
    with pytest.raises(BadRequest, match="timestamp"):
        wire.publish(timestamp=-1)
    with pytest.raises(BadRequest, match="own"):
        wire.publish(metadata={"Micro-Only-Group": "x"})
    with pytest.raises(BadRequest):
        wire.ask("Topics.List", pb.TopicsRequest(limit=-1))
    assert wire.rest.logs.names("acme", "", 9) == ((), "") or wire.rest.log().next == 1


def test_tenants(wire: Wire) -> None:
    """A topic belongs to its publisher's namespace, whatever namespace the call names; only the platform's admins may choose."""
    wire.publish(b"secret")
    read, everything = pb.ReadRequest(topic="orders"), pb.TopicsRequest()
    assert offsets(wire.ask("Store.Read", read, BOB, "acme")) == []
    assert not wire.ask("Topics.List", everything, BOB, "acme").topics
    with pytest.raises(NotFound):
        wire.ask("Topics.Delete", pb.TopicRequest(topic="orders"), BOB, "acme")
    assert offsets(wire.ask("Store.Read", read, ADMIN, "acme")) == [1]
    assert offsets(wire.ask("Store.Read", read, ADMIN, "micro")) == []


def test_topics(wire: Wire) -> None:
    """Topics are listed by name, with what there is to say about them, a page at a time."""
    for topic in ("b", "a", "c"):
        wire.publish(topic=topic)
    wire.publish(topic="b")
    page = wire.ask("Topics.List", pb.TopicsRequest(limit=2))
    assert [(each.name, each.first, each.last) for each in page.topics] == [("a", 1, 1), ("b", 1, 2)]
    assert page.topics[0].created == 1_800_000_000_000
    assert 0 < page.topics[0].size < page.topics[1].size
    rest = wire.ask("Topics.List", pb.TopicsRequest(after=page.next))
    assert ([each.name for each in rest.topics], rest.next) == (["c"], "")


def test_configure(wire: Wire) -> None:
    """Admins say how long a topic's events are kept; others may not, and bad values change nothing."""
    wire.publish()
    request = pb.ConfigureRequest(topic="orders", max_age=60, max_size=-1)
    with pytest.raises(Forbidden):
        wire.ask("Topics.Configure", request)
    answer = wire.ask("Topics.Configure", request, BOSS)
    assert (answer.name, answer.max_age, answer.max_size, answer.last) == ("orders", 60, -1, 1)
    with pytest.raises(BadRequest, match="age"):
        wire.ask("Topics.Configure", pb.ConfigureRequest(topic="orders", max_age=-2), BOSS)
    with pytest.raises(NotFound):
        wire.ask("Topics.Configure", pb.ConfigureRequest(topic="nothing"), BOSS)
    (topic,) = wire.ask("Topics.List", pb.TopicsRequest()).topics
    assert (topic.max_age, topic.max_size) == (60, -1)


def test_configure_makes_room(wire: Wire) -> None:
    """What is beyond a topic's new retention goes at once: nobody whose disk is full waits for the next look at all topics."""
    for _ in range(20):
        wire.publish(b"x" * 1000)
    wire.ask("Topics.Configure", pb.ConfigureRequest(topic="orders", max_size=5000), BOSS)
    assert offsets(wire.read())[0] > 10


def test_delete(wire: Wire) -> None:
    """Admins delete a topic; it is gone at once, and can be made anew."""
    wire.publish(b"old")
    request = pb.TopicRequest(topic="orders")
    with pytest.raises(Forbidden):
        wire.ask("Topics.Delete", request)
    assert wire.ask("Topics.Delete", request, BOSS).count == 1
    assert offsets(wire.read()) == []
    with pytest.raises(NotFound):
        wire.ask("Topics.Delete", request, BOSS)
    assert wire.publish(b"new").offset == 1


def test_figures(wire: Wire) -> None:
    """What was done is counted."""
    wire.publish()
    wire.rest.done(wire.events.publish("acme", "orders", [Draft(b"x")] * 9))
    wire.rest.again()
    wire.read()
    figures: dict[str, Any] = {each.name: each.samples[0][1] for each in wire.events.figures()}
    assert figures["microd_events_published_total"] == 10
    assert figures["microd_events_read_total"] == 10
    assert figures["microd_events_blocks_total"] == 2
    assert figures["microd_events_topics"] == 1
    assert figures["microd_events_written_bytes_total"] == figures["microd_events_kept_bytes"]
    assert figures["microd_events_memory_bytes"] > 0
    assert figures["microd_events_waiting_bytes"] == 0
