"""Single values from JSON to Python, by protobuf's mapping.

Each function takes what C{orjson} made of the text, and raises L{FieldError} for what does not fit.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any

from microd.framework.schema.faults import FieldError, described, wants
from microd.framework.schema.shapes import RANGES, Choice

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
    expected = listed(choice)

    def parse(value: object) -> object:
        found = by_name.get(value) if isinstance(value, str) else None
        if found is None and isinstance(value, str) and value.lstrip("-").isdecimal():
            found = by_number.get(int(value))
        elif isinstance(value, int) and not isinstance(value, bool):
            found = by_number.get(value)
        if found is None:
            raise FieldError(f"wants {expected}, got {shown(value)}")
        return found

    return parse


def listed(choice: Choice) -> str:
    """What an enum wants, in words."""
    names = [name for name, _ in choice.members]
    return f"one of {', '.join(names)}" if len(names) > 1 else names[0]


def shown(value: object) -> str:
    """What came instead of a member, short."""
    return (
        f'"{value[:40]}"'
        if isinstance(value, str)
        else str(value)
        if isinstance(value, int)
        else described(value)
    )
