"""Threads for what would block the reactor; a slow disk holds up nobody else's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

T = TypeVar("T")

#: How many threads there are at most.
THREADS = 8


class IPool(Protocol):
    """Does things somewhere else, in no order."""

    def start(self) -> None:
        """Begin; before that nothing may be asked."""

    def run(self, function: Callable[..., T], *arguments: Any) -> Deferred[T]:
        """Call C{function}; the Deferred fires in the reactor's thread."""

    def stop(self) -> None:
        """End, after what was asked for is done; it waits for that."""


class Pool(IPool):
    """Threads which are made when they are needed."""

    def __init__(self, reactor: Any, name: str) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(0, THREADS, name)

    def start(self) -> None:
        self._pool.start()

    def run(self, function: Callable[..., T], *arguments: Any) -> Deferred[T]:
        found: Deferred[T] = deferToThreadPool(self._reactor, self._pool, function, *arguments)
        return found

    def stop(self) -> None:
        self._pool.stop()
