"""The connection to the daemon, which is kept while a service runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IReactorTime, IStreamClientEndpoint
from zope.interface import implementer

from microd.framework.daemon import Address
from microd.txgrpc import Channel
from microd.txgrpc.clientprotocol import ClientProtocol
from microd.txgrpc.endpoints import client_endpoint


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
    """

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        clock: IReactorTime,
        on_lost: Callable[[], None],
        **options: Any,
    ) -> None:
        super().__init__(endpoint, clock, **options)
        self._on_lost = on_lost

    def lost(self, protocol: ClientProtocol, reason: str) -> None:
        """A connection is gone; its calls have been told."""
        super().lost(protocol, reason)
        self._on_lost()
