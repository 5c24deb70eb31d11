"""From a dataclass to JSON, by protobuf's mapping (spec micro-v3-server 2.3).

Every field goes out under its own name, 64-bit integers as strings, and null for what is absent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from microd.framework.schema import checking
from microd.framework.schema.faults import FieldError
from microd.framework.schema.making import Making
from microd.framework.schema.shapes import (
    RANGES,
    Choice,
    Instant,
    Model,
    Part,
    Record,
    Scalar,
    Single,
    Span,
    plain,
)


def dumper(model: Model, *, numbers: bool = False) -> Callable[[Any], bytes]:
    """A function from an instance to JSON; it raises L{FieldError} for a value that does not fit its field.

    @param numbers: 64-bit integers are numbers like all others, for readers which know nothing of protobuf.
    """
    make = _MakingJson(model, f"{model.root.__name__} to JSON", numbers).written()

    def dump(value: Any) -> bytes:
        made = make(value)
        try:
            return orjson.dumps(made)
        except TypeError as problem:
            deep = "ecursion" in str(problem)
            raise FieldError("is nested too deeply" if deep else "holds text which is not Unicode") from None

    return dump


class _MakingJson(Making):
    """Makes what C{orjson} writes."""

    def __init__(self, model: Model, title: str, numbers: bool) -> None:
        super().__init__(model, title)
        self._long = () if numbers else ("int64", "uint64")

    def convert(self, shape: Single) -> Callable[[Any], Any]:
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
                return checking.text_integer(kind) if kind in self._long else checking.checked_integer(kind)
            case Choice():
                return checking.text_choice(shape)
            case Instant():
                return checking.text_instant
            case Span():
                return checking.text_span
            case Record():
                raise AssertionError("a record is written by its own function")

    def convert_key(self, shape: Scalar) -> Callable[[Any], Any]:
        """JSON's keys are strings."""
        if shape.kind == "string":
            return checking.checked_string
        if shape.kind == "bool":
            return lambda key: "true" if checking.checked_bool(key) else "false"
        number = checking.checked_integer(shape.kind)
        return lambda key: str(number(key))

    def exact(self, shape: Single) -> type | None:
        return plain(shape)

    def unless(self, shape: Scalar, value: str) -> str:
        match shape.kind:
            case "string":
                return f"type({value}) is not str"
            case "bool":
                return f"type({value}) is not bool"
            case "double" | "float":
                return f"type({value}) is not float or {value} - {value} != 0.0"
            case "int32" | "uint32" | "int64" | "uint64" as kind if kind not in self._long:
                low, high = RANGES[kind]
                return f"type({value}) is not int or not {low} <= {value} <= {high}"
        return ""

    def lines(self, part: Part, value: str) -> list[str]:
        """A 64-bit integer is a string in JSON; it is made here rather than by a call."""
        match part.shape:
            case Scalar(kind) if kind in self._long:
                low, high = RANGES[kind]
                return [
                    f"    if type({value}) is int and {low} <= {value} <= {high}:",
                    f"        {value} = str({value})",
                    f"    elif {value} is not None:" if part.optional else "    else:",
                    f"        {self.conversion(part, value)}",
                ]
        return super().lines(part, value)

    def result(self, kind: type, pairs: list[tuple[str, str]]) -> str:
        return "{" + ", ".join(f"{name!r}: {value}" for name, value in pairs) + "}"
