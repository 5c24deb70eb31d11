"""The outcome of what has nothing to wait for: tests under a clock of their own need no reactor."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")


class StillWaitingError(AssertionError):
    """The coroutine waits for something that has not happened."""


def done(awaited: Coroutine[Any, Any, T] | Deferred[T]) -> T:
    """What a coroutine or a Deferred returned, or the exception it ended with.

    @raise StillWaitingError: it has not ended.
    """
    deferred = awaited if isinstance(awaited, Deferred) else Deferred.fromCoroutine(awaited)
    found: list[T | Failure] = []

    def keep(outcome: T | Failure) -> None:
        found.append(outcome)

    deferred.addBoth(keep)
    if not found:
        raise StillWaitingError("it waits for something that has not happened")
    outcome = found[0]
    if isinstance(outcome, Failure):
        outcome.raiseException()
    return outcome
