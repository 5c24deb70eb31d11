"""The outcome of what has nothing to wait for: tests under a clock of their own need no reactor."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")


async def _coroutine(awaited: Awaitable[T]) -> T:
    return await awaited


class StillWaitingError(AssertionError):
    """The coroutine waits for something that has not happened."""


def done(awaited: Awaitable[T]) -> T:
    """What a coroutine, or something else that can be awaited, returned, or the exception it ended with.

    @raise StillWaitingError: it has not ended.
    """
    deferred = awaited if isinstance(awaited, Deferred) else Deferred.fromCoroutine(_coroutine(awaited))
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
