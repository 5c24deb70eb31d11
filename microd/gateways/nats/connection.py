"""A client's connection, between the listener and its session."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from microd.gateways.nats.session import Session
from microd.services.auth.turns import host_of

if TYPE_CHECKING:
    from microd.gateways.nats.door import NatsDoor

FULL = "maximum connections exceeded"
#: The first byte of a TLS handshake; no verb begins with it.
_HANDSHAKE = b"\x16"


class NatsConnection(Protocol):
    """See above.

    @ivar host: where it comes from, as those see it who count.
    """

    transport: Any

    def __init__(self, door: NatsDoor, number: int) -> None:
        self._door = door
        self._number = number
        self.host = ""
        tls = door.tls
        self.session = Session(
            door.exchange,
            door.limits,
            door.clock,
            info=self._info,
            authenticate=partial(door.admit, self),
            ended=self._ended,
            begin_tls=self._begin_tls if tls is not None and tls.required else None,
            events=door.events,
        )

    def connectionMade(self) -> None:
        """Greet."""
        address = self.transport.getPeer()
        host = getattr(address, "host", None)
        peer = "unix" if host is None else f"{host}:{address.port}"
        if host is not None:
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)
        self.host = host_of(peer)
        self._door.came(self)
        tls = self._door.tls
        if tls is None or tls.required:
            # One call less for whatever comes.
            self.dataReceived = self.session.data_received  # type: ignore[method-assign]
        self.session.connected(self.transport, peer)

    def dataReceived(self, data: bytes) -> None:
        """Where a client may choose, the first byte tells whether it begins TLS."""
        self.dataReceived = self.session.data_received  # type: ignore[method-assign]
        if data.startswith(_HANDSHAKE):
            self._begin_tls()
            self.transport.protocol.dataReceived(data)
        else:
            self.session.data_received(data)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Gone."""
        self.session.lost()
        self._door.gone(self)

    def _ended(self, _: Session) -> None:
        self._door.ended(self)

    def _begin_tls(self) -> None:
        assert self._door.tls is not None
        self.transport.startTLS(self._door.tls.options)

    def _info(self) -> bytes:
        return info_of(self._door, self._number, self.transport)


class Refusal(Protocol):
    """A connection for which there is no room."""

    transport: Any

    def __init__(self, door: NatsDoor, number: int) -> None:
        self._door = door
        self._number = number

    def connectionMade(self) -> None:
        """Say so, behind INFO, since clients expect that first."""
        info = info_of(self._door, self._number, self.transport)
        self.transport.write(b"INFO %b\r\n-ERR '%b'\r\n" % (info, FULL.encode()))
        self.transport.loseConnection()


def info_of(door: NatsDoor, number: int, transport: Any) -> bytes:
    """What a door tells a connection of itself."""
    here, there = transport.getHost(), transport.getPeer()
    at = getattr(here, "host", ""), getattr(here, "port", 0)
    return door.info.text(number, getattr(there, "host", ""), at, leaving=door.leaving)
