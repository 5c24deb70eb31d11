"""Requests which a thread makes and a call on the reactor sends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from twisted.internet.defer import Deferred

from microd.framework.bridge import Bridge

_END: Any = object()


class Handoff(AsyncIterator[Any]):
    """Hands over one value at a time; whoever makes them waits until the last one was taken.

    All of it happens on the reactor.

    @param bridge: how whoever takes them can wait.
    """

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._value: Any = None
        self._full = self._over = False
        self._taker: Deferred[None] | None = None
        self._giver: Deferred[None] | None = None

    async def put(self, value: Any) -> bool:
        """Hand a value over; whether more are wanted."""
        while self._full and not self._over:
            self._giver = Deferred()
            await self._giver
        if not self._over:
            self._value, self._full = value, True
            _wake(self._taker)
        return not self._over

    async def end(self) -> None:
        """There are no more."""
        await self.put(_END)

    def close(self) -> None:
        """No more are wanted."""
        self._over = True
        _wake(self._giver)

    async def __anext__(self) -> Any:
        value = await self._bridge.theirs(self._take())
        if value is _END:
            raise StopAsyncIteration
        return value

    async def _take(self) -> Any:
        while not self._full:
            self._taker = Deferred()
            await self._taker
        value, self._value, self._full = self._value, None, False
        _wake(self._giver)
        return value


def _wake(waiting: Deferred[None] | None) -> None:
    if waiting is not None and not waiting.called:
        waiting.callback(None)
