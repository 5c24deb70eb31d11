"""JSON in and out, with every number as it was written. Pure."""

from __future__ import annotations

import json
from json.encoder import encode_basestring
from typing import Any, NoReturn

from microd.kernel.errors import BadRequest

_WORDS = {None: "null", True: "true", False: "false"}
_REFUSAL = "Request is invalid JSON: "


class Number(str):
    """A number: the text of it, since no type of Python's keeps all of them apart."""

    __slots__ = ()


def parse(text: str) -> Any:
    """Read JSON: dicts, lists, strings, booleans, None, and L{Number}s.

    @raise BadRequest: it is no JSON.
    """
    try:
        return json.loads(text, parse_float=Number, parse_int=Number, parse_constant=_no_number)
    except RecursionError:
        raise BadRequest(_REFUSAL + "it is nested too deeply") from None
    except ValueError as problem:
        raise BadRequest(f"{_REFUSAL}{problem}") from None


def dump(value: Any) -> str:
    """Write what L{parse} read: keys sorted, no spaces, letters as they are."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{quoted(key)}:{dump(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(dump, value)) + "]"
    return quoted(value)


def quoted(value: str | bool | None) -> str:
    """A string, a boolean or null."""
    return encode_basestring(value) if isinstance(value, str) else _WORDS[value]


def size(text: str) -> int:
    """Bytes of UTF-8.

    @raise BadRequest: half of a surrogate pair is in it, which JSON can write and UTF-8 cannot.
    """
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise BadRequest(_REFUSAL + "a string has half of a surrogate pair in it") from None


def deeper(value: Any, most: int) -> bool:
    """Whether more than so many lists and objects are in each other."""
    level = [value]
    for _ in range(most + 1):
        level = [
            inner
            for each in level
            if isinstance(each, (list, dict))
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return False
    return True


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
