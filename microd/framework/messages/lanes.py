"""Whose turn it is: so many at once, and one after the other of those with the same key. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Lanes(Generic[T]):
    """Work in the order in which it arrived.

    ::

        key:  free ──add──▶ busy ──done──▶ free, or busy with the next
                              └──failed──▶ waiting for the same work to come again ──it is added──▶ busy
                                              └──given up──▶ free, or busy with the next

    @param at_once: how much may run at a time.
    @ivar running: how much runs.
    """

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._ready: deque[tuple[Hashable, T]] = deque()
        self._behind: dict[Hashable, deque[T]] = {}
        self._waiting: dict[Hashable, Hashable] = {}
        self._held = 0
        self.running = 0

    @property
    def waiting(self) -> int:
        """How much is here and does not run."""
        return len(self._ready) + self._held

    def add(self, work: T, key: Hashable, id: Hashable = None) -> None:
        """Something has arrived.

        @param key: C{None}: it is in nobody's way.
        @param id: what it is known by, should it come again.
        """
        if key is None:
            self._ready.append((None, work))
        elif key not in self._behind:
            self._behind[key] = deque()
            self._ready.append((key, work))
        elif id is not None and self._waiting.get(key) == id:
            del self._waiting[key]
            self._ready.append((key, work))
        else:
            self._behind[key].append(work)
            self._held += 1

    def take(self) -> tuple[Hashable, T] | None:
        """The next that may run now; C{None} for nothing."""
        if self.running >= self._at_once or not self._ready:
            return None
        self.running += 1
        return self._ready.popleft()

    def done(self, key: Hashable) -> None:
        """It ran, and comes no more."""
        self.running -= 1
        self._free(key)

    def failed(self, key: Hashable, id: Hashable) -> None:
        """It ran, and will come again: what is behind it waits for that."""
        self.running -= 1
        if key is not None:
            self._waiting[key] = id

    def give_up(self, key: Hashable, id: Hashable) -> None:
        """It has not come again, and nothing waits for it any longer."""
        if key is not None and self._waiting.get(key) == id:
            del self._waiting[key]
            self._free(key)

    def forget(self) -> list[T]:
        """Let go of all that does not run; what was that?"""
        gone = [work for _, work in self._ready]
        for behind in self._behind.values():
            gone += behind
            behind.clear()
        for key, _ in self._ready:
            self._behind.pop(key, None)
        self._ready.clear()
        self._held = 0
        return gone

    def _free(self, key: Hashable) -> None:
        if key is None:
            return
        behind = self._behind[key]
        if behind:
            self._held -= 1
            self._ready.append((key, behind.popleft()))
        else:
            del self._behind[key]
