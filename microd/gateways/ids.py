"""The trace that a request names, and how it goes on from a door: in both forms, the reference's as it came.

(Spec micro-v3-server 2.4; W3C Trace Context.) A door is no span of its own, so the span stays the caller's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from microd.kernel import trace
from microd.kernel.trace import Trace
from microd.txgrpc import tail

#: The headers that L{ids_of} reads.
NAMES = trace.NAMES - {trace.FALLBACK_ID}

Pairs = Sequence[tuple[str, str]]


class Ids(NamedTuple):
    """What goes on.

    @ivar trace: 32 hex digits; empty where none is named.
    @ivar tail: the tail to go on with.
    @ivar more: the headers to go on with, where they do not fit into a tail.
    @ivar state: the C{tracestate}; for whoever also names a trace, here or in a tail.
    """

    trace: str = ""
    tail: bytes = b""
    more: tuple[tuple[str, str], ...] = ()
    state: str = ""


NONE = Ids()


def ids_of(said: Pairs, otherwise: Trace | None = None) -> Ids:
    """What goes on of the headers that tell of a trace.

    @param said: those of L{NAMES}, names in lower case.
    @param otherwise: the trace where they name none.
    """
    state = trace.bounded_state(",".join([value for name, value in said if name == trace.TRACESTATE]))
    found = trace.read(said)
    if found is None:
        found = otherwise
        if found is None:
            return Ids(state=state)
        state = ""
    theirs = dict(reversed(said))
    id, span = theirs.get(trace.TRACE_ID, ""), theirs.get(trace.SPAN_ID, "")
    pairs = trace.headers(found._replace(state=""))
    if trace.trace_id(id) == found.id:
        pairs[1] = (trace.TRACE_ID, id)
    if trace.span_id(span) == found.span:
        pairs[2] = (trace.SPAN_ID, span)
    made = tail.made(*[value.encode("latin-1", "replace") for _, value in pairs])
    return Ids(found.id, made, () if made else tuple(pairs), state)
