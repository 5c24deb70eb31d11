"""Many deadlines on one timer.

A timer of the reactor costs more than the rest of a short call, so deadlines are kept in buckets and one
timer stands for the earliest. Nothing fires early; the first of a bucket fires when it is due, and those soon
after it within C{GRAIN}.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: Seconds in one bucket, and the least time between two firings.
WIDTH, GRAIN = 0.25, 0.005


class Expiring(Protocol):
    """Something with a deadline."""

    @property
    def expires(self) -> float:
        """When, in the clock's seconds."""

    def expired(self) -> None:
        """The deadline has passed."""


class Deadlines:
    """Tells each of many things that its deadline has passed."""

    __slots__ = ("_buckets", "_clock", "_due", "_order", "_timer")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._buckets: dict[int, set[Expiring]] = {}
        self._order: list[int] = []
        self._timer: IDelayedCall | None = None
        self._due = 0.0

    def add(self, thing: Expiring) -> set[Expiring]:
        """Tell C{thing} when its time is over, unless it is removed first.

        @return: a set from which to discard it then; it may have gone by itself.
        """
        expires = thing.expires
        key = int(expires / WIDTH)
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = set()
            heappush(self._order, key)
        bucket.add(thing)
        timer = self._timer
        if timer is None:
            self._timer = self._clock.callLater(max(0.0, expires - self._clock.seconds()), self._fire)
            self._due = expires
        elif expires < self._due:
            self._due = expires
            timer.reset(max(0.0, expires - self._clock.seconds()))
        return bucket

    def stop(self) -> None:
        """Forget everything."""
        self._buckets.clear()
        self._order.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        due: list[Expiring] = []
        wake: float | None = None
        while self._order:
            key = self._order[0]
            bucket = self._buckets[key]
            over = [thing for thing in bucket if thing.expires <= now]
            bucket.difference_update(over)
            due += over
            if bucket:
                wake = min(thing.expires for thing in bucket)
                break
            heappop(self._order)
            del self._buckets[key]
        if wake is not None:
            self._due = max(wake, now + GRAIN)
            self._timer = self._clock.callLater(self._due - now, self._fire)
        for thing in sorted(due, key=_expires):
            thing.expired()


def _expires(thing: Expiring) -> float:
    return thing.expires
