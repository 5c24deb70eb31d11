"""What a channel promises those who call: when it connects, what it knows of delivery, how it ends."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from zope.interface import implementer

from microd.testing.outcome import done
from microd.txgrpc import (
    Backoff,
    Channel,
    GrpcServer,
    Keepalive,
    Limits,
    RpcError,
    ServerCall,
    StatusCode,
    stream_stream,
    stream_unary,
    unary_stream,
    unary_unary,
)
from microd.txgrpc.frames import MAX_STREAM_ID
from microd.txgrpc.memory import MemoryEndpoint

PATH = "/shop.Shop/Do"


async def echo(request: bytes, call: ServerCall) -> bytes:
    return request


async def never(request: bytes, call: ServerCall) -> bytes:
    return await Deferred()


async def doubled(requests: AsyncIterator[bytes], call: ServerCall) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request * 2


class Gate:
    """A handler which answers when the test opens it."""

    def __init__(self) -> None:
        self.waiting: list[Deferred[bytes]] = []

    async def __call__(self, request: bytes, call: ServerCall) -> bytes:
        waiting: Deferred[bytes] = Deferred()
        self.waiting.append(waiting)
        return await waiting


def raised(awaited: Any) -> RpcError:
    """The error that a call ended with."""
    with pytest.raises(RpcError) as caught:
        done(awaited)
    return caught.value


@pytest.fixture
def endpoint(clock: Clock) -> MemoryEndpoint:
    """Where an echoing server can be reached."""
    return MemoryEndpoint(GrpcServer({PATH: unary_unary(echo)}, clock=clock))


# Connecting.


def test_connects_when_needed(endpoint: MemoryEndpoint, clock: Clock) -> None:
    """No call, no connection; many calls, one connection."""
    channel = Channel(endpoint, clock)
    call = channel.unary_unary(PATH)
    assert endpoint.connections == []
    assert [done(call(b"%d" % n)) for n in range(3)] == [b"0", b"1", b"2"]
    assert len(endpoint.connections) == 1


def test_refused(endpoint: MemoryEndpoint, clock: Clock) -> None:
    """Where nothing listens the call fails at once, surely undelivered, saying why."""
    endpoint.refusing = True
    error = raised(Channel(endpoint, clock).unary_unary(PATH)(b""))
    assert error.code is StatusCode.UNAVAILABLE
    assert error.undelivered
    assert not error.answered
    assert "refused" in error.message


def test_resting(endpoint: MemoryEndpoint, clock: Clock) -> None:
    """While it rests after a failure, calls fail without another attempt; afterwards a call makes one."""
    endpoint.refusing = True
    channel = Channel(endpoint, clock, random=lambda: 1.0)
    call = channel.unary_unary(PATH)
    raised(call(b""))
    endpoint.refusing = False
    assert raised(call(b"")).undelivered
    clock.advance(0.1)
    assert done(call(b"x")) == b"x"


@pytest.mark.parametrize("from_channel", [True, False])
def test_waiting_until_ready(endpoint: MemoryEndpoint, clock: Clock, from_channel: bool) -> None:
    """A call that may wait is sent as soon as the server can be reached."""
    endpoint.refusing = True
    channel = Channel(endpoint, clock, wait_for_ready=from_channel, random=lambda: 1.0)
    reply = channel.unary_unary(PATH)(b"x", wait_for_ready=None if from_channel else True)
    clock.pump([0.05] * 10)
    assert not reply.called
    endpoint.refusing = False
    clock.pump([0.05] * 20)
    assert done(reply) == b"x"


def test_full_jitter(clock: Clock) -> None:
    """The rest is a random part of a time that doubles up to a cap."""
    backoff = Backoff(first=0.1, most=1.0)
    assert [backoff.delay(n, lambda: 1.0) for n in range(1, 7)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert backoff.delay(3, lambda: 0.5) == pytest.approx(0.2)
    assert backoff.delay(3, lambda: 0.0) == 0.0
    assert backoff.delay(100_000, lambda: 1.0) == 1.0


@implementer(IStreamClientEndpoint)
class Silent:
    """A machine that does not answer; or, once C{accepts}, one that says nothing."""

    def __init__(self, accepts: bool = False) -> None:
        self.accepts = accepts
        self.attempts: list[Deferred[Any]] = []
        self.inner = MemoryEndpoint(self)  # type: ignore[arg-type]

    def buildProtocol(self, address: Any) -> Protocol:
        return Protocol()

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        if self.accepts:
            return self.inner.connect(protocolFactory)
        self.attempts.append(Deferred())
        return self.attempts[-1]


def test_no_answer_to_connecting(clock: Clock) -> None:
    """An attempt to connect has an end."""
    reply = Channel(Silent(), clock, connect_timeout=5).unary_unary(PATH)(b"")
    clock.advance(4.9)
    assert not reply.called
    clock.advance(0.1)
    assert raised(reply).undelivered


def test_no_word_from_the_server(clock: Clock) -> None:
    """Nothing is sent before the server has spoken, so a call to a silent one is undelivered."""
    endpoint = Silent(accepts=True)
    channel = Channel(endpoint, clock, keepalive=Keepalive(interval=300, timeout=10, handshake=3))
    reply = channel.unary_unary(PATH)(b"secret")
    endpoint.inner.connections[0][0].keep = True
    clock.pump([1] * 5)
    error = raised(reply)
    assert error.code is StatusCode.UNAVAILABLE
    assert error.undelivered
    assert b"secret" not in endpoint.inner.connections[0][0].written


def test_keepalive(clock: Clock) -> None:
    """A server that falls silent and does not answer a PING is given up; its calls' outcome is unknown."""
    endpoint = MemoryEndpoint(GrpcServer({PATH: unary_unary(never)}, clock=clock))
    channel = Channel(endpoint, clock, keepalive=Keepalive(interval=30, timeout=10, handshake=5))
    reply = channel.unary_unary(PATH)(b"")
    clock.pump([1] * 60)
    assert not reply.called
    endpoint.connections[0][1].protocol = Protocol()
    clock.pump([1] * 50)
    error = raised(reply)
    assert error.code is StatusCode.UNAVAILABLE
    assert not error.undelivered


def test_the_server_pings_too(clock: Clock) -> None:
    """A client that is gone without a word is noticed by the server, and its calls are cancelled."""
    ended = []

    async def handler(request: bytes, call: ServerCall) -> bytes:
        try:
            await Deferred()
        except CancelledError:
            ended.append(True)
        return b""

    server = GrpcServer(
        {PATH: unary_unary(handler)}, clock=clock, keepalive=Keepalive(interval=30, timeout=10, handshake=5)
    )
    endpoint = MemoryEndpoint(server)
    Channel(endpoint, clock).unary_unary(PATH)(b"").addErrback(id)
    clock.pump([1] * 100)
    assert server.connections == 1
    endpoint.connections[0][0].protocol = Protocol()
    clock.pump([1] * 50)
    assert ended == [True]
    assert server.connections == 0


def test_too_many_pings(clock: Clock) -> None:
    """A server tells a client which pings too often so in gRPC's words, and our client pings less after that."""
    server = GrpcServer({PATH: unary_unary(echo)}, clock=clock, limits=Limits(max_noise=10, noise_rate=0))
    endpoint = MemoryEndpoint(server)
    channel = Channel(endpoint, clock, keepalive=Keepalive(interval=30))
    done(channel.unary_unary(PATH)(b""))
    endpoint.connections[0][1].keep = True
    for _ in range(100):
        if channel._ready is not None:
            channel._ready.connection.ping(b"12345678")
    assert b"too_many_pings" in endpoint.connections[0][1].written
    assert channel.keepalive.interval == 60
    assert done(channel.unary_unary(PATH)(b"x")) == b"x"


def test_a_client_that_never_speaks(clock: Clock) -> None:
    """A connection on which no client shows itself is closed."""
    server = GrpcServer({}, clock=clock, keepalive=Keepalive(handshake=5))
    MemoryEndpoint(server).connect(Silent())  # type: ignore[arg-type]
    assert server.connections == 1
    clock.pump([1] * 8)
    assert server.connections == 0


def test_a_request_that_does_not_come(clock: Clock) -> None:
    """A call whose request stands still on its way is ended; one that moves, however slowly, is not."""
    server = GrpcServer({PATH: unary_unary(echo)}, clock=clock, keepalive=Keepalive(request=20))
    channel = Channel(MemoryEndpoint(server), clock)
    empty, slow = (channel.stream_stream(PATH)() for _ in range(2))
    slow.connection.send_data(slow, (100).to_bytes(5, "big"))
    for _ in range(60):
        clock.advance(1)
        slow.connection.send_data(slow, b"x")
    assert raised(empty.trailing_metadata()).code is StatusCode.DEADLINE_EXCEEDED
    assert not slow.over
    slow.connection.send_data(slow, b"x" * 40, end=True)
    assert done(slow.__anext__()) == b"x" * 100


# What is known of delivery.


def test_lost_in_flight(clock: Clock) -> None:
    """A call whose connection breaks may have been processed: that is what it says."""
    endpoint = MemoryEndpoint(GrpcServer({PATH: unary_unary(never)}, clock=clock))
    reply = Channel(endpoint, clock).unary_unary(PATH)(b"")
    endpoint.connections[0][1].abortConnection()
    error = raised(reply)
    assert error.code is StatusCode.UNAVAILABLE
    assert not error.undelivered
    assert not error.answered
    assert "outcome" in error.message


def test_connects_again(endpoint: MemoryEndpoint, clock: Clock) -> None:
    """After a connection has broken the next call makes a new one."""
    call = Channel(endpoint, clock).unary_unary(PATH)
    done(call(b""))
    endpoint.connections[0][1].abortConnection()
    assert done(call(b"again")) == b"again"
    assert len(endpoint.connections) == 2


def test_a_server_that_drains(clock: Clock) -> None:
    """Calls in flight finish on the old connection while new ones go to a new one."""
    gate = Gate()
    old = GrpcServer({PATH: unary_unary(gate)}, clock=clock)
    endpoint = MemoryEndpoint(old)
    channel = Channel(endpoint, clock)
    first = channel.unary_unary(PATH)(b"")
    drained = Deferred.fromCoroutine(old.drain(20))
    endpoint._server = GrpcServer({PATH: unary_unary(echo)}, clock=clock)
    assert done(channel.unary_unary(PATH)(b"new")) == b"new"
    gate.waiting[0].callback(b"old")
    assert done(first) == b"old"
    done(drained)


def test_numbers_run_out(endpoint: MemoryEndpoint, clock: Clock) -> None:
    """When a connection has no stream numbers left the channel takes another, and nobody notices."""
    channel = Channel(endpoint, clock)
    call = channel.unary_unary(PATH)
    done(call(b""))
    assert channel._ready is not None
    channel._ready.connection._next_id = MAX_STREAM_ID
    assert done(call(b"last")) == b"last"
    assert done(call(b"first")) == b"first"
    assert len(endpoint.connections) == 2
    assert endpoint.connections[0][0].disconnected


def test_more_calls_than_allowed(clock: Clock) -> None:
    """Calls over the server's limit wait for room, in their order."""
    gate = Gate()
    server = GrpcServer({PATH: unary_unary(gate)}, clock=clock, limits=Limits(max_streams=2))
    channel = Channel(MemoryEndpoint(server), clock)
    replies = [channel.unary_unary(PATH)(b"") for _ in range(5)]
    assert len(gate.waiting) == 2
    assert channel.in_flight == 5
    for n in range(5):
        gate.waiting[n].callback(b"%d" % n)
    assert [done(reply) for reply in replies] == [b"0", b"1", b"2", b"3", b"4"]


def test_nothing_for_the_garbage_collector(endpoint: MemoryEndpoint, clock: Clock) -> None:
    """A call leaves no cycles behind, which would cost more to find than the call did."""
    call = Channel(endpoint, clock).unary_unary(PATH)
    done(call(b"", timeout=5))
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            done(call(b"", timeout=5))
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_all_the_time_in_the_world(endpoint: MemoryEndpoint, clock: Clock) -> None:
    """A limit that no clock can hold is none."""
    call = Channel(endpoint, clock).unary_unary(PATH)
    assert done(call(b"a", timeout=float("inf"))) == done(call(b"a", timeout=1e300)) == done(call(b"a"))


def test_a_deadline_while_waiting(clock: Clock) -> None:
    """A call whose time runs out before it was sent is undelivered."""
    server = GrpcServer({PATH: unary_unary(never)}, clock=clock, limits=Limits(max_streams=1))
    channel = Channel(MemoryEndpoint(server), clock)
    channel.unary_unary(PATH)(b"").addErrback(id)
    reply = channel.unary_unary(PATH)(b"", timeout=1)
    clock.advance(1)
    error = raised(reply)
    assert error.code is StatusCode.DEADLINE_EXCEEDED
    assert error.undelivered


def test_cancelled_while_waiting(clock: Clock) -> None:
    """A call that is cancelled before it was sent never is."""
    gate = Gate()
    server = GrpcServer({PATH: unary_unary(gate)}, clock=clock, limits=Limits(max_streams=1))
    channel = Channel(MemoryEndpoint(server), clock)
    first = channel.unary_unary(PATH)(b"")
    second = channel.unary_unary(PATH)(b"")
    second.addErrback(lambda failure: failure.trap(CancelledError))
    second.cancel()
    gate.waiting[0].callback(b"x")
    assert done(first) == b"x"
    assert len(gate.waiting) == 1


def test_deadline_of_the_client(clock: Clock, tie: Any) -> None:
    """The client's deadline holds even where the server does not keep it."""
    channel = tie({PATH: unary_unary(never)})
    reply = channel.unary_unary(PATH)(b"", timeout=1)
    channel.endpoint.connections[0][1].protocol = Protocol()
    clock.advance(0.99)
    assert not reply.called
    clock.advance(0.01)
    error = raised(reply)
    assert error.code is StatusCode.DEADLINE_EXCEEDED
    assert not error.answered


def test_a_request_over_the_limit(clock: Clock, endpoint: MemoryEndpoint) -> None:
    """A request over the limit is not sent; the error names the limit."""
    channel = Channel(endpoint, clock, limits=Limits(max_message=100))
    error = raised(channel.unary_unary(PATH)(bytes(101)))
    assert error.code is StatusCode.RESOURCE_EXHAUSTED
    assert error.undelivered
    assert "100" in error.message


def test_a_reply_over_the_limit(clock: Clock) -> None:
    """A reply over the client's own limit ends the call."""

    async def large(request: bytes, call: ServerCall) -> bytes:
        return bytes(101)

    endpoint = MemoryEndpoint(GrpcServer({PATH: unary_unary(large)}, clock=clock))
    error = raised(Channel(endpoint, clock, limits=Limits(max_message=100)).unary_unary(PATH)(b""))
    assert error.code is StatusCode.RESOURCE_EXHAUSTED
    assert "100" in error.message


def test_an_unreadable_reply(clock: Clock, endpoint: MemoryEndpoint) -> None:
    """A reply that cannot be read is INTERNAL."""
    call = Channel(endpoint, clock).unary_unary(PATH, None, lambda data: data.decode("ascii"))
    assert raised(call(b"\xff")).code is StatusCode.INTERNAL


# Streams.


def test_requests_from_a_generator(tie: Any) -> None:
    """Requests may come from any iterable, asynchronous or not."""

    async def requests() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"

    async def joined(requests: AsyncIterator[bytes], call: ServerCall) -> bytes:
        return b"".join([request async for request in requests])

    call = tie({PATH: stream_unary(joined)}).stream_unary(PATH)
    assert done(call(requests())) == b"ab"
    assert done(call(iter([b"c", b"d"]))) == b"cd"


def test_requests_that_fail(tie: Any) -> None:
    """An error in making the requests ends the call and is what its caller sees."""
    ended = []

    async def joined(requests: AsyncIterator[bytes], call: ServerCall) -> bytes:
        try:
            return b"".join([request async for request in requests])
        except CancelledError:
            ended.append(True)
            raise

    def requests() -> Iterator[bytes]:
        yield b"a"
        raise LookupError("no more")

    with pytest.raises(LookupError):
        done(tie({PATH: stream_unary(joined)}).stream_unary(PATH)(requests()))
    assert ended == [True]


def test_leaving_early(tie: Any) -> None:
    """Leaving the block of a call cancels it."""
    ended = []

    async def forever(request: bytes, call: ServerCall) -> AsyncIterator[bytes]:
        try:
            yield b"1"
            await Deferred()
        except CancelledError:
            ended.append(True)
            raise

    async def listen() -> bytes:
        async with tie({PATH: unary_stream(forever)}).unary_stream(PATH)(b"") as replies:
            async for reply in replies:
                return reply  # type: ignore[no-any-return]
        return b""

    assert done(listen()) == b"1"
    assert ended == [True]


def test_the_server_ends_first(tie: Any) -> None:
    """A server may answer without reading all; who still writes is told that it is over."""

    async def early(requests: AsyncIterator[bytes], call: ServerCall) -> AsyncIterator[bytes]:
        yield b"enough"

    call = tie({PATH: stream_stream(early)}).stream_stream(PATH)()

    async def talk() -> bytes:
        heard: bytes = await call.__anext__()
        await call.trailing_metadata()
        with pytest.raises(RpcError):
            await call.write(b"more")
        return heard

    assert done(talk()) == b"enough"


def test_who_waits_is_cancelled_with_the_call(tie: Any) -> None:
    """Cancelling the call ends every wait on it."""
    call = tie({PATH: stream_stream(doubled)}).stream_stream(PATH)()
    reading = Deferred.fromCoroutine(call.__anext__())
    call.cancel()
    with pytest.raises(CancelledError):
        done(reading)


def test_cancelling_a_wait_cancels_the_call(tie: Any) -> None:
    """Whoever is cancelled while he reads has no more use for the call."""
    call = tie({PATH: stream_stream(doubled)}).stream_stream(PATH)()
    reading = Deferred.fromCoroutine(call.__anext__())
    reading.addErrback(lambda failure: failure.trap(CancelledError))
    reading.cancel()
    assert call.over


def test_a_stream_that_cannot_be_opened(clock: Clock, endpoint: MemoryEndpoint) -> None:
    """A streaming call tells its reader and its writer why it never began."""
    endpoint.refusing = True
    call = Channel(endpoint, clock).stream_stream(PATH)()
    assert raised(call.write(b"")).undelivered
    assert raised(call.__anext__()).undelivered
    assert raised(call.initial_metadata()).undelivered


# Ending.


def test_closing(endpoint: MemoryEndpoint, clock: Clock) -> None:
    """A closed channel has no connection, leaves no timer, and takes no calls."""
    channel = Channel(endpoint, clock)
    told = []
    channel.on_closed = lambda: told.append(True)
    done(channel.unary_unary(PATH)(b"", timeout=3))
    done(channel.close(0))
    assert told == [True]
    assert endpoint.connections[0][0].disconnected
    assert raised(channel.unary_unary(PATH)(b"")).undelivered
    assert clock.getDelayedCalls() == []


def test_closing_with_grace(clock: Clock) -> None:
    """Calls in flight may finish within the grace."""
    gate = Gate()
    channel = Channel(MemoryEndpoint(GrpcServer({PATH: unary_unary(gate)}, clock=clock)), clock)
    reply = channel.unary_unary(PATH)(b"")
    closed = Deferred.fromCoroutine(channel.close(5))
    clock.advance(4)
    gate.waiting[0].callback(b"late")
    assert done(reply) == b"late"
    done(closed)


def test_closing_without_mercy(clock: Clock) -> None:
    """After the grace those still in flight are ended, their outcome unknown."""
    channel = Channel(MemoryEndpoint(GrpcServer({PATH: unary_unary(never)}, clock=clock)), clock)
    reply = channel.unary_unary(PATH)(b"")
    closed = Deferred.fromCoroutine(channel.close(5))
    clock.advance(4.9)
    assert not reply.called
    clock.advance(0.1)
    error = raised(reply)
    assert error.code is StatusCode.UNAVAILABLE
    assert not error.undelivered
    done(closed)


def test_closing_while_it_rests(endpoint: MemoryEndpoint, clock: Clock) -> None:
    """Those who wait for a server are told when the channel is closed."""
    endpoint.refusing = True
    channel = Channel(endpoint, clock)
    reply = channel.unary_unary(PATH)(b"", wait_for_ready=True)
    done(channel.close(0))
    assert raised(reply).undelivered
    assert clock.getDelayedCalls() == []


def test_closing_twice(endpoint: MemoryEndpoint, clock: Clock) -> None:
    """Closing again does nothing."""
    channel = Channel(endpoint, clock)
    done(channel.close(0))
    done(channel.close(0))
