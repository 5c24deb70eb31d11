"""One call's place in a trace, in the two forms in which it travels; pure.

::

    traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01      W3C Trace Context, level 1
                 │  │ trace: 32 hex                  │ span: 16 hex     └ flags
                 └ version
    tracestate: vendor=opaque,...                                              passed on as it came

    micro-trace-id: 0af76519-16cd-43dd-8448-eb211c80319c                       the reference (spec micro-v3-server 2.4)
    micro-span-id:  00000000-0000-0000-b7ad-6b7169203331

A C{traceparent} that can be read wins over the reference's headers. Theirs are free text, mostly a uuid: a uuid is the same
128 bits, any other text is hashed, so that whoever reads the same text finds the same trace. The 32 digits are the
one id by which log lines, answers and spans of a request are found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from hashlib import blake2b
from random import getrandbits
from typing import NamedTuple

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
TRACE_ID, SPAN_ID, FALLBACK_ID = "micro-trace-id", "micro-span-id", "micro-id"

#: All headers that tell of a trace.
NAMES = frozenset((TRACEPARENT, TRACESTATE, TRACE_ID, SPAN_ID, FALLBACK_ID))

#: C{flags}: whoever called records this trace, so others had better as well.
SAMPLED = 1

#: The trace of the call that is being answered, where a door has set it; empty outside of any.
CURRENT: ContextVar[str] = ContextVar("microd.kernel.trace", default="")

#: Characters of a C{tracestate} that are passed on; level 1 asks for 512 at least, and allows 32 members.
LONGEST_STATE, MOST_MEMBERS = 1024, 32
#: Characters of the reference's ids that are looked at.
_LONGEST_ID = 256

_parent = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII).fullmatch
_hex = re.compile(r"[0-9a-f]+", re.ASCII).fullmatch
_uuid = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII).fullmatch
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16


class Trace(NamedTuple):
    """Where a call belongs.

    @ivar id: the trace: 32 lower-case hex digits, not all of them 0.
    @ivar span: who calls: 16 such digits.
    @ivar flags: C{SAMPLED} or 0.
    @ivar state: the C{tracestate}; empty where there is none.
    """

    id: str
    span: str
    flags: int = SAMPLED
    state: str = ""

    def child(self, bits: Callable[[int], int] = getrandbits) -> Trace:
        """The same trace with a span of its own: what somebody sends on who records a span for the call they got."""
        return Trace(self.id, f"{bits(64) or 1:016x}", self.flags, self.state)


def begin(bits: Callable[[int], int] = getrandbits) -> Trace:
    """A new trace; its first span bears the low half of its id. It can be guessed, and is no secret.

    @param bits: so many random bits.
    """
    low = f"{bits(64) or 1:016x}"
    return Trace(f"{bits(64):016x}{low}", low)


def read(headers: Iterable[tuple[str, object]]) -> Trace | None:
    """The trace which a request names; None where it names none that can be read.

    @param headers: names in lower case. Those of other things are passed over.
    """
    parents: list[str] = []
    states: list[str] = []
    theirs: dict[str, str] = {}
    for name, value in headers:
        if name in NAMES and isinstance(value, str):
            if name == TRACEPARENT:
                parents.append(value)
            elif name == TRACESTATE:
                states.append(value)
            else:
                theirs.setdefault(name, value)
    # Two parents are none (level 1, 3.2.2 and 4.3).
    found = parse(parents[0]) if len(parents) == 1 else None
    if found is not None:
        if states:
            found = found._replace(state=bounded_state(",".join(states)))
        return _latest(found, theirs)
    return from_ids(theirs.get(TRACE_ID) or theirs.get(FALLBACK_ID) or "", theirs.get(SPAN_ID) or "")


def _latest(found: Trace, theirs: dict[str, str]) -> Trace:
    """A service of the reference passes the C{traceparent} on as it came, and adds its span to the other form only."""
    span = theirs.get(SPAN_ID)
    if span is None or trace_id(theirs.get(TRACE_ID, "")) != found.id:
        return found
    return found._replace(span=span_id(span) or found.span)


def parse(traceparent: str) -> Trace | None:
    """Read a C{traceparent}; None where it is invalid (level 1, 3.2.2). Of later versions, what we know is read."""
    match = _parent(traceparent.strip(" \t"))
    if match is None:
        return None
    version, trace, span, flags, more = match.groups()
    if version == "ff" or (version == "00" and more) or trace == _NO_TRACE or span == _NO_SPAN:
        return None
    return Trace(trace, span, int(flags, 16) & SAMPLED)


def from_ids(trace: str, span: str = "") -> Trace | None:
    """The same from the reference's ids; a span that is missing is made of the trace's."""
    known = trace_id(trace)
    if not known:
        return None
    return Trace(known, span_id(span) or (known[16:] if known[16:] != _NO_SPAN else known[:16]))


def trace_id(text: str) -> str:
    """The 32 digits for a trace id in whatever form: those, a uuid, any other text; "" where it says nothing."""
    plain = _digits(text)
    if len(plain) == 32:
        return plain if plain != _NO_TRACE else ""
    return _hashed(text, 16)


def span_id(text: str) -> str:
    """The 16 digits for a span id in whatever form; of a uuid the last ones; "" where it says nothing."""
    plain = _digits(text)
    if len(plain) in (16, 32):
        plain = plain[-16:] if plain[-16:] != _NO_SPAN else plain[:16]
        return plain if plain != _NO_SPAN else ""
    return _hashed(text, 8)


def exact_id(text: str) -> str:
    """The 32 digits where C{text} is just that, or a uuid; "" for anything else."""
    plain = _digits(text)
    return plain if len(plain) == 32 and plain != _NO_TRACE else ""


def _digits(text: str) -> str:
    """Hex digits without the hyphens of a uuid; "" for anything else."""
    if len(text) > 36:
        return ""
    plain = text.strip().lower()
    if _uuid(plain):
        return plain.replace("-", "")
    return plain if _hex(plain) else ""


def _hashed(text: str, size: int) -> str:
    if not text.strip():
        return ""
    return blake2b(text[:_LONGEST_ID].encode("utf-8", "surrogatepass"), digest_size=size).hexdigest()


def headers(trace: Trace) -> list[tuple[str, str]]:
    """How a call that belongs to C{trace} says so, in both forms."""
    made = [
        (TRACEPARENT, traceparent(trace)),
        (TRACE_ID, as_uuid(trace.id)),
        (SPAN_ID, as_uuid(_NO_SPAN + trace.span)),
    ]
    if trace.state:
        made.insert(1, (TRACESTATE, trace.state))
    return made


def traceparent(trace: Trace) -> str:
    """The W3C form, without the state."""
    return f"00-{trace.id}-{trace.span}-{trace.flags:02x}"


def as_uuid(digits: str) -> str:
    """32 digits with the hyphens of a uuid."""
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def bounded_state(state: str) -> str:
    """A C{tracestate} as it is passed on: untouched, but for the members at its end where there are too many."""
    if len(state) <= LONGEST_STATE and state.count(",") < MOST_MEMBERS:
        return state
    kept: list[str] = []
    room = LONGEST_STATE
    for member in state.split(",", MOST_MEMBERS)[:MOST_MEMBERS]:
        room -= len(member) + 1
        if room < -1:
            break
        kept.append(member)
    return ",".join(kept)
