"""Places in a topic, as people write them on a command line. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from microd.cli.failure import CommandFailed

#: Names of C{Start} in the contract.
EARLIEST, LATEST, OFFSET, TIME = "EARLIEST", "LATEST", "OFFSET", "TIME"

_NUMBER = re.compile(r"[0-9]+")


class Position(NamedTuple):
    """A place in a topic.

    @ivar start: which of the kinds of place it is.
    @ivar offset: of the first event, where that is the kind.
    @ivar time: Unix milliseconds, likewise.
    """

    start: str
    offset: int = 0
    time: int = 0


def position(text: str, now: float, option: str) -> Position:
    """Read C{earliest}, C{latest}, an offset, a moment (C{2025-01-31T12:00:00Z}) or so long ago (C{5m}, C{5m ago}).

    @param now: Unix seconds.
    @param option: what the user calls it.
    """
    said = text.strip()
    if said.upper() in (EARLIEST, LATEST):
        return Position(said.upper())
    if _NUMBER.fullmatch(said):
        if not 0 < int(said) < 1 << 63:
            raise CommandFailed(f"{option} {said} is no offset: the first is 1")
        return Position(OFFSET, int(said))
    return Position(TIME, time=milliseconds(said, now, option, "earliest, latest, an offset, "))


def milliseconds(text: str, now: float, option: str, others: str = "") -> int:
    """Unix milliseconds of a moment, or of so long ago.

    @param others: what else it might have been.
    """
    from datetime import UTC, datetime

    from microd.cli.durations import seconds_from

    said = text.strip()
    try:
        return max(0, int((now - seconds_from(said.removesuffix("ago").rstrip())) * 1000))
    except (ValueError, OverflowError):
        pass
    try:
        found = datetime.fromisoformat(said)
        return max(0, round((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000))
    except (ValueError, OverflowError):
        raise CommandFailed(
            f"{option} wants {others}a moment or a time ago, such as 2025-01-31T12:00:00Z or 5m, not {text}"
        ) from None
