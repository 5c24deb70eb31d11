"""Connections of which it is not known yet who they are: few, and nobody's flood keeps others out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Strangers(Generic[T]):
    """Whoever has connected and not said who they are, by the host they come from.

    @param most: so many may be there. Who comes when it is full makes the longest waiting of the host with the most go.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._hosts: dict[str, OrderedDict[T, None]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[T]:
        return iter([each for waiting in self._hosts.values() for each in waiting])

    def add(self, host: str, connection: T) -> T | None:
        """Somebody has come; whoever has to go for them."""
        waiting = self._hosts.setdefault(host, OrderedDict())
        waiting[connection] = None
        self._count += 1
        if self._count <= self._most:
            return None
        fullest = max(self._hosts, key=lambda each: len(self._hosts[each]))
        first = next(iter(self._hosts[fullest]))
        self.discard(fullest, first)
        return first

    def discard(self, host: str, connection: T) -> None:
        """Somebody is known now, or gone; may be called twice."""
        waiting = self._hosts.get(host)
        if waiting is None or connection not in waiting:
            return
        del waiting[connection]
        self._count -= 1
        if not waiting:
            del self._hosts[host]
