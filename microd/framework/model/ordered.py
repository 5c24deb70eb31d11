"""Values as text whose order is the order of the values.

A store orders keys by their UTF-8 bytes, which is the order of Unicode's code points. So for each type there is a way to write
a value which keeps its order:

==========================  ==========================================================================
C{str}                      as it is; C{!} and what is not allowed in a key are escaped, likewise C{~}
C{int}, an C{Enum} of them  the number of digits as a letter, then the digits; below zero, both reversed
C{float}                    the bits of an IEEE double, of which those of negatives are inverted
C{bool}                     0, 1
C{datetime}, C{timedelta}   microseconds, as an integer
C{bytes}                    hexadecimal
other enums                 the member's name
==========================  ==========================================================================

A I{component} is such a text after C{=}, or C{-} for C{None}, which therefore comes first. A space, which no component contains,
ends it. So that keys stay short, a component longer than L{LONGEST} is cut, and a digest of the whole takes the rest's place:
equal values have equal keys whatever their length, and only the order among values which begin with the same L{LONGEST}
characters is left to those who see the whole values.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import Enum
from hashlib import sha256
from typing import Any

from microd.framework.schema import checking
from microd.framework.schema.faults import FieldError, wants
from microd.framework.schema.shapes import Choice, Instant, Scalar, Shape, Span

#: Characters of a component that are kept as they are.
LONGEST = 200

#: The component of C{None}; those of all values begin with C{VALUE}.
NONE, VALUE = "-", "="

Encode = Callable[[Any], str]

_ESCAPED = {code: "!" + chr(0x30 + code) for code in range(0x22)} | {0x7E: "~0", 0x7F: "~1"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_REVERSED = str.maketrans("0123456789", "9876543210")


def text(value: object) -> str:
    """A string."""
    found = checking.checked_string(value)
    if not found.isascii():
        try:
            found.encode()
        except UnicodeEncodeError:
            raise FieldError("holds text which is not Unicode") from None
    return found.translate(_ESCAPED)


def integer(value: int) -> str:
    """A whole number of up to 25 digits."""
    digits = str(abs(value))
    if value < 0:
        return chr(ord("Z") - len(digits)) + digits.translate(_REVERSED)
    return chr(ord("a") + len(digits)) + digits


def number(value: object) -> str:
    """A float. Zero has no sign here, and what is not a number comes after infinity."""
    found = checking.checked_float(value) + 0.0
    if found != found:
        return "g"
    (bits,) = struct.unpack(">Q", struct.pack(">d", found))
    bits = bits ^ 0xFFFF_FFFF_FFFF_FFFF if bits >> 63 else bits | 1 << 63
    return f"{bits:016x}"


def instant(value: object) -> str:
    """A point in time; without an offset it is taken as UTC, as everywhere."""
    if not isinstance(value, datetime):
        raise wants("a datetime", value)
    aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    return integer((aware - _EPOCH) // _MICROSECOND)


def span(value: object) -> str:
    """A length of time."""
    if not isinstance(value, timedelta):
        raise wants("a timedelta", value)
    return integer(value // _MICROSECOND)


def _boolean(value: object) -> str:
    return "1" if checking.checked_bool(value) else "0"


def _bytes(value: object) -> str:
    return checking.checked_bytes(value).hex()


def _integer(kind: str) -> Encode:
    check = checking.checked_integer(kind)
    return lambda value: integer(check(value))


def _member(choice: Choice) -> Encode:
    check = checking.text_choice(choice)
    return lambda value: text(check(value))


def _numbered(choice: Choice) -> Encode:
    check = checking.checked_choice(choice)
    return lambda value: integer(check(value))


def form(shape: Shape) -> tuple[str, Encode] | None:
    """How values of a shape are written, and the name of that way: indexes stay good while it does. C{None}: there is none."""
    match shape:
        case Scalar("string"):
            return "text", text
        case Scalar("bool"):
            return "bool", _boolean
        case Scalar("bytes"):
            return "bytes", _bytes
        case Scalar("double" | "float"):
            return "number", number
        case Scalar(kind):
            return "integer", _integer(kind)
        case Instant():
            return "instant", instant
        case Span():
            return "span", span
        case Choice(kind):
            return ("member number", _numbered(shape)) if _is_numbered(kind) else ("member", _member(shape))
    return None


def _is_numbered(kind: type[Enum]) -> bool:
    return all(isinstance(member.value, int) for member in kind)


def component(encode: Encode, value: object) -> str:
    """A value, or C{None}, as one part of a key; not cut.

    @raise FieldError: the value is of another type.
    """
    return NONE if value is None else VALUE + encode(value)


def cut(whole: str) -> str:
    """A component as it stands in a key."""
    if not is_long(whole):
        return whole
    return whole[: LONGEST + 1] + "~~" + sha256(whole.encode()).hexdigest()[:40]


def is_long(component: str) -> bool:
    """Whether a component is cut in keys; of one from a key, whether it was."""
    return len(component) > LONGEST + 1
