"""A message type as the rest of the framework holds it: four functions, whatever the type is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import orjson
from google.protobuf.message import DecodeError, Message

from microd.framework.schema import binary, fromjson, tojson
from microd.framework.schema.annotations import model_of
from microd.framework.schema.descriptors import Contract
from microd.framework.schema.faults import FieldError, Undecodable, an, wants
from microd.framework.schema.shapes import Model, SchemaError, is_message
from microd.kernel import protojson
from microd.kernel.errors import BadRequest

T = TypeVar("T")


class Codec(Generic[T]):
    """Conversions of one type.

    @ivar parse: protobuf bytes to a value; C{parse_json} does it for JSON. Both raise L{Undecodable} or L{FieldError}.
    @ivar dump: a value to protobuf bytes; C{dump_json} makes JSON. Both raise L{FieldError}.
    """

    __slots__ = ("dump", "dump_json", "kind", "parse", "parse_json")

    def __init__(
        self,
        kind: type[T],
        parse: Callable[[bytes], T],
        dump: Callable[[T], bytes],
        parse_json: Callable[[bytes], T],
        dump_json: Callable[[T], bytes],
    ) -> None:
        self.kind = kind
        self.parse = parse
        self.dump = dump
        self.parse_json = parse_json
        self.dump_json = dump_json


def codec_in(contract: Contract, kind: type | None, model: Model | None) -> Codec[Any]:
    """The codec of one of a contract's types; C{None} is the empty message."""
    if kind is None:
        return NOTHING
    if is_message(kind):
        return _generated(kind)
    if model is None:
        raise SchemaError(f"{kind.__qualname__} has no model")
    return Codec(
        kind,
        binary.parser(model, contract),
        binary.dumper(model, contract),
        fromjson.parser(model),
        tojson.dumper(model),
    )


_known: dict[type, Codec[Any]] = {}


def codec_of(kind: type[T]) -> Codec[T]:
    """The codec of a type by itself, as callers use it; it is made once.

    @raise SchemaError: the type is neither a message nor a dataclass that can be one.
    """
    found = _known.get(kind)
    if found is None:
        if kind is dict:
            found = _OBJECT
        elif is_message(kind):
            found = _generated(kind)
        else:
            model = model_of(kind)
            found = codec_in(Contract("", [model]), kind, model)
        _known[kind] = found
    return found


def _generated(kind: type[Message]) -> Codec[Any]:
    """The codec of a generated message, for which protobuf does all of it."""

    def parse(data: bytes) -> Message:
        try:
            return kind.FromString(data)
        except DecodeError:
            raise Undecodable(f"the request is not a {kind.DESCRIPTOR.full_name}") from None

    def parse_json(data: bytes) -> Message:
        try:
            return protojson.parse(data, kind)
        except BadRequest as problem:
            raise Undecodable(problem.detail) from None

    def checked(value: Message) -> Message:
        if not isinstance(value, kind):
            raise wants(an(kind.__name__), value)
        return value

    return Codec(
        kind,
        parse,
        lambda value: checked(value).SerializeToString(),
        parse_json,
        lambda value: protojson.dump(checked(value)),
    )


def _refuse_binary(_: Any) -> Any:
    raise FieldError("is a dict, which can only be sent as JSON; ask for a dict back as well")


def _parse_object(data: bytes) -> dict[str, Any]:
    found = fromjson.loaded(data)
    if not isinstance(found, dict):
        raise wants("an object", found)
    return found


def _dump_object(value: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError as problem:
        raise FieldError(f"has no form in JSON: {problem}") from None


def _parse_nothing(_: bytes) -> None:
    return None


def _dump_nothing(empty: bytes) -> Callable[[object], bytes]:
    def dump(value: object) -> bytes:
        if value is not None:
            raise wants("nothing", value)
        return empty

    return dump


#: The empty message, which is C{None} in Python.
NOTHING: Codec[Any] = Codec(
    type(None), _parse_nothing, _dump_nothing(b""), _parse_nothing, _dump_nothing(b"{}")
)
_OBJECT: Codec[Any] = Codec(dict, _refuse_binary, _refuse_binary, _parse_object, _dump_object)
