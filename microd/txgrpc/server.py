"""The server: methods by path, connections, and how it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IProtocolFactory,
    IProtocolNegotiationFactory,
    IReactorTime,
)
from zope.interface import implementer

from microd.txgrpc.call import ServerCall
from microd.txgrpc.deadlines import Deadlines
from microd.txgrpc.limits import DEFAULT, Keepalive, Limits
from microd.txgrpc.method import Method, unknown
from microd.txgrpc.protocol import ServerProtocol

Fallback = Callable[[ServerCall], Method]

_KEEPALIVE = Keepalive()


@implementer(IProtocolFactory, IProtocolNegotiationFactory)
class GrpcServer:
    """Serves gRPC on as many endpoints as listen with it: C{await endpoint.listen(server)}.

    @ivar draining: it takes no new calls any more.
    """

    #: Twisted logs the start and stop of a factory that is noisy.
    noisy = False

    def __init__(
        self,
        methods: Mapping[str, Method],
        *,
        clock: IReactorTime,
        fallback: Fallback | None = None,
        limits: Limits = DEFAULT,
        keepalive: Keepalive = _KEEPALIVE,
    ) -> None:
        self.methods = methods
        self.clock = clock
        self.limits = limits
        self.keepalive = keepalive
        self.draining = False
        self.deadlines = Deadlines(clock)
        self._fallback = fallback
        self._protocols: dict[ServerProtocol, None] = {}
        self._sweep: IDelayedCall | None = None
        self._drained: list[Deferred[None]] = []

    # What Twisted calls.

    def doStart(self) -> None:
        """A port listens with this server."""

    def doStop(self) -> None:
        """A port has stopped listening; its connections live on until L{drain}."""

    def buildProtocol(self, addr: IAddress) -> ServerProtocol:
        """A client has connected."""
        return ServerProtocol(self)

    def acceptableProtocols(self) -> list[bytes]:
        """What ALPN offers when an endpoint puts TLS in front."""
        return [b"h2"]

    # What protocols tell.

    def connected(self, protocol: ServerProtocol) -> None:
        """A connection is up."""
        self._protocols[protocol] = None
        if self._sweep is None:
            self._look_after_later()

    def disconnected(self, protocol: ServerProtocol) -> None:
        """A connection is gone."""
        self._protocols.pop(protocol, None)
        if not self._protocols:
            if self._sweep is not None:
                self._sweep.cancel()
                self._sweep = None
            self.deadlines.stop()
            waiting, self._drained = self._drained, []
            for drained in waiting:
                drained.callback(None)

    def _look_after_later(self) -> None:
        keepalive = self.keepalive
        every = max(0.1, min(keepalive.handshake, keepalive.interval, keepalive.timeout) / 2)
        self._sweep = self.clock.callLater(every, self._look_after)

    def _look_after(self) -> None:
        self._look_after_later()
        now = self.clock.seconds()
        for protocol in list(self._protocols):
            protocol.look_after(now)

    # What others ask.

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._protocols)

    @property
    def in_flight(self) -> int:
        """How many calls are being answered."""
        return sum([len(protocol.connection.streams) for protocol in self._protocols])

    def look_up(self, call: ServerCall) -> Method:
        """What serves a call whose path is not one of C{methods}.

        @raise RpcError: nothing does, with the texts which clients of the reference know (spec 2.2).
        """
        if self._fallback is not None:
            return self._fallback(call)
        raise unknown(call.path, self.methods)

    async def drain(self, timeout: float) -> None:
        """Take no new calls, let those in flight finish, close; after C{timeout} seconds close anyway."""
        self.draining = True
        if not self._protocols:
            return
        drained: Deferred[None] = Deferred()
        self._drained.append(drained)
        for protocol in list(self._protocols):
            protocol.drain()
        late = self.clock.callLater(timeout, self._abort)
        try:
            await drained
        finally:
            if late.active():
                late.cancel()

    def _abort(self) -> None:
        for protocol in list(self._protocols):
            protocol.abort()
