"""The server's end of one connection, as Twisted calls it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.protocol import connectionDone
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from microd.txgrpc import replies
from microd.txgrpc.call import ServerCall
from microd.txgrpc.connection import Http2Connection
from microd.txgrpc.frames import NO_ERROR, PROTOCOL_ERROR
from microd.txgrpc.heads import RequestHead
from microd.txgrpc.method import Method, unknown
from microd.txgrpc.shell import ROOM, Shell
from microd.txgrpc.status import RpcError, StatusCode
from microd.txgrpc.stream import Stream

if TYPE_CHECKING:
    from microd.txgrpc.server import GrpcServer

_DRAIN_PING = b"microd\x00\x02"
#: How much may collect for a client that does not read, before we stop reading from it.
_PATIENCE = 1 << 20


class Refusal(Stream):
    """A stream that is answered with a header block, whatever comes on it."""

    __slots__ = ("_block", "_error")

    def __init__(self, connection: Http2Connection, block: bytes, error: int = NO_ERROR) -> None:
        super().__init__(connection)
        self._block = block
        self._error = error

    def opened(self) -> None:
        self.connection.send_headers(self, self._block, end=True)

    def ended(self) -> None:
        self.connection.reset(self, self._error)


class ServerProtocol(Shell):
    """One client's connection.

    @ivar arrived: when the bytes that are being taken in came.
    @ivar fresh: calls opened by them, which are settled when all are taken in.
    """

    def __init__(self, server: GrpcServer) -> None:
        super().__init__(server.clock, server.keepalive)
        self.server = server
        self.deadlines = server.deadlines
        self.arrived = 0.0
        self.fresh: list[ServerCall] = []
        self.connection = Http2Connection(False, server.limits, self._accept, server.clock.seconds)
        self._on_lost: dict[object, Callable[[], None]] = {}
        self._unread = 0
        self._reading_paused = False
        self._awaited: dict[int, tuple[int, float]] = {}

    # What Twisted calls.

    def connectionMade(self) -> None:
        super().connectionMade()
        self.server.connected(self)
        if self.server.draining:
            self.drain()

    def dataReceived(self, data: bytes) -> None:
        connection = self.connection
        self.arrived = self.clock.seconds()
        if self._send is not None:
            self._room = ROOM
        connection.receive(data)
        connection.busy = True
        fresh = self.fresh
        while fresh:
            self.fresh = []
            for call in fresh:
                call.settle()
            fresh = self.fresh
        if connection.afterwards:
            self.taken_in()
        connection.busy = False
        self.flush()
        self._room = 0
        if connection.failed is not None and not self.closing:
            # Whoever scans ports need not fill the log: who never spoke HTTP/2 is no client that broke.
            level = LogLevel.info if connection.settled else LogLevel.debug
            self._log.emit(
                level, "{peer} was disconnected: {reason}", peer=self.peer, reason=connection.reason
            )
            self.close()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.closing = True
        self.connection.on_output = self.connection.on_release = None
        self.connection.connection_lost("the connection is gone")
        self.server.disconnected(self)
        callbacks = list(self._on_lost.values())
        self._on_lost.clear()
        for callback in callbacks:
            try:
                callback()
            except Exception:  # noqa: BLE001 - one listener's defect must not keep the others from hearing
                self._log.failure("a listener for lost connections failed")

    def resumeProducing(self) -> None:
        """The transport has room again."""
        self._unread = 0
        if self._reading_paused:
            self._reading_paused = False
            self.transport.resumeProducing()  # type: ignore[union-attr]
        super().resumeProducing()

    def flush(self) -> None:
        """Write what has collected; stop reading from a client that only asks and never reads the answers."""
        data = self.connection.data_to_send()
        if not data:
            return
        self.write(data)
        if self.connection.paused:
            self._unread += len(data)
            if self._unread > _PATIENCE and not self._reading_paused:
                self._reading_paused = True
                self.transport.pauseProducing()  # type: ignore[union-attr]

    # What calls ask.

    def on_lost(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have C{callback} called when the connection is gone; the answer withdraws that."""
        key = object()
        self._on_lost[key] = callback

        def withdraw() -> None:
            self._on_lost.pop(key, None)

        return withdraw

    def _accept(self, connection: Http2Connection, head: RequestHead) -> Stream:
        route = head.route
        if route is None:
            route = head.route = self._route(head)
        if type(route) is Method:
            return ServerCall(self, head, route)
        if route is None:
            return self._fall_back(head)
        # A path that is not absolute is malformed (RFC 9113 8.3.1); the clients of the reference that send one know
        # the answer by its text, and RFC 9113 8.1.1 allows an answer before the stream error.
        return Refusal(connection, route, NO_ERROR if head.path[:1] == "/" else PROTOCOL_ERROR)

    def _route(self, head: RequestHead) -> Method | bytes | None:
        """The method for a request, or the refusal that it gets, or None where the fallback decides each time."""
        if head.http_status == 415:
            return replies.refusal(415, f"content-type {head.content_type!r} is not application/grpc")
        if head.http_status:
            text = "the path is too long" if head.http_status == 414 else "gRPC calls are POST requests"
            return replies.refusal(head.http_status, text)
        if head.bad_timeout:
            return replies.failure(head, StatusCode.INTERNAL, "malformed grpc-timeout")
        if head.encoding is not None and head.encoding not in ("gzip", "deflate"):
            text = f"grpc-encoding {head.encoding} is not supported"
            return replies.failure(head, StatusCode.UNIMPLEMENTED, text) + replies.ACCEPT
        if head.path[:1] != "/":
            error = unknown(head.path, {})
            return replies.failure(head, error.code, error.message)
        return self.server.methods.get(head.path)

    def _fall_back(self, head: RequestHead) -> Stream:
        """No method has this path: ask the fallback, for each call anew."""
        call = ServerCall(self, head, _NOWHERE)
        try:
            call.use(self.server.look_up(call))
        except RpcError as error:
            block = replies.failure(head, error.code, error.message, error.details, error.trailing_metadata)
        except Exception:  # noqa: BLE001 - the fallback's defect is this call's answer
            self._log.failure("the fallback failed for {path}", path=head.path)
            block = replies.failure(head, StatusCode.UNKNOWN, "the server failed to find the method")
        else:
            return call
        return Refusal(self.connection, block)

    def look_after(self, now: float) -> None:
        """Besides what L{Shell} does: end calls whose one request has begun to come and does not come."""
        super().look_after(now)
        awaited: dict[int, tuple[int, float]] = {}
        for id, stream in self.connection.streams.items():
            if isinstance(stream, ServerCall) and stream.awaits_request:
                held, since = self._awaited.get(id, (stream.held, now))
                awaited[id] = (stream.held, since if held == stream.held else now)
        self._awaited = awaited
        for id, (_, since) in awaited.items():
            if now - since >= self.keepalive.request:
                call = self.connection.streams.get(id)
                if isinstance(call, ServerCall):
                    call.starved()

    # Ending.

    def drain(self) -> None:
        """Ask the client to go: first without taking anything back, and once it has surely heard, for good.

        RFC 9113 6.8: a GOAWAY with the highest id, then, after a round trip, one with the last that is served.
        """
        connection = self.connection
        connection.on_pong = self._heard_drain
        connection.drain()
        connection.ping(_DRAIN_PING)

    def _heard_drain(self, payload: bytes) -> None:
        if payload != _DRAIN_PING or self.closing:
            return
        self.connection.on_idle = self._idle
        self.connection.drain(final=True)
        for call in list(self.connection.streams.values()):
            if isinstance(call, ServerCall):
                call.dismiss()
        self.flush()
        if not self.connection.streams:
            self._idle()

    def _idle(self) -> None:
        self.flush()
        self.close()


async def _nothing(request: object, call: ServerCall) -> bytes:
    return b""


#: Stands in until the fallback has named the method.
_NOWHERE = Method("unary_unary", _nothing)
