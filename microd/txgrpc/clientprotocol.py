"""The client's end of one connection, as Twisted calls it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IProtocolFactory, IProtocolNegotiationFactory
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from microd.txgrpc.accounting import TOO_MANY_PINGS
from microd.txgrpc.connection import Http2Connection
from microd.txgrpc.frames import CANCEL, ENHANCE_YOUR_CALM
from microd.txgrpc.shell import ROOM, Shell

if TYPE_CHECKING:
    from microd.txgrpc.channel import Channel


class ClientProtocol(Shell):
    """A connection of a channel.

    @ivar retired: no more calls are opened on it.
    """

    def __init__(self, channel: Channel) -> None:
        super().__init__(channel.clock, channel.keepalive)
        self.channel = channel
        self.retired = False
        self._reason = ""
        self.connection = connection = Http2Connection(True, channel.limits, now=channel.clock.seconds)
        connection.on_settings = self._settled
        connection.on_goaway = self._going
        connection.on_idle = self._idle

    def connectionMade(self) -> None:
        super().connectionMade()
        self.channel.made(self)

    def dataReceived(self, data: bytes) -> None:
        connection = self.connection
        if self._send is not None:
            self._room = ROOM
        connection.receive(data)
        if connection.afterwards:
            connection.busy = True
            self.taken_in()
            connection.busy = False
        self.flush()
        self._room = 0
        if connection.failed is not None:
            self._reason = f"the server broke the protocol: {connection.reason}"
            self.close()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.closing = True
        if not self._reason:
            what = "" if reason.check(ConnectionDone) else f": {reason.getErrorMessage()}"
            self._reason = f"the connection was lost{what}"
        self.connection.on_output = self.connection.on_release = None
        self.connection.connection_lost(self._reason)
        self.channel.lost(self, self._reason)

    def give_up(self, reason: str) -> None:
        """End the calls in flight and hang up."""
        self._reason = reason
        self.connection.connection_lost(reason, CANCEL)
        self.abort()

    def _settled(self) -> None:
        self.channel.settled(self)

    def _going(self, code: int, text: str) -> None:
        if code == ENHANCE_YOUR_CALM:
            self._log.warn("{peer} asks for calm: {text}", peer=self.peer, text=text)
            if text == TOO_MANY_PINGS:
                self.channel.ping_less()
        self.channel.retire(self)

    def _idle(self) -> None:
        if self.retired:
            self.flush()
            self.close()


@implementer(IProtocolFactory, IProtocolNegotiationFactory)
class ClientFactory:
    """Makes the one protocol of one attempt to connect."""

    noisy = False

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def doStart(self) -> None:
        """Nothing is to be prepared."""

    def doStop(self) -> None:
        """Nothing is to be undone."""

    def buildProtocol(self, addr: IAddress) -> ClientProtocol:
        """The connection is up."""
        return ClientProtocol(self._channel)

    def acceptableProtocols(self) -> list[bytes]:
        """What ALPN offers when the endpoint puts TLS in front."""
        return [b"h2"]
