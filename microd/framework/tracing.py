"""The calls which a service makes, as spans of the trace of the call that it answers."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType

from twisted.internet.defer import CancelledError

from microd.framework.context import current_call
from microd.kernel.activity import OUTBOUND, UNTRACED, Activity, Place, placed, within
from microd.kernel.errors import MicroError
from microd.kernel.trace import NAMES, Trace
from microd.kernel.trace import begin as trace_of_its_own


class Outbound:
    """Notes one call that is being made, from C{with} to its end.

    @ivar own: what to tell the other side: the trace, and the span that stands for this call; C{None} to tell nothing.
    """

    __slots__ = ("_activity", "_name", "_place", "_started", "own")

    def __init__(self, activity: Activity, name: str, place: Place | None) -> None:
        self._activity = activity
        self._name = name
        self._place = place
        self._started = 0
        self.own: Trace | None = None if place is None else place.own

    def __enter__(self) -> Outbound:
        self._started = self._activity.now()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        place = self._place
        if place is not None:
            now = self._activity.now()
            error = "" if problem is None else _why(problem)
            self._activity.note((self._name, OUTBOUND, self._started, now, error, place))


def place_of_call(given: Iterable[tuple[str, object]], *, alone: bool) -> Place | None:
    """Where a call belongs that is made here.

    @param given: what the author says in the call's metadata, which wins.
    @param alone: whether it is worth a trace of its own, outside of any call that is being answered.
    """
    call = current_call()
    if call is not None and call.endpoint.startswith(UNTRACED):
        return None
    if any(name in NAMES for name, _ in given):
        return placed(given)
    if call is None and not alone:
        return None
    return within(None if call is None else call.place)


def belongs() -> tuple[Trace | None, bool]:
    """The trace that a message belongs to which is published here, and whether it begins here."""
    call = current_call()
    if call is None or call.endpoint.startswith(UNTRACED):
        return trace_of_its_own(), True
    return call.place.own, False


def _why(problem: BaseException) -> str:
    """The error of a span; a stream that its reader left has none."""
    if isinstance(problem, GeneratorExit):
        return ""
    if isinstance(problem, CancelledError):
        return "cancelled"
    if isinstance(problem, MicroError):
        return problem.detail or str(problem.code)
    return str(problem) or type(problem).__name__
