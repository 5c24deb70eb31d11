"""On which terms somebody consumes events."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from microd.framework.failures import CLIENT
from microd.kernel.errors import BadRequest
from microd.wire import events_pb2

#: What the daemon allows: events at one consumer, and seconds of any wait.
MOST_IN_FLIGHT, LONGEST = 1000, 86400.0

#: Where a new group begins: a word, an offset, or a time.
Start = str | int | datetime
#: A moment: Unix seconds, or a time (UTC where it says nothing).
Moment = float | datetime


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms somebody consumes events; times in seconds.

    @ivar group: empty: a private one.
    @ivar in_flight: how many events may be here at once.
    """

    topic: str
    group: str = ""
    start: Start = "latest"
    retries: int = 5
    in_flight: int = 64
    ack_wait: float = 30.0
    backoff: float = 1.0
    backoff_max: float = 60.0


def consume(terms: Terms, start: Start | None = None) -> events_pb2.ConsumeRequest:
    """The first message of a stream of events.

    @param start: begin here rather than where the terms say.
    """
    request = events_pb2.ConsumeRequest(
        topic=terms.topic,
        group=terms.group,
        auto_ack=False,
        ack_wait=round(terms.ack_wait * 1e9),
        retry_limit=terms.retries,
        max_in_flight=terms.in_flight,
        backoff=max(1, round(terms.backoff * 1000)),
        backoff_max=max(1, round(terms.backoff_max * 1000)),
    )
    where = terms.start if start is None else start
    if isinstance(where, datetime):
        request.start, request.start_time = events_pb2.TIME, milliseconds(where)
    elif isinstance(where, int):
        request.start, request.start_offset = events_pb2.OFFSET, where
    else:
        request.start = events_pb2.LATEST if where == "latest" else events_pb2.EARLIEST
    return request


def checked_start(start: object) -> Start:
    """Let a place to begin at pass.

    @raise ValueError: it is none.
    """
    if start in ("earliest", "latest") or isinstance(start, datetime):
        return start
    if isinstance(start, int) and not isinstance(start, bool) and start >= 0:
        return start
    raise ValueError(f'start is "earliest", "latest", an offset or a datetime, not {start!r}')


def checked_terms(terms: Terms) -> Terms:
    """Let terms pass.

    @raise ValueError: something cannot be; the text says what.
    """
    checked_start(terms.start)
    if terms.retries < -1:
        raise ValueError(f"retries is how often an event comes again, or -1 for ever, not {terms.retries}")
    if not 1 <= terms.in_flight <= MOST_IN_FLIGHT:
        raise ValueError(f"events in flight are 1 to {MOST_IN_FLIGHT}, not {terms.in_flight}")
    for name, seconds in (("ack_wait", terms.ack_wait), ("backoff", terms.backoff)):
        if not 0 < seconds <= LONGEST:
            raise ValueError(f"{name} is a number of seconds from more than 0 to {LONGEST}, not {seconds}")
    if not terms.backoff <= terms.backoff_max <= LONGEST:
        raise ValueError(f"backoff_max is from backoff to {LONGEST} seconds, not {terms.backoff_max}")
    return terms


def milliseconds(moment: Moment) -> int:
    """Unix milliseconds.

    @raise BadRequest: it is before 1970.
    """
    if isinstance(moment, datetime):
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if moment < 0:
        raise BadRequest("a time is not before 1970", CLIENT)
    return round(moment * 1000)
