"""The connection to the daemon, which is kept while a service runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IReactorTime, IStreamClientEndpoint
from zope.interface import implementer

from microd.framework.daemon import Address
from microd.txgrpc import Channel, Keepalive
from microd.txgrpc.clientprotocol import ClientProtocol
from microd.txgrpc.endpoints import client_endpoint

#: A daemon that has gone without a word is missed after half a minute, and all streams are opened anew.
KEEPALIVE = Keepalive(interval=20.0, timeout=10.0)


@implementer(IStreamClientEndpoint)
class DaemonEndpoint:
    """Where the daemon is now: it may have come up, or come back, at another port.

    @param find: looks for it; asked for each connection.
    """

    def __init__(self, reactor: Any, find: Callable[[], Address]) -> None:
        self._reactor = reactor
        self._find = find

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect."""
        try:
            endpoint = client_endpoint(self._reactor, self._find().description)
        except ValueError:
            return fail()
        return endpoint.connect(protocolFactory)


class DaemonChannel(Channel):
    """A channel which tells when its connection is gone, so that what the daemon knew of it can be told again.

    @param on_lost: called each time.
    @param on_away: called, with the reason, when there is no connection any more; C{on_here} when there is one.
    """

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        clock: IReactorTime,
        on_lost: Callable[[], None],
        on_away: Callable[[str], None] = lambda _: None,
        on_here: Callable[[], None] = lambda: None,
        **options: Any,
    ) -> None:
        super().__init__(endpoint, clock, keepalive=KEEPALIVE, **options)
        self._on_lost = on_lost
        self._on_away = on_away
        self._on_here = on_here

    def settled(self, protocol: ClientProtocol) -> None:
        """The daemon's settings have come, the first time or again."""
        super().settled(protocol)
        if self.connection is not None:
            self._on_here()

    def lost(self, protocol: ClientProtocol, reason: str) -> None:
        """A connection is gone; its calls have been told."""
        super().lost(protocol, reason)
        self._on_lost()
        if self.connection is None:
            self._on_away(reason)
