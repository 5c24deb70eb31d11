"""Groups on the wire (spec micro-v3-server 6.6 and 8), over gRPC connections in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred

from microd.gateways.door import Door
from microd.gateways.gate import Gate
from microd.kernel.caller import Account
from microd.kernel.errors import MicroError
from microd.services.auth.model import Resource
from microd.services.events.model import Position, Start, Terms
from microd.services.events.rpc_groups import endpoints, terms_from
from microd.services.network.dialer import Dialer
from microd.services.network.router import Router
from microd.services.registry.service import Registry
from microd.txgrpc import Channel, RpcError, StatusCode
from microd.txgrpc.memory import MemoryEndpoint, connect
from microd.wire import events_pb2 as pb

Town = Any
EARLIEST: dict[str, Any] = {"topic": "orders", "start": pb.EARLIEST}
MANUAL: dict[str, Any] = {**EARLIEST, "group": "billing", "ack_wait": 30 * 10**9, "retry_limit": -1}


class Anybody:
    """An auth to which the token C{acme/ann} is ann of acme, and C{acme/ann/admin} its admin."""

    def inspect_cached(self, token: str) -> Account | None:
        issuer, id, *scopes = token.split("/")
        return Account(id, "user", issuer, scopes=tuple(scopes))

    def authorize(self, account: Account | None, namespace: str, resource: Resource) -> None:
        """Everybody may."""

    def lasting(self, token: str | None) -> Any:
        return lambda: True


class Stream:
    """A call of Consume, and what came."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.got: list[pb.Event] = []
        self.error: RpcError | None = None
        self.over = False
        self.task = Deferred.fromCoroutine(self._read())

    async def _read(self) -> None:
        try:
            async for body in self.call:
                self.got.append(pb.Event.FromString(body))
        except RpcError as problem:
            self.error = problem
        except CancelledError:
            pass
        self.over = True

    @property
    def offsets(self) -> list[int]:
        return [event.offset for event in self.got]

    def send(self, message: Any) -> None:
        Deferred.fromCoroutine(self.call.write(message.SerializeToString()))

    def ack(self, number: int, **said: Any) -> None:
        self.send(pb.AckRequest(id=self.got[number].id, **(said or {"success": True})))

    @property
    def refusal(self) -> tuple[int, str]:
        """Code and detail of the error."""
        assert self.error is not None
        found = MicroError.from_json(self.error.message)
        assert found is not None, self.error
        return found.code, found.detail


class Wire:
    """A town behind a door."""

    def __init__(self, town: Town) -> None:
        self.town = town
        clock = town.clock
        nowhere: dict[str, MemoryEndpoint] = {}
        dialer = Dialer(clock, nowhere.__getitem__)
        routes = Router(Registry(clock), dialer)
        core = endpoints(town.events, clock)
        self.door = Door(core, Gate(Anybody()), routes, dialer, clock=clock)
        self.client = connect(self.door, clock)

    def consume(
        self, *, token: str = "acme/ann", half_close: bool = False, client: Channel | None = None, **said: Any
    ) -> Stream:
        call = (client or self.client).stream_stream("/events.Stream/Consume")(
            metadata={"authorization": f"Bearer {token}"} if token else {}
        )
        stream = Stream(call)
        stream.send(pb.ConsumeRequest(**said))
        if half_close:
            self.half_close(stream)
        self.town.turns()
        return stream

    def half_close(self, stream: Stream) -> None:
        Deferred.fromCoroutine(stream.call.done_writing())
        self.town.turns()

    def call(self, name: str, request: Any, reply: Any, token: str = "acme/ann") -> Any:
        call = self.client.unary_unary(f"/events.{name}")
        body = self.town.done(
            call(request.SerializeToString(), metadata={"authorization": f"Bearer {token}"} if token else {})
        )
        return reply.FromString(body)

    def refused(self, name: str, request: Any, token: str = "acme/ann") -> tuple[int, str]:
        with pytest.raises(RpcError) as caught:
            self.call(name, request, pb.Done, token)
        found = MicroError.from_json(caught.value.message)
        assert found is not None
        return found.code, found.detail


@pytest.fixture
def wire(make_town: Callable[..., Town]) -> Wire:
    return Wire(make_town())


def test_paths(wire: Wire) -> None:
    """The endpoints carry the names of the contract; a consumer has no end of its own, and says acks after its first message."""
    found = endpoints(wire.town.events, wire.town.clock)
    assert [each.path for each in found] == [
        "/events.Stream/Consume",
        "/events.Stream/Ack",
        "/events.Topics/Lag",
        "/events.Groups/Seek",
        "/events.Groups/Delete",
        "/events.DeadLetters/List",
        "/events.DeadLetters/Retry",
        "/events.DeadLetters/Drop",
    ]
    consume = found[0]
    assert (consume.client_streaming, consume.server_streaming, consume.endless) == (True, True, True)
    assert consume.later is pb.AckRequest


def test_events(wire: Wire) -> None:
    """An event comes with all that is known of it."""
    (event,) = wire.town.publish(b"1", metadata={"k": "v"})
    stream = wire.consume(**EARLIEST, auto_ack=True)
    assert stream.got == [
        pb.Event(
            id=event.id,
            topic="orders",
            metadata={"k": "v"},
            payload=b"1",
            timestamp=event.timestamp // 1000,
            timestamp_ms=event.timestamp,
            offset=1,
            attempt=1,
        )
    ]


def test_acks(wire: Wire) -> None:
    """Acks go over the stream; what is refused comes again, with its attempt and marked."""
    wire.town.publish(b"1", b"2")
    stream = wire.consume(**MANUAL)
    assert stream.offsets == [1, 2]
    stream.ack(0)
    stream.ack(1, success=False, delay=100)
    wire.town.wait(0.1)
    assert stream.offsets == [1, 2, 2]
    assert (stream.got[2].attempt, stream.got[2].redelivered) == (2, True)
    assert wire.town.facts("billing").acknowledged == 1
    stream.ack(2, untried=True)
    wire.town.turns()
    assert (stream.offsets, stream.got[3].attempt) == ([1, 2, 2, 2], 2)
    stream.ack(3, drop=True, error="no good")
    wire.town.turns()
    (letter,) = wire.call(
        "DeadLetters/List", pb.DeadLettersRequest(topic="orders"), pb.DeadLettersResponse
    ).letters
    assert (letter.group, letter.offset, letter.attempts, letter.error) == ("billing", 2, 2, "no good")
    assert (letter.id, letter.event.topic, letter.event.payload) == (stream.got[1].id, "orders.dlq", b"2")


def test_working(wire: Wire) -> None:
    """Who is still working on an event has its time anew."""
    wire.town.publish(b"1")
    stream = wire.consume(**MANUAL)
    wire.town.wait(20)
    stream.ack(0, working=True)
    wire.town.wait(20)
    assert stream.offsets == [1]
    wire.town.wait(10)
    assert stream.offsets == [1, 1]


def test_like_a_go_client(wire: Wire) -> None:
    """A Go client, which sends what it has not set as a time before Christ, gets what comes from now on."""
    wire.town.publish(b"old")
    stream = wire.consume(
        topic="orders", group="", offset=-62135596800, auto_ack=True, retry_limit=-1, ack_wait=0
    )
    wire.town.publish(b"new")
    assert [event.payload for event in stream.got] == [b"new"]


def test_from_a_time(wire: Wire) -> None:
    """The reference's offset is a time in Unix seconds."""
    wire.town.publish(b"old")
    wire.town.wait(10)
    wire.town.publish(b"new")
    stream = wire.consume(topic="orders", offset=int(wire.town.clock.seconds()), auto_ack=True)
    assert [event.payload for event in stream.got] == [b"new"]


@pytest.mark.parametrize(
    ("said", "refusal"),
    [
        ({"auto_ack": True}, (400, "Missing topic")),
        ({"topic": "a"}, (400, "invalid AckWait passed, should be positive integer")),
        ({"topic": "a", "ack_wait": -1}, (400, "invalid AckWait passed, should be positive integer")),
        (
            {"topic": "a", "auto_ack": True, "start": 9},
            (400, "start is to be EARLIEST, LATEST, OFFSET or TIME, and is 9"),
        ),
        (
            {"topic": "a", "auto_ack": True, "max_in_flight": 1001},
            (400, "max_in_flight is to be from 1 to 1000"),
        ),
        ({"topic": "a", "auto_ack": True, "count": -1}, (400, "count is to be 0 (no end) or more")),
        (
            {"topic": "a", "ack_wait": 1, "backoff": -1},
            (400, "backoff is to be from 0 to 2592000 seconds (30 days)"),
        ),
    ],
)
def test_bad(wire: Wire, said: dict[str, Any], refusal: tuple[int, str]) -> None:
    """What cannot be meant is refused, where the reference does so with its words."""
    assert wire.consume(**said).refusal == refusal


def test_nothing_said(wire: Wire) -> None:
    """Who half-closes without having said anything has named no topic."""
    stream = Stream(
        wire.client.stream_stream("/events.Stream/Consume")(metadata={"authorization": "Bearer acme/ann"})
    )
    wire.half_close(stream)
    assert stream.refusal == (400, "Missing topic")


def test_anonymous(wire: Wire) -> None:
    """Nobody consumes, asks or acknowledges who does not say who they are."""
    assert wire.consume(**EARLIEST, auto_ack=True, token="").refusal[0] == 401
    for name, request in (
        ("Stream/Ack", pb.AckManyRequest(topic="orders", group="billing")),
        ("Topics/Lag", pb.LagRequest()),
        ("DeadLetters/List", pb.DeadLettersRequest(topic="orders")),
        ("DeadLetters/Drop", pb.DeadLettersRequest(topic="orders")),
        ("Groups/Delete", pb.GroupRequest(topic="orders", group="billing")),
    ):
        assert wire.refused(name, request, token="")[0] == 401


def test_half_closed_at_once(wire: Wire) -> None:
    """A client that half-closes along with its one message cannot acknowledge, and goes on to get events."""
    stream = wire.consume(**EARLIEST, auto_ack=True, half_close=True)
    wire.town.publish(b"1")
    wire.town.wait(60)
    wire.town.publish(b"2")
    assert stream.offsets == [1, 2]
    assert not stream.over


def test_half_closed_and_manual(wire: Wire) -> None:
    """Such a client that would have to acknowledge is told what to do."""
    code, detail = wire.consume(**MANUAL, half_close=True).refusal
    assert code == 400
    assert "auto_ack" in detail


def test_half_closed_later(wire: Wire) -> None:
    """Any other half-close ends the stream well."""
    later = wire.consume(**EARLIEST, auto_ack=True)
    wire.town.wait(0.3)
    wire.half_close(later)
    assert (later.over, later.error) == (True, None)
    wire.town.publish(b"1")
    acked = wire.consume(**MANUAL)
    acked.ack(0)
    wire.half_close(acked)
    assert (acked.over, acked.error) == (True, None)
    assert wire.town.facts("billing").acknowledged == 1


def test_leaves(wire: Wire) -> None:
    """What a client held whose connection is gone comes again at once to another."""
    wire.town.publish(b"1")
    gone = wire.consume(**MANUAL)
    stream = wire.consume(**MANUAL, client=connect(wire.door, wire.town.clock))
    assert (gone.offsets, stream.offsets) == ([1], [])
    gone.call.cancel()
    wire.town.turns()
    assert (stream.offsets, stream.got[0].redelivered) == ([1], True)
    assert wire.town.facts("billing").consumers == 1


def test_contradictory_ack(wire: Wire) -> None:
    """Who says two things at once about an event is refused, and what he held comes again."""
    wire.town.publish(b"1")
    stream = wire.consume(**MANUAL)
    stream.ack(0, success=True, drop=True)
    wire.town.turns()
    assert stream.refusal == (400, "of success, drop, untried and working one may be set")
    assert wire.town.facts("billing").waiting == 1


def test_unread(wire: Wire) -> None:
    """A client which does not read has no more than its window of events underway, and gets all once it reads."""
    for _ in range(10):
        wire.town.publish(*(b"x" * 1000 for _ in range(100)))
    call = wire.client.stream_stream("/events.Stream/Consume")(metadata={"authorization": "Bearer acme/ann"})
    request = pb.ConsumeRequest(**EARLIEST, group="slow", auto_ack=True)
    Deferred.fromCoroutine(call.write(request.SerializeToString()))
    wire.town.turns()
    facts = wire.town.facts("slow")
    assert 0 < facts.delivered < 1000
    stream = Stream(call)
    wire.town.turns(500)
    assert stream.offsets == list(range(1, 1001))


def test_stop(wire: Wire) -> None:
    """A daemon that stops does not wait for consumers; they are told that it goes."""
    stream = wire.consume(**EARLIEST, auto_ack=True)
    draining = Deferred.fromCoroutine(wire.door.drain(10))
    wire.town.turns()
    assert draining.called
    assert stream.error is not None
    assert stream.error.code == StatusCode.UNAVAILABLE


def test_namespaces(wire: Wire) -> None:
    """Topics and groups of another namespace are nowhere to be found, whatever it names; the platform's admins may go there."""
    wire.town.publish(b"1")
    wire.consume(**MANUAL)
    other = wire.consume(**EARLIEST, auto_ack=True, token="other/eve/admin")
    assert other.got == []
    assert wire.refused("Topics/Lag", pb.LagRequest(topic="nothing"), "other/eve/admin")[0] == 404
    assert wire.call("Topics/Lag", pb.LagRequest(), pb.LagResponse, "acme/ann").groups
    lag = wire.call("Topics/Lag", pb.LagRequest(topic="orders"), pb.LagResponse, "other/eve/admin")
    assert [group.name for group in lag.groups] == [""]
    call = wire.client.unary_unary("/events.Topics/Lag")
    body = wire.town.done(
        call(
            pb.LagRequest(topic="orders").SerializeToString(),
            metadata={"authorization": "Bearer micro/root/admin", "micro-namespace": "acme"},
        )
    )
    assert [group.name for group in pb.LagResponse.FromString(body).groups] == ["billing"]


def test_admins_only(wire: Wire) -> None:
    """To move or delete a group, and to deal with dead letters, takes an admin of the namespace."""
    wire.town.publish(b"1")
    wire.consume(**MANUAL).call.cancel()
    asked = [
        ("Groups/Seek", pb.SeekRequest(topic="orders", group="billing", start=pb.LATEST), pb.Group),
        ("Groups/Delete", pb.GroupRequest(topic="orders", group="billing"), pb.Done),
        ("DeadLetters/Retry", pb.DeadLettersRequest(topic="orders"), pb.Done),
        ("DeadLetters/Drop", pb.DeadLettersRequest(topic="orders"), pb.Done),
    ]
    for name, request, reply in asked:
        assert wire.refused(name, request)[0] == 403
        wire.call(name, request, reply, "acme/boss/admin")


def test_unary_ack(wire: Wire) -> None:
    """Who cannot say it on the stream acknowledges by a call, and is told how many were waited for."""
    events = wire.town.publish(b"1", b"2")
    stream = wire.consume(**MANUAL)
    acks = [pb.AckRequest(id=events[0].id, success=True), pb.AckRequest(id=events[1].id, delay=50)]
    request = pb.AckManyRequest(topic="orders", group="billing", acks=acks)
    assert wire.call("Stream/Ack", request, pb.AckManyResponse).count == 2
    wire.town.wait(0.05)
    assert stream.offsets == [1, 2, 2]
    assert wire.call("Stream/Ack", request, pb.AckManyResponse).count == 1
    request = pb.AckManyRequest(topic="orders", group="other")
    assert wire.refused("Stream/Ack", request) == (404, "there is no group other of the topic orders")
    assert wire.refused("Stream/Ack", pb.AckManyRequest()) == (400, "Missing topic")


def test_lag_and_seek(wire: Wire) -> None:
    """The lag of a group, and where it goes on after it was moved."""
    wire.town.publish(*(b"%d" % number for number in range(5)))
    stream = wire.consume(**MANUAL, max_in_flight=2)
    stream.ack(0)
    wire.town.wait(2)
    (group,) = wire.call("Topics/Lag", pb.LagRequest(topic="orders"), pb.LagResponse).groups
    assert group == pb.Group(
        topic="orders",
        name="billing",
        consumers=1,
        acknowledged=1,
        delivered=3,
        lag=4,
        in_flight=2,
        oldest=2000,
    )
    admin = "acme/boss/admin"
    request = pb.SeekRequest(topic="orders", group="billing", start=pb.OFFSET, start_offset=5)
    assert wire.call("Groups/Seek", request, pb.Group, admin).lag == 1
    assert stream.offsets[-1] == 5
    request = pb.SeekRequest(topic="orders", group="billing")
    assert wire.refused("Groups/Seek", request, admin)[0] == 400
    request_ = pb.GroupRequest(topic="orders", group="billing")
    assert wire.refused("Groups/Delete", request_, admin)[0] == 409


def test_terms() -> None:
    """What is not said has the values of the contract."""
    assert terms_from(pb.ConsumeRequest(topic="a", auto_ack=True, retry_limit=5)) == Terms()
    said = pb.ConsumeRequest(
        topic="a",
        group="g",
        ack_wait=1_500_000_000,
        retry_limit=3,
        start=pb.TIME,
        start_time=77,
        max_in_flight=5,
        backoff=20,
        backoff_max=40,
    )
    assert terms_from(said) == Terms("g", Position(Start.TIME, 77), False, 1.5, 3, 5, 0.02, 0.04)
