"""The description of a message which the registry keeps: a tree of names and types (spec micro-v3-server 6.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor

T = TypeVar("T")

#: Makes one value of a name, a type and the values inside it.
Make = Callable[[str, str, Sequence[T]], T]

#: Where the tree is cut, so that a message which contains its own kind has a description.
DEPTH = 6

_KINDS = {
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BYTES: "[]uint8",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_DOUBLE: "float64",
    FieldDescriptor.TYPE_FLOAT: "float32",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_SINT32: "int32",
    FieldDescriptor.TYPE_SFIXED32: "int32",
    FieldDescriptor.TYPE_UINT32: "uint32",
    FieldDescriptor.TYPE_FIXED32: "uint32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_SINT64: "int64",
    FieldDescriptor.TYPE_SFIXED64: "int64",
    FieldDescriptor.TYPE_UINT64: "uint64",
    FieldDescriptor.TYPE_FIXED64: "uint64",
    # An enum's member is given by its name, and a time or a duration is written as text in JSON.
    FieldDescriptor.TYPE_ENUM: "string",
}
_AS_TEXT = {"google.protobuf.Timestamp", "google.protobuf.Duration"}


def tree(message: Any, make: Make[T]) -> T:
    """Describe a message, given its descriptor."""
    return make(message.name, message.name, _children(message, 1, make))


def _children(message: Descriptor, depth: int, make: Make[T]) -> list[T]:
    if depth >= DEPTH:
        return []
    return [_child(field, depth, make) for field in message.fields]


def _child(field: FieldDescriptor, depth: int, make: Make[T]) -> T:
    found = field.message_type
    if found is not None and found.GetOptions().map_entry:
        key, value = found.fields_by_name["key"], found.fields_by_name["value"]
        return make(field.name, f"map[{_type(key)}]{_type(value)}", ())
    if field.is_repeated:
        return make(field.name, f"[]{_type(field)}", ())
    if found is not None and found.full_name not in _AS_TEXT:
        return make(field.name, found.name, _children(found, depth + 1, make))
    return make(field.name, _type(field), ())


def _type(field: FieldDescriptor) -> str:
    if field.message_type is None:
        return _KINDS.get(field.type, "")
    return "string" if field.message_type.full_name in _AS_TEXT else field.message_type.name
