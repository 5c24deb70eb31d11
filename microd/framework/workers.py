"""Threads for the handlers that are plain functions."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextvars import copy_context
from functools import partial
from threading import Thread
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred, execute
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import blockingCallFromThread
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from microd.kernel.errors import Unavailable

T = TypeVar("T")

#: How many plain handlers run at once, and how many wait for each that runs.
THREADS = 16
QUEUE_PER_THREAD = 64


class Workers(Protocol):
    """Runs functions which wait, so that the reactor need not."""

    def run(self, function: Callable[..., T], *args: Any) -> Deferred[T]:
        """Run a function in the caller's context, and give its result.

        @raise Unavailable: too many are waiting already; this one was not begun.
        """

    def wait(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """In a function that runs so: have a coroutine run on the reactor, in the function's context, and wait for it."""


class Threads:
    """A bounded pool of threads with a bounded queue."""

    def __init__(self, reactor: IReactorFromThreads, size: int = THREADS) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(0, size, "handlers")
        # A function that never returns must not keep the process from ending.
        self._pool.threadFactory = partial(Thread, daemon=True)  # type: ignore[assignment]
        self._room = size * (1 + QUEUE_PER_THREAD)
        self._busy = 0

    def start(self) -> None:
        """Be ready to run."""
        self._pool.start()

    def stop(self) -> None:
        """End the threads; those which are still busy are left to themselves, and die with the process."""
        if self._pool.started and not self._busy:
            self._pool.stop()

    def run(self, function: Callable[..., T], *args: Any) -> Deferred[T]:
        if self._busy >= self._room:
            raise Unavailable(f"{self._busy} calls are waiting for a thread; this one was not begun")
        self._busy += 1
        done: Deferred[T] = Deferred()

        def ended(succeeded: bool, result: Any) -> None:  # called in the thread
            self._reactor.callFromThread(self._ended, done, succeeded, result)

        self._pool.callInThreadWithCallback(ended, copy_context().run, function, *args)
        return done

    def wait(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        context = copy_context()

        def begin() -> Any:
            return context.run(Deferred.fromCoroutine, ask())

        outcome: T = blockingCallFromThread(self._reactor, begin)
        return outcome

    def _ended(self, done: Deferred[Any], succeeded: bool, result: Any) -> None:
        """The thread is free again; whoever waited may have given up meanwhile."""
        self._busy -= 1
        if succeeded:
            done.callback(result)
        else:
            done.errback(result)


class AtOnce:
    """Runs each function right where it stands: for tests, which have no threads."""

    def run(self, function: Callable[..., T], *args: Any) -> Deferred[T]:
        return execute(copy_context().run, function, *args)

    def wait(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        outcome: list[T | Failure] = []
        Deferred.fromCoroutine(ask()).addBoth(outcome.append)
        if not outcome:
            raise RuntimeError("the answer would come later, and in a test nothing can be waited for")
        if isinstance(outcome[0], Failure):
            outcome[0].raiseException()
        return outcome[0]
