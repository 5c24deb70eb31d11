"""The gRPC server and the gRPC channel, each put before a `Peer`: what the conformance tests poke at.

`ServerProbe` serves a few methods of every kind of patience and remembers what reached them; `ClientProbe` makes calls
over a connection whose far end is the test.
"""

from collections.abc import AsyncIterator, Iterable
from typing import Any, Self

from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IReactorTime, IStreamClientEndpoint
from twisted.internet.task import Clock
from zope.interface import implementer

from microd.testing import http2_frames as h2
from microd.testing.http2_peer import Handshake, Peer
from microd.txgrpc import Channel, GrpcServer, Limits, Method, RpcError, ServerCall

ADDRESS = IPv4Address("TCP", "127.0.0.1", 50051)
PATH = b"/conformance.Probe/"

REQUEST: tuple[tuple[bytes, bytes], ...] = (
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", PATH + b"Echo"),
    (b":authority", b"localhost"),
    (b"te", b"trailers"),
    (b"content-type", b"application/grpc"),
)
RESPONSE: tuple[tuple[bytes, bytes], ...] = ((b":status", b"200"), (b"content-type", b"application/grpc"))
TRAILERS: tuple[tuple[bytes, bytes], ...] = ((b"grpc-status", b"0"),)


def request_fields(
    method: str = "Echo", extra: Iterable[tuple[bytes, bytes]] = ()
) -> tuple[tuple[bytes, bytes], ...]:
    """The fields of a good request for one of the probe's methods, and then some."""
    path = PATH + method.encode()
    return (*((n, path if n == b":path" else v) for n, v in REQUEST), *extra)


def opening(
    stream: int, method: str = "Echo", extra: Iterable[tuple[bytes, bytes]] = (), *, end: bool = False
) -> bytes:
    """The HEADERS of a request."""
    return h2.headers(stream, h2.block(request_fields(method, extra)), end=end)


def call(
    stream: int, method: str = "Echo", payload: bytes = b"ping", extra: Iterable[tuple[bytes, bytes]] = ()
) -> bytes:
    """A whole request of one message."""
    return opening(stream, method, extra) + h2.data(stream, h2.message(payload), end=True)


def reply(stream: int, payload: bytes = b"pong", extra: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
    """A whole good response of one message."""
    return (
        h2.headers(stream, h2.block((*RESPONSE, *extra)))
        + h2.data(stream, h2.message(payload))
        + h2.headers(stream, h2.block(TRAILERS), end=True)
    )


class ServerProbe:
    """A server whose handlers remember; its clock stands still unless the test moves it, or brings its own."""

    def __init__(
        self, limits: Limits | None = None, *, time: IReactorTime | None = None, **options: Any
    ) -> None:
        self.clock = Clock()
        self.started: list[str] = []
        self.finished: list[str] = []
        self.messages: list[bytes] = []
        self.poured = 0
        self.peers: list[Peer] = []
        self.server = GrpcServer(
            {
                "/conformance.Probe/Echo": Method("unary_unary", self.echo, None, None),
                "/conformance.Probe/Field": Method("unary_unary", self.field, None, None),
                "/conformance.Probe/Hang": Method("unary_unary", self.hang, None, None),
                "/conformance.Probe/Collect": Method("stream_unary", self.collect, None, None),
                "/conformance.Probe/Deaf": Method("stream_unary", self.deaf, None, None),
                "/conformance.Probe/Early": Method("stream_unary", self.early, None, None),
                "/conformance.Probe/Chat": Method("stream_stream", self.chat, None, None),
                "/conformance.Probe/Pour": Method("unary_stream", self.pour, None, None),
            },
            clock=self.clock if time is None else time,
            limits=Limits() if limits is None else limits,
            **options,
        )

    def connect(self) -> Peer:
        """A connection on which nothing has been sent yet."""
        protocol = self.server.buildProtocol(ADDRESS)
        assert protocol is not None
        peer = Peer(protocol, self.clock)
        self.peers.append(peer)
        return peer

    def peer(self, *settings: tuple[int, int]) -> Peer:
        """A connection with both prefaces exchanged."""
        peer = self.connect()
        peer.send(Handshake.client(*settings))
        return peer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        """Every client hangs up."""
        hang_up(self.peers)

    async def echo(self, request: bytes, call: ServerCall) -> bytes:
        """Answer at once."""
        self.started.append(call.path)
        self.messages.append(request)
        return request

    async def field(self, request: bytes, call: ServerCall) -> bytes:
        """Answer with the metadata `x`, which tells what the field block meant."""
        return "|".join(str(value) for value in call.metadata.get_all("x")).encode()

    async def hang(self, request: bytes, call: ServerCall) -> bytes:
        """Never answer."""
        await self._forever("Hang")
        return b""

    async def collect(self, requests: AsyncIterator[bytes], call: ServerCall) -> bytes:
        """Answer with all the messages joined."""
        got = []
        async for request in requests:
            self.messages.append(request)
            got.append(request)
        return b"".join(got)

    async def deaf(self, requests: AsyncIterator[bytes], call: ServerCall) -> bytes:
        """Neither read nor answer."""
        await self._forever("Deaf")
        return b""

    async def early(self, requests: AsyncIterator[bytes], call: ServerCall) -> bytes:
        """Answer without reading."""
        return b"early"

    async def chat(self, requests: AsyncIterator[bytes], call: ServerCall) -> AsyncIterator[bytes]:
        """Answer each message with itself."""
        async for request in requests:
            yield request

    async def pour(self, request: bytes, call: ServerCall) -> AsyncIterator[bytes]:
        """Answer with 1,000 messages as large as the request says."""
        chunk = bytes(int(request))
        for _ in range(1000):
            self.poured += 1
            yield chunk

    async def _forever(self, name: str) -> None:
        self.started.append(name)
        try:
            await Deferred()
        finally:
            self.finished.append(name)


class Outcome:
    """How a call of the client ended, if it has."""

    def __init__(self) -> None:
        self.reply: bytes | None = None
        self.error: RpcError | None = None
        self.deferred: Deferred[bytes] | None = None

    @property
    def pending(self) -> bool:
        return self.reply is None and self.error is None

    def cancel(self) -> None:
        """Give the call up."""
        assert self.deferred is not None
        self.deferred.cancel()

    def failed(self) -> RpcError:
        """The error, which there must be."""
        assert self.error is not None, f"the call did not fail: {self.reply!r}"
        return self.error


@implementer(IStreamClientEndpoint)
class _Hand:
    """Every connection that the channel makes ends in the hands of the test."""

    def __init__(self, probe: "ClientProbe") -> None:
        self.probe = probe

    def connect(self, protocolFactory: IProtocolFactory) -> "Deferred[IProtocol]":
        protocol = protocolFactory.buildProtocol(ADDRESS)
        assert protocol is not None
        self.probe.peers.append(Peer(protocol, self.probe.clock))
        return succeed(protocol)


class ClientProbe:
    """A channel whose server is the test."""

    def __init__(self, limits: Limits | None = None, **options: Any) -> None:
        self.clock = Clock()
        self.peers: list[Peer] = []
        self.outcomes: list[Outcome] = []
        self.channel = Channel(
            _Hand(self), self.clock, limits=Limits() if limits is None else limits, **options
        )
        self._echo = self.channel.unary_unary("/conformance.Probe/Echo")

    @property
    def peer(self) -> Peer:
        """The newest connection."""
        return self.peers[-1]

    def call(self, payload: bytes = b"ping", **options: Any) -> Outcome:
        """Start a unary call; the first one opens stream 1."""
        outcome = Outcome()
        self.outcomes.append(outcome)
        deferred = self._echo(payload, **options)

        def answered(reply: bytes) -> None:
            outcome.reply = reply

        def failed(failure: Any) -> None:
            error = failure.value if failure.trap(RpcError, CancelledError) is RpcError else None
            outcome.error = error

        outcome.deferred = deferred
        deferred.addCallbacks(answered, failed)
        self.settle()
        return outcome

    def settle(self) -> None:
        for peer in self.peers:
            peer.settle()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        """Every server hangs up."""
        hang_up(self.peers)


def hang_up(peers: list[Peer]) -> None:
    """End the connections that have not ended, so that no call is left waiting."""
    for peer in peers:
        if not peer.closed:
            peer.hang_up()
