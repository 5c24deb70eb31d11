"""Clients which are slow, greedy or lie: what they cost is bounded, and the others get all of theirs."""

from __future__ import annotations

import json
from typing import cast

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from microd.gateways.nats.model import Limits
from microd.gateways.nats.subscription import Sub
from microd.services.broker.model import Limits as BrokerLimits
from microd.services.broker.model import Message
from microd.services.broker.topics import Topics
from microd.services.events.interface import IEvents
from microd.services.events.logs import Logs
from microd.services.events.model import Limits as EventLimits
from microd.testing import nats_wire as wire
from microd.testing.bounded import bounded
from microd.testing.nats_door import MemoryDoor
from microd.testing.nats_peer import NatsPeer
from microd.testing.outcome import done
from tests.gateways.nats.test_storing import Disk

KIB, MIB = 1 << 10, 1 << 20
#: Seconds which nothing here comes near; what is bounded is memory.
EVER = 600.0


def client(door: MemoryDoor, *operations: bytes, user: str = "ada", **options: object) -> NatsPeer:
    """Somebody who has come in."""
    peer = door.peer(user)
    peer.send(wire.connect(**options), *operations)
    assert peer.alive()
    return peer


def numbers(peer: NatsPeer) -> list[int]:
    """The messages which a client has heard."""
    return [int(each.payload.partition(b":")[0]) for each in peer.heard if each.verb in ("MSG", "HMSG")]


class Slow:
    """A subscriber who reads nothing while two thousand messages of 1 KiB come, beside one who reads."""

    count = 2000

    def __init__(self, policy: str) -> None:
        limits = Limits(pending=256 * KIB, slow=policy)  # type: ignore[arg-type]
        self.door = MemoryDoor(limits)
        self.reader = client(self.door, wire.sub("a", 1), user="grace")
        self.slow = client(self.door, wire.sub("a", 1))
        self.slow.transport.reads = False
        writer = client(self.door, user="linus")
        with capturedLogs() as events:
            for number in range(0, self.count, 10):
                writer.send(
                    *(wire.pub("a", b"%d:" % each + b"x" * KIB) for each in range(number, number + 10))
                )
                self.reader.settle()
        self.log = [formatEvent(event) for event in events]

    @property
    def kept(self) -> int:
        """Octets which wait for the slow one, in the session and in its transport."""
        return self.slow.transport.unread + sum(each.outlet.held for each in self.door.sessions)

    def wakes(self) -> list[int]:
        """The slow one begins to read; what it hears."""
        self.slow.transport.reads = True
        self.slow.settle()
        return numbers(self.slow)


@pytest.mark.parametrize("policy", ["drop-oldest", "drop-new", "disconnect"])
def test_slow(policy: str) -> None:
    """What waits for a subscriber who reads nothing is bounded; who reads gets all; the log names the slow one once."""
    case = Slow(policy)
    assert numbers(case.reader) == list(range(case.count))
    assert case.kept <= 256 * KIB + 2 * case.slow.transport.bufferSize
    told = [line for line in case.log if line is not None and "too slow" in line]
    assert len(told) == 1
    assert "ada" in told[0]
    assert policy in told[0]


def test_drop_oldest() -> None:
    """The oldest messages go, and are counted; the newest are read."""
    case = Slow("drop-oldest")
    heard = case.wakes()
    assert heard == sorted(heard)
    assert heard[-1] == case.count - 1
    assert len(heard) + case.door.exchange.counts.lost == case.count
    assert case.slow.alive()


def test_drop_new() -> None:
    """What there is no room for goes, and is counted; what was there first is read."""
    case = Slow("drop-new")
    heard = case.wakes()
    assert heard == list(range(len(heard)))
    assert len(heard) + case.door.exchange.counts.lost == case.count
    assert case.slow.alive()


def test_disconnect() -> None:
    """The slow one is cut off, which is counted, and its place is free."""
    case = Slow("disconnect")
    case.slow.settle()
    assert case.slow.closed
    assert case.door.exchange.counts.slow == 1
    assert case.door.broker.subscriptions == 1
    assert case.kept <= 256 * KIB + 2 * case.slow.transport.bufferSize


@pytest.mark.parametrize("policy", ["drop-oldest", "drop-new", "disconnect"])
def test_many_for_each(policy: str) -> None:
    """A client who is to get thousands of messages for each that it sends, and reads none, is bounded by what it may
    have pending, not by what one read of the door brings it."""
    door = MemoryDoor(Limits(pending=MIB, slow=policy))  # type: ignore[arg-type]
    peer = client(door, b"".join(wire.sub("a", sid) for sid in range(700)))
    peer.transport.reads = False
    with bounded(8 * MIB, EVER):
        peer.send(wire.pub("a") * 300)
        peer.wait(60)
    assert peer.transport.unread < 2 * MIB
    assert door.exchange.counts.lost


class Ticking(Clock):
    """A millisecond goes by whenever somebody looks at it."""

    def seconds(self) -> float:
        self.rightNow += 0.001
        return super().seconds()


def test_turns() -> None:
    """Who sends much at once is heard for a while, then the others are; it misses nothing by that."""
    door = MemoryDoor(clock=Ticking())
    reader = client(door, wire.sub("a", 1))
    busy = client(door)
    busy.protocol.dataReceived(b"".join(wire.pub("a", b"%d:" % number) for number in range(5000)))
    busy.protocol.dataReceived(wire.PING)
    assert busy.transport.producerState == "paused"
    assert door.exchange.counts.in_messages < 1000
    before = len(reader.heard)
    reader.protocol.dataReceived(wire.PING)
    reader.hear()
    assert reader.heard[-1].verb == "PONG"
    assert len(reader.heard) - before < 1000
    busy.send(wire.PING)
    reader.settle()
    assert numbers(reader) == list(range(5000))
    assert [each.verb for each in busy.heard[-2:]] == ["PONG", "PONG"]


def test_turn_with_many_listeners() -> None:
    """A turn ends early where each operation is much work: many who listen, or many patterns to look at."""
    for patterns in (
        ["a"] * 1000,
        [".".join("*" if n >> bit & 1 else "a" for bit in range(10)) for n in range(1024)],
    ):
        door = MemoryDoor(clock=Ticking())
        client(door, b"".join(wire.sub(pattern, sid) for sid, pattern in enumerate(patterns)))
        busy = client(door)
        busy.protocol.dataReceived(
            b"".join(wire.pub("a" if number % 2 else "a." * 9 + str(number)) for number in range(1000))
        )
        assert door.exchange.counts.in_messages < 10


def test_hang_up_within_a_turn() -> None:
    """Who is gone while others are heard leaves nothing behind, and nothing to be done."""
    door = MemoryDoor(clock=Ticking())
    busy = client(door)
    busy.protocol.dataReceived(wire.pub("a") * 5000)
    busy.hang_up()
    assert not door.sessions
    assert not door.clock.getDelayedCalls()
    assert door.exchange.counts.in_messages < 1000


def test_octets_of_a_payload() -> None:
    """A payload which comes in the smallest pieces takes no more memory than one that comes at once."""
    door = MemoryDoor()
    reader = client(door, wire.sub("a", 1))
    writer = client(door)
    payload = b"1:" + b"x" * 200_000
    said = wire.pub("a", payload)
    with bounded(MIB, EVER):
        for at in range(0, len(said), 2):
            writer.protocol.dataReceived(said[at : at + 2])
    reader.settle()
    assert [each.payload for each in reader.of("MSG")] == [payload]


def test_small_ones() -> None:
    """Messages of a few octets, which take more in memory than on the wire, are bounded by what they take."""
    door = MemoryDoor(Limits(pending=512 * KIB, slow="drop-new"))
    slow = client(door, wire.sub("a", 1))
    slow.transport.reads = False
    writer = client(door)
    with bounded(2 * MIB, EVER):
        for _ in range(15_000):
            writer.protocol.dataReceived(b"PUB a 0\r\n\r\n")
            door.clock.advance(0)


def test_namespace() -> None:
    """Many who read nothing have no more together than their namespace may; those of another lose nothing."""
    door = MemoryDoor(Limits(pending=MIB, slow="drop-new"), BrokerLimits(memory=2 * MIB))
    crowd = [client(door, wire.sub("a", 1)) for _ in range(20)]
    for each in crowd:
        each.transport.reads = False
    writer = client(door)
    other = door.peer(namespace="elsewhere")
    other.send(wire.connect(), wire.sub("a", 1))
    for _ in range(200):
        writer.send(wire.pub("a", b"x" * 10 * KIB))
        other.send(wire.pub("a", b"0:"))
    assert sum(each.outlet.held for each in door.sessions) <= 2 * MIB
    assert len(numbers(other)) == 200


def test_pings() -> None:
    """Who asks for answers without end and reads none is cut off."""
    door = MemoryDoor(Limits(pending=MIB, slow="drop-oldest"))
    peer = client(door)
    peer.transport.reads = False
    with bounded(8 * MIB, EVER):
        for _ in range(100):
            peer.send(wire.PING * 2000)
    assert peer.closed
    assert door.exchange.counts.slow == 1
    assert not door.sessions


@pytest.mark.parametrize("verb", [b"SUB ", b"PUB ", b"UNSUB ", b"CONNECT {", b"", b"HPUB a 1 "])
@pytest.mark.parametrize("known", [False, True])
def test_endless_line(verb: bytes, known: bool) -> None:
    """A control line which does not end is refused once it is too long, and nothing of it is kept."""
    door = MemoryDoor()
    peer = client(door) if known else door.peer()
    with bounded(2 * MIB, EVER):
        peer.send(verb)
        for _ in range(100):
            peer.send(b"a" * 10 * KIB)
    assert peer.closed
    assert peer.errors[-1] in (
        "maximum control line exceeded",
        "Unknown Protocol Operation",
        "Authorization Violation",
    )


@pytest.mark.parametrize("make", [wire.sub, lambda subject, sid: wire.pub(subject, b"x", size=1)])
def test_huge_subject(make: object) -> None:
    """A subject of 1 MiB is refused."""
    door = MemoryDoor()
    peer = client(door)
    with bounded(4 * MIB, EVER):
        peer.send(make(b"a" * MIB, 1))  # type: ignore[operator]
    assert peer.errors == ["maximum control line exceeded"]
    assert peer.closed
    assert not door.broker.subscriptions


@pytest.mark.parametrize(
    ("lie", "error"),
    [
        (b"PUB a 3\r\nlonger\r\n", "Unknown Protocol Operation"),
        (b"PUB a 10\r\nshorter\r\nPING\r\n", "Unknown Protocol Operation"),
        (b"PUB a -1\r\n\r\n", "Parser Error"),
        (b"PUB a 4611686018427387904\r\n", "Parser Error"),
        (b"PUB a 1048577\r\n", "Maximum Payload Violation"),
        (b"PUB a 999999999\r\n", "Maximum Payload Violation"),
        (b"PUB a 0x3\r\nabc\r\n", "Parser Error"),
        (b"PUB a \xd9\xa3\r\nabc\r\n", "Parser Error"),
        (b"PUB a 1_0\r\n0123456789\r\n", "Parser Error"),
        (b"HPUB a 5 3\r\nabc\r\n", "Parser Error"),
        (b"HPUB a -1 3\r\nabc\r\n", "Parser Error"),
        (b"HPUB a 12 1048577\r\n", "Maximum Payload Violation"),
    ],
)
def test_lying_length(lie: bytes, error: str) -> None:
    """A length which is not the payload's, or can be none, ends the connection; nobody hears of it."""
    door = MemoryDoor()
    reader = client(door, wire.sub(">", 1))
    peer = client(door)
    peer.send(lie)
    assert peer.errors == [error]
    assert peer.closed
    assert not numbers(reader)
    assert reader.alive()


def test_never_finishes() -> None:
    """A publisher who stops before the end of its payload holds no more than that payload, and nothing once it is gone."""
    door = MemoryDoor()
    peers = [client(door) for _ in range(10)]
    with bounded(25 * MIB, EVER):
        for peer in peers:
            for piece in range(16):
                peer.send(wire.pub("a", b"x" * MIB)[piece << 16 : (piece + 1) << 16])
    with bounded(MIB, EVER):
        for peer in peers:
            assert not peer.closed
            peer.hang_up()
    assert not door.sessions


def test_unfinished_of_a_namespace() -> None:
    """All unfinished payloads of a namespace take no more than it may; who has one too many is told, and when they go,
    there is room again."""
    door = MemoryDoor(broker=BrokerLimits(memory=4 * MIB))
    peers = [client(door) for _ in range(10)]
    for peer in peers:
        for piece in range(16):
            peer.send(wire.pub("a", b"x" * MIB)[piece << 16 : (piece + 1) << 16])
    left = [peer for peer in peers if not peer.closed]
    assert 2 <= len(left) <= 4
    assert [peer.errors for peer in peers if peer.closed] == [["too many unfinished messages"]] * (
        10 - len(left)
    )
    place = door.broker.enter("micro")
    assert 2 * MIB < place.unfinished.used <= 4 * MIB
    for size in (600, 20 * KIB, 60 * KIB):
        modest = client(door, wire.sub("b", 1))
        said = wire.pub("b", b"1:" + b"x" * size)
        modest.send(said[: size - 10], said[size - 10 :])
        assert numbers(modest) == [1]
    elsewhere = door.peer(namespace="elsewhere")
    elsewhere.send(wire.connect(), wire.sub("a", 1))
    for piece in range(17):
        elsewhere.send(wire.pub("a", b"1:" + b"x" * (MIB - 2))[piece << 16 : (piece + 1) << 16])
    assert numbers(elsewhere) == [1]
    for peer in left[1:]:
        peer.hang_up()
    last = left[0]
    last.send(wire.pub("a", b"x" * MIB)[MIB:])
    assert last.alive()
    assert place.unfinished.used == 0


def test_large_for_each() -> None:
    """A large payload for several subscriptions of one connection which does not read is bounded, too."""
    door = MemoryDoor(Limits(pending=2 * MIB))
    peer = client(door, *(wire.sub("a", sid) for sid in range(14)))
    peer.transport.reads = False
    writer = client(door)
    with bounded(9 * MIB, EVER):
        for piece in range(17):
            writer.send(wire.pub("a", b"x" * MIB)[piece << 16 : (piece + 1) << 16])
    peer.settle()
    assert peer.closed
    assert door.exchange.counts.lost


def test_large_for_many() -> None:
    """One large message for a hundred who read nothing takes no more than what may wait in their namespace."""
    door = MemoryDoor(broker=BrokerLimits(memory=8 * MIB))
    reader = client(door, wire.sub("a", 1))
    crowd = [client(door, wire.sub("a", 1)) for _ in range(100)]
    for each in crowd:
        each.transport.reads = False
    writer = client(door)
    place = door.broker.enter("micro")
    for number in range(3):
        said = wire.pub("a", b"%d:" % number + b"x" * (MIB - 2))
        for at in range(0, len(said), 1 << 16):
            writer.send(said[at : at + (1 << 16)])
        reader.settle()
        for each in crowd:
            each.settle()
        assert sum(each.transport.unread for each in crowd if not each.transport.aborted) <= 9 * MIB
        assert place.budget.used <= 8 * MIB
    assert numbers(reader) == [0, 1, 2]
    for each in crowd:
        each.transport.reads = True
        each.settle()
    assert place.budget.used == 0


def test_first_come() -> None:
    """Who reads, and is a little behind, finds room beside many who read nothing."""
    door = MemoryDoor(Limits(slow="drop-new"), BrokerLimits(memory=8 * MIB))
    for _ in range(20):
        client(door, wire.sub("a", 1)).transport.reads = False
    reader = client(door, wire.sub("a", 1))
    writer = client(door)
    for number in range(0, 1000, 20):
        reader.transport.reads = False
        writer.send(*(wire.pub("a", b"%d:" % each + b"x" * 10 * KIB) for each in range(number, number + 20)))
        reader.transport.reads = True
        reader.settle()
    assert numbers(reader) == list(range(1000))


def test_before_connect() -> None:
    """Who has not said who it is cannot publish, subscribe, or make the door keep a payload."""
    for said in (
        wire.pub("a", b"x"),
        wire.sub("a", 1),
        wire.hpub("a", wire.headers(A="b")),
        b"x" * 100 * KIB,
    ):
        door = MemoryDoor()
        peer = door.peer()
        peer.send(said)
        assert peer.closed
        assert len(peer.errors) == 1
        assert not door.broker.subscriptions
        assert not door.sessions


def test_silent() -> None:
    """Who connects and says nothing is sent away in time; an unfinished word does not help."""
    for said in (b"", b"CONN", b'CONNECT {"verbose":'):
        door = MemoryDoor()
        peer = door.peer()
        peer.send(said)
        peer.wait(door.limits.authentication + 1)
        assert peer.closed
        assert peer.errors == ["Authentication Timeout"]
        assert not door.sessions
        assert not door.clock.getDelayedCalls()


def test_subscriptions() -> None:
    """Subscriptions past the limit are refused, each with an error, and the connection goes on."""
    door = MemoryDoor(Limits(subscriptions=1000))
    peer = client(door, b"".join(wire.sub(f"a.{sid}", sid) for sid in range(1500)))
    assert peer.errors == ["maximum subscriptions exceeded"] * 500
    assert door.broker.subscriptions == 1000
    peer.send(*(wire.unsub(sid) for sid in range(1000)), wire.sub("b", 2000), wire.pub("b", b"1:"))
    assert numbers(peer) == [1]


def test_subscriptions_of_a_namespace() -> None:
    """All connections of a namespace have no more together than it may; another namespace is not concerned."""
    door = MemoryDoor(broker=BrokerLimits(subscriptions=1000))
    for _ in range(3):
        client(door, b"".join(wire.sub(f"a.{sid}", sid) for sid in range(500)))
    assert door.broker.subscriptions == 1000
    other = door.peer(namespace="elsewhere")
    other.send(wire.connect(), wire.sub("a", 1), wire.pub("a", b"1:"))
    assert numbers(other) == [1]


def test_long_patterns() -> None:
    """As many of the longest subjects as one may subscribe to take a bounded memory."""
    door = MemoryDoor(broker=BrokerLimits(subscriptions=10_000))
    peer = client(door)
    with bounded(16 * MIB, EVER):
        for sid in range(2000):
            peer.send(wire.sub("a" * 4000 + str(sid), sid))
        for sid in range(2000):
            peer.send(wire.sub("*." * 1900 + str(sid), 2000 + sid))


def test_churn() -> None:
    """Subscribing, publishing and leaving without end, never twice to the same subject, leaves nothing behind."""
    door = MemoryDoor()
    peer = client(door)

    def turn(number: int) -> None:
        name = f"t{number}.{number}"
        wild = [wire.sub(f"t{number}.>", 2), wire.pub(name, b"1:"), wire.unsub(2)] if number % 2 else []
        peer.send(b"".join((wire.sub(name, 1), wire.pub(name, b"1:"), *wild, wire.unsub(1))))
        peer.heard.clear()

    for number in range(100):
        turn(number)
    with bounded(256 * KIB, EVER):
        for number in range(100, 4000):
            turn(number)
    assert door.broker.subscriptions == 0


def test_crowd_of_queues() -> None:
    """What is remembered of large audiences is bounded by their size, however many subjects they hear."""
    door = MemoryDoor()
    crowd = client(door, b"".join(wire.sub("*" if sid % 2 else ">", sid, "crowd") for sid in range(4000)))
    writer = client(door)
    with bounded(48 * MIB, EVER):
        for number in range(600):
            writer.send(wire.pub(f"s{number}", b"%d:" % number))
            crowd.settle()
    assert sorted(numbers(crowd)) == list(range(600))


def test_joined_queues() -> None:
    """Members of a queue share its messages evenly, whatever their patterns; one who reads nothing is passed over."""
    door = MemoryDoor()
    members = [client(door, wire.sub(pattern, 1, "q")) for pattern in ("a.*", "a.>", "a.>", "*.b")]
    writer = client(door)
    writer.send(*(wire.pub("a.b", b"%d:" % number) for number in range(400)))
    for each in members:
        each.settle()
    assert [len(numbers(each)) for each in members] == [100] * 4
    members[0].transport.reads = False
    for number in range(400, 800):
        writer.send(wire.pub("a.b", b"%d:" % number + b"x" * KIB))
        for each in members:
            each.settle()
    assert all(len(numbers(each)) > 150 for each in members[1:])
    members[0].transport.reads = True
    members[0].settle()
    assert sorted(number for each in members for number in numbers(each)) == list(range(800))


def test_crowd_of_readers() -> None:
    """The same for an audience in which each hears everything."""
    topics = Topics()
    door = MemoryDoor()
    client(door)
    session = next(iter(door.sessions))
    for number in range(2000):
        topics.add(b">", "", Sub(session, b"%d" % number, b">", ""))
    with bounded(20 * MIB, EVER):
        for number in range(4000):
            assert len(topics.audience(b"s%d" % number)) == 2000


def test_many_headers() -> None:
    """A block of a hundred thousand headers goes to clients of NATS as it is; those of gRPC get the first of them."""
    door = MemoryDoor()
    got: list[Message] = []
    door.broker.attach("micro", "a", "", Listener(got))
    reader = client(door, wire.sub("a", 1))
    block = wire.headers(**{f"h{number}": "x" for number in range(90_000)})
    writer = client(door)
    said = wire.hpub("a", block, b"1:")
    for at in range(0, len(said), 1 << 16):
        writer.send(said[at : at + (1 << 16)])
    reader.settle()
    assert [each.header for each in reader.of("HMSG")] == [block]
    with bounded(MIB, EVER):
        assert got[0].header == {f"h{number}": "x" for number in range(256)}


class Listener:
    """Who listens over gRPC, and keeps everything."""

    waiting = 0
    subjects_only = False

    def __init__(self, got: list[Message]) -> None:
        self._got = got

    def deliver(self, topic: str, message: Message) -> None:
        self._got.append(message)


def test_deep_subjects() -> None:
    """Subjects of two thousand tokens reach those who subscribed to all, and take no memory that stays."""
    door = MemoryDoor()
    reader = client(door, wire.sub(">", 1))
    writer = client(door)
    with bounded(4 * MIB, EVER):
        for number in range(200):
            writer.send(wire.pub("a." * 2000 + str(number), b"%d:" % number))
            reader.settle()
            assert numbers(reader) == [number]
            reader.heard.clear()


def test_bomb() -> None:
    """All wildcards which match one subject are told, each once."""
    door = MemoryDoor()
    patterns = [".".join("*" if number >> bit & 1 else "a" for bit in range(9)) for number in range(512)]
    patterns += [".".join(["*"] * depth) + ".>" for depth in range(1, 9)] + [">"]
    peer = client(door, b"".join(wire.sub(pattern, sid) for sid, pattern in enumerate(patterns)))
    peer.send(wire.pub(".".join("a" * 9), b"7:"))
    assert sorted(int(each.sid) for each in peer.of("MSG")) == list(range(len(patterns)))


def test_secrets() -> None:
    """What a client showed to come in is not kept."""
    door = MemoryDoor()
    peer = client(door, user="ada", auth_token="a token", jwt="a.b.c", **{"pass": "a secret"})
    peer.send(wire.connect(auth_token="a token", **{"pass": "a secret"}))
    assert peer.alive()
    (session,) = door.sessions
    assert "a token" not in repr(session.connect)
    assert "a secret" not in repr(session.connect)
    assert "a.b.c" not in repr(session.connect)


def test_flood_of_events() -> None:
    """Who publishes events faster than the disk takes them is refused beyond a bound, and hears of each what became of it."""
    clock, disk = Clock(), Disk()
    logs = Logs(disk, clock, EventLimits(waiting=MIB))
    done(logs.start())
    door = MemoryDoor(clock=clock, events=cast(IEvents, logs))
    peer = client(door, wire.sub("_INBOX.me", 1))
    peer.send(wire.pub("$EVENTS.a", b"first", "_INBOX.me"))
    held = disk.held = Deferred[None]()
    said = wire.pub("$EVENTS.a", b"x" * KIB, "_INBOX.me") * 60
    with bounded(8 * MIB, EVER):
        for _ in range(100):
            peer.send(said)
    refused = [json.loads(each.payload) for each in peer.of("MSG")][1:]
    assert 6000 - len(refused) < 1024
    assert {each["error"]["code"] for each in refused} == {503}
    disk.held = None
    held.callback(None)
    peer.settle()
    stored = [json.loads(each.payload)["seq"] for each in peer.of("MSG")[1 + len(refused) :]]
    assert stored == list(range(2, 2 + 6000 - len(refused)))
    assert peer.alive()
