"""Makes bad requests of good ones, one field at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from tests.compat.wires import Shown

_F = FieldDescriptor
_TEXTS = (
    "../../../etc/passwd",
    "..",
    "/etc/passwd",
    "a/../../b",
    "nul\0byte",
    "line\r\nbreak",
    " ",
    "%2e%2e%2f",
    "*",
    "é" * 3000,
    "x" * 200_000,
)
_WHOLE = {
    **dict.fromkeys((_F.TYPE_INT32, _F.TYPE_SINT32), (-(2**31), -1, 2**31 - 1)),
    **dict.fromkeys((_F.TYPE_INT64, _F.TYPE_SINT64), (-(2**63), -1, 253402300800, 2**63 - 1)),
    **dict.fromkeys((_F.TYPE_UINT32, _F.TYPE_FIXED32), (2**32 - 1,)),
    **dict.fromkeys((_F.TYPE_UINT64, _F.TYPE_FIXED64), (2**63, 2**64 - 1)),
}
_MANY = 20_000


@dataclass(frozen=True)
class Bad:
    """A request with one thing wrong.

    @ivar what: the field and what is in it.
    """

    what: str
    request: Shown


def bad_values(good: Shown, kind: Descriptor) -> Iterator[Bad]:
    """Requests which are well formed, and senseless."""
    for what, request in _bad(good, kind, 0):
        yield Bad(what, request)


def bad_types(good: Shown, kind: Descriptor) -> Iterator[tuple[str, bytes]]:
    """Bodies of JSON in which one field has a value of another type, and the field's name."""
    for field in kind.fields:
        for wrong in _wrong(field):
            yield field.name, json.dumps({**_jsonable(good), field.name: wrong}).encode()


def bad_texts(kind: Descriptor) -> Iterator[tuple[str, bytes]]:
    """Messages of protobuf in which one text is not UTF-8."""
    for field in kind.fields:
        if field.type == _F.TYPE_STRING:
            yield field.name, _tagged(field.number, b"\xff\xfe\xc0")


def _bad(good: Any, kind: Descriptor, depth: int) -> Iterator[tuple[str, Any]]:
    for field in kind.fields:
        others = field.containing_oneof.fields if field.containing_oneof is not None else ()
        rest = {name: each for name, each in good.items() if name not in {other.name for other in others}}
        for what, value in _values(field, good.get(field.name), depth):
            yield f"{field.name}{what}", {**rest, field.name: value}
        if field.name in good:
            yield f"{field.name} absent", {name: each for name, each in good.items() if name != field.name}


def _values(field: FieldDescriptor, good: Any, depth: int) -> Iterator[tuple[str, Any]]:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        value = field.message_type.fields_by_name["value"]
        plain: Any = "v" if value.type == _F.TYPE_STRING else {}
        yield " of many", {f"k{number}": plain for number in range(_MANY)}
        yield " with a bad key", {"": plain}
        yield " with a long key", {"k" * 100_000: plain}
        yield " with a broken key", {"a\r\nb": plain}
        if value.type == _F.TYPE_STRING:
            yield " with a long value", {"k": "v" * 200_000}
    elif field.is_repeated:
        one = _one(field)
        yield " of many", [one] * _MANY
        if field.message_type is not None:
            inner = good[0] if good else {}
            yield " with an empty one", [{}]
            if depth < 3:
                yield from (
                    (f"[].{what}", [each]) for what, each in _bad(inner, field.message_type, depth + 1)
                )
        elif field.type == _F.TYPE_STRING:
            yield from ((f"[]={text[:12]!r}", [text]) for text in _TEXTS)
    elif field.message_type is not None:
        yield " empty", {}
        if depth < 3:
            yield from ((f".{what}", each) for what, each in _bad(good or {}, field.message_type, depth + 1))
    elif field.type == _F.TYPE_STRING:
        yield from ((f"={text[:12]!r}", text) for text in (*_TEXTS, ""))
    elif field.type == _F.TYPE_BYTES:
        yield " empty", b""
    elif field.type in _WHOLE:
        yield from ((f"={number}", number) for number in _WHOLE[field.type])
    elif field.type == _F.TYPE_ENUM:
        yield "=77", 77


def _one(field: FieldDescriptor) -> Any:
    if field.message_type is not None:
        return {}
    return "v" if field.type == _F.TYPE_STRING else 1


def _wrong(field: FieldDescriptor) -> Iterator[Any]:
    if field.is_repeated:
        yield "text"
        yield 7
    elif field.message_type is not None:
        yield "text"
        yield [1]
    elif field.type == _F.TYPE_STRING:
        yield 7
        yield {"a": 1}
        yield True
    elif field.type == _F.TYPE_BYTES:
        yield 7
        yield "not base64!"
    elif field.type == _F.TYPE_BOOL:
        yield "perhaps"
        yield {}
    else:
        yield "seven"
        yield 1.5
        yield {}


def _jsonable(good: Mapping[str, Any]) -> Shown:
    from tests.compat.wires import encoded

    made: Shown = encoded(good)
    return made


def _tagged(number: int, value: bytes) -> bytes:
    tag = number << 3 | 2
    head = bytes((tag,)) if tag < 0x80 else bytes((tag & 0x7F | 0x80, tag >> 7))
    return head + bytes((len(value),)) + value
