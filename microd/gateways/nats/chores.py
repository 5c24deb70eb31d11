"""Small jobs for many connections, a few in each turn of the reactor."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: Jobs in one turn.
AT_ONCE = 64


class Chores:
    """Does jobs in the order in which they came. They must not raise."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._jobs: deque[Callable[[], None]] = deque()
        self._turn: IDelayedCall | None = None

    def add(self, jobs: Iterable[Callable[[], None]]) -> None:
        """Do these soon."""
        self._jobs.extend(jobs)
        if self._jobs and self._turn is None:
            self._turn = self._clock.callLater(0, self._work)

    def stop(self) -> None:
        """Do nothing more."""
        self._jobs.clear()
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def _work(self) -> None:
        self._turn = None
        for _ in range(min(AT_ONCE, len(self._jobs))):
            self._jobs.popleft()()
        if self._jobs:
            self._turn = self._clock.callLater(0, self._work)
