"""The shape of a message, as the registry tells it, and how a person's words become one. Pure.

A type is named as the framework of the reference names Go's (spec micro-v3-server 6.1): C{string}, C{bool}, C{int32},
C{uint64}, C{float32}, C{[]uint8} (bytes), C{[]T}, C{map[K]V}; any other name is a message, whose fields follow, or an
enum, which has none. Words become protobuf's JSON.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

_INTEGERS = {
    "int": 64, "int32": 32, "int64": 64, "sint32": 32, "sint64": 64, "sfixed32": 32, "sfixed64": 64,
    "int8": 8, "int16": 16,
}  # fmt: skip
_UNSIGNED = {
    "uint": 64,
    "uint32": 32,
    "uint64": 64,
    "fixed32": 32,
    "fixed64": 64,
    "uint8": 8,
    "uint16": 16,
    "byte": 8,
}
_FLOATS = ("float", "double", "float32", "float64")
_BYTES = ("bytes", "[]uint8", "[]byte")
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")
_MAP = re.compile(r"map\[(\w+)\](.+)")


#: The type of a field whose type is not known.
UNTOLD = "json"


class BadValue(ValueError):
    """The words do not make a value of that type."""


class Shape(NamedTuple):
    """A field: its name, its type, and the fields inside it."""

    name: str
    type: str
    fields: tuple[Shape, ...] = ()

    @property
    def listed(self) -> str:
        """What a list holds; empty for what is no list."""
        return self.type[2:] if self.type.startswith("[]") and self.type not in _BYTES else ""

    @property
    def is_bool(self) -> bool:
        """Whether the flag alone says enough."""
        return self.type == "bool"

    @property
    def title(self) -> str:
        """The type, for a person."""
        return "bytes" if self.type in _BYTES else self.type

    def leaves(self, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Shape]]:
        """What can be given by itself: each field which has no fields, with the path to it."""
        for field in self.fields:
            path = (*above, field.name)
            if field.fields:
                yield from field.leaves(path)
            else:
                yield path, field

    def every(self, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Shape]]:
        """Each field at every depth, the outer ones first."""
        inner = [((*above, field.name), field) for field in self.fields]
        yield from inner
        for path, field in inner:
            yield from field.every(path)

    def value(self, words: Sequence[str], read_file: Callable[[str], bytes]) -> Any:
        """What the words of a flag, given once or more often, mean as JSON.

        @param read_file: reads what C{@path} names, for bytes.
        @raise BadValue: says what is wanted.
        """
        if self.listed:
            return _list(self.listed, words, read_file)
        if match := _MAP.fullmatch(self.type):
            return _map(match[1], match[2], words, read_file)
        return _single(self.type, words[-1], read_file)


def _list(inner: str, words: Sequence[str], read_file: Callable[[str], bytes]) -> list[Any]:
    found: list[Any] = []
    for word in words:
        if word.lstrip().startswith("["):
            given = _json(word)
            if not isinstance(given, list):
                raise BadValue("a JSON array")
            found += [_single(inner, each, read_file) if isinstance(each, str) else each for each in given]
        elif _is_scalar(inner):
            parts = word.split(",") if len(words) == 1 else [word]
            found += [_single(inner, part, read_file) for part in parts]
        else:
            found.append(_single(inner, word, read_file))
    return found


def _map(key: str, inner: str, words: Sequence[str], read_file: Callable[[str], bytes]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for word in words:
        if word.lstrip().startswith("{"):
            given = _json(word)
            if not isinstance(given, dict):
                raise BadValue("a JSON object")
            for name, each in given.items():
                found[name] = _single(inner, each, read_file) if isinstance(each, str) else each
            continue
        for part in word.split(",") if len(words) == 1 and _is_scalar(inner) else [word]:
            name, equals, text = part.partition("=")
            if not equals:
                raise BadValue("key=value, or a JSON object")
            found[str(_single(key, name, read_file))] = _single(inner, text, read_file)
    return found


def _single(kind: str, word: str, read_file: Callable[[str], bytes]) -> Any:
    if kind == "string":
        return word
    if kind == "bool":
        if word.lower() not in (*_TRUE, *_FALSE):
            raise BadValue("true or false")
        return word.lower() in _TRUE
    if kind in _INTEGERS or kind in _UNSIGNED:
        return _integer(kind, word)
    if kind in _FLOATS:
        return _float(word)
    if kind in _BYTES:
        data = read_file(word[1:]) if word.startswith("@") else word.encode()
        return binascii.b2a_base64(data, newline=False).decode()
    if kind == UNTOLD:
        return _anything(word)
    # A message, or an enum by name or number; a message of a well-known type may well be a plain string.
    if word[:1] in ("{", "[", '"'):
        return _json(word)
    return int(word) if re.fullmatch(r"-?\d+", word) else word


def _anything(word: str) -> Any:
    try:
        return json.loads(word)
    except ValueError:
        return word


def _integer(kind: str, word: str) -> int:
    bits = _INTEGERS.get(kind) or _UNSIGNED[kind]
    least, most = (0, 2**bits - 1) if kind in _UNSIGNED else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if not re.fullmatch(r"[+-]?\d+", word) or not least <= int(word) <= most:
        raise BadValue(f"a whole number from {least} to {most}")
    return int(word)


def _float(word: str) -> float | str:
    if word in ("NaN", "Infinity", "-Infinity"):
        return word
    try:
        found = float(word)
    except ValueError:
        raise BadValue("a number") from None
    if found != found or found in (float("inf"), float("-inf")):
        raise BadValue("a number; beyond numbers are NaN, Infinity and -Infinity")
    return found


def _json(word: str) -> Any:
    try:
        return json.loads(word)
    except ValueError as error:
        raise BadValue(f"valid JSON ({error})") from None


def _is_scalar(kind: str) -> bool:
    return kind in ("string", "bool", *_INTEGERS, *_UNSIGNED, *_FLOATS)
