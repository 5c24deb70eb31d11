"""Back-pressure: who reads slowly stops who writes, and nobody else."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import AsyncIterator
from inspect import isasyncgen, isawaitable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from microd.testing.outcome import done
from microd.txgrpc import (
    Channel,
    GrpcServer,
    Limits,
    RpcError,
    ServerCall,
    StatusCode,
    stream_stream,
    stream_unary,
    unary_stream,
    unary_unary,
)
from microd.txgrpc.frames import WINDOW_UPDATE, frame
from microd.txgrpc.memory import BUFFER, MemoryEndpoint
from microd.txgrpc.protocol import ServerProtocol

PATH, ECHO = "/shop.Shop/Do", "/shop.Shop/Echo"
WINDOW = Limits().stream_window


async def echo(request: bytes, call: ServerCall) -> bytes:
    return request


class Fountain:
    """A handler which yields as much as is taken."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.made = 0

    async def __call__(self, request: bytes, call: ServerCall) -> AsyncIterator[bytes]:
        while True:
            self.made += 1
            yield bytes(self.size)


class Slow:
    """A handler which reads one request each time that the test lets it."""

    def __init__(self) -> None:
        self.read: list[int] = []
        self.may: Deferred[None] = Deferred()

    async def __call__(self, requests: AsyncIterator[bytes], call: ServerCall) -> bytes:
        while True:
            await self.may
            self.may = Deferred()
            self.read.append(len(await anext(requests)))

    def step(self) -> None:
        self.may.callback(None)


@pytest.mark.parametrize("size", [10, 1000, 20_000, 100_000])
def test_a_slow_reader_stops_the_server(tie: Any, size: int) -> None:
    """A handler runs ahead of its reader by no more than the window and a few messages; then it goes on as it is read."""
    fountain = Fountain(size)
    call = tie({PATH: unary_stream(fountain)}).unary_stream(PATH)(b"")
    done(call.__anext__())
    ahead = fountain.made
    assert ahead * (size + 5) <= WINDOW + 3 * (size + 5)
    for _ in range(5 * ahead):
        done(call.__anext__())
    assert 5 * ahead < fountain.made <= 7 * ahead + 2


def test_a_slow_handler_stops_the_client(tie: Any) -> None:
    """Writing waits once the window is full, and goes on as the handler reads."""
    slow = Slow()
    call = tie({PATH: stream_unary(slow)}).stream_stream(PATH)()
    sent = []

    async def write() -> None:
        for n in range(1000):
            await call.write(bytes(10_000))
            sent.append(n)

    writing = Deferred.fromCoroutine(write())
    ahead = len(sent)
    assert 0 < ahead * 10_005 <= WINDOW + 10_005
    for _ in range(3 * ahead):
        slow.step()
    assert len(sent) > 2 * ahead
    assert len(sent) - len(slow.read) <= ahead + 1
    assert not writing.called
    call.cancel()
    writing.addErrback(id)


def test_memory_stays_bounded(clock: Clock) -> None:
    """What a connection holds for readers who do not read is within what the windows say."""
    server = GrpcServer({PATH: stream_unary(Slow())}, clock=clock)
    endpoint = MemoryEndpoint(server)
    channel = Channel(endpoint, clock)
    for _ in range(10):
        call = channel.stream_stream(PATH)()

        async def write(call: Any = call) -> None:
            while True:
                await call.write(bytes(1000))

        Deferred.fromCoroutine(write()).addErrback(id)
    (protocol,) = server._protocols
    assert 0 < protocol.connection.buffered <= 10 * (WINDOW + 300 * 64)


def test_nobody_else_is_stopped(tie: Any) -> None:
    """While one call's reader sleeps, others on the same connection go on."""
    channel = tie({PATH: unary_stream(Fountain(5000)), ECHO: unary_unary(echo)})
    sleeping = [channel.unary_stream(PATH)(b"") for _ in range(30)]
    for call in sleeping:
        done(call.__anext__())
    assert done(channel.unary_unary(ECHO)(bytes(100_000))) == bytes(100_000)


def test_what_is_held_has_a_limit(clock: Clock) -> None:
    """Messages in part count for the whole connection; the call that goes too far is ended, the others live."""
    server = GrpcServer(
        {PATH: stream_unary(Slow()), ECHO: unary_unary(echo)},
        clock=clock,
        limits=Limits(max_buffered=100_000),
    )
    channel = Channel(MemoryEndpoint(server), clock)
    call = channel.stream_stream(PATH)()
    done(call.write(bytes(90_000)))
    with pytest.raises(RpcError) as caught:
        done(channel.unary_unary(ECHO)(bytes(50_000)))
    assert caught.value.code is StatusCode.RESOURCE_EXHAUSTED
    assert "100000" in caught.value.message
    assert not call.over


@pytest.mark.parametrize("size", [WINDOW - 5, WINDOW, WINDOW + 1, 10 * WINDOW])
def test_messages_longer_than_the_window(tie: Any, size: int) -> None:
    """A message may be longer than the window: it is taken in part by part."""
    channel = tie({ECHO: unary_unary(echo)})
    assert len(done(channel.unary_unary(ECHO)(bytes(size)))) == size


def test_large_messages_in_streams(tie: Any) -> None:
    """The same both ways in a stream, one after the other."""

    async def back(requests: AsyncIterator[bytes], call: ServerCall) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request

    sizes = [3 * WINDOW, 1, 0, WINDOW, 16_379, 16_384, 5 * WINDOW]
    call = tie({PATH: stream_stream(back)}).stream_stream(PATH)([bytes(size) for size in sizes])

    async def heard() -> list[int]:
        return [len(reply) async for reply in call]

    assert done(heard()) == sizes


def test_a_full_transport_stops_the_server(clock: Clock) -> None:
    """However large the windows are, a handler that never waits stops when the kernel takes no more."""
    fountain = Fountain(1000)
    endpoint = MemoryEndpoint(
        GrpcServer({PATH: unary_stream(fountain), ECHO: unary_unary(echo)}, clock=clock)
    )
    wide = Limits(stream_window=1 << 22, connection_window=1 << 22)
    channel = Channel(endpoint, clock, limits=wide)
    done(channel.unary_unary(ECHO)(b""))
    ours, _ = endpoint.connections[0]
    ours.pauseProducing()
    call = channel.unary_stream(PATH)(b"")
    assert 0 < fountain.made * 1000 <= 3 * BUFFER
    made = fountain.made
    ours.resumeProducing()
    assert fountain.made > made + 1000
    call.cancel()


def test_who_only_asks_is_not_read(clock: Clock) -> None:
    """A client that asks and never reads is itself not read any more, so its answers do not pile up."""
    server = GrpcServer({ECHO: unary_unary(echo)}, clock=clock, limits=Limits(max_streams=100_000))
    endpoint = MemoryEndpoint(server)
    channel = Channel(endpoint, clock)
    call = channel.unary_unary(ECHO)
    done(call(b""))
    ours, theirs = endpoint.connections[0]
    ours.pauseProducing()
    replies = [call(bytes(10_000)) for _ in range(1000)]
    assert theirs._size < 3 << 20
    ours.resumeProducing()
    assert [len(done(reply)) for reply in replies] == [10_000] * 1000


def test_blocked_calls_take_turns(clock: Clock) -> None:
    """When the connection's window is what is short, every call gets its part of it."""
    fountain = Fountain(4000)
    endpoint = MemoryEndpoint(GrpcServer({PATH: unary_stream(fountain)}, clock=clock))
    narrow = Limits(connection_window=70_000)
    channel = Channel(endpoint, clock, limits=narrow)
    calls = [channel.unary_stream(PATH)(b"") for _ in range(8)]

    async def some(call: Any) -> int:
        for _ in range(20):
            await call.__anext__()
        return 20

    assert [done(some(call)) for call in calls] == [20] * 8


def test_idle_connections_are_small(clock: Clock) -> None:
    """A connection that has served a call and rests costs a few KiB."""
    server = GrpcServer({ECHO: unary_unary(echo)}, clock=clock)
    channels = [Channel(MemoryEndpoint(server), clock) for _ in range(300)]
    for channel in channels[:100]:
        done(channel.unary_unary(ECHO)(b"x"))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for channel in channels[100:]:
            done(channel.unary_unary(ECHO)(b"x"))
        gc.collect()
        both_ends = (tracemalloc.get_traced_memory()[0] - before) / 200
    finally:
        tracemalloc.stop()
    assert both_ends < 30 * 1024


def frames_of(written: bytes) -> list[tuple[int, int]]:
    """The type and the stream of each frame."""
    found, at = [], 0
    while at < len(written):
        length = int.from_bytes(written[at : at + 3], "big")
        found.append((written[at + 3], int.from_bytes(written[at + 5 : at + 9], "big")))
        at += 9 + length
    return found


def test_small_messages_share_a_frame(clock: Clock) -> None:
    """Messages which a handler yields one after the other go out in one DATA frame."""

    async def count(request: bytes, call: ServerCall) -> AsyncIterator[bytes]:
        for number in range(40):
            yield b"%d" % number

    endpoint = MemoryEndpoint(GrpcServer({ECHO: unary_unary(echo), PATH: unary_stream(count)}, clock=clock))
    channel = Channel(endpoint, clock)
    done(channel.unary_unary(ECHO)(b""))
    _, theirs = endpoint.connections[0]
    theirs.keep = True

    async def heard() -> list[bytes]:
        return [reply async for reply in channel.unary_stream(PATH)(b"")]

    assert done(heard()) == [b"%d" % number for number in range(40)]
    assert [kind for kind, stream in frames_of(theirs.written) if stream == 3] == [1, 0, 1]


def test_one_write_for_what_came_together(clock: Clock) -> None:
    """The answers to calls that arrived in one piece leave in one piece."""
    endpoint = MemoryEndpoint(GrpcServer({ECHO: unary_unary(echo)}, clock=clock))
    channel = Channel(endpoint, clock)
    call = channel.unary_unary(ECHO)
    done(call(b""))
    _, theirs = endpoint.connections[0]
    pieces: list[bytes] = []
    write = theirs.write

    def count(data: bytes) -> None:
        pieces.append(data)
        write(data)

    theirs.write = count  # type: ignore[method-assign]
    theirs.pauseProducing()
    replies = [call(b"%d" % n) for n in range(8)]
    theirs.resumeProducing()
    assert [done(reply) for reply in replies] == [b"%d" % n for n in range(8)]
    assert len(pieces) == 1


def test_an_unread_reply_is_in_memory_once(clock: Clock) -> None:
    """While a client does not read, the server holds a large reply where it waits to be sent, and nowhere else."""
    made: list[bytes] = []

    async def handler(request: bytes, call: ServerCall) -> AsyncIterator[bytes]:
        made.append(b"x" * 1_000_000)
        yield made[0]
        await Deferred()

    endpoint = MemoryEndpoint(GrpcServer({PATH: unary_stream(handler)}, clock=clock))
    call = Channel(endpoint, clock, limits=Limits(stream_window=70_000)).unary_stream(PATH)(b"")
    reply = made.pop()
    assert not [each for each in gc.get_referrers(reply) if isawaitable(each) or isasyncgen(each)]
    assert len(reply) == 1_000_000
    call.cancel()


@pytest.mark.parametrize("frame_size", [16_384, 4 << 20])
def test_windows_that_open_do_not_fill_the_transport(clock: Clock, frame_size: int) -> None:
    """However many streams one piece from the client lets go on, the transport gets no more than it takes, and a bit."""
    endpoint = MemoryEndpoint(GrpcServer({PATH: unary_stream(Fountain(1_000_000))}, clock=clock))
    channel = Channel(endpoint, clock, limits=Limits(stream_window=70_000, connection_window=1 << 30))
    calls = [channel.unary_stream(PATH)(b"") for _ in range(40)]
    ours, theirs = endpoint.connections[0]
    ours.pauseProducing()
    assert isinstance(theirs.protocol, ServerProtocol)
    theirs.protocol.connection.peer_max_frame = frame_size
    more = (500_000).to_bytes(4, "big")
    streams = [1 + 2 * number for number in range(40)]
    theirs.protocol.dataReceived(b"".join(frame(WINDOW_UPDATE, 0, stream, more) for stream in streams))
    assert 500_000 < theirs._size < 4 << 20
    for each in calls:
        each.cancel()
