"""Conversions between a dataclass and protobuf bytes.

protobuf's own C code does the parsing and the serializing; what is written here only moves values between its messages and
the dataclass. For a message of a few fields that is about a microsecond each way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError

from microd.framework.schema import checking
from microd.framework.schema.descriptors import Contract
from microd.framework.schema.faults import FieldError, Undecodable, an, located, wants
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

#: The test that a value passes as it is, for each kind where that is the usual case.
_EXACT = {"string": "str", "bytes": "bytes", "bool": "bool", "double": "float", "float": "float"}


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
    make = _Making(model, contract).written()

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
        value = attribute("m", part.name)
        match part.shape:
            case Many(item, container):
                return self._or_default(part, self._many(part.name, item, container, value))
            case Keyed(_, item):
                return self._or_default(part, self._keyed(part.name, item, value))
            case single:
                return self._lone(part, single, value)

    def _lone(self, part: Part, shape: Single, value: str) -> str:
        found = self._single(part.name, shape, value)
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

    def _many(self, name: str, item: Single, container: type, value: str) -> str:
        made = self._functions.bind(container, container.__name__)
        if isinstance(item, Scalar):
            return f"{made}({value})"
        each = f"[{self._convert(item, 'x')} for x in {value}]"
        return each if container is list else f"{made}({each})"

    def _keyed(self, name: str, item: Single, value: str) -> str:
        if isinstance(item, Scalar):
            return f"dict({value})"
        return f"{{k: {self._convert(item, 'x')} for k, x in {value}.items()}}"

    def _single(self, name: str, shape: Single, value: str) -> str:
        if isinstance(shape, Scalar):
            return value
        return f"{self._located}({name!r}, {self._converter(shape)}, {value})"

    def _convert(self, shape: Single, value: str) -> str:
        return f"{self._converter(shape)}({value})"

    def _converter(self, shape: Single) -> str:
        match shape:
            case Record(kind):
                return f"read_{self._numbers[kind]}"
            case Choice():
                return self._functions.bind(_member(shape), "member")
            case Instant():
                return self._functions.bind(checking.instant_of, "instant")
            case Span():
                return self._functions.bind(checking.span_of, "span")
            case Scalar():
                raise AssertionError("a scalar needs no conversion")


class _Making:
    """Writes C{make_N(value)} for each class."""

    def __init__(self, model: Model, contract: Contract) -> None:
        self._model = model
        self._contract = contract
        self._functions = Functions(f"{model.root.__name__} to protobuf")
        self._located = self._functions.bind(located, "located")
        self._numbers = {kind: place for place, kind in enumerate(model.records)}

    def written(self) -> Callable[[Any], Any]:
        for kind, parts in self._model.records.items():
            known = self._functions.bind(kind, "Class")
            refuse = self._functions.bind(_refusal(kind), "refuse")
            lines: list[str] = []
            pairs: list[tuple[str, str]] = []
            for place, part in enumerate(parts):
                lines.append(f"    v{place} = {attribute('o', part.attribute)}")
                lines += self._part(part, f"v{place}")
                pairs.append((part.name, f"v{place}"))
            message = self._functions.bind(self._contract.message(kind), "Message")
            self._functions.add(
                f"def make_{self._numbers[kind]}(o):",
                f"    if type(o) is not {known} and not isinstance(o, {known}):",
                f"        {refuse}(o)",
                *lines,
                f"    return {message}({arguments(pairs)})",
            )
        return self._functions.compiled("make_0")

    def _part(self, part: Part, value: str) -> list[str]:
        """The lines that turn C{value} into what the message's constructor takes."""
        match part.shape:
            case Many(item, _):
                convert = self._functions.bind(self._many(item), "many")
                test = ""
            case Keyed(key, item):
                convert = self._functions.bind(self._keyed(key, item), "keyed")
                test = ""
            case Scalar(kind) if kind in _EXACT:
                convert = self._converter(part.shape)
                test = f"type({value}) is not {_EXACT[kind]}"
            case Scalar(kind):
                low, high = RANGES[kind]
                convert = self._converter(part.shape)
                test = f"type({value}) is not int or not {low} <= {value} <= {high}"
            case single:
                convert, test = self._converter(single), ""
        if part.optional:
            test = f"{value} is not None and ({test})" if test else f"{value} is not None"
        line = f"{value} = {self._located}({part.attribute!r}, {convert}, {value})"
        return [f"    if {test}:", f"        {line}"] if test else [f"    {line}"]

    def _converter(self, shape: Single) -> str:
        if isinstance(shape, Record):
            return f"make_{self._numbers[shape.kind]}"
        return self._functions.bind(_checked(shape), "checked")

    def _convert(self, shape: Single) -> Callable[[Any], Any]:
        """As a function, for the items of lists and maps; a class's own is looked up when it is there."""
        if isinstance(shape, Record):
            scope, name = self._functions.scope, f"make_{self._numbers[shape.kind]}"
            return lambda value: scope[name](value)
        return _checked(shape)

    def _many(self, item: Single) -> Callable[[Any], list[Any]]:
        convert = self._convert(item)
        exact = _exact(item)

        def many(values: Any) -> list[Any]:
            if isinstance(values, str | bytes | dict) or not hasattr(values, "__iter__"):
                raise wants("a list", values)
            return [
                value if type(value) is exact else located(f"[{place}]", convert, value)
                for place, value in enumerate(values)
            ]

        return many

    def _keyed(self, key: Scalar, item: Single) -> Callable[[Any], dict[Any, Any]]:
        convert_key, convert = self._convert(key), self._convert(item)
        exact_key, exact = _exact(key), _exact(item)

        def keyed(values: Any) -> dict[Any, Any]:
            if not hasattr(values, "items"):
                raise wants("a dict", values)
            return {
                (name if type(name) is exact_key else located(f"[{name!r}]", convert_key, name)): (
                    value if type(value) is exact else located(f"[{name!r}]", convert, value)
                )
                for name, value in values.items()
            }

        return keyed


_checks: dict[Single, Callable[[Any], Any]] = {}
_members: dict[Choice, Callable[[int], Any]] = {}


def _checked(shape: Single) -> Callable[[Any], Any]:
    found = _checks.get(shape)
    if found is None:
        found = _checks[shape] = _check_for(shape)
    return found


def _check_for(shape: Single) -> Callable[[Any], Any]:
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
            raise AssertionError("a record is checked by its own function")


def _member(choice: Choice) -> Callable[[int], Any]:
    found = _members.get(choice)
    if found is None:
        found = _members[choice] = checking.member_of(choice)
    return found


def _exact(shape: Single) -> type | None:
    """The type whose values need no look."""
    kinds: dict[str, type] = {"string": str, "bytes": bytes, "bool": bool, "double": float, "float": float}
    return kinds.get(shape.kind) if isinstance(shape, Scalar) else None


def _missing(name: str) -> Any:
    raise FieldError("is missing", name)


def _refusal(kind: type) -> Callable[[object], None]:
    def refuse(value: object) -> None:
        raise wants(an(kind.__name__), value)

    return refuse
