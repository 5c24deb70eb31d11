"""Who comes in at the door for NATS, who has to go, and when."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any, cast

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, formatEventAsClassicLogText, globalLogPublisher
from zope.interface import provider

from microd.gateways.nats.door import NatsDoor, Room
from microd.gateways.nats.model import Limits
from microd.kernel.caller import Account
from microd.kernel.errors import BadRequest, Forbidden
from microd.services.auth.model import Resource
from microd.services.broker.service import Broker
from microd.services.events.interface import IEvents
from microd.testing import nats_wire as wire
from microd.testing.nats_peer import NatsPeer
from microd.testing.nats_wire import Heard

NOW = 1_800_000_000.0


class Accounts:
    """Everybody's secret is their id; the token of C{acme/ann} is C{acme/ann.token}, and ends in a minute.

    @ivar denied: what nobody may.
    @ivar slow: secrets are checked once this fires.
    """

    def __init__(self) -> None:
        self.denied: set[str] = set()
        self.slow: Deferred[None] | None = None

    def inspect_cached(self, token: str) -> Account | None:
        namespace, slash, id = token.removesuffix(".token").partition("/")
        return Account(id, "user", namespace) if slash and token.endswith(".token") else None

    def end(self, token: str) -> float:
        return NOW + 60

    async def verify(self, namespace: str, id: str, secret: str, peer: str = "") -> Account:
        if self.slow is not None:
            await self.slow
        if secret != id:
            raise BadRequest("Secret not correct")
        return Account(id, "user", namespace)

    def authorize(self, account: Account | None, namespace: str, resource: Resource) -> None:
        if resource.endpoint in self.denied:
            raise Forbidden("no")


class Events:
    """Stores nothing, and knows what.

    @ivar stored: topics and payloads.
    """

    def __init__(self) -> None:
        self.stored: list[tuple[str, str, bytes]] = []

    def submit(
        self, namespace: str, topic: str, metadata: Any, payload: bytes, receipt: Any, token: object
    ) -> None:
        self.stored.append((namespace, topic, payload))


class Scene:
    """A door in memory."""

    def __init__(self, room: Room, limits: Limits) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.accounts = Accounts()
        self.events = Events()
        self.door = NatsDoor(
            self.accounts,
            Broker(),
            self.clock,
            limits=limits,
            room=room,
            stay=10.0,
            every=True,
            events=cast(IEvents, self.events),
        )
        self._numbers = iter(range(1, 10_000))

    def connect(self, host: str = "10.0.0.1") -> NatsPeer:
        """Somebody who has said nothing yet."""
        protocol: Any = self.door.buildProtocol(None)
        number = next(self._numbers)
        original = protocol.makeConnection

        def made(transport: Any) -> None:
            transport.peerAddr = IPv4Address("TCP", host, number)
            original(transport)

        protocol.makeConnection = made
        return NatsPeer(protocol, self.clock)

    def login(self, user: str = "ann", host: str = "10.0.0.1", **options: object) -> NatsPeer:
        """Somebody who came in, with their secret."""
        peer = self.connect(host)
        secret = user.rpartition("/")[2]
        said = {"verbose": False, "protocol": 1, "user": user, "pass": secret, **options}
        peer.send(wire.connect(**said), wire.PING)
        assert [each.verb for each in peer.heard] == ["INFO", "PONG"], peer.heard
        return peer

    def figure(self, name: str) -> dict[str, Any]:
        """A figure's samples, by the value of their label."""
        (found,) = [each for each in self.door.figures() if each.name == name]
        return {next(iter(labels.values()), ""): value for labels, value in found.samples}


@pytest.fixture
def make() -> Callable[..., Scene]:
    """Makes doors."""

    def make(room: Room | None = None, limits: Limits | None = None) -> Scene:
        return Scene(room or Room(), limits or Limits())

    return make


@pytest.fixture
def scene(make: Callable[..., Scene]) -> Scene:
    """A door with room for everybody."""
    return make()


def error(text: str) -> Heard:
    """How C{-ERR} is heard."""
    (found,) = wire.Ear().feed(b"-ERR '%b'\r\n" % text.encode())
    return found


def test_info(scene: Scene) -> None:
    """INFO tells what clients go by, and each of them where it came from and to."""
    info = scene.connect("10.0.0.7").heard[0].info
    assert info["server_id"].startswith("N")
    assert len(info["server_id"]) == 56
    assert {
        name: info[name] for name in ("proto", "headers", "auth_required", "max_payload", "client_ip")
    } == {
        "proto": 1,
        "headers": True,
        "auth_required": True,
        "max_payload": 1 << 20,
        "client_ip": "10.0.0.7",
    }
    assert not {"tls_required", "tls_available", "ldm", "jetstream", "nonce"} & set(info)
    assert scene.connect().heard[0].info["client_id"] == info["client_id"] + 1


def test_let_in(scene: Scene) -> None:
    """A secret lets in, and a token; both are in the namespace of their account."""
    ann, bob, carl = scene.login("acme/ann"), scene.connect(), scene.login("other/carl")
    bob.send(wire.connect(verbose=False, auth_token="acme/bob.token"), wire.sub("a", 1))
    carl.send(wire.sub(">", 1))
    ann.send(wire.pub("a", b"x"))
    for peer in (bob, carl):
        peer.settle()
    assert [each.verb for each in bob.heard] == ["INFO", "MSG"]
    assert [each.verb for each in carl.heard] == ["INFO", "PONG"]
    assert scene.figure("microd_nats_connections_total")["accepted"] == 3


@pytest.mark.parametrize(
    "said", [{}, {"user": "ann"}, {"user": "ann", "pass": "x"}, {"auth_token": "x"}, {"jwt": "x"}]
)
def test_refused(scene: Scene, said: dict[str, str]) -> None:
    """Nobody else is let in, nor told why; it is counted."""
    peer = scene.connect()
    assert peer.send(wire.connect(verbose=True, **said)) == [error("Authorization Violation")]
    assert peer.closed
    assert scene.door.connections == 0
    assert scene.figure("microd_nats_connections_total")["refused_credentials"] == 1


def test_refused_reads(scene: Scene) -> None:
    """Of who is not let in it is read until it has gone, since over TLS nothing else tells that."""
    peer = scene.connect()
    peer.send(wire.connect(user="ann", **{"pass": "x"}))
    assert peer.transport.producerState == "producing"


def test_nothing_kept(scene: Scene) -> None:
    """Of those who have come and gone nothing is left, however they went."""
    scene.connect().hang_up()
    scene.login().hang_up()
    peer = scene.connect()
    peer.send(b"FOO\r\n")
    peer = scene.connect()
    peer.send(wire.connect(auth_token="micro/ann.token"))
    peer.send(b"FOO\r\n")
    assert scene.door.connections == 0
    assert scene.figure("microd_nats_strangers") == {"": 0}
    assert len(scene.door._roll) == 0
    assert scene.door.exchange.counts.subscriptions == 0


def test_gone_while_checked(scene: Scene) -> None:
    """Whoever hangs up while their secret is being checked is not there afterwards."""
    scene.accounts.slow = Deferred()
    peer = scene.connect()
    peer.send(wire.connect(user="ann", **{"pass": "ann"}))
    peer.hang_up()
    if not scene.accounts.slow.called:
        scene.accounts.slow.callback(None)
    assert scene.door.connections == len(scene.door._roll) == 0
    assert scene.figure("microd_nats_connections_total")["accepted"] == 0


def test_late(scene: Scene) -> None:
    """Whoever does not say who they are is sent away after two seconds."""
    peer = scene.connect()
    peer.wait(1.9, 0.1)
    assert not peer.closed
    peer.wait(0.2, 0.1)
    assert peer.closed
    assert scene.door.connections == 0


def test_rules(scene: Scene) -> None:
    """Rules of the platform hold for who publishes and who subscribes, also when they change later."""
    ann = scene.login()
    ann.send(wire.sub("a", 1))
    scene.accounts.denied = {"Broker.Publish"}
    bob = scene.login("bob")
    assert bob.send(wire.pub("a", b"x")) == [error('Permissions Violation for Publish to "a"')]
    scene.door.ruled("acme")
    ann.send(wire.pub("a", b"still"))
    assert [each.payload for each in ann.of("MSG")] == [b"still"]
    scene.door.ruled("micro")
    ann.settle()
    assert ann.send(wire.pub("a", b"x")) == [error('Permissions Violation for Publish to "a"')]
    scene.accounts.denied = {"Broker.Subscribe"}
    scene.door.ruled("micro")
    bob.settle()
    bob.send(wire.pub("a", b"now"), wire.sub("b", 1))
    ann.settle()
    assert len(ann.of("MSG")) == 1
    assert bob.of("-ERR")[-1] == error('Permissions Violation for Subscription to "b"')


def test_rules_of_events(scene: Scene) -> None:
    """To store events is a right of its own; whoever may only do that cannot publish anything else."""
    refusal = error('Permissions Violation for Publish to "$EVENTS.a"')
    ann = scene.login("acme/ann")
    for _ in range(2):
        assert ann.send(wire.pub("$EVENTS.a", b"x")) == []
    scene.accounts.denied = {"Stream.Publish"}
    scene.door.ruled("micro")
    ann.settle()
    bob = scene.login("acme/bob")
    bob.send(wire.sub(">", 1))
    for peer in (ann, bob):
        bob.settle()
        assert peer.send(wire.pub("$EVENTS.a", b"no")) == [refusal]
        peer.send(wire.pub("a", b"y"))
    scene.accounts.denied = {"Broker.Publish"}
    scene.door.ruled("micro")
    ann.settle()
    assert ann.send(wire.pub("$EVENTS.a", b"z")) == []
    assert ann.send(wire.pub("a", b"no")) == [error('Permissions Violation for Publish to "a"')]
    bob.settle()
    assert [each.payload for each in bob.of("MSG")] == [b"y", b"y"]
    assert scene.events.stored == [("acme", "a", b"x")] * 2 + [("acme", "a", b"z")]


def test_revoked(scene: Scene) -> None:
    """The connections of an account end when its tokens and secret are void; nobody else's do."""
    ann, again = scene.login("acme/ann"), scene.connect()
    again.send(wire.connect(verbose=False, auth_token="acme/ann.token"))
    others = [scene.login("acme/bob"), scene.login("micro/ann")]
    scene.door.revoked("acme", "ann")
    for peer in (ann, again, *others):
        peer.settle()
    assert ann.heard[-1] == again.heard[-1] == error("User Authentication Revoked")
    assert (ann.closed, again.closed) == (True, True)
    assert [each.closed for each in others] == [False, False]


def test_expired(scene: Scene) -> None:
    """A connection ends with the token which let it in; one that a secret let in goes on."""
    ann, bob = scene.connect(), scene.login("bob")
    ann.send(wire.connect(verbose=False, auth_token="micro/ann.token"))
    scene.clock.advance(30)
    late = scene.connect()
    late.send(wire.connect(verbose=False, auth_token="micro/ann.token"))
    scene.clock.advance(29)
    assert not ann.closed
    for _ in range(2):
        scene.clock.advance(1)
        ann.settle()
        late.settle()
    bob.settle()
    assert ann.heard[-1] == late.heard[-1] == error("User Authentication Expired")
    assert not bob.closed


def test_full(make: Callable[..., Scene]) -> None:
    """There is room for so many; who comes then is told, behind INFO."""
    scene = make(Room(all=2))
    first = scene.login()
    scene.login()
    third = scene.connect()
    assert [each.verb for each in third.heard] == ["INFO", "-ERR"]
    assert third.heard[1] == error("maximum connections exceeded")
    assert third.closed
    assert scene.figure("microd_nats_connections_total")["refused_full"] == 1
    first.hang_up()
    scene.login()


def test_namespace_full(make: Callable[..., Scene]) -> None:
    """No namespace takes all the room."""
    scene = make(Room(namespace=2))
    first = scene.login("acme/ann")
    scene.login("acme/bob")
    third = scene.connect()
    third.send(wire.connect(user="acme/carl", **{"pass": "carl"}))
    assert third.closed
    scene.login("other/dora")
    first.hang_up()
    scene.login("acme/carl")


def test_strangers(make: Callable[..., Scene]) -> None:
    """A host that floods the door with connections which say nothing loses its own eldest, and keeps nobody out."""
    scene = make(Room(strangers=4))
    known = scene.login()
    flood = [scene.connect("10.6.6.6") for _ in range(3)]
    patient = scene.connect("10.0.0.2")
    flood += [scene.connect("10.6.6.6") for _ in range(3)]
    for peer in flood:
        peer.settle()
    assert [peer.closed for peer in flood] == [True, True, True, False, False, False]
    patient.send(wire.connect(verbose=False, user="bob", **{"pass": "bob"}), wire.PING)
    assert patient.heard[-1].verb == "PONG"
    assert not known.closed
    assert scene.figure("microd_nats_strangers") == {"": 3}


def test_lame_duck(scene: Scene) -> None:
    """When the daemon stops, clients are told, may go on for a moment, and are then closed one after the other."""
    peers = [scene.login(f"user{number}") for number in range(20)]
    old = scene.login("old", protocol=0)
    stranger = scene.connect()
    peers[0].send(wire.sub("a", 1))
    drained = Deferred.fromCoroutine(scene.door.drain(60))
    for peer in (*peers, old, stranger):
        peer.settle()
    assert stranger.closed
    assert [peer.heard[-1].info.get("ldm") for peer in peers if peer.heard[-1].verb == "INFO"] == [True] * 20
    assert old.heard[-1].verb == "PONG"
    peers[1].send(wire.pub("a", b"still"))
    peers[0].settle()
    assert peers[0].of("MSG")[0].payload == b"still"
    gone = []
    for _ in range(100):
        scene.clock.advance(0.1)
        for peer in (*peers, old):
            peer.settle()
        gone.append(sum(peer.closed for peer in (*peers, old)))
        if drained.called:
            break
    assert drained.called
    assert gone[0] == 0
    assert gone[-1] == 21
    assert max(later - sooner for sooner, later in pairwise(gone)) <= 2
    assert scene.clock.getDelayedCalls() == []


def test_lame_duck_of_nobody(scene: Scene) -> None:
    """A door where nobody is closes at once."""
    assert Deferred.fromCoroutine(scene.door.drain(60)).called


def test_lame_duck_of_the_deaf(make: Callable[..., Scene]) -> None:
    """Who does not read the rest is cut off when the time is over."""
    scene = make(limits=Limits(write_deadline=100))
    peer, other = scene.login("ann"), scene.login("bob")
    peer.send(wire.sub("a", 1))
    peer.transport.reads = False
    other.send(*[wire.pub("a", b"x" * 60_000)] * 4)
    drained = Deferred.fromCoroutine(scene.door.drain(20))
    for _ in range(19):
        scene.clock.advance(1)
        other.settle()
    assert not drained.called
    scene.clock.advance(1)
    assert peer.transport.aborted
    peer.hang_up()
    assert drained.called


def test_figures(scene: Scene) -> None:
    """Operators see connections, messages and bytes."""
    ann = scene.login()
    ann.send(wire.sub("a", 1), wire.pub("a", b"x" * 100))
    assert scene.figure("microd_connections") == {"nats": 1}
    assert scene.figure("microd_nats_messages_total") == {"in": 1, "out": 1}
    assert 100 < scene.figure("microd_nats_bytes_total")["in"] < 1000
    assert scene.figure("microd_nats_subscriptions") == {"": 1}


def test_secrets_stay(scene: Scene) -> None:
    """What a client shows stands in nothing that the door tells, to it or to the log."""
    lines: list[str] = []

    @provider(ILogObserver)
    def observe(event: Any) -> None:
        lines.append(str(formatEventAsClassicLogText(event)))

    globalLogPublisher.addObserver(observe)
    try:
        peer = scene.connect()
        peer.send(wire.connect(user="ann", **{"pass": "hunter2-secret"}))
        scene.login("ann")
    finally:
        globalLogPublisher.removeObserver(observe)
    told = "".join(lines) + json.dumps([str(each) for each in peer.heard])
    assert "may not come in" in told
    assert "came in as ann" in told
    assert "hunter2" not in told
