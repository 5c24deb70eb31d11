"""A NATS client driven by hand over memory: it speaks by the octet to a protocol, and keeps what comes back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from microd.testing.nats_wire import PING, Ear, Heard

#: Turns of others after which it should listen again.
_PATIENCE = 10_000


class NatsTransport(StringTransport):
    """The wire under the protocol: what it writes is kept until the peer reads it.

    Like a real transport it pauses its producer within the very write that fills it, and resumes it once it is empty.

    @ivar reads: whether the peer reads at all.
    """

    bufferSize = 64 * 1024

    def __init__(self) -> None:
        super().__init__(lenient=True)
        self.reads = True
        self.aborted = False
        self._full = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Memory has no delay."""

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Memory does not die."""

    def abortConnection(self) -> None:
        self.aborted = True
        super().abortConnection()

    def write(self, data: bytes) -> None:
        if not self.disconnecting:
            super().write(data)
            self._check_full()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    @property
    def unread(self) -> int:
        """Octets which the peer has not read."""
        return self.io.tell()

    def _check_full(self) -> None:
        if self.producer is not None and not self._full and self.unread > self.bufferSize:
            self._full = True
            self.producer.pauseProducing()

    def take(self) -> bytes:
        """What was written since the last time, if the peer reads."""
        if not self.reads:
            return b""
        written: bytes = self.io.getvalue()
        self.clear()
        if self._full:
            self._full = False
            if self.producer is not None:
                self.producer.resumeProducing()
        return written


class Wire(Protocol):
    """What is asked of a protocol of Twisted's."""

    def makeConnection(self, transport: NatsTransport) -> None: ...

    def dataReceived(self, data: bytes) -> None: ...

    def connectionLost(self, reason: Failure) -> None: ...


class NatsPeer:
    """The far end of a protocol's connection.

    @ivar heard: all that the protocol has said so far.
    @ivar closed: whether it hung up.
    """

    def __init__(self, protocol: Wire, clock: Clock) -> None:
        self.protocol = protocol
        self.clock = clock
        self.transport = NatsTransport()
        self.heard: list[Heard] = []
        self.closed = False
        self._ear = Ear()
        protocol.makeConnection(self.transport)
        self.settle()

    def send(self, *chunks: bytes) -> list[Heard]:
        """Deliver the chunks one after another; what was said to them."""
        before = len(self.heard)
        for chunk in chunks:
            self._await_turn()
            if self.closed:
                break
            self.protocol.dataReceived(chunk)
            self.settle()
        return self.heard[before:]

    def _await_turn(self) -> None:
        """It listens to others first, but not for ever."""
        for _ in range(_PATIENCE):
            if self.transport.producerState == "producing" or self.closed:
                return
            self.settle()
        raise AssertionError("it does not listen any more")

    def settle(self) -> None:
        """Let everything happen that is due now, and read what came back."""
        for _ in range(4):
            self.clock.advance(0)
        self.hear()
        if self.transport.disconnecting and not self.closed:
            self.hang_up()

    def hear(self) -> None:
        """Read what came back, and let nothing else happen."""
        while written := self.transport.take():
            self.heard += self._ear.feed(written)

    def hang_up(self) -> None:
        """The connection is gone."""
        if self.closed:
            return
        self.closed = True
        self.protocol.connectionLost(Failure(ConnectionDone()))
        self.clock.advance(0)

    def wait(self, seconds: float, step: float = 1.0) -> None:
        """Let time pass."""
        while seconds > 0 and not self.closed:
            self.clock.advance(min(step, seconds))
            self.settle()
            seconds -= step

    def of(self, verb: str) -> list[Heard]:
        """The operations of one kind."""
        return [each for each in self.heard if each.verb == verb]

    @property
    def errors(self) -> list[str]:
        """The texts of C{-ERR}."""
        return [each.rest for each in self.of("-ERR")]

    def alive(self) -> bool:
        """Whether a PING is answered."""
        return any(each.verb == "PONG" for each in self.send(PING))
