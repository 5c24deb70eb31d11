"""What both ends of a connection have in common as Twisted protocols: writing, back-pressure, keep-alive, hanging up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from zope.interface import implementer

from microd.txgrpc.connection import Http2Connection
from microd.txgrpc.limits import Keepalive

_PING = b"microd\x00\x01"


#: Bytes that go straight to the kernel for each piece taken in. A writer who never waits must meet the transport's
#: back-pressure some time, or the reactor would do nothing else while the peer keeps up.
ROOM = 64 * 1024


@implementer(IPushProducer)
class Shell(Protocol):
    """A transport and an L{Http2Connection}, tied together.

    The transport's buffer and the connection's windows push back alike: while either is full, writers wait.

    @ivar closing: we hang up, or the transport has.
    """

    _log = Logger()

    connection: Http2Connection

    def __init__(self, clock: IReactorTime, keepalive: Keepalive) -> None:
        self.clock = clock
        self.keepalive = keepalive
        self.closing = False
        self._peer: str | None = None
        self._heard = 0
        self._heard_at = 0.0
        self._ping_sent = False
        self._send: Callable[[bytes], int] | None = None
        self._room = 0

    def connectionMade(self) -> None:
        transport = self.transport
        assert transport is not None
        set_no_delay = getattr(transport, "setTcpNoDelay", None)
        if set_no_delay is not None:
            set_no_delay(True)
        transport.registerProducer(self, True)  # type: ignore[attr-defined]
        if isinstance(transport, Connection) and not transport.TLS:
            self._send = transport.socket.send
        self._heard_at = self.clock.seconds()
        self.connection.on_output = self.flush
        self.connection.on_release = self.flush_straight
        self.connection.start()

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        self.connection.paused = True

    def resumeProducing(self) -> None:
        """The transport has room again."""
        connection = self.connection
        busy, connection.busy = connection.busy, True
        connection.resume()
        connection.busy = busy
        if not busy:
            self.flush()

    def stopProducing(self) -> None:
        """The transport will take no more; C{connectionLost} follows."""

    @property
    def peer(self) -> str:
        """C{host:port}, or C{unix}."""
        made = self._peer
        if made is None:
            address: Any = self.transport.getPeer()  # type: ignore[union-attr]
            host = getattr(address, "host", None)
            if host is None:
                made = "unix"
            else:
                made = f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"
            self._peer = made
        return made

    def collect(self) -> None:
        """On a socket, what is sent until this turn of the reactor is over goes out in one write.

        Otherwise each of the calls which wait for one commit would go through the transport by itself.
        """
        if self._send is not None:
            self.connection.hold(self._later)

    def _later(self, act: Callable[[], None]) -> None:
        self.clock.callLater(0, act)

    def taken_in(self) -> None:
        """All that arrived has been taken in: do what was to be done then."""
        connection = self.connection
        while connection.afterwards:
            due, connection.afterwards = connection.afterwards, []
            for act in due:
                try:
                    act()
                except Exception:  # noqa: BLE001 - the others wait for their turn
                    self._log.failure("what was to be done afterwards failed")

    def flush(self) -> None:
        """Write what has collected."""
        data = self.connection.data_to_send()
        if data:
            self.write(data)

    def flush_straight(self) -> None:
        """Write what has collected, to the kernel: whoever collected has ended his turn and lets others have theirs."""
        room, self._room = self._room, ROOM if self._send is not None else 0
        self.flush()
        self._room = room

    def write(self, data: bytes) -> None:
        """Write C{data}; while something is being taken in, straight to the kernel, as far as it goes.

        A transport's own C{write} waits for the next turn of the reactor, and costs it two more system calls and a
        round through its event loop. The answers to what has just been read would spend a third of their time there.
        """
        room = self._room
        if room > 0:
            transport: Any = self.transport
            self._room = room - len(data)
            if not transport.dataBuffer and not transport._tempDataBuffer and not self.closing:
                try:
                    sent = self._send(data)  # type: ignore[misc]
                except OSError:
                    # Full, or broken: either way the transport will find out and do what is right.
                    sent = 0
                if sent == len(data):
                    return
                data = data[sent:]
        self.transport.write(data)  # type: ignore[union-attr]

    def close(self) -> None:
        """Hang up once what is written has gone out."""
        if not self.closing:
            self.closing = True
            transport = self.transport
            transport.unregisterProducer()  # type: ignore[union-attr]
            transport.loseConnection()  # type: ignore[union-attr]

    def abort(self) -> None:
        """Hang up now."""
        self.closing = True
        transport = self.transport
        if transport is not None:
            abort = getattr(transport, "abortConnection", transport.loseConnection)
            abort()

    def look_after(self, now: float) -> None:
        """Ping a peer that has been silent; hang up on one that does not answer, or never spoke, or will not go."""
        connection = self.connection
        keepalive = self.keepalive
        if connection.frames_received != self._heard and not self.closing:
            self._heard = connection.frames_received
            self._heard_at = now
            self._ping_sent = False
            return
        silent = now - self._heard_at
        if self.closing or not connection.settled:
            if silent >= keepalive.handshake:
                self.abort()
        elif self._ping_sent:
            if silent >= keepalive.interval + keepalive.timeout:
                self.abort()
        elif silent >= keepalive.interval:
            self._ping_sent = True
            connection.ping(_PING)
