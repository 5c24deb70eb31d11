"""Conversions between a dataclass and protobuf bytes.

protobuf's own C code does the parsing and the serializing; what is written here only moves values between its messages and
the dataclass. For a message of a few fields that is about a microsecond each way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError

from microd.framework.schema import checking
from microd.framework.schema.containers import entries, items
from microd.framework.schema.descriptors import Contract
from microd.framework.schema.faults import FieldError, Undecodable, located
from microd.framework.schema.making import Making
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
    zero,
)
from microd.framework.schema.writing import Functions, arguments, attribute, construction

#: The types whose values need no look.
_EXACT: dict[str, type] = {"string": str, "bytes": bytes, "bool": bool, "double": float, "float": float}


def parser(model: Model, contract: Contract) -> Callable[[bytes], Any]:
    """A function from protobuf bytes to an instance.

    It raises L{Undecodable}, L{FieldError}, or what the class's own C{__post_init__} raises.
    """
    reading = _Reading(model, contract)
    read = reading.written()
    from_string = contract.message(model.root).FromString

    def parse(data: bytes) -> Any:
        try:
            message = from_string(data)
        except DecodeError:
            raise Undecodable("the request is not a protobuf message of this kind") from None
        return read(message)

    return parse


def dumper(model: Model, contract: Contract) -> Callable[[Any], bytes]:
    """A function from an instance to protobuf bytes; it raises L{FieldError} for a value that does not fit its field."""
    make = _MakingMessages(model, contract).written()

    def dump(value: Any) -> bytes:
        try:
            return make(value).SerializeToString()  # type: ignore[no-any-return]
        except UnicodeEncodeError:
            raise FieldError("holds text which is not Unicode") from None

    return dump


class _Reading:
    """Writes C{read_N(message)} for each class."""

    def __init__(self, model: Model, contract: Contract) -> None:
        self._model = model
        self._functions = Functions(f"protobuf to {model.root.__name__}")
        self._located = self._functions.bind(located, "located")
        self._numbers = {kind: place for place, kind in enumerate(model.records)}

    def written(self) -> Callable[[Any], Any]:
        for kind, parts in self._model.records.items():
            values = [(part.attribute, self._part(part), part.keyword) for part in parts]
            made = construction(self._functions.bind(kind, "Class"), values)
            self._functions.add(f"def read_{self._numbers[kind]}(m):", f"    return {made}")
        return self._functions.compiled("read_0")

    def _part(self, part: Part) -> str:
        """The expression of one attribute."""
        value = attribute("m", part.name)
        match part.shape:
            case Many(Scalar(), container):
                return self._or_default(
                    part, f"{self._functions.bind(container, container.__name__)}({value})"
                )
            case Many(item, container):
                many = self._functions.bind(items(self._convert(item), None), "items")
                found = f"{self._located}({part.name!r}, {many}, {value})"
                if container is not list:
                    found = f"{self._functions.bind(container, container.__name__)}({found})"
                return self._or_default(part, found)
            case Keyed(_, Scalar()):
                return self._or_default(part, f"dict({value})")
            case Keyed(_, item):
                keyed = self._functions.bind(entries(_same, self._convert(item), None), "entries")
                return self._or_default(part, f"{self._located}({part.name!r}, {keyed}, {value})")
            case single:
                return self._lone(part, single, value)

    def _lone(self, part: Part, shape: Single, value: str) -> str:
        found = value
        if not isinstance(shape, Scalar):
            found = f"{self._located}({part.name!r}, {self._converter(shape)}, {value})"
        if not part.presence or (part.default is None and isinstance(shape, Record | Span)):
            return found
        if part.default is None:
            absent = f"{self._functions.bind(_missing, 'missing')}({part.name!r})"
        else:
            absent = "None" if part.default() is None else self._default(part)
        return f"({found} if m.HasField({part.name!r}) else {absent})"

    def _or_default(self, part: Part, found: str) -> str:
        """A list or map with a default that is not empty has it where nothing was sent."""
        if part.default is None or part.default() == zero(part.shape):
            return found
        return f"({found} if {attribute('m', part.name)} else {self._default(part)})"

    def _default(self, part: Part) -> str:
        return f"{self._functions.bind(part.default, 'default')}()"

    def _converter(self, shape: Single) -> str:
        """The name of what converts a shape."""
        if isinstance(shape, Record):
            return f"read_{self._numbers[shape.kind]}"
        return self._functions.bind(self._convert(shape), "convert")

    def _convert(self, shape: Single) -> Callable[[Any], Any]:
        """What converts a shape; a class's own is looked up once it is there."""
        match shape:
            case Record(kind):
                scope, name = self._functions.scope, f"read_{self._numbers[kind]}"
                return lambda message: scope[name](message)
            case Choice():
                return checking.member_of(shape)
            case Instant():
                return checking.instant_of
            case Span():
                return checking.span_of
            case Scalar():
                return _same


class _MakingMessages(Making):
    """Makes protobuf's messages."""

    def __init__(self, model: Model, contract: Contract) -> None:
        super().__init__(model, f"{model.root.__name__} to protobuf")
        self._contract = contract

    def convert(self, shape: Single) -> Callable[[Any], Any]:
        match shape:
            case Scalar("string"):
                return checking.checked_string
            case Scalar("bool"):
                return checking.checked_bool
            case Scalar("bytes"):
                return checking.checked_bytes
            case Scalar("double" | "float"):
                return checking.checked_float
            case Scalar(kind):
                return checking.checked_integer(kind)
            case Choice():
                return checking.checked_choice(shape)
            case Instant():
                return checking.checked_instant
            case Span():
                return checking.checked_span
            case Record():
                raise AssertionError("a record is made by its own function")

    def convert_key(self, shape: Scalar) -> Callable[[Any], Any]:
        return self.convert(shape)

    def exact(self, shape: Single) -> type | None:
        return _EXACT.get(shape.kind) if isinstance(shape, Scalar) else None

    def unless(self, shape: Scalar, value: str) -> str:
        exact = _EXACT.get(shape.kind)
        if exact is not None:
            return f"type({value}) is not {exact.__name__}"
        low, high = RANGES[shape.kind]
        return f"type({value}) is not int or not {low} <= {value} <= {high}"

    def result(self, kind: type, pairs: list[tuple[str, str]]) -> str:
        message = self.functions.bind(self._contract.message(kind), "Message")
        return f"{message}({arguments(pairs)})"


def _missing(name: str) -> Any:
    raise FieldError("is missing", name)


def _same(value: Any) -> Any:
    return value
