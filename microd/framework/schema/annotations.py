"""Reading an author's annotations into shapes, and refusing, by name, what has no shape."""

from __future__ import annotations

import inspect
import os
import re
import sys
import types
import typing
from collections.abc import Callable, Hashable, Mapping, MutableMapping, MutableSequence, Sequence
from contextlib import suppress
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import datetime, timedelta
from enum import Enum, Flag
from typing import Any

from microd.framework.schema.shapes import (
    RANGES,
    Choice,
    Instant,
    Keyed,
    Many,
    Model,
    Part,
    Record,
    Scalar,
    SchemaError,
    Shape,
    Single,
    Span,
    float32,
    int32,
    int64,
    is_message,
    uint32,
    uint64,
    zero,
)

_SCALARS: dict[object, str] = {
    str: "string",
    bytes: "bytes",
    bool: "bool",
    int: "int64",
    float: "double",
    int32: "int32",
    int64: "int64",
    uint32: "uint32",
    uint64: "uint64",
    float32: "float",
}
_LISTS: dict[object, type] = {
    list: list,
    Sequence: list,
    MutableSequence: list,
    set: set,
    frozenset: frozenset,
    tuple: tuple,
}
_MAPS = (dict, Mapping, MutableMapping)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HIGHEST = 2**29 - 1
_RESERVED = range(19000, 20000)


def model_of(root: type, names: Mapping[str, object] | None = None) -> Model:
    """Read a dataclass, and all that it is made of.

    @param names: what annotations may name besides the globals of each class's module.
    @raise SchemaError: some annotation has no counterpart on the wire.
    @raise NameError: an annotation names something that is not defined yet.
    """
    reader = _Reader(names or {})
    reader.read(root)
    _refuse_endless(root, reader.records)
    return Model(root, reader.records, reader.choices)


def hints_of(thing: Any, names: Mapping[str, object]) -> dict[str, Any]:
    """The annotations of a class or a function as types.

    What was defined within a function sees C{names} first; anything else sees its own module, and C{names} only for what is
    not there.
    """
    if "<locals>" not in thing.__qualname__:
        with suppress(NameError):
            return typing.get_type_hints(thing, include_extras=True)
    return typing.get_type_hints(thing, localns=dict(names), include_extras=True)


class _Reader:
    """Collects the classes that are reached from a first one."""

    def __init__(self, names: Mapping[str, object]) -> None:
        self._names = names
        self.records: dict[type, tuple[Part, ...]] = {}
        self.choices: dict[type[Enum], Choice] = {}

    def read(self, kind: type) -> None:
        if kind in self.records:
            return
        if not is_dataclass(kind):
            raise SchemaError(
                f"{place_of(kind)}: {called(kind)} is neither a dataclass nor a protobuf message"
            )
        _require_name(kind.__name__, place_of(kind), "a message")
        self.records[kind] = ()
        hints = self._hints(kind)
        parts: list[Part] = []
        for place, found in enumerate((one for one in fields(kind) if one.init), start=1):
            where = f"{place_of(kind)}: {kind.__name__}.{found.name}"
            part = self._part(found, hints[found.name], place, where)
            for other in parts:
                _refuse_clash(part, other, where)
            parts.append(part)
        self.records[kind] = tuple(parts)

    def _hints(self, kind: type) -> dict[str, Any]:
        """The annotations of a class as types; a class may name itself, wherever it was defined."""
        return hints_of(kind, {**self._names, **{known.__name__: known for known in self.records}})

    def _part(self, found: Field[Any], hint: object, place: int, where: str) -> Part:
        name = found.metadata.get("name", found.name)
        number = found.metadata.get("number", place)
        _require_name(name, where, "a field")
        if type(number) is not int or not 1 <= number <= _HIGHEST or number in _RESERVED:
            raise SchemaError(
                f"{where}: a field's number is 1 to {_HIGHEST}, but not 19000 to 19999, which protobuf keeps; not {number!r}"
            )
        hint, optional = _without_none(hint, where)
        shape = self._shape(hint, where)
        if optional and isinstance(shape, Many | Keyed):
            raise SchemaError(
                f"{where}: a list or dict is empty rather than None on the wire; "
                f"drop '| None', and use field(default_factory=...)"
            )
        default = _default(found)
        presence = optional or isinstance(shape, Record | Instant | Span)
        if default is not None and not presence and isinstance(shape, Scalar | Choice):
            presence = default() != zero(shape)
        if optional and default is None:
            default = _nothing
        return Part(
            found.name,
            name,
            _lower_camel(name),
            number,
            shape,
            optional,
            presence,
            default,
            found.kw_only is True,
        )

    def _shape(self, hint: object, where: str) -> Shape:
        if typing.get_origin(hint) is typing.Annotated and hint not in _SCALARS:
            hint = typing.get_args(hint)[0]
        origin = typing.get_origin(hint)
        args = typing.get_args(hint)
        if origin in _MAPS and len(args) == 2:
            key = self._single(args[0], where)
            if not isinstance(key, Scalar) or key.kind in ("bytes", "double", "float"):
                raise SchemaError(
                    f"{where}: the keys of a map are strings, integers or booleans, not {called(args[0])}"
                )
            return Keyed(key, self._single(args[1], where))
        if origin in _LISTS:
            if origin is tuple and (len(args) != 2 or args[1] is not Ellipsis):
                raise SchemaError(
                    f"{where}: of tuples only tuple[T, ...] has a counterpart; make the others a dataclass"
                )
            item = self._single(args[0], where)
            if origin in (set, frozenset) and isinstance(item, Record) and item.kind.__hash__ is None:
                raise SchemaError(
                    f"{where}: {called(args[0])} cannot be in a set; make it frozen, or use a list"
                )
            return Many(item, _LISTS[origin])
        return self._single(hint, where)

    def _single(self, hint: object, where: str) -> Single:
        kind = _SCALARS.get(hint) if isinstance(hint, Hashable) else None
        if kind is not None:
            return Scalar(kind)
        if hint is datetime:
            return Instant()
        if hint is timedelta:
            return Span()
        if isinstance(hint, type):
            if issubclass(hint, Enum):
                return self._choice(hint, where)
            if is_dataclass(hint):
                self.read(hint)
                return Record(hint)
        raise SchemaError(f"{where}: {_advice(hint)}")

    def _choice(self, kind: type[Enum], where: str) -> Choice:
        if kind not in self.choices:
            members = list(kind)
            if issubclass(kind, Flag):
                raise SchemaError(
                    f"{where}: {kind.__name__} may be several members at once; use an int, or a list of an Enum"
                )
            if not members:
                raise SchemaError(f"{where}: the enum {kind.__name__} has no members")
            if all(type(member.value) is int or isinstance(member.value, int) for member in members):
                numbered = [(member.name, int(member.value)) for member in members]
            else:
                numbered = [(member.name, place) for place, member in enumerate(members)]
            for name, number in numbered:
                _require_name(name, where, "an enum's member")
                if not RANGES["int32"][0] <= number <= RANGES["int32"][1]:
                    raise SchemaError(
                        f"{where}: {kind.__name__}.{name} is {number}, and an enum's number has 32 bits"
                    )
            self.choices[kind] = Choice(kind, tuple(sorted(numbered, key=lambda one: one[1] != 0)))
        return self.choices[kind]


def _require_name(name: object, where: str, what: str) -> None:
    if type(name) is not str or not _NAME.fullmatch(name):
        raise SchemaError(
            f"{where}: {name!r} cannot name {what} on the wire; use ASCII letters, digits and '_'"
        )


def _nothing() -> None:
    return None


def _default(found: Field[Any]) -> Callable[[], object] | None:
    if found.default_factory is not MISSING:
        return found.default_factory
    if found.default is not MISSING:
        value = found.default
        return lambda: value
    return None


def _without_none(hint: object, where: str) -> tuple[object, bool]:
    origin = typing.get_origin(hint)
    if origin is typing.Union or origin is types.UnionType:
        rest = [arg for arg in typing.get_args(hint) if arg is not type(None)]
        if len(rest) != 1 or len(rest) == len(typing.get_args(hint)):
            raise SchemaError(
                f"{where}: {called(hint)} could be more than one thing; only 'T | None' has a counterpart"
            )
        return rest[0], True
    return hint, False


def _refuse_clash(part: Part, other: Part, where: str) -> None:
    if part.number == other.number:
        raise SchemaError(
            f"{where}: number {part.number} is taken by {other.attribute}; "
            f'give one of them another with field(metadata={{"number": ...}})'
        )
    if {part.name, part.json} & {other.name, other.json}:
        raise SchemaError(
            f"{where}: its name on the wire, {part.name} ({part.json} in JSON), is that of {other.attribute}"
        )


def _refuse_endless(root: type, records: Mapping[type, tuple[Part, ...]]) -> None:
    """A message that must contain another of its own kind could never be made."""
    done: set[type] = set()

    def visit(kind: type, above: tuple[type, ...]) -> None:
        for part in records[kind]:
            if isinstance(part.shape, Record) and part.default is None:
                if part.shape.kind in (*above, kind):
                    raise SchemaError(
                        f"{place_of(kind)}: {kind.__name__}.{part.attribute}: a {part.shape.kind.__name__} that must contain "
                        f"a {part.shape.kind.__name__} has no end; make it '{part.shape.kind.__name__} | None'"
                    )
                if part.shape.kind not in done:
                    visit(part.shape.kind, (*above, kind))
        done.add(kind)

    for kind in records:
        visit(kind, ())


def _lower_camel(name: str) -> str:
    """protobuf's JSON name: each underscore goes, and the letter after it is upper case."""
    out: list[str] = []
    up = False
    for letter in name:
        if letter == "_":
            up = True
        else:
            out.append(letter.upper() if up else letter)
            up = False
    return "".join(out)


def _advice(hint: object) -> str:
    if is_message(hint):
        return (
            f"{called(hint)} is a generated message, and a dataclass cannot hold one; make both the same sort"
        )
    if hint in (list, set, dict, tuple, frozenset):
        return f"say of what: {called(hint)}[...]"
    if typing.get_origin(hint) in (*_LISTS, *_MAPS):
        return f"{called(hint)} is a list or dict inside another; put a dataclass between them"
    return (
        f"{called(hint)} has no counterpart on the wire; use str, int, float, bool, bytes, datetime, timedelta, "
        f"an Enum, a dataclass, or a list, dict or '| None' of those"
    )


def called(hint: object) -> str:
    return (
        hint.__qualname__
        if isinstance(hint, type) and not typing.get_args(hint)
        else str(hint).replace("typing.", "")
    )


def place_of(kind: type) -> str:
    """The file and line where a class is written, as near as can be known."""
    module = sys.modules.get(kind.__module__)
    path = getattr(module, "__file__", None) or kind.__module__
    try:
        line = inspect.getsourcelines(kind)[1]
    except (OSError, TypeError):
        return os.path.relpath(path) if os.path.isabs(path) else path
    return f"{os.path.relpath(path)}:{line}"
