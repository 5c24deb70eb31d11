"""A thread for what would block the reactor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

T = TypeVar("T")


class IWorker(Protocol):
    """Does one thing after the other, somewhere else."""

    def start(self) -> None:
        """Begin; before that nothing may be asked."""

    def run(self, function: Callable[..., T], *arguments: Any) -> Deferred[T]:
        """Call C{function} after everything asked for before; the Deferred fires in the reactor's thread."""

    def stop(self) -> None:
        """End, after what was asked for is done; it waits for that."""


class Thread(IWorker):
    """One thread of its own."""

    def __init__(self, reactor: IReactorFromThreads, name: str) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(1, 1, name)

    def start(self) -> None:
        self._pool.start()

    def run(self, function: Callable[..., T], *arguments: Any) -> Deferred[T]:
        return deferToThreadPool(self._reactor, self._pool, function, *arguments)

    def stop(self) -> None:
        self._pool.stop()


class Inline(IWorker):
    """Does it at once, in the caller's thread: for tests under a clock of their own."""

    def start(self) -> None:
        """Nothing to start."""

    def run(self, function: Callable[..., T], *arguments: Any) -> Deferred[T]:
        return maybeDeferred(function, *arguments)

    def stop(self) -> None:
        """Nothing to stop."""
