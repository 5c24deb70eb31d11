"""Durations as Go writes them. Pure."""

from __future__ import annotations

import re

_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h|d)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds_from(text: str) -> float:
    """The seconds in C{500ms}, C{1h30m} or a bare number of seconds.

    @raise ValueError: it is no duration.
    """
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is not a duration such as 500ms, 5s or 1h30m")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def go_duration(nanoseconds: int) -> str:
    """So many nanoseconds as Go prints them: C{1h2m3.5s}, C{1.25ms}, C{0s}."""
    if nanoseconds <= 0:
        return "0s"
    for unit, length in (("ns", 1), ("µs", 10**3), ("ms", 10**6)):
        if nanoseconds < length * 1000:
            return f"{_decimal(nanoseconds, length)}{unit}"
    minutes, rest = divmod(nanoseconds, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    made = f"{hours}h" if hours else ""
    made += f"{minutes}m" if made or minutes else ""
    return f"{made}{_decimal(rest, 10**9)}s"


def _decimal(value: int, unit: int) -> str:
    whole, part = divmod(value, unit)
    digits = str(part).zfill(len(str(unit)) - 1).rstrip("0") if part else ""
    return f"{whole}.{digits}" if digits else str(whole)
