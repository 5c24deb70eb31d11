"""What a service has been asked: how many calls, how many failed, and the last of them as spans of their traces.

Every call is noted, and hardly ever does somebody look: so what is noted is a tuple, and ids, names and headers are only made
sense of when L{Activity.spans} is asked (a note takes a third of a microsecond).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from microd.kernel import trace
from microd.kernel.errors import MicroError
from microd.kernel.trace import Trace

#: How many spans are kept (spec micro-v3-server 6.9).
KEPT = 256
#: The types of spans, as they are on the wire.
INBOUND, OUTBOUND = 0, 1
#: Characters of an error that are kept.
LONGEST_ERROR = 512
#: The struct whose calls are not traced: who looks shall not see himself.
UNTRACED = "Debug."


class Span(NamedTuple):
    """One call, as one side of it saw it; the names are those of the message C{debug.Span}.

    @ivar trace: 32 hex digits; C{id} and C{parent} are 16, and C{parent} is empty for the first of a trace.
    @ivar started: unix nanoseconds.
    @ivar duration: nanoseconds.
    @ivar metadata: C{error}, for a call that failed.
    """

    trace: str
    id: str
    parent: str
    name: str
    started: int
    duration: int
    metadata: Mapping[str, str]
    type: int


class Place(NamedTuple):
    """A span's place: its trace with its own id, and the span around it."""

    own: Trace
    parent: str


#: A span which nobody has asked for: name, type, start and end (nanoseconds; or seconds, which are floats), error, and its
#: place, or what has the headers that tell it.
Note = tuple[str, int, float, float, str, object]
Headers = Iterable[tuple[str, object]]


def placed(headers: Headers) -> Place:
    """The place of the span in which a request with these headers is answered; of a new trace, where they name none."""
    caller = trace.read(headers)
    return Place(trace.begin(), "") if caller is None else Place(caller.child(), caller.span)


def within(place: Place | None) -> Place:
    """The place of a call made within a span; of a new trace, for one made on its own."""
    return Place(trace.begin(), "") if place is None else Place(place.own.child(), place.own.span)


class Activity:
    """The calls of one service, since its start.

    @ivar requests: calls that were answered, C{errors} included.
    @ivar note: takes a L{Note}; the hot path.
    @param headers: finds, in what notes have, the headers that tell a span's place: pairs, names in lower case.
    @ivar now: unix nanoseconds.
    """

    __slots__ = ("_headers", "_notes", "errors", "note", "now", "requests")

    def __init__(self, headers: Callable[[Any], Headers], now: Callable[[], int] = time.time_ns) -> None:
        self._headers = headers
        self.now = now
        self.requests = self.errors = 0
        self._notes: deque[Note | Span] = deque(maxlen=KEPT)
        self.note: Callable[[Note], None] = self._notes.append

    def answered(self, name: str, began: float, took: float, error: str, where: object) -> None:
        """A call is over.

        @param name: the span's; empty for a call which shall be none.
        @param began: seconds of the unix epoch.
        @param error: why it failed, in words or as an error object; empty where all went well.
        @param where: see L{Note}.
        """
        self.requests += 1
        if error:
            self.errors += 1
        if name:
            self.note((name, INBOUND, began, began + took, error, where))

    def spans(self, id: str = "") -> list[Span]:
        """The last spans, the first to end first; of one trace, if an C{id} is given in any form of L{trace.trace_id}."""
        wanted = trace.trace_id(id)
        found: list[Span] = []
        for index, note in enumerate(self._notes):
            span = note if isinstance(note, Span) else self._span(note)
            # Ids that were made up now must be the same the next time.
            self._notes[index] = span
            if span.trace == wanted or not id:
                found.append(span)
        return found

    def _span(self, note: Note) -> Span:
        name, type, started, ended, error, where = note
        place = where if isinstance(where, Place) else placed(self._headers(where))
        said = MicroError.from_json(error)
        error = (said.detail or said.phrase if said else error)[:LONGEST_ERROR]
        own = place.own
        return Span(
            own.id,
            own.span,
            place.parent,
            name,
            _nanoseconds(started),
            max(0, _nanoseconds(ended) - _nanoseconds(started)),
            {"error": error} if error else {},
            type,
        )


def _nanoseconds(moment: float) -> int:
    return moment if isinstance(moment, int) else round(moment * 1e9)
