"""Where an author's coroutines run: on Twisted's Deferreds, or on asyncio's tasks.

Our own code waits for Deferreds. An author who uses libraries written for asyncio has coroutines that wait for futures,
which a Deferred's coroutine cannot do, nor the other way round; every coroutine that crosses goes through a bridge.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Coroutine
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import CancelledError, Deferred

from microd.framework.failures import Quit

T = TypeVar("T")


class Bridge(Protocol):
    """Both directions."""

    def ours(self, theirs: Awaitable[T]) -> Awaitable[T]:
        """What the author's code made, as our coroutines can wait for it."""

    def theirs(self, ours: Awaitable[T]) -> Awaitable[T]:
        """What our code made, as the author's coroutines can wait for it."""

    def our_stream(self, theirs: AsyncIterator[T]) -> AsyncIterator[T]:
        """A stream of the author's, as our coroutines can read it."""

    def their_stream(self, ours: AsyncIterator[T]) -> AsyncIterator[T]:
        """A stream of ours, as the author's coroutines can read it."""


class NoBridge:
    """The author writes for Twisted: nothing is between us."""

    def ours(self, theirs: Awaitable[T]) -> Awaitable[T]:
        return theirs

    def theirs(self, ours: Awaitable[T]) -> Awaitable[T]:
        return ours

    def our_stream(self, theirs: AsyncIterator[T]) -> AsyncIterator[T]:
        return theirs

    def their_stream(self, ours: AsyncIterator[T]) -> AsyncIterator[T]:
        return ours


class AsyncioBridge:
    """The author writes for asyncio, whose loop Twisted's reactor runs on."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def ours(self, theirs: Awaitable[T]) -> Awaitable[T]:
        return _translated(Deferred.fromFuture(asyncio.ensure_future(_contained(theirs), loop=self._loop)))

    def theirs(self, ours: Awaitable[T]) -> Awaitable[T]:
        return _deferred(ours).asFuture(self._loop)

    async def our_stream(self, theirs: AsyncIterator[T]) -> AsyncIterator[T]:
        try:
            while True:
                try:
                    value = await self.ours(_next(theirs))
                except StopAsyncIteration:
                    return
                if value is _END:
                    return
                yield value
        finally:
            close = getattr(theirs, "aclose", None)
            if close is not None:
                await self.ours(close())

    async def their_stream(self, ours: AsyncIterator[T]) -> AsyncIterator[T]:
        try:
            while (value := await self.theirs(_next(ours))) is not _END:
                yield value
        finally:
            close = getattr(ours, "aclose", None)
            if close is not None:
                await self.theirs(close())


_END: Any = object()


async def _next(stream: AsyncIterator[T]) -> T:
    """The next value; a future cannot hold C{StopAsyncIteration}, so the end is a value too."""
    try:
        return await stream.__anext__()
    except StopAsyncIteration:
        return _END  # type: ignore[no-any-return]


def _deferred(awaitable: Awaitable[T]) -> Deferred[T]:
    if isinstance(awaitable, Deferred):
        return awaitable
    return Deferred.fromCoroutine(_coroutine(awaitable))


async def _coroutine(awaitable: Awaitable[T]) -> T:
    return await awaitable


async def _contained(theirs: Awaitable[T]) -> T:
    """A task that ends with one of these takes the loop with it, and the process."""
    try:
        return await theirs
    except (SystemExit, KeyboardInterrupt) as problem:
        raise Quit(problem) from problem


async def _translated(waiting: Deferred[T]) -> T:
    """A cancelled task is, in our code, a cancelled Deferred."""
    try:
        return await waiting
    except asyncio.CancelledError:
        raise CancelledError from None


def coroutine_of(awaitable: Awaitable[T]) -> Coroutine[Any, Any, T]:
    """Any awaitable as a coroutine."""
    return awaitable if isinstance(awaitable, Coroutine) else _coroutine(awaitable)
