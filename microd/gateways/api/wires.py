"""Calls to nodes, with what they share kept: the callables, and the write at the end of the reactor's turn."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet.interfaces import IReactorTime

from microd.gateways.api.interface import IDialer

_MOST = 1024


class Wires:
    """Knows how to call a method at an address."""

    def __init__(self, dialer: IDialer, clock: IReactorTime) -> None:
        self._dialer = dialer
        self._later = partial(clock.callLater, 0)
        self._calls: dict[tuple[Any, str], Any] = {}

    def unary(self, address: str, path: str) -> Any:
        """The method, to be called now."""
        channel = self._dialer.channel(address)
        key = (channel, path)
        call = self._calls.get(key)
        if call is None:
            if len(self._calls) >= _MOST:
                self._calls.clear()
            call = self._calls[key] = channel.unary_unary(path)
        connection = channel.connection
        if connection is not None:
            # What the requests of this turn have to say to the node goes out in one write, when the turn is over.
            connection.hold(self._later)
        return call

    def streaming(self, address: str, path: str) -> Any:
        """The streaming method."""
        return self._dialer.channel(address).unary_stream(path)
