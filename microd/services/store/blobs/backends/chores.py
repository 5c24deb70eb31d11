"""Work that goes on though nobody waits for it; its owner ends when it has ended."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger
from twisted.python.failure import Failure

T = TypeVar("T")
Key = tuple[str, str]


class Chores:
    """What is under way."""

    log = Logger()

    def __init__(self) -> None:
        self._under_way: set[Deferred[Any]] = set()

    def begin(self, work: Deferred[Any], what: str) -> None:
        """Let it go on; where it fails, that is logged."""
        self._under_way.add(work)
        work.addErrback(self._failed, what).addBoth(self._ended, work)

    def finish(self, work: Coroutine[Any, Any, T]) -> Deferred[T]:
        """Its outcome. Who gives up waiting for that does not stop the work."""
        seen: Deferred[T] = Deferred()
        begun: Deferred[Any] = Deferred.fromCoroutine(work)
        self._under_way.add(begun)

        def tell(outcome: T | Failure) -> None:
            self._under_way.discard(begun)
            if not seen.called:
                seen.callback(outcome)

        begun.addBoth(tell)
        return seen

    async def ended(self) -> None:
        """Wait until nothing is under way."""
        while self._under_way:
            waiting: Deferred[None] = Deferred()
            next(iter(self._under_way)).addBoth(_pass_on, waiting)
            await waiting

    def _failed(self, failure: Failure, what: str) -> None:
        self.log.warn("{what}: {error}", what=what, error=failure.getErrorMessage())

    def _ended(self, _: object, work: Deferred[Any]) -> None:
        self._under_way.discard(work)


def _pass_on(outcome: T, waiting: Deferred[None]) -> T:
    waiting.callback(None)
    return outcome


class Turns:
    """One at a time, for each key."""

    def __init__(self) -> None:
        self._locks: dict[Key, DeferredLock] = {}

    async def take(self, key: Key) -> None:
        """Wait for one's turn."""
        await self._locks.setdefault(key, DeferredLock()).acquire()

    def leave(self, key: Key) -> None:
        """Let the next one have its turn."""
        lock = self._locks[key]
        lock.release()
        if not lock.locked:
            del self._locks[key]
