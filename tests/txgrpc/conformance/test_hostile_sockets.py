"""The same harm over real sockets, whose buffers fill: readers that do not read, and what they get when they do."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from microd.testing import http2_frames as h2
from microd.testing.certificates import Authority
from microd.testing.http2_frames import Frame, Kind, Setting
from microd.testing.http2_peer import FrameReader, Handshake
from microd.testing.http2_probe import ServerProbe, call
from microd.txgrpc import Keepalive
from microd.txgrpc.endpoints import client_endpoint, server_endpoint

MIB = 2**20
WIDE = Handshake.client((Setting.INITIAL_WINDOW_SIZE, 2**30)) + h2.window_update(0, 2**30)


class Sluggard(Protocol):
    """A client that reads nothing until it is told to."""

    def __init__(self) -> None:
        self.reader = FrameReader()
        self.frames: list[Frame] = []
        self.gone = False

    def connectionMade(self) -> None:
        self.pause()

    def pause(self) -> None:
        transport: Any = self.transport
        transport.pauseProducing()

    def read(self) -> None:
        transport: Any = self.transport
        transport.resumeProducing()

    def say(self, octets: bytes) -> None:
        assert self.transport is not None
        self.transport.write(octets)

    def dataReceived(self, data: bytes) -> None:
        self.frames += self.reader.feed(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.gone = True

    def bodies(self) -> dict[int, bytes]:
        """The DATA of each stream."""
        bodies: dict[int, list[bytes]] = {}
        for f in self.frames:
            if f.kind == Kind.DATA:
                bodies.setdefault(f.stream, []).append(f.payload)
        return {stream: b"".join(pieces) for stream, pieces in bodies.items()}


class Scene:
    """A server, and one client that does not read."""

    def __init__(self, probe: ServerProbe, client: Sluggard) -> None:
        self.probe = probe
        self.client = client

    @property
    def server_transport(self) -> Any:
        (protocol,) = self.probe.server._protocols
        return protocol.transport

    def held(self) -> int:
        """Octets which the server wants to write and the kernel does not take."""
        transport = self.server_transport
        waiting: int = sum(map(len, getattr(transport, "_appSendBuffer", ())))
        tcp = getattr(transport, "transport", transport)
        waiting += len(tcp.dataBuffer) - tcp.offset + tcp._tempDataLen
        return waiting

    async def until(self, condition: Callable[[], object]) -> None:
        """Turn the reactor until the condition holds; the test's own time limit bounds that."""
        for _ in range(20_000):
            if condition():
                return
            await deferLater(reactor, 0.0005)
        raise AssertionError("it did not happen")

    async def answers(self, many: int) -> None:
        """Wait until so many calls have been answered."""
        await self.until(lambda: len([f for f in self.client.frames if f.ends_stream]) == many)

    async def quiet(self) -> None:
        """Turn the reactor until the server has written and read nothing for a good while."""
        last, same = (-1, -1), 0
        while same < 50:
            (protocol,) = self.probe.server._protocols
            now = (self.probe.poured, protocol.connection.frames_received)
            same = same + 1 if now == last else 0
            last = now
            await deferLater(reactor, 0.001)


def places(kind: str, folder: Path) -> tuple[str, Callable[[Any], str]]:
    """Where the server listens, and how a client that knows its host finds it."""
    if kind == "unix":
        path = folder / "socket"
        return f"unix:{path}", lambda host: f"unix:{path}"
    if kind == "tcp":
        return "tcp:0:interface=127.0.0.1", lambda host: f"tcp:127.0.0.1:{host.port}"
    authority = Authority(folder)
    issued = authority.issue("127.0.0.1")
    return (
        f"tls:0:interface=127.0.0.1:certificate={issued.certificate}:privateKey={issued.key}",
        lambda host: f"tls:127.0.0.1:{host.port}:trustRoots={authority.root}",
    )


@pytest.fixture(params=["tcp", "unix", "tls"])
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of socket."""
    return str(request.param)


@pytest_twisted.async_yield_fixture
async def scene(kind: str, tmp_path: Path) -> AsyncIterator[Scene]:
    """A client connected to a server, both in this process."""
    time: Any = reactor
    probe = ServerProbe(time=time, keepalive=Keepalive(handshake=0.5))
    listens, connects = places(kind, tmp_path)
    port = await server_endpoint(time, listens).listen(probe.server)
    client = await connectProtocol(client_endpoint(time, connects(port.getHost())), Sluggard())
    stage = Scene(probe, client)
    await stage.until(lambda: probe.server._protocols)
    yield stage
    if not client.gone:
        client.transport.abortConnection()
    await stage.until(lambda: not probe.server._protocols)
    await maybeDeferred(port.stopListening)


@pytest_twisted.ensureDeferred
async def test_a_stream_that_nobody_reads_stops_its_writer(scene: Scene) -> None:
    """A writer stops once the kernel's buffers are full, and goes on when they drain, losing nothing."""
    scene.client.say(WIDE + call(1, "Pour", b"50000"))
    await scene.until(lambda: scene.probe.poured)
    await scene.quiet()
    assert scene.probe.poured < 1000
    assert scene.held() < MIB
    scene.client.read()
    await scene.until(lambda: scene.client.frames and scene.client.frames[-1].ends_stream)
    assert scene.client.bodies()[1] == h2.message(bytes(50_000)) * 1000


@pytest_twisted.ensureDeferred
async def test_unary_answers_that_nobody_reads_are_kept_in_order(scene: Scene) -> None:
    """Answers wait for their reader within bounds, and each then arrives once and whole."""
    many = 1000
    payloads = [b"%d," % n * 1000 for n in range(many)]
    scene.client.say(WIDE)
    for n, payload in enumerate(payloads):
        scene.client.say(call(1 + 2 * n, payload=payload))
    await scene.until(lambda: len(scene.probe.started) == many)
    await scene.quiet()
    assert scene.held() < MIB
    scene.client.read()
    await scene.answers(many)
    assert scene.client.bodies() == {1 + 2 * n: h2.message(payload) for n, payload in enumerate(payloads)}


@pytest_twisted.ensureDeferred
async def test_answers_arrive_whole_while_they_are_read(scene: Scene) -> None:
    """Thousands of calls in pieces of every size are answered once each, whole and in order, by way of the kernel."""
    many = 5000
    scene.client.read()
    scene.client.say(WIDE)
    for n in range(many):
        scene.client.say(call(1 + 2 * n, payload=b"%d," % n * (n % 300)))
        if n % 500 == 499:
            await scene.answers(n + 1)
    await scene.answers(many)
    assert scene.client.bodies() == {1 + 2 * n: h2.message(b"%d," % n * (n % 300)) for n in range(many)}


@pytest_twisted.ensureDeferred
async def test_a_flood_ends_the_connection(scene: Scene) -> None:
    """A PING flood of a client that does not read ends with its connection, though the GOAWAY be never read."""
    scene.client.say(WIDE + h2.ping() * 100_000)
    await scene.until(lambda: not scene.probe.server._protocols)
    scene.client.read()


@pytest_twisted.ensureDeferred
async def test_goaway_arrives_before_the_end(scene: Scene) -> None:
    """The GOAWAY that says why reaches the client before the connection closes."""
    scene.client.read()
    scene.client.say(WIDE + call(1, payload=b"x" * 10_000) + h2.data(0, b""))
    await scene.until(lambda: scene.client.frames and scene.client.frames[-1].kind == Kind.GOAWAY)
    assert scene.client.frames[-1].code == h2.Code.PROTOCOL_ERROR
    await scene.until(lambda: not scene.probe.server._protocols)
