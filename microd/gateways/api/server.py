"""All connections of one listener, and their time.

One timer serves them all: it looks at each once a second, so that a request costs no timer.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocolNegotiationFactory, IReactorTime
from twisted.internet.protocol import ServerFactory
from zope.interface import implementer

from microd.gateways.api.connection import HttpConnection
from microd.gateways.api.limits import Limits
from microd.gateways.api.replies import Dated
from microd.gateways.api.request import Request

#: Seconds which clients have, at the end of a drain, to take the news that there will be no answer.
LAST_WORDS = 1.0


@implementer(IProtocolNegotiationFactory)
class HttpServer(ServerFactory):
    """Makes connections, and looks after their time.

    @ivar ask: what is called with each request, in its turn; it calls C{request.answer} now or later.
    @ivar refused: what is called with each that was answered with its C{refusal} rather.
    @ivar now: the time, to the second.
    @ivar buffered: bytes of bodies held at present.
    """

    noisy = False
    _late: IDelayedCall

    def __init__(self, ask: Callable[[Request], None], clock: IReactorTime, limits: Limits) -> None:
        self.ask = ask
        self.refused: Callable[[Request], None] = _nobody_minds
        self.limits = limits
        self.now = clock.seconds()
        self.buffered = 0
        self.draining = False
        self.dated = Dated(self.now)
        self._clock = clock
        self._connections: set[HttpConnection] = set()
        self._looking: IDelayedCall | None = None
        self._emptied: Deferred[None] | None = None

    def acceptableProtocols(self) -> list[bytes]:
        """What ALPN offers when an endpoint puts TLS in front."""
        return [b"http/1.1"]

    def buildProtocol(self, addr: IAddress | None) -> HttpConnection:
        """A new client."""
        return HttpConnection(self)

    def opened(self, connection: HttpConnection) -> None:
        """A connection has come."""
        self._connections.add(connection)
        if self._looking is None:
            self._look()

    def closed(self, connection: HttpConnection) -> None:
        """A connection has gone."""
        self._connections.discard(connection)
        if not self._connections:
            if self._looking is not None:
                self._looking.cancel()
                self._looking = None
            if self._emptied is not None:
                emptied, self._emptied = self._emptied, None
                emptied.callback(None)

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    @property
    def in_flight(self) -> int:
        """How many requests are being answered."""
        return sum([connection.answering for connection in self._connections])

    async def drain(self, timeout: float) -> None:
        """Let requests in flight be answered, for at most C{timeout} seconds; then refuse the rest, and close all connections."""
        self.draining = True
        for connection in list(self._connections):
            connection.drain()
        if not self._connections:
            return
        self._emptied = Deferred()
        self._late = self._clock.callLater(timeout, self._break_off)
        await self._emptied
        self._late.cancel()

    def _break_off(self) -> None:
        self._late = self._clock.callLater(LAST_WORDS, self._abort)
        for connection in list(self._connections):
            connection.break_off()

    def _abort(self) -> None:
        self._late = self._clock.callLater(LAST_WORDS, self._abort)
        for connection in list(self._connections):
            connection.transport.abortConnection()

    def _look(self) -> None:
        """Once a second: what time is it, and who is late?"""
        now = self.now = self._clock.seconds()
        self.dated.turn(now)
        self._looking = self._clock.callLater(1.0, self._look)
        for connection in [each for each in self._connections if each.deadline <= now]:
            connection.overdue()


def _nobody_minds(request: Request) -> None:
    """A request that cannot be read is nobody's loss."""
