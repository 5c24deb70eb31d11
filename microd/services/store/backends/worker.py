"""A thread for what would block the reactor."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

T = TypeVar("T")

_Job = tuple[Deferred[Any], Callable[..., Any], tuple[Any, ...]]


class IWorker(Protocol):
    """Does one thing after the other, somewhere else."""

    def start(self) -> None:
        """Begin; before that nothing may be asked."""

    def run(self, function: Callable[..., T], *arguments: Any) -> Deferred[T]:
        """Call C{function} after everything asked for before; the Deferred fires in the reactor's thread."""

    def stop(self) -> None:
        """End, after what was asked for is done; it waits for that."""


class Thread(IWorker):
    """One thread of its own, fed by a queue: a thread pool's bookkeeping costs more than a small commit's own work."""

    def __init__(self, reactor: IReactorFromThreads, name: str) -> None:
        self._reactor = reactor
        self._name = name
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._work, name=self._name)
        self._thread.start()

    def run(self, function: Callable[..., T], *arguments: Any) -> Deferred[T]:
        done: Deferred[T] = Deferred()
        self._queue.put((done, function, arguments))
        return done

    def stop(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            thread.join()

    def _work(self) -> None:
        """In the thread."""
        tell = self._reactor.callFromThread
        while (job := self._queue.get()) is not None:
            done, function, arguments = job
            try:
                result = function(*arguments)
            except BaseException:  # noqa: BLE001 - whoever asked is told, whatever it is
                tell(done.errback, Failure())
            else:
                tell(done.callback, result)


class Inline(IWorker):
    """Does it at once, in the caller's thread: for tests under a clock of their own."""

    def start(self) -> None:
        """Nothing to start."""

    def run(self, function: Callable[..., T], *arguments: Any) -> Deferred[T]:
        return maybeDeferred(function, *arguments)

    def stop(self) -> None:
        """Nothing to stop."""
