"""From JSON to a dataclass, by protobuf's mapping (spec micro-v3-server 2.3).

Both spellings of a name are taken, and what nobody knows is passed over.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import orjson

from microd.framework.schema import parsing
from microd.framework.schema.containers import after, entries, items, json_list, json_map
from microd.framework.schema.faults import FieldError, Undecodable, located, wants
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
    Single,
    Span,
    plain,
    zero,
)
from microd.framework.schema.writing import Functions, construction


def parser(model: Model) -> Callable[[bytes], Any]:
    """A function from JSON to an instance; an empty text is an empty object.

    It raises L{Undecodable}, L{FieldError}, or what the class's own C{__post_init__} raises.
    """
    read = _Reading(model).written()

    def parse(data: bytes) -> Any:
        try:
            return read(loaded(data))
        except RecursionError:
            raise Undecodable("the request is nested too deeply") from None

    return parse


def loaded(data: bytes) -> Any:
    """Read JSON.

    @raise Undecodable: it is none; the text says where it broke off.
    """
    if not data:
        return {}
    try:
        return orjson.loads(data)
    except ValueError as problem:
        raise Undecodable(f"the request is not JSON: {problem}") from None


class _Reading:
    """Writes C{read_N(found)} for each class."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._functions = Functions(f"JSON to {model.root.__name__}")
        self._located = self._functions.bind(located, "located")
        self._numbers = {kind: place for place, kind in enumerate(model.records)}

    def written(self) -> Callable[[Any], Any]:
        refuse = self._functions.bind(_refuse, "refuse")
        for kind, parts in self._model.records.items():
            lines: list[str] = []
            for place, part in enumerate(parts):
                lines += self._part(part, f"v{place}")
            values = [(part.attribute, f"v{place}", part.keyword) for place, part in enumerate(parts)]
            self._functions.add(
                f"def read_{self._numbers[kind]}(o):",
                "    if type(o) is not dict:",
                f"        {refuse}(o)",
                "    get = o.get",
                *lines,
                f"    return {construction(self._functions.bind(kind, 'Class'), values)}",
            )
        return self._functions.compiled("read_0")

    def _part(self, part: Part, value: str) -> list[str]:
        lines = [f"    {value} = get({part.name!r})"]
        if part.json != part.name:
            lines += [f"    if {value} is None:", f"        {value} = get({part.json!r})"]
        absent = f"        {value} = {self._absent(part)}"
        convert = f"        {value} = {self._located}({part.name!r}, {self._converter(part.shape)}, {value})"
        as_it_is = _parsed_as_it_is(part.shape, value)
        if as_it_is:
            return [
                *lines,
                f"    if {as_it_is}:",
                "        pass",
                f"    elif {value} is None:",
                absent,
                "    else:",
                convert,
            ]
        return [*lines, f"    if {value} is None:", absent, "    else:", convert]

    def _absent(self, part: Part) -> str:
        """The expression for a field that was not sent."""
        if part.default is not None:
            plain = part.default()
            if plain is None or type(plain) in (str, int, float, bool, bytes):
                return self._functions.bind(plain, "default") if type(plain) is float else repr(plain)
            return f"{self._functions.bind(part.default, 'default')}()"
        match part.shape:
            case Record(kind):
                return f"{self._located}({part.name!r}, read_{self._numbers[kind]}, {{}})"
            case Span():
                return f"{self._functions.bind(timedelta, 'timedelta')}()"
            case Many(_, container):
                return f"{self._functions.bind(container, container.__name__)}()"
            case Keyed():
                return "{}"
            case Instant():
                return f"{self._functions.bind(_missing, 'missing')}({part.name!r})"
            case Choice() as choice:
                first = choice.zero
                if first is None:
                    return f"{self._functions.bind(_missing, 'missing')}({part.name!r})"
                return self._functions.bind(first, "first")
            case scalar:
                return repr(zero(scalar))

    def _converter(self, shape: Single | Many | Keyed) -> str:
        match shape:
            case Record(kind):
                return f"read_{self._numbers[kind]}"
            case Many(item, container):
                many = after(json_list, items(self._convert(item), plain(item)))
                return self._functions.bind(many if container is list else _into(container, many), "many")
            case Keyed(key, item):
                keyed = entries(_parse_for(key), self._convert(item), plain(item))
                return self._functions.bind(after(json_map, keyed), "keyed")
            case single:
                return self._functions.bind(_parse_for(single), "parse")

    def _convert(self, shape: Single) -> Callable[[Any], Any]:
        if isinstance(shape, Record):
            scope, name = self._functions.scope, f"read_{self._numbers[shape.kind]}"
            return lambda value: scope[name](value)
        return _parse_for(shape)


def _into(container: type, many: Callable[[Any], list[Any]]) -> Callable[[Any], Any]:
    return lambda values: container(many(values))


def _parsed_as_it_is(shape: object, value: str) -> str:
    """The test that what JSON held is already what Python wants."""
    match shape:
        case Scalar("string"):
            return f"type({value}) is str"
        case Scalar("bool"):
            return f"type({value}) is bool"
        case Scalar("double"):
            return f"type({value}) is float"
        case Scalar("int32" | "int64" | "uint32" | "uint64" as kind):
            low, high = RANGES[kind]
            return f"type({value}) is int and {low} <= {value} <= {high}"
    return ""


def _parse_for(shape: Single) -> Callable[[Any], Any]:
    match shape:
        case Scalar("string"):
            return parsing.parse_string
        case Scalar("bool"):
            return parsing.parse_bool
        case Scalar("bytes"):
            return parsing.parse_bytes
        case Scalar("double"):
            return parsing.parse_float
        case Scalar("float"):
            return parsing.parse_float32
        case Scalar(kind):
            return parsing.parse_integer(kind)
        case Choice():
            return parsing.parse_choice(shape)
        case Instant():
            return parsing.parse_instant
        case Span():
            return parsing.parse_span
        case Record():
            raise AssertionError("a record is read by its own function")


def _missing(name: str) -> Any:
    raise FieldError("is missing", name)


def _refuse(value: object) -> None:
    raise wants("an object", value)
