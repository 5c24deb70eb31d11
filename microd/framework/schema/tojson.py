"""From a dataclass to JSON, by protobuf's mapping (spec micro-v3-server 2.3).

Every field goes out under its own name, 64-bit integers as strings, and null for what is absent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from microd.framework.schema import checking
from microd.framework.schema.faults import FieldError, an, located, wants
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
)
from microd.framework.schema.writing import Functions, attribute


def dumper(model: Model) -> Callable[[Any], bytes]:
    """A function from an instance to JSON; it raises L{FieldError} for a value that does not fit its field."""
    make = _Making(model).written()

    def dump(value: Any) -> bytes:
        made = make(value)
        try:
            return orjson.dumps(made)
        except TypeError:
            raise FieldError("holds text which is not Unicode") from None

    return dump


class _Making:
    """Writes C{make_N(value)}, which makes what C{orjson} writes, for each class."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._functions = Functions(f"{model.root.__name__} to JSON")
        self._located = self._functions.bind(located, "located")
        self._numbers = {kind: place for place, kind in enumerate(model.records)}

    def written(self) -> Callable[[Any], Any]:
        for kind, parts in self._model.records.items():
            known = self._functions.bind(kind, "Class")
            refuse = self._functions.bind(_refusal(kind), "refuse")
            lines: list[str] = []
            pairs: list[str] = []
            for place, part in enumerate(parts):
                lines.append(f"    v{place} = {attribute('o', part.attribute)}")
                lines += self._part(part, f"v{place}")
                pairs.append(f"{part.name!r}: v{place}")
            self._functions.add(
                f"def make_{self._numbers[kind]}(o):",
                f"    if type(o) is not {known} and not isinstance(o, {known}):",
                f"        {refuse}(o)",
                *lines,
                f"    return {{{', '.join(pairs)}}}",
            )
        return self._functions.compiled("make_0")

    def _part(self, part: Part, value: str) -> list[str]:
        match part.shape:
            case Scalar("string"):
                test = f"type({value}) is not str"
            case Scalar("bool"):
                test = f"type({value}) is not bool"
            case Scalar("double" | "float"):
                test = f"type({value}) is not float or {value} - {value} != 0.0"
            case Scalar("int32" | "uint32" as kind):
                low, high = RANGES[kind]
                test = f"type({value}) is not int or not {low} <= {value} <= {high}"
            case Scalar("int64" | "uint64" as kind):
                low, high = RANGES[kind]
                return [
                    f"    if type({value}) is int and {low} <= {value} <= {high}:",
                    f"        {value} = str({value})",
                    f"    elif {value} is not None:" if part.optional else "    else:",
                    f"        {value} = {self._located}({part.attribute!r}, {self._converter(part.shape)}, {value})",
                ]
            case _:
                test = ""
        if part.optional:
            test = f"{value} is not None and ({test})" if test else f"{value} is not None"
        line = f"{value} = {self._located}({part.attribute!r}, {self._converter(part.shape)}, {value})"
        return [f"    if {test}:", f"        {line}"] if test else [f"    {line}"]

    def _converter(self, shape: Single | Many | Keyed) -> str:
        match shape:
            case Record(kind):
                return f"make_{self._numbers[kind]}"
            case Many(item, _):
                return self._functions.bind(self._many(item), "many")
            case Keyed(key, item):
                return self._functions.bind(self._keyed(key, item), "keyed")
            case single:
                return self._functions.bind(_text_for(single), "text")

    def _convert(self, shape: Single) -> Callable[[Any], Any]:
        if isinstance(shape, Record):
            scope, name = self._functions.scope, f"make_{self._numbers[shape.kind]}"
            return lambda value: scope[name](value)
        return _text_for(shape)

    def _many(self, item: Single) -> Callable[[Any], list[Any]]:
        convert = self._convert(item)
        exact = plain(item)

        def many(values: Any) -> list[Any]:
            if isinstance(values, str | bytes | dict) or not hasattr(values, "__iter__"):
                raise wants("a list", values)
            return [
                value if type(value) is exact else located(f"[{place}]", convert, value)
                for place, value in enumerate(values)
            ]

        return many

    def _keyed(self, key: Scalar, item: Single) -> Callable[[Any], dict[str, Any]]:
        convert_key, convert = _text_for(key), self._convert(item)
        exact = plain(item)

        def keyed(values: Any) -> dict[str, Any]:
            if not hasattr(values, "items"):
                raise wants("a dict", values)
            return {
                _word(located(f"[{name!r}]", convert_key, name)): (
                    value if type(value) is exact else located(f"[{name!r}]", convert, value)
                )
                for name, value in values.items()
            }

        return keyed


def _text_for(shape: Single) -> Callable[[Any], Any]:
    match shape:
        case Scalar("string"):
            return checking.checked_string
        case Scalar("bool"):
            return checking.checked_bool
        case Scalar("bytes"):
            return checking.text_bytes
        case Scalar("double" | "float"):
            return checking.text_float
        case Scalar(kind):
            return checking.text_integer(kind)
        case Choice():
            return checking.text_choice(shape)
        case Instant():
            return checking.text_instant
        case Span():
            return checking.text_span
        case Record():
            raise AssertionError("a record is written by its own function")


def _word(key: object) -> str:
    """A map's key, which JSON has as a string."""
    return key if isinstance(key, str) else str(key).lower() if isinstance(key, bool) else str(key)


def _refusal(kind: type) -> Callable[[object], None]:
    def refuse(value: object) -> None:
        raise wants(an(kind.__name__), value)

    return refuse
