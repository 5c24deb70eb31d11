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
