"""What a client is sent: straight to the kernel where it may, and no faster than it is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.tcp import Connection
from zope.interface import implementer


@implementer(IPushProducer)
class Outlet:
    """The sending side of a connection.

    @param drained: called when all is sent after L{full} was set.
    @ivar full: more is unsent than the transport likes.
    @ivar unsent: at most so many bytes are.
    """

    def __init__(self, transport: Any, drained: Callable[[], None]) -> None:
        self._transport = transport
        self._drained = drained
        self._send: Callable[[bytes], int] | None = None
        if isinstance(transport, Connection) and not transport.TLS:
            self._send = transport.socket.send
        self._collected: list[bytes] | None = None
        self._room: Deferred[None] | None = None
        self._closed = False
        self.full = False
        self.unsent = 0
        transport.registerProducer(self, True)

    def collect(self) -> None:
        """Keep what is sent until L{release}, for one write."""
        self._collected = []

    def release(self) -> None:
        """Send what was kept."""
        collected, self._collected = self._collected, None
        if collected:
            self.send(collected[0] if len(collected) == 1 else b"".join(collected))

    def send(self, data: bytes) -> None:
        """Send an answer, or the end of one.

        A transport's own C{write} waits for the next turn of the reactor and costs two more system calls: a third of
        the gateway's time, where answers are small. So the kernel is asked first.
        """
        if self._collected is not None:
            self._collected.append(data)
            return
        transport = self._transport
        if self._send is not None and not transport.dataBuffer and not transport._tempDataBuffer:
            try:
                sent = self._send(data)
            except OSError:
                # Full, or broken: either way the transport will find out and do what is right.
                sent = 0
            data = data[sent:]
        if data:
            self._write(data)

    def part(self, data: bytes) -> Deferred[None] | None:
        """Send a part of an answer, by way of the transport, which pushes back; None, or what fires when there is room."""
        if self._collected:
            self._write(b"".join(self._collected))
            self._collected.clear()
        self._write(data)
        if not self.full:
            return None
        self._room = self._room or Deferred()
        return self._room

    def close(self) -> None:
        """Nothing more will be sent. May be called twice."""
        self._send = self._room = None
        if not self._closed:
            self._closed = True
            self._transport.unregisterProducer()

    def _write(self, data: bytes) -> None:
        self.unsent += len(data)
        self._transport.write(data)
        if not self.full:
            self.unsent = 0

    # The transport calls these.

    def pauseProducing(self) -> None:
        """More is unsent than the transport likes."""
        self.full = True

    def resumeProducing(self) -> None:
        """All is sent."""
        self.full = False
        self.unsent = 0
        if self._room is not None:
            room, self._room = self._room, None
            room.callback(None)
        self._drained()

    def stopProducing(self) -> None:
        """The connection is lost; its protocol is told as well."""
