"""Single values from Python to protobuf and to JSON, and from protobuf to Python.

Each C{checked_} function takes what a handler put in a field, and gives what protobuf takes; each C{text_} one gives what JSON takes.
Both raise L{FieldError} for what does not fit.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from math import isinf, isnan
from typing import Any

from microd.framework.schema.faults import FieldError, wants
from microd.framework.schema.parsing import listed, shown
from microd.framework.schema.shapes import RANGES, Choice

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def checked_string(value: object) -> str:
    """What a string field may hold."""
    if isinstance(value, str):
        return value
    raise wants("a string", value)


def checked_bool(value: object) -> bool:
    """What a boolean field may hold."""
    if isinstance(value, bool):
        return value
    raise wants("a boolean", value)


def checked_bytes(value: object) -> bytes:
    """What a bytes field may hold."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise wants("bytes", value)


def checked_integer(kind: str) -> Callable[[object], int]:
    """What an integer field may hold."""
    low, high = RANGES[kind]

    def check(value: object) -> int:
        if not isinstance(value, int):
            raise wants("an integer", value)
        if not low <= value <= high:
            raise FieldError(f"wants an integer from {low} to {high}, got {str(value)[:40]}")
        return int(value)

    return check


def checked_float(value: object) -> float:
    """What a double may hold."""
    if isinstance(value, float | int) and not isinstance(value, bool):
        return float(value)
    raise wants("a number", value)


def checked_instant(value: object) -> dict[str, int]:
    """A Timestamp's two fields; a time without an offset is taken as UTC."""
    if not isinstance(value, datetime):
        raise wants("a datetime", value)
    if value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    seconds, rest = divmod(value - _EPOCH, timedelta(seconds=1))
    return {"seconds": seconds, "nanos": rest.microseconds * 1000}


def checked_span(value: object) -> dict[str, int]:
    """A Duration's two fields, which share a sign."""
    if not isinstance(value, timedelta):
        raise wants("a timedelta", value)
    sign = -1 if value < timedelta(0) else 1
    whole, rest = divmod(abs(value), timedelta(seconds=1))
    return {"seconds": sign * whole, "nanos": sign * rest.microseconds * 1000}


def checked_choice(choice: Choice) -> Callable[[object], int]:
    """The number of an enum's member."""
    numbers = {choice.kind[name]: number for name, number in choice.members}
    expected = listed(choice)

    def check(value: object) -> int:
        if not isinstance(value, choice.kind):
            raise FieldError(f"wants {expected}, got {shown(value)}")
        return numbers[value]

    return check


def instant_of(message: Any) -> datetime:
    """A Timestamp as a time in UTC."""
    try:
        return _EPOCH + timedelta(seconds=message.seconds, microseconds=message.nanos // 1000)
    except OverflowError:
        raise FieldError("wants a time from the year 1 to 9999, got one outside") from None


def span_of(message: Any) -> timedelta:
    """A Duration as a length of time."""
    try:
        return timedelta(seconds=message.seconds, microseconds=int(message.nanos / 1000))
    except OverflowError:
        raise FieldError("wants a duration within three million years, got a longer one") from None


def member_of(choice: Choice) -> Callable[[int], Any]:
    """A reader of an enum's number."""
    members = {number: choice.kind[name] for name, number in choice.members}
    expected = listed(choice)

    def member(number: int) -> object:
        try:
            return members[number]
        except KeyError:
            raise FieldError(f"wants {expected}, got {number or 'nothing'}") from None

    return member


def text_bytes(value: object) -> str:
    """Bytes as padded base64."""
    return b64encode(checked_bytes(value)).decode()


def text_integer(kind: str) -> Callable[[object], str | int]:
    """An integer: as a string where it may have 64 bits, which JSON's readers would round."""
    check = checked_integer(kind)
    if kind.endswith("32"):
        return check
    return lambda value: str(check(value))


def text_float(value: object) -> float | str:
    """A number, or the word for what JSON has no number for."""
    number = checked_float(value)
    if isnan(number):
        return "NaN"
    if isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return number


def text_instant(value: object) -> str:
    """RFC 3339 in UTC, with three or six digits of a second where there are any."""
    if not isinstance(value, datetime):
        raise wants("a datetime", value)
    value = value.astimezone(UTC) if value.tzinfo is not None else value.replace(tzinfo=UTC)
    return (
        value.strftime("%Y").rjust(4, "0")
        + value.strftime("-%m-%dT%H:%M:%S")
        + _digits(value.microsecond)
        + "Z"
    )


def text_span(value: object) -> str:
    """Seconds with an C{s}."""
    if not isinstance(value, timedelta):
        raise wants("a timedelta", value)
    sign = "-" if value < timedelta(0) else ""
    whole, rest = divmod(abs(value), timedelta(seconds=1))
    return f"{sign}{whole}{_digits(rest // _MICROSECOND)}s"


def text_choice(choice: Choice) -> Callable[[object], str]:
    """The name of an enum's member."""
    expected = listed(choice)

    def text(value: object) -> str:
        if not isinstance(value, choice.kind):
            raise FieldError(f"wants {expected}, got {shown(value)}")
        return value.name

    return text


def _digits(microseconds: int) -> str:
    if not microseconds:
        return ""
    return f".{microseconds // 1000:03d}" if microseconds % 1000 == 0 else f".{microseconds:06d}"
