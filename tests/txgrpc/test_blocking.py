"""The blocking client against our server over real sockets: it waits in a thread, the server runs in the reactor."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread

from microd.testing.certificates import Authority
from microd.txgrpc import GrpcServer, Limits, Method, RpcError, ServerCall, StatusCode
from microd.txgrpc.blocking import BlockingChannel
from microd.txgrpc.endpoints import server_endpoint

T = TypeVar("T")
PATIENCE = 20.0


async def echo(request: bytes, call: ServerCall) -> bytes:
    """Say it back, with the metadata that came."""
    call.trailing_metadata = [("x-heard", str(call.metadata.get("x-said", "nothing")))]
    return request


async def fail(request: bytes, call: ServerCall) -> bytes:
    """Fail in every detail."""
    raise RpcError(
        StatusCode.NOT_FOUND, "no such thing", details=b"why", metadata=[("x-hint", "look elsewhere")]
    )


async def count(request: bytes, call: ServerCall) -> AsyncIterator[bytes]:
    """As many replies as are asked for."""
    for number in range(int(request)):
        yield b"%d" % number


async def total(requests: AsyncIterator[bytes], call: ServerCall) -> bytes:
    """How many bytes came."""
    return b"%d" % sum([len(request) async for request in requests])


async def double(requests: AsyncIterator[bytes], call: ServerCall) -> AsyncIterator[bytes]:
    """Say each request twice."""
    async for request in requests:
        yield request
        yield request


class Asleep:
    """A handler that never answers; it knows when it was cancelled."""

    def __init__(self) -> None:
        self.cancelled: Deferred[None] = Deferred()

    async def sleep(self, request: bytes, call: ServerCall) -> bytes:
        """Sleep until cancelled."""
        try:
            await Deferred()
        finally:
            self.cancelled.callback(None)
        return b""


async def half(request: bytes, call: ServerCall) -> AsyncIterator[bytes]:
    """One reply, then nothing more."""
    yield b"first"
    await Deferred()


@pytest.fixture
def asleep() -> Asleep:
    """A handler that never answers."""
    return Asleep()


@pytest.fixture
def server(asleep: Asleep) -> GrpcServer:
    """A server with a method of each kind."""
    return GrpcServer(
        {
            "/t.T/Echo": Method("unary_unary", echo),
            "/t.T/Fail": Method("unary_unary", fail),
            "/t.T/Sleep": Method("unary_unary", asleep.sleep),
            "/t.T/Count": Method("unary_stream", count),
            "/t.T/Half": Method("unary_stream", half),
            "/t.T/Total": Method("stream_unary", total),
            "/t.T/Double": Method("stream_stream", double),
        },
        clock=reactor,
    )


Listen = Callable[[str], Awaitable[int]]
With = Callable[[Callable[[BlockingChannel], T]], Awaitable[T]]


@pytest_twisted.async_yield_fixture
async def listen(server: GrpcServer) -> AsyncIterator[Listen]:
    """Has the server listen somewhere; the port."""
    ports: list[Any] = []

    async def begin(description: str) -> int:
        port: Any = await server_endpoint(reactor, description).listen(server)
        ports.append(port)
        return getattr(port.getHost(), "port", 0)

    yield begin
    for port in ports:
        await maybeDeferred(port.stopListening)
    await server.drain(0)


@pytest_twisted.async_yield_fixture
async def using(listen: Listen) -> AsyncIterator[With[Any]]:
    """Runs something in a thread, with a channel to the server."""
    port = await listen("tcp:0:interface=127.0.0.1")

    def run(work: Callable[[BlockingChannel], T]) -> T:
        with BlockingChannel(f"127.0.0.1:{port}") as channel:
            return work(channel)

    yield lambda work: deferToThread(run, work)


@pytest_twisted.ensureDeferred
async def test_unary(using: With[bytes]) -> None:
    """A call gets its reply."""
    assert await using(lambda channel: channel.unary_unary("/t.T/Echo")(b"hello")) == b"hello"


@pytest_twisted.ensureDeferred
async def test_serialized(using: With[str]) -> None:
    """Messages pass through the functions given for them."""
    assert await using(lambda channel: channel.unary_unary("/t.T/Echo", str.encode, bytes.decode)("ä")) == "ä"


@pytest_twisted.ensureDeferred
async def test_one_connection(using: With[int], server: GrpcServer) -> None:
    """Calls one after the other share a connection."""

    def many(channel: BlockingChannel) -> int:
        for _ in range(100):
            channel.unary_unary("/t.T/Echo")(b"x")
        return server.connections

    assert await using(many) == 1


@pytest_twisted.ensureDeferred
async def test_replies_stream(using: With[list[bytes]]) -> None:
    """Replies come one by one, and end."""
    got = await using(lambda channel: list(channel.unary_stream("/t.T/Count")(b"3")))
    assert got == [b"0", b"1", b"2"]


@pytest_twisted.ensureDeferred
async def test_a_reply_is_there_before_the_end(using: With[bytes]) -> None:
    """A reply is handed over when it comes, not when the call is over."""

    def first(channel: BlockingChannel) -> bytes:
        with channel.unary_stream("/t.T/Half")(b"", timeout=PATIENCE) as call:
            reply: bytes = next(call)
            return reply

    assert await using(first) == b"first"


@pytest_twisted.ensureDeferred
async def test_requests_stream(using: With[bytes]) -> None:
    """Requests are taken from any iterable, a generator too."""
    assert await using(lambda channel: channel.stream_unary("/t.T/Total")(b"ab" for _ in range(5))) == b"10"


@pytest_twisted.ensureDeferred
async def test_more_than_the_windows(using: With[bytes]) -> None:
    """Far more than the flow-control windows passes in both directions."""
    chunk = bytes(300_000)

    def both(channel: BlockingChannel) -> bytes:
        assert [len(reply) for reply in channel.stream_stream("/t.T/Double")([chunk] * 10)] == [300_000] * 20
        reply: bytes = channel.stream_unary("/t.T/Total")([chunk] * 30)
        return reply

    assert await using(both) == b"9000000"


@pytest_twisted.ensureDeferred
async def test_conversation(using: With[list[bytes]]) -> None:
    """What is written may depend on what was read."""

    def talk(channel: BlockingChannel) -> list[bytes]:
        call = channel.stream_stream("/t.T/Double")()
        said = b"a"
        for _ in range(3):
            call.write(said)
            assert next(call) == said
            said = next(call) + b"!"
        call.done_writing()
        assert list(call) == []
        return [said]

    assert await using(talk) == [b"a!!!"]


@pytest_twisted.ensureDeferred
async def test_two_calls_at_once(using: With[list[bytes]]) -> None:
    """Two calls under way on one channel do not disturb each other."""

    def both(channel: BlockingChannel) -> list[bytes]:
        one, two = channel.unary_stream("/t.T/Count")(b"500"), channel.unary_stream("/t.T/Count")(b"500")
        return [reply for pair in zip(one, two, strict=True) for reply in pair]

    assert len(await using(both)) == 1000


@pytest_twisted.ensureDeferred
async def test_ready(using: With[list[int]]) -> None:
    """A call tells how many replies can be had without waiting."""

    def counted(channel: BlockingChannel) -> list[int]:
        call = channel.unary_stream("/t.T/Count")(b"3")
        call.finish()
        before = call.ready
        next(call)
        return [before, call.ready]

    assert await using(counted) == [3, 2]


@pytest_twisted.ensureDeferred
async def test_keepalive(using: With[tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that vanished without a word is missed, however long nothing comes: the kernel asks for it."""
    made: list[socket.socket] = []
    connect = socket.create_connection

    def noted(*args: Any) -> socket.socket:
        made.append(connect(*args))
        return made[-1]

    monkeypatch.setattr(socket, "create_connection", noted)

    def asked(channel: BlockingChannel) -> tuple[int, int]:
        channel.unary_unary("/t.T/Echo")(b"")
        (only,) = made
        return (
            only.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
            only.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
        )

    assert await using(asked) == (1, 60)


@pytest_twisted.ensureDeferred
async def test_error(using: With[None]) -> None:
    """A status arrives with code, message, details and trailing metadata, and is the server's own answer."""

    def failing(channel: BlockingChannel) -> None:
        channel.unary_unary("/t.T/Fail")(b"")

    with pytest.raises(RpcError, match="no such thing") as caught:
        await using(failing)
    error = caught.value
    assert (error.code, error.details) == (StatusCode.NOT_FOUND, b"why")
    assert error.trailing_metadata.get("x-hint") == "look elsewhere"
    assert error.answered
    assert not error.undelivered


@pytest_twisted.ensureDeferred
async def test_metadata(using: With[str]) -> None:
    """Metadata goes with a call and comes back with its end."""

    def heard(channel: BlockingChannel) -> str:
        call = channel.unary_stream("/t.T/Count")(b"0", metadata={"x-said": "this"})
        assert len(call.trailing_metadata()) == 0
        call = channel.stream_stream("/t.T/Double")([], metadata=[("x-bytes-bin", b"\x00\xff")])
        assert list(call.initial_metadata()) == []
        echoing = channel.unary_stream("/t.T/Echo")(b"", metadata={"x-said": "this"})
        return str(echoing.trailing_metadata().get("x-heard"))

    assert await using(heard) == "this"


@pytest_twisted.ensureDeferred
async def test_metadata_that_cannot_be_sent(using: With[None]) -> None:
    """Bad metadata is refused by name, and the channel goes on."""

    def bad(channel: BlockingChannel) -> None:
        with pytest.raises(ValueError, match="x-bad"):
            channel.unary_unary("/t.T/Echo")(b"", metadata={"x-bad": "line\nbreak"})
        assert channel.unary_unary("/t.T/Echo")(b"still") == b"still"

    await using(bad)


@pytest_twisted.ensureDeferred
async def test_deadline(using: With[None], asleep: Asleep) -> None:
    """A call that takes too long ends in time, and its handler is told."""

    def late(channel: BlockingChannel) -> None:
        begun = time.monotonic()
        with pytest.raises(RpcError) as caught:
            channel.unary_unary("/t.T/Sleep")(b"", timeout=0.05)
        assert caught.value.code is StatusCode.DEADLINE_EXCEEDED
        assert 0.05 <= time.monotonic() - begun < PATIENCE

    await using(late)
    await asleep.cancelled


@pytest.mark.parametrize("timeout", [0, 0.0, -1.0, float("-inf"), float("nan")])
def test_no_time_at_all(timeout: float) -> None:
    """With no time given nothing is sent, and nobody connected to."""
    with BlockingChannel("127.0.0.1:1") as channel:
        for method in (channel.unary_unary("/t.T/Echo"), channel.unary_stream("/t.T/Count")):
            with pytest.raises(RpcError) as caught:
                method(b"", timeout=timeout)
            assert caught.value.code is StatusCode.DEADLINE_EXCEEDED
            assert caught.value.undelivered


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("timeout", [float("inf"), 1e300])
async def test_all_the_time_in_the_world(using: With[bytes], timeout: float) -> None:
    """A limit that no clock can hold is none."""
    assert await using(lambda channel: channel.unary_unary("/t.T/Echo")(b"a", timeout=timeout)) == b"a"


@pytest_twisted.ensureDeferred
async def test_deadline_that_has_passed(using: With[None]) -> None:
    """With no time left nothing is sent."""

    def late(channel: BlockingChannel) -> None:
        channel.unary_unary("/t.T/Echo")(b"")
        with pytest.raises(RpcError) as caught:
            channel.unary_unary("/t.T/Echo")(b"", timeout=-1.0)
        assert caught.value.code is StatusCode.DEADLINE_EXCEEDED
        assert caught.value.undelivered

    await using(late)


@pytest_twisted.ensureDeferred
async def test_cancel(using: With[None], asleep: Asleep) -> None:
    """Leaving a call's block cancels it on the server."""

    def leave(channel: BlockingChannel) -> None:
        with channel.unary_stream("/t.T/Sleep")(b"", timeout=PATIENCE):
            pass
        # The server has seen the cancellation before this one's answer.
        channel.unary_unary("/t.T/Echo")(b"")

    await using(leave)
    await asleep.cancelled


@pytest_twisted.ensureDeferred
async def test_failing_requests(using: With[None]) -> None:
    """An exception in making the requests is the caller's, and cancels the call."""

    def broken() -> Iterator[bytes]:
        yield b"one"
        raise RuntimeError("out of things to say")

    def send(channel: BlockingChannel) -> None:
        with pytest.raises(RuntimeError, match="out of things"):
            channel.stream_unary("/t.T/Total")(broken())
        assert channel.unary_unary("/t.T/Echo")(b"still") == b"still"

    await using(send)


@pytest_twisted.ensureDeferred
async def test_unreadable_reply(using: With[None]) -> None:
    """A reply that cannot be read is INTERNAL, not whatever the reader raised."""

    def read(channel: BlockingChannel) -> None:
        with pytest.raises(RpcError, match="cannot be read") as caught:
            channel.unary_unary("/t.T/Echo", None, lambda reply: int(reply))(b"seven")
        assert caught.value.code is StatusCode.INTERNAL

    await using(read)


@pytest_twisted.ensureDeferred
async def test_size_limits(listen: Listen) -> None:
    """A message over the limit is refused, going out as coming in, and the limit is named."""
    port = await listen("tcp:0:interface=127.0.0.1")

    def run() -> None:
        with BlockingChannel(f"127.0.0.1:{port}", limits=Limits(max_message=1000)) as channel:
            for path, request in (("/t.T/Echo", bytes(1001)), ("/t.T/Sized", b"")):
                with pytest.raises(RpcError, match="1000") as caught:
                    channel.unary_unary(path)(request)
                assert caught.value.code is StatusCode.RESOURCE_EXHAUSTED

    async def sized(request: bytes, call: ServerCall) -> bytes:
        return bytes(1001)

    listening: Any = await server_endpoint(reactor, "tcp:0:interface=127.0.0.1").listen(
        GrpcServer({"/t.T/Sized": Method("unary_unary", sized)}, clock=reactor)
    )
    port = listening.getHost().port
    await deferToThread(run)
    await listening.stopListening()


@pytest_twisted.ensureDeferred
async def test_reconnects(listen: Listen, server: GrpcServer) -> None:
    """When the server has hung up in between, the next call connects anew."""
    port = await listen("tcp:0:interface=127.0.0.1")
    with BlockingChannel(f"127.0.0.1:{port}") as channel:

        def run() -> Any:
            return channel.unary_unary("/t.T/Echo")(b"x")

        await deferToThread(run)
        await server.drain(PATIENCE)
        assert server.connections == 0
        server.draining = False
        assert await deferToThread(run) == b"x"


@pytest_twisted.ensureDeferred
async def test_connection_lost(listen: Listen, asleep: Asleep, server: GrpcServer) -> None:
    """A call whose connection breaks is UNAVAILABLE with an unknown outcome: it was delivered, perhaps."""
    port = await listen("tcp:0:interface=127.0.0.1")

    def run() -> None:
        with BlockingChannel(f"127.0.0.1:{port}") as channel:
            channel.unary_unary("/t.T/Sleep")(b"", timeout=PATIENCE)

    calling = deferToThread(run)
    while not server.connections:
        await turn()
    await server.drain(0)
    with pytest.raises(RpcError, match="outcome of the call is unknown") as caught:
        await calling
    assert caught.value.code is StatusCode.UNAVAILABLE
    assert not caught.value.undelivered


def turn() -> Deferred[None]:
    """A turn of the reactor."""
    passed: Deferred[None] = Deferred()
    reactor.callLater(0, passed.callback, None)
    return passed


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        port: int = made.getsockname()[1]
        return port


def test_refused() -> None:
    """Where nothing listens, the address is named, and the call is known not to have been delivered."""
    address = f"127.0.0.1:{free_port()}"
    with (
        BlockingChannel(address) as channel,
        pytest.raises(RpcError, match=f"nothing listens at {address}") as caught,
    ):
        channel.unary_unary("/t.T/Echo")(b"")
    assert caught.value.code is StatusCode.UNAVAILABLE
    assert caught.value.undelivered


def test_no_such_host() -> None:
    """A host that does not exist is named."""
    with (
        BlockingChannel("nowhere.invalid:1") as channel,
        pytest.raises(RpcError, match=r"nowhere\.invalid") as caught,
    ):
        channel.unary_unary("/t.T/Echo")(b"")
    assert caught.value.undelivered


def test_no_such_socket(tmp_path: Path) -> None:
    """A unix socket that does not exist is named."""
    target = f"unix:{tmp_path}/nothing.sock"
    with BlockingChannel(target) as channel, pytest.raises(RpcError, match=r"nothing\.sock"):
        channel.unary_unary("/t.T/Echo")(b"")


@pytest.mark.parametrize("target", ["localhost", "localhost:http", "", ":1", "localhost:99999"])
def test_bad_address(target: str) -> None:
    """What is no address is refused at once."""
    with pytest.raises(ValueError, match="not an address"):
        BlockingChannel(target)


@pytest_twisted.ensureDeferred
async def test_not_grpc() -> None:
    """A server of something else is said to be none of gRPC."""

    class Web(Protocol):
        def dataReceived(self, data: bytes) -> None:
            assert self.transport is not None
            self.transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    port: Any = await server_endpoint(reactor, "tcp:0:interface=127.0.0.1").listen(Factory.forProtocol(Web))

    def run() -> None:
        with BlockingChannel(f"127.0.0.1:{port.getHost().port}") as channel:
            channel.unary_unary("/t.T/Echo")(b"")

    with pytest.raises(RpcError, match="is not a gRPC server") as caught:
        await deferToThread(run)
    assert caught.value.undelivered
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_silent_server() -> None:
    """A server that accepts and says nothing is given up on, with nothing delivered."""
    port: Any = await server_endpoint(reactor, "tcp:0:interface=127.0.0.1").listen(
        Factory.forProtocol(Protocol)
    )

    def run() -> None:
        with BlockingChannel(f"127.0.0.1:{port.getHost().port}", connect_timeout=0.05) as channel:
            channel.unary_unary("/t.T/Echo")(b"")

    with pytest.raises(RpcError, match="does not answer") as caught:
        await deferToThread(run)
    assert caught.value.undelivered
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_closed_channel(using: With[None]) -> None:
    """A channel that was closed makes no calls."""

    def late(channel: BlockingChannel) -> None:
        channel.close()
        with pytest.raises(RpcError, match="the channel is closed"):
            channel.unary_unary("/t.T/Echo")(b"")

    await using(late)


@pytest_twisted.ensureDeferred
async def test_unix(listen: Listen, tmp_path: Path) -> None:
    """A server on a unix socket is called like any other."""
    await listen(f"unix:{tmp_path}/door.sock")

    def run() -> Any:
        with BlockingChannel(f"unix:{tmp_path}/door.sock") as channel:
            return channel.unary_unary("/t.T/Echo")(b"hello")

    assert await deferToThread(run) == b"hello"


@pytest_twisted.ensureDeferred
async def test_tls(listen: Listen, tmp_path: Path) -> None:
    """TLS is spoken with a server that a given authority vouches for, and with large messages too."""
    authority = Authority(tmp_path)
    issued = authority.issue("localhost")
    port = await listen(f"tls:0:interface=127.0.0.1:certificate={issued.certificate}:privateKey={issued.key}")

    def run() -> Any:
        with BlockingChannel(f"localhost:{port}", tls=authority.root) as channel:
            return channel.unary_unary("/t.T/Echo")(bytes(1_000_000))

    assert await deferToThread(run) == bytes(1_000_000)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("trust", [True, "stranger"])
async def test_tls_untrusted(listen: Listen, tmp_path: Path, trust: Any) -> None:
    """A server that nobody trusted vouches for is not spoken to."""
    issued = Authority(tmp_path).issue("localhost")
    port = await listen(f"tls:0:interface=127.0.0.1:certificate={issued.certificate}:privateKey={issued.key}")

    def run() -> None:
        tls = trust if trust is True else Authority(tmp_path, "stranger").root
        with BlockingChannel(f"localhost:{port}", tls=tls) as channel:
            channel.unary_unary("/t.T/Echo")(b"")

    with pytest.raises(RpcError, match="is not trusted") as caught:
        await deferToThread(run)
    assert caught.value.undelivered


def test_import_is_light() -> None:
    """The client does without Twisted, and without TLS until it is asked for."""
    script = (
        "import sys, microd.txgrpc.blocking as blocking; blocking.BlockingChannel('localhost:1');"
        "print(*{'twisted', 'zope', 'ssl', 'asyncio', 'google'} & {name.split('.')[0] for name in sys.modules})"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == ""
