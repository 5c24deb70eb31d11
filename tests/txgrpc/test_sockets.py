"""The same over real sockets, where the kernel takes what it likes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    TCP4ServerEndpoint,
    UNIXClientEndpoint,
    UNIXServerEndpoint,
)
from twisted.internet.task import deferLater

from microd.txgrpc import (
    Channel,
    GrpcServer,
    Limits,
    RpcError,
    ServerCall,
    StatusCode,
    stream_stream,
    unary_stream,
    unary_unary,
)

ECHO, FOUNTAIN, CHAT, SLEEP = "/a.A/Echo", "/a.A/Fountain", "/a.A/Chat", "/a.A/Sleep"


class Service:
    """A server on a port of its own.

    @ivar made: how many messages the fountain has given.
    @ivar cancelled: how many sleepers were woken by cancellation.
    """

    def __init__(self) -> None:
        self.made = 0
        self.cancelled = 0
        self.server = GrpcServer(
            {
                ECHO: unary_unary(self.echo),
                FOUNTAIN: unary_stream(self.fountain),
                CHAT: stream_stream(self.chat),
                SLEEP: unary_unary(self.sleep),
            },
            clock=reactor,
        )

    async def echo(self, request: bytes, call: ServerCall) -> bytes:
        return request

    async def fountain(self, request: bytes, call: ServerCall) -> AsyncIterator[bytes]:
        while True:
            self.made += 1
            yield bytes(1000)

    async def chat(self, requests: AsyncIterator[bytes], call: ServerCall) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request

    async def sleep(self, request: bytes, call: ServerCall) -> bytes:
        try:
            await deferLater(reactor, 60)
        except CancelledError:
            self.cancelled += 1
            raise
        return b""


@pytest.fixture(params=["tcp", "unix"])
def tied(request: Any, tmp_path: Any) -> Any:
    """A service and a channel to it, over each kind of socket."""
    service = Service()
    if request.param == "tcp":
        listening: Any = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
    else:
        listening = UNIXServerEndpoint(reactor, str(tmp_path / "s"))
    port = pytest_twisted.blockon(listening.listen(service.server))
    if request.param == "tcp":
        endpoint: Any = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
    else:
        endpoint = UNIXClientEndpoint(reactor, str(tmp_path / "s"))
    channel = Channel(endpoint, reactor)
    yield service, channel
    pytest_twisted.blockon(Deferred.fromCoroutine(channel.close(0)))
    pytest_twisted.blockon(Deferred.fromCoroutine(service.server.drain(0)))
    pytest_twisted.blockon(port.stopListening())


@pytest_twisted.ensureDeferred
async def test_many_at_once(tied: Any) -> None:
    """Hundreds of calls of all sizes on one connection each get their own answer."""
    _, channel = tied
    call = channel.unary_unary(ECHO)
    sizes = [n * n for n in range(300)]
    replies = await gatherResults([call(b"%d" % (n % 10) * size, timeout=60) for n, size in enumerate(sizes)])
    assert replies == [b"%d" % (n % 10) * size for n, size in enumerate(sizes)]


@pytest_twisted.ensureDeferred
async def test_large_messages(tied: Any) -> None:
    """Messages of many times what the kernel takes at once pass whole, both ways, several at a time."""
    _, channel = tied
    message = bytes(range(256)) * 32_000
    replies = await gatherResults([channel.unary_unary(ECHO)(message, timeout=60) for _ in range(3)])
    assert replies == [message] * 3


@pytest_twisted.ensureDeferred
async def test_a_fountain_waits_for_its_reader(tied: Any) -> None:
    """A handler that never waits neither runs away from its reader nor keeps the reactor from others."""
    service, channel = tied
    async with channel.unary_stream(FOUNTAIN)(b"") as replies:
        await replies.__anext__()
        assert await channel.unary_unary(ECHO)(b"still here", timeout=10) == b"still here"
        assert service.made * 1005 < 2 * Limits().stream_window + (1 << 20)
        for _ in range(3000):
            await replies.__anext__()
    assert service.made >= 3000


@pytest_twisted.ensureDeferred
async def test_ping_pong(tied: Any) -> None:
    """Messages of a chat go to and fro one by one."""
    _, channel = tied
    call = channel.stream_stream(CHAT)(timeout=30)
    for n in range(100):
        await call.write(b"%d" % n)
        assert await call.__anext__() == b"%d" % n
    await call.done_writing()
    assert [reply async for reply in call] == []


@pytest_twisted.ensureDeferred
async def test_deadline(tied: Any) -> None:
    """A deadline holds in real time, and the sleeper is woken."""
    service, channel = tied
    with pytest.raises(RpcError) as caught:
        await channel.unary_unary(SLEEP)(b"", timeout=0.05)
    assert caught.value.code is StatusCode.DEADLINE_EXCEEDED
    await channel.unary_unary(ECHO)(b"", timeout=10)
    assert service.cancelled == 1


@pytest_twisted.ensureDeferred
async def test_the_server_goes_while_calls_run(tied: Any) -> None:
    """Who is in flight when the server is cut off hears that the outcome is unknown."""
    service, channel = tied
    await channel.unary_unary(ECHO)(b"", timeout=10)
    sleeping = channel.unary_unary(SLEEP)(b"")
    await channel.unary_unary(ECHO)(b"", timeout=10)
    await service.server.drain(0.01)
    with pytest.raises(RpcError) as caught:
        await sleeping
    assert caught.value.code is StatusCode.UNAVAILABLE
    assert not caught.value.undelivered
