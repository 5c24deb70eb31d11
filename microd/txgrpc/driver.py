"""Running a handler's coroutine: its first step at once, the rest as its Deferreds fire.

What L{Deferred.fromCoroutine} does, for less: a coroutine that finishes in its first step costs no Deferred,
and there is no wrapper around each step. Like there, a coroutine may await Deferreds and other coroutines
only.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

#: Called once with what a coroutine returned, or else what it raised.
Ended = Callable[[Any, "BaseException | None"], None]


class Running:
    """A coroutine that did not finish in its first step, and awaits C{waiting}."""

    __slots__ = ("_context", "_coroutine", "_ended", "_waiting")

    def __init__(
        self, coroutine: Coroutine[Any, Any, Any], context: Context, waiting: Any, ended: Ended
    ) -> None:
        self._coroutine = coroutine
        self._context = context
        self._ended = ended
        self._waiting: Deferred[Any] | None = None
        self._wait(waiting)

    def _wait(self, waiting: Any) -> None:
        if isinstance(waiting, Deferred):
            self._waiting = waiting
            waiting.addBoth(self._resume)
        else:
            self._resume(Failure(TypeError(f"a handler may await Deferreds and coroutines, not {waiting!r}")))

    def _resume(self, result: Any) -> None:
        self._waiting = None
        try:
            if isinstance(result, Failure):
                waiting = self._context.run(result.throwExceptionIntoGenerator, self._coroutine)
            else:
                # The Deferred itself hands its result to the coroutine, as it has been called by now.
                waiting = self._context.run(self._coroutine.send, None)
        except StopIteration as stop:
            self._ended(stop.value, None)
        except BaseException as error:  # noqa: BLE001 - it is handed on, whatever it is
            self._ended(None, error)
        else:
            self._wait(waiting)

    def cancel(self) -> None:
        """Raise C{CancelledError} where the coroutine waits."""
        if self._waiting is not None:
            self._waiting.cancel()
