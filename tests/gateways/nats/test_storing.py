"""What clients of NATS publish to $EVENTS. is stored, and they hear of it when it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from microd.gateways.nats import storing
from microd.services.broker.model import Message
from microd.services.events.interface import IEvents
from microd.services.events.logs import Logs
from microd.services.events.model import Event, Limits
from microd.services.store.backends.memory import MemoryStore
from microd.services.store.errors import OutOfSpace
from microd.services.store.model import Act
from microd.testing import nats_wire as wire
from microd.testing.nats_door import MemoryDoor
from microd.testing.nats_peer import NatsPeer
from microd.testing.outcome import done


class Disk(MemoryStore):
    """A store whose writes wait until the disk is released.

    @ivar error: why they fail.
    """

    def __init__(self) -> None:
        super().__init__()
        self.held: Deferred[None] | None = None
        self.error: Exception | None = None

    async def write(self, *args: Any, **options: Any) -> int:
        await self._wait()
        return await super().write(*args, **options)

    async def apply(self, acts: Sequence[Act]) -> Sequence[int]:
        await self._wait()
        return await super().apply(acts)

    async def _wait(self) -> None:
        if self.held is not None:
            await self.held
        if self.error is not None:
            raise self.error


class Door(MemoryDoor):
    """A door with logs of events behind it."""

    def __init__(self) -> None:
        clock = Clock()
        self.disk = Disk()
        self.logs = Logs(self.disk, clock, Limits())
        done(self.logs.start())
        super().__init__(clock=clock, events=cast(IEvents, self.logs))

    def publisher(self, namespace: str = "micro", **options: object) -> NatsPeer:
        """Somebody who waits for answers."""
        peer = self.peer(namespace=namespace)
        options = {"headers": True, "no_responders": True, **options}
        peer.send(wire.connect(**options), wire.sub("_INBOX.me.*", 1))
        return peer

    def kept(self, topic: str, namespace: str = "micro") -> Sequence[Event]:
        """The events of a topic."""
        log = done(self.logs.open(namespace, topic, create=False))
        events: Sequence[Event] = done(log.read(1, 1000))
        return events


def answers(peer: NatsPeer) -> list[Any]:
    """What was said to it about its events."""
    return [json.loads(each.payload) for each in peer.of("MSG")]


@pytest.fixture
def door() -> Door:
    """See there."""
    return Door()


def test_stored(door: Door) -> None:
    """An event has the topic behind the prefix, and the answer says its offset."""
    peer = door.publisher()
    for number in range(3):
        peer.send(wire.pub("$EVENTS.orders.new", b"%d" % number, reply=f"_INBOX.me.{number}"))
    assert [each.subject for each in peer.of("MSG")] == ["_INBOX.me.0", "_INBOX.me.1", "_INBOX.me.2"]
    assert answers(peer) == [{"stream": "orders.new", "seq": offset} for offset in (1, 2, 3)]
    assert [(each.offset, each.payload) for each in door.kept("orders.new")] == [
        (1, b"0"),
        (2, b"1"),
        (3, b"2"),
    ]


def test_same_line(door: Door) -> None:
    """Lines that are said again mean the same, whatever the payload."""
    peer = door.publisher()
    peer.send(
        b"".join(
            wire.pub("$EVENTS.t", payload, reply="_INBOX.me.a")
            for payload in (b"ab", b"\r\n", b"\n\n", b"cd")
        )
    )
    assert [each.payload for each in door.kept("t")] == [b"ab", b"\r\n", b"\n\n", b"cd"]
    assert [each["seq"] for each in answers(peer)] == [1, 2, 3, 4]


def test_not_before(door: Door) -> None:
    """Nothing is said before it is on disk; then one write answers all of a commit."""
    peer = door.publisher()
    peer.send(wire.pub("$EVENTS.t", b"first", reply="_INBOX.me.a"))
    door.disk.held = Deferred()
    peer.send(wire.pub("$EVENTS.t", b"a", reply="_INBOX.me.a") * 5)
    assert len(answers(peer)) == 1
    held, door.disk.held = door.disk.held, None
    held.callback(None)
    peer.settle()
    assert [each["seq"] for each in answers(peer)] == [1, 2, 3, 4, 5, 6]


def test_headers(door: Door) -> None:
    """Headers are the event's metadata."""
    peer = door.publisher()
    block = wire.headers(Kind="new", Flavour="mint")
    peer.send(wire.hpub("$EVENTS.t", block, b"body", reply="_INBOX.me.a"))
    (event,) = door.kept("t")
    assert (event.metadata, event.payload) == ({"Kind": "new", "Flavour": "mint"}, b"body")


def test_refused(door: Door) -> None:
    """What is refused is said as JetStream says it, and nothing is stored."""
    peer = door.publisher()
    block = wire.headers(**{"Micro-Only-Group": "g"})
    peer.send(wire.hpub("$EVENTS.t", block, b"", reply="_INBOX.me.a"))
    peer.send(wire.pub("$EVENTS." + "x" * 200, b"", reply="_INBOX.me.a"))
    peer.send(wire.pub(b"$EVENTS.\xff", b"", reply="_INBOX.me.a"))
    for block in (wire.headers(A="x" * 70_000), wire.headers(**{f"A{number}": "x" for number in range(300)})):
        peer.send(wire.hpub("$EVENTS.t", block, b"", reply="_INBOX.me.a"))
    said = [each["error"] for each in answers(peer)]
    assert [each["code"] for each in said] == [400, 400, 400, 413, 400]
    assert [each["err_code"] for each in said[:3]] == [10400] * 3
    assert "Micro-Only-Group" in said[0]["description"]
    assert peer.alive()


def test_conditions(door: Door) -> None:
    """Who sets a condition that nobody would look at is refused; that the stream be the topic is seen to."""
    peer = door.publisher()
    for header in (
        {"Nats-Expected-Last-Sequence": "9"},
        {"Nats-Expected-Stream": "x"},
        {"Nats-Expected-Stream": "t"},
    ):
        peer.send(wire.hpub("$EVENTS.t", wire.headers(**header), b"", reply="_INBOX.me.a"))
    assert [each.get("error", {}).get("description") for each in answers(peer)] == [
        "Nats-Expected-Last-Sequence: events are stored without conditions",
        "Nats-Expected-Stream: the topic is t, not x",
        None,
    ]
    assert len(door.kept("t")) == 1


def test_disk_full(door: Door) -> None:
    """An event that could not be written is not acknowledged."""
    peer = door.publisher()
    door.disk.error = OutOfSpace("the store's disk is full")
    peer.send(wire.pub("$EVENTS.t", b"a", reply="_INBOX.me.a"))
    ((answer,),) = [answers(peer)]
    assert answer["error"]["code"] == 507
    door.disk.error = None
    peer.send(wire.pub("$EVENTS.t", b"b", reply="_INBOX.me.a"))
    assert answers(peer)[1] == {"stream": "t", "seq": 1}


def test_no_reply(door: Door) -> None:
    """Who wants no answer gets none, and its event is stored."""
    peer = door.publisher()
    peer.send(wire.pub("$EVENTS.t", b"a"))
    assert not peer.of("MSG")
    assert [each.payload for each in door.kept("t")] == [b"a"]


def test_not_heard(door: Door) -> None:
    """Events are no messages: nobody hears them who listens to everything."""
    listener = door.peer()
    listener.send(wire.connect(), wire.sub(">", 1))
    door.publisher().send(wire.pub("$EVENTS.t", b"a"))
    listener.settle()
    assert not listener.of("MSG")


def test_answer_to_gone(door: Door) -> None:
    """Who left before the answer costs nothing; the event stays."""
    peer = door.publisher()
    peer.send(wire.pub("$EVENTS.t", b"first", reply="_INBOX.me.a"))
    door.disk.held = Deferred()
    peer.send(wire.pub("$EVENTS.t", b"a", reply="_INBOX.me.a"))
    peer.hang_up()
    held, door.disk.held = door.disk.held, None
    held.callback(None)
    door.clock.advance(0)
    assert [each.payload for each in door.kept("t")] == [b"first", b"a"]


def test_other_protocol_hears(door: Door) -> None:
    """An answer is a message as any other: who listens to its subject over gRPC hears it."""
    heard: list[tuple[str, bytes]] = []

    class Receiver:
        waiting = 0
        subjects_only = False

        def deliver(self, topic: str, message: Message) -> None:
            heard.append((topic, message.body))

    door.broker.attach("micro", "answers", "", Receiver())
    peer = door.publisher()
    peer.send(wire.pub("$EVENTS.t", b"a", reply="answers"))
    peer.settle()
    assert heard == [("answers", b'{"stream":"t","seq":1}')]


def test_flood(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who publishes faster than the disk writes is not listened to meanwhile; nothing is refused or lost for it."""
    monkeypatch.setattr(storing, "MOST", 100 * storing.EACH)
    peer = door.publisher()
    peer.send(wire.pub("$EVENTS.t", b"first", reply="_INBOX.me.a"))
    held = door.disk.held = Deferred()
    flood = b"".join(wire.pub("$EVENTS.t", b"%d" % number, reply="_INBOX.me.a") for number in range(1000))
    peer.send(flood)
    assert peer.transport.producerState == "paused"
    (space,) = door.logs._spaces.values()
    assert 0 < space.waiting < 100 * 1000
    door.disk.held = None
    held.callback(None)
    for _ in range(100):
        peer.settle()
    assert [each.get("seq") for each in answers(peer)] == list(range(1, 1002))
    assert peer.transport.producerState == "producing"
    assert peer.alive()


@pytest.mark.parametrize(
    "options",
    [{"verbose": True}, {"pedantic": True}, {"echo": False}, {"headers": False, "no_responders": False}],
)
def test_wishes(door: Door, options: dict[str, Any]) -> None:
    """Whatever a client asked for in CONNECT, its events are stored and answered."""
    peer = door.publisher(**options)
    before = len(peer.of("+OK"))
    peer.send(wire.pub("$EVENTS.t", b"a", reply="_INBOX.me.a"))
    assert answers(peer) == [{"stream": "t", "seq": 1}]
    assert len(peer.of("+OK")) == before + bool(options.get("verbose"))


def test_tenants(door: Door) -> None:
    """A topic is the namespace's of who publishes."""
    alpha, beta = door.publisher("alpha"), door.publisher("beta")
    alpha.send(wire.pub("$EVENTS.t", b"alpha's", reply="_INBOX.me.a"))
    beta.send(wire.pub("$EVENTS.t", b"beta's", reply="_INBOX.me.a"))
    assert answers(alpha) == answers(beta) == [{"stream": "t", "seq": 1}]
    assert [each.payload for each in door.kept("t", "alpha")] == [b"alpha's"]


def test_answers_of_tenants(door: Door) -> None:
    """Answers of one commit go to the namespace of who published, also where two await them under the same subject."""
    alpha, beta = door.publisher("alpha"), door.publisher("beta")
    for peer in (alpha, beta):
        peer.send(wire.sub("a", 2))
    for peer, topic in ((alpha, "first"), (beta, "second")):
        peer.protocol.dataReceived(wire.pub(f"$EVENTS.{topic}", b"x", reply="a"))
    for _ in range(10):
        alpha.settle()
        beta.settle()
    assert answers(alpha) == [{"stream": "first", "seq": 1}]
    assert answers(beta) == [{"stream": "second", "seq": 1}]
