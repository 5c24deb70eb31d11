"""Time limits as they travel: C{grpc-timeout}, and the C{timeout} of Micro (decimal nanoseconds)."""

from __future__ import annotations

#: Seconds from which on a limit is none: thirty years, more than what clocks and sockets take.
FOREVER = 1e9

_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


def parse_grpc(value: bytes) -> float:
    """Seconds of a C{grpc-timeout}: at most eight digits and a unit.

    @raise ValueError: it is anything else.
    """
    digits, unit = value[:-1], value[-1:]
    if not 0 < len(digits) <= 8 or not digits.isdigit() or unit not in _UNITS:
        raise ValueError("malformed grpc-timeout")
    return int(digits) * _UNITS[unit]


def parse_nanoseconds(value: bytes) -> float | None:
    """Seconds of a C{timeout}; None, so ignored, where it is no number (spec 2.4)."""
    digits = value[1:] if value[:1] in (b"-", b"+") else value
    if not digits.isdigit() or len(digits) > 19:
        return None
    return int(value) * 1e-9


def format_grpc(seconds: float) -> bytes:
    """The finest C{grpc-timeout} that fits its eight digits, rounded up so that nobody gives up early."""
    if seconds <= 0:
        return b"0n"
    for unit, scale in ((b"u", 1e6), (b"m", 1e3), (b"S", 1.0), (b"M", 1 / 60)):
        count = -int(-seconds * scale // 1)
        if count < 100_000_000:
            return b"%d%s" % (max(count, 1), unit)
    return b"%dH" % min(-int(-seconds // 3600), 99_999_999)
