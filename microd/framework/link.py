"""The connection to the daemon, which is kept while a service runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint

from microd.txgrpc import Channel
from microd.txgrpc.clientprotocol import ClientProtocol


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
