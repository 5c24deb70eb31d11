"""On which terms one may consume, and what may be said about an event. Pure."""

from __future__ import annotations

from math import isfinite

from microd.kernel.errors import BadRequest
from microd.services.events.model import Ack, Limits, Position, Start, Terms

#: No wait is longer, in seconds: 30 days.
LONGEST = 30 * 86400.0
#: The greatest retry limit: what is kept of a group counts failures.
MOST_RETRIES = 1_000_000


def check_terms(terms: Terms, limits: Limits) -> None:
    """Let terms pass.

    @raise BadRequest: a number is out of its range.
    """
    if not terms.auto_ack:
        _check_seconds("ack_wait", terms.ack_wait)
        if terms.ack_wait <= 0:
            raise BadRequest("ack_wait is to be greater than 0")
    if not -1 <= terms.retry_limit <= MOST_RETRIES:
        raise BadRequest(f"retry_limit is to be from -1 (no limit) to {MOST_RETRIES}")
    if not 0 < terms.max_in_flight <= limits.in_flight:
        raise BadRequest(f"max_in_flight is to be from 1 to {limits.in_flight}")
    if terms.count < 0:
        raise BadRequest("count is to be 0 (no end) or more")
    _check_seconds("backoff", terms.backoff)
    _check_seconds("backoff_max", terms.backoff_max)
    check_position(terms.start)


def check_position(position: Position) -> None:
    """Let a place in a topic pass.

    @raise BadRequest: it is negative.
    """
    if position.start in (Start.OFFSET, Start.TIME) and position.value < 0:
        raise BadRequest(f"the {position.start.value} to start at is to be 0 or more")


def check_ack(ack: Ack) -> None:
    """Let a word about an event pass.

    @raise BadRequest: its delay is out of range.
    """
    if ack.delay is not None:
        _check_seconds("delay", ack.delay)


def _check_seconds(what: str, seconds: float) -> None:
    if not isfinite(seconds) or not 0 <= seconds <= LONGEST:
        raise BadRequest(f"{what} is to be from 0 to {LONGEST:.0f} seconds (30 days)")
