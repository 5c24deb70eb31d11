"""Single values between Python and JSON, by protobuf's JSON mapping.

Each C{parse_} function takes what C{orjson} made of the text; each C{checked_} one takes what a handler put in a field, and
gives what protobuf takes; each C{text_} one gives what JSON takes. All raise L{FieldError} for what does not fit.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from math import isfinite, isinf, isnan
from typing import Any

from microd.framework.schema.faults import FieldError, described, wants
from microd.framework.schema.shapes import RANGES, Choice

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_INTEGER = re.compile(r"[+-]?[0-9]+(\.0+)?")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$", re.ASCII)
_SECONDS = re.compile(r"(-?)([0-9]{1,12})(?:\.([0-9]{1,9}))?s")
_SPECIAL = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_URLSAFE = str.maketrans("-_", "+/")
_FLOAT32 = 3.4028235677973366e38


def parse_string(value: object) -> str:
    """Text is text; nothing else is."""
    if isinstance(value, str):
        return value
    raise wants("a string", value)


def parse_bool(value: object) -> bool:
    """true and false; also as strings, which is how they come from a URL or a form."""
    if value is True or value is False:
        return value
    if value == "true" or value == "false":
        return value == "true"
    raise wants("a boolean", value)


def parse_bytes(value: object) -> bytes:
    """Base64 of either alphabet, padded or not."""
    if not isinstance(value, str):
        raise wants("a string of base64", value)
    text = value.rstrip("=").translate(_URLSAFE)
    try:
        return b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        raise FieldError("wants base64, got another string") from None


def parse_integer(kind: str) -> Callable[[object], int]:
    """A parser of a kind of integer: a JSON number without a fraction, or a string of one."""
    low, high = RANGES[kind]

    def parse(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise wants("an integer", value)
        if isinstance(value, str):
            if not _INTEGER.fullmatch(value):
                raise wants("an integer", value)
            number = int(value.partition(".")[0]) if len(value) < 40 else high + 1
        elif isinstance(value, float):
            if not isfinite(value) or not value.is_integer():
                raise FieldError("wants an integer, got a number with a fraction")
            number = int(value)
        else:
            number = value
        if not low <= number <= high:
            raise FieldError(f"wants an integer from {low} to {high}, got {str(value)[:40]}")
        return number

    return parse


def parse_float(value: object) -> float:
    """A JSON number, a string of one, or one of the three words for what JSON has no number for."""
    if isinstance(value, str):
        special = _SPECIAL.get(value)
        if special is not None:
            return special
        try:
            number = float(value)
        except ValueError:
            raise wants("a number", value) from None
        if not isfinite(number) or value != value.strip() or "_" in value:
            raise wants("a number", value)
        return number
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wants("a number", value)
    return float(value)


def parse_float32(value: object) -> float:
    """A number which fits in 32 bits."""
    number = parse_float(value)
    if isfinite(number) and abs(number) > _FLOAT32:
        raise FieldError(f"wants a number of 32 bits, got {number}")
    return number


def parse_instant(value: object) -> datetime:
    """RFC 3339 with its offset; what is finer than a microsecond is cut off."""
    if not isinstance(value, str):
        raise wants("a time such as 2026-01-31T12:00:00Z", value)
    try:
        if _TIME.match(value):
            return datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise FieldError("wants a time such as 2026-01-31T12:00:00Z, got another string")


def parse_span(value: object) -> timedelta:
    """Seconds with an C{s}: C{1.5s}."""
    found = _SECONDS.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise FieldError(f'wants a duration such as "1.5s", got {described(value)}')
    sign, whole, fraction = found.groups()
    span = timedelta(seconds=int(whole), microseconds=int((fraction or "").ljust(9, "0")[:6]))
    return -span if sign else span


def parse_choice(choice: Choice) -> Callable[[object], Any]:
    """A parser of an enum: a member's name, or its number, as a number or a string."""
    by_name = {name: choice.kind[name] for name, _ in choice.members}
    by_number = {number: choice.kind[name] for name, number in choice.members}
    expected = _listed(choice)

    def parse(value: object) -> object:
        found = by_name.get(value) if isinstance(value, str) else None
        if found is None and isinstance(value, str) and value.lstrip("-").isdecimal():
            found = by_number.get(int(value))
        elif isinstance(value, int) and not isinstance(value, bool):
            found = by_number.get(value)
        if found is None:
            raise FieldError(f"wants {expected}, got {_shown(value)}")
        return found

    return parse


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
    expected = _listed(choice)

    def check(value: object) -> int:
        if not isinstance(value, choice.kind):
            raise FieldError(f"wants {expected}, got {_shown(value)}")
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
    expected = _listed(choice)

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
    expected = _listed(choice)

    def text(value: object) -> str:
        if not isinstance(value, choice.kind):
            raise FieldError(f"wants {expected}, got {_shown(value)}")
        return value.name

    return text


def _digits(microseconds: int) -> str:
    if not microseconds:
        return ""
    return f".{microseconds // 1000:03d}" if microseconds % 1000 == 0 else f".{microseconds:06d}"


def _listed(choice: Choice) -> str:
    names = [name for name, _ in choice.members]
    return f"one of {', '.join(names)}" if len(names) > 1 else names[0]


def _shown(value: object) -> str:
    return (
        f'"{value[:40]}"'
        if isinstance(value, str)
        else str(value)
        if isinstance(value, int)
        else described(value)
    )
