"""Waiting for work that goes on when nobody waits for it any more."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

T = TypeVar("T")

_log = Logger()


class Latch:
    """Closed at first, open once and for all."""

    def __init__(self) -> None:
        self._open = False
        self._waiting: list[Deferred[None]] = []

    def open(self) -> None:
        """Let everybody pass, from now on."""
        self._open = True
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)

    async def opened(self) -> None:
        """Wait until it is open."""
        if not self._open:
            waiting: Deferred[None] = Deferred(self._waiting.remove)
            self._waiting.append(waiting)
            await waiting


def settled(work: Deferred[T]) -> Deferred[None]:
    """Fires when C{work} does. Several may wait, and who stops waiting does not stop the work."""
    waiting: Deferred[None] = Deferred()

    def ended(outcome: T) -> T:
        if not waiting.called:
            waiting.callback(None)
        return outcome

    work.addBoth(ended)
    return waiting


def unbroken(work: Coroutine[Any, Any, T]) -> Deferred[T]:
    """The outcome of C{work}, which runs to its end even when its caller goes away."""
    waiting: Deferred[T] = Deferred()

    def ended(outcome: T | Failure) -> None:
        if not waiting.called:
            waiting.callback(outcome)
        elif isinstance(outcome, Failure) and not outcome.check(CancelledError):
            _log.failure("what nobody waited for failed", outcome)

    Deferred.fromCoroutine(work).addBoth(ended)
    return waiting
