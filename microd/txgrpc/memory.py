"""A channel and a server tied together in memory: no reactor, no sockets, the same bytes.

What one end writes reaches the other as soon as nobody else is being handed something, so that everything
which a call sets off has happened when the call returns; time passes only as the clock is advanced. A full
buffer pushes back as a socket's does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.interfaces import (
    IAddress,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    IReactorTime,
    IStreamClientEndpoint,
    ITransport,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from microd.txgrpc.channel import Channel
from microd.txgrpc.server import GrpcServer

#: As much as Twisted's own transports take before they push back.
BUFFER = 64 * 1024


class Pump:
    """Hands out what was written, in order, one piece at a time."""

    def __init__(self) -> None:
        self._due: deque[Callable[[], None]] = deque()
        self._running = False

    def later(self, act: Callable[[], None]) -> None:
        """Do C{act} after everything that is due already; at once, if nothing is."""
        self._due.append(act)
        if self._running:
            return
        self._running = True
        try:
            while self._due:
                self._due.popleft()()
        finally:
            self._running = False


@implementer(ITransport, IPushProducer)
class MemoryTransport:
    """One end of a connection in memory.

    @ivar protocol: who is told what the other end writes.
    @ivar written: everything that this end wrote, when C{keep} is set.
    """

    def __init__(self, pump: Pump) -> None:
        self.pump = pump
        self.protocol: IProtocol | None = None
        self.other: MemoryTransport
        self.keep = False
        self.written = b""
        self.disconnected = self.disconnecting = False
        self._producer: Any = None
        self._paused_producer = self._paused = self._scheduled = False
        self._buffer: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        """Send C{data}."""
        if self.disconnected or self.disconnecting or not data:
            return
        if self.keep:
            self.written += data
        self._buffer.append(data)
        self._size += len(data)
        if self._size > BUFFER and self._producer is not None and not self._paused_producer:
            self._paused_producer = True
            self._producer.pauseProducing()
        self._deliver_later()

    def writeSequence(self, iovec: Any) -> None:
        """Send each of C{iovec}."""
        self.write(b"".join(iovec))

    def _deliver_later(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self.pump.later(self._deliver)

    def _deliver(self) -> None:
        self._scheduled = False
        other = self.other
        if self._buffer and not other._paused and not self.disconnected:
            data, self._buffer, self._size = b"".join(self._buffer), [], 0
            if other.protocol is not None:
                other.protocol.dataReceived(data)
            if self._paused_producer and self._producer is not None:
                self._paused_producer = False
                self._producer.resumeProducing()
        if self.disconnecting and not self._buffer:
            self._drop(ConnectionDone())

    def _drop(self, reason: Exception) -> None:
        for end in (self, self.other):
            if not end.disconnected:
                end.disconnected = True
                end._buffer = []
                if end.protocol is not None:
                    end.protocol.connectionLost(Failure(reason))

    def loseConnection(self) -> None:
        """Hang up after what is written has arrived."""
        self.disconnecting = True
        self._deliver_later()

    def abortConnection(self) -> None:
        """Hang up now."""
        self.pump.later(lambda: self._drop(ConnectionAborted()))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Have C{producer} paused while the buffer is full."""
        self._producer = producer

    def unregisterProducer(self) -> None:
        """There is nobody to pause."""
        self._producer = None

    def pauseProducing(self) -> None:
        """Read no more for now."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Read again."""
        self._paused = False
        self.other._deliver_later()

    def stopProducing(self) -> None:
        """The same as hanging up."""
        self.loseConnection()

    def getPeer(self) -> IAddress:
        """Nobody's address."""
        return UNIXAddress(None)

    def getHost(self) -> IAddress:
        """Nobody's address."""
        return UNIXAddress(None)


def pair() -> tuple[MemoryTransport, MemoryTransport]:
    """Two ends of one connection."""
    pump = Pump()
    one, two = MemoryTransport(pump), MemoryTransport(pump)
    one.other, two.other = two, one
    return one, two


@implementer(IStreamClientEndpoint)
class MemoryEndpoint:
    """Where C{server} can be reached, in memory.

    @ivar refusing: whether connecting is refused, as by a machine where nothing listens.
    @ivar connections: pairs of client's and server's transports, the latest last.
    """

    def __init__(self, server: IProtocolFactory) -> None:
        self._server = server
        self.refusing = False
        self.connections: list[tuple[MemoryTransport, MemoryTransport]] = []

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect."""
        if self.refusing:
            return fail(Refused())
        ours, theirs = pair()
        client = protocolFactory.buildProtocol(UNIXAddress(None))
        server = self._server.buildProtocol(UNIXAddress(None))
        assert client is not None
        assert server is not None
        ours.protocol, theirs.protocol = client, server
        self.connections.append((ours, theirs))

        def begin() -> None:
            server.makeConnection(theirs)
            client.makeConnection(ours)

        ours.pump.later(begin)
        return succeed(client)


def connect(server: GrpcServer, clock: IReactorTime, **options: Any) -> Channel:
    """A channel to C{server}, in memory; C{options} are those of L{Channel}."""
    return Channel(MemoryEndpoint(server), clock, **options)
