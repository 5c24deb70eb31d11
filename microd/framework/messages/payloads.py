"""What a message's bytes mean.

===================  ================================  ==============================  ==================================
Published            on the broker                     as an event                     read by whoever wants it
===================  ================================  ==============================  ==================================
a dataclass          C{application/json}               JSON                            as a dataclass, a C{dict}, text ...
a protobuf message   C{application/grpc+proto}         JSON                            as a message of the same type
a C{dict}, a list    C{application/json}               JSON                            as a dataclass, a C{dict} ...
C{str}               C{text/plain}                     its UTF-8                       as C{str} or C{bytes}
C{bytes}             C{application/octet-stream}       as they are                     as C{bytes}, or by what they look like
===================  ================================  ==============================  ==================================

The broker's are what services in Go send and take (spec micro-v3-server 6.5), and so are the events' (6.6): there is no
C{Content-Type} with an event unless its publisher gives one. In JSON all integers are numbers.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any

import orjson
from google.protobuf.message import Message as ProtobufMessage

from microd.framework.failures import CLIENT
from microd.framework.schema import tojson
from microd.framework.schema.annotations import called, model_of
from microd.framework.schema.codec import codec_in, codec_of
from microd.framework.schema.descriptors import Contract
from microd.framework.schema.faults import Undecodable
from microd.framework.schema.fromjson import loaded
from microd.framework.schema.shapes import SchemaError, is_message
from microd.kernel.errors import BadRequest

PROTO, JSON, TEXT, BYTES = (
    "application/grpc+proto",
    "application/json",
    "text/plain",
    "application/octet-stream",
)
_BINARY = frozenset(
    (PROTO, "application/grpc", "application/proto", "application/protobuf", "application/x-protobuf")
)
#: Turns bytes of a content type ("" for unknown) into a value; it raises C{ValueError}.
Decode = Callable[[bytes, str], Any]
_Dump = Callable[[Any], bytes]

#: How many types have their conversions kept.
_MOST = 1024
_dumpers: dict[type, _Dump] = {}
_decoders: dict[object, Decode] = {}


@dataclass(frozen=True, slots=True)
class Payload:
    """Bytes, and what they are."""

    data: bytes
    content_type: str


def encoded(value: object, *, proto: bool) -> Payload:
    """A value as it is sent.

    @param proto: protobuf messages as such; else as JSON.
    @raise BadRequest: it cannot be sent.
    """
    if isinstance(value, bytes | bytearray | memoryview):
        return Payload(bytes(value), BYTES)
    kind: Any = type(value)
    try:
        if isinstance(value, str):
            return Payload(value.encode(), TEXT)
        if isinstance(value, ProtobufMessage):
            codec = codec_of(kind)
            return Payload(codec.dump(value), PROTO) if proto else Payload(codec.dump_json(value), JSON)
        if hasattr(kind, "__dataclass_fields__"):
            return Payload(_dumper(kind)(value), JSON)
        return Payload(orjson.dumps(value), JSON)
    except (ValueError, TypeError) as problem:
        raise BadRequest(f"the message cannot be sent: {problem}", CLIENT) from None


def _dumper(kind: type) -> _Dump:
    dump = _dumpers.get(kind)
    if dump is None:
        if len(_dumpers) >= _MOST:
            _dumpers.clear()
        dump = _dumpers[kind] = tojson.dumper(model_of(kind), numbers=True)
    return dump


def decoder(kind: Any, names: Mapping[str, object] | None = None) -> Decode:
    """What reads messages as C{kind}: a dataclass, a protobuf message, C{dict}, C{list}, C{str}, C{bytes} or C{Any}.

    @param names: what the annotations of dataclasses may name besides the globals of their modules.
    @raise SchemaError: nothing can be read as that.
    """
    if names:
        return _decoder(kind, names)
    found = _decoders.get(kind)
    if found is None:
        if len(_decoders) >= _MOST:
            _decoders.clear()
        found = _decoders[kind] = _decoder(kind, {})
    return found


def _decoder(kind: Any, names: Mapping[str, object]) -> Decode:
    plain = typing.get_origin(kind) or kind
    if plain is bytes:
        return lambda data, _: data
    if plain is str:
        return lambda data, _: data.decode()
    if kind is Any or plain is object:
        return _anything
    if plain in (dict, list, Mapping):
        wanted = list if plain is list else dict
        return lambda data, content_type: _json_of(wanted, data, content_type)
    if isinstance(plain, type) and is_message(plain):
        return _by_content(plain.__name__, codec_of(plain).parse, codec_of(plain).parse_json)
    if isinstance(plain, type) and is_dataclass(plain):
        model = model_of(plain, names)
        codec = codec_in(Contract("", [model]), plain, model)
        return _by_content(plain.__name__, codec.parse, codec.parse_json)
    raise SchemaError(
        f"no message can be read as {called(kind)}: write a dataclass, a protobuf message, dict, list, str, bytes or Any"
    )


def is_json(content_type: str) -> bool:
    """Whether a content type, without parameters and in lower case, means JSON."""
    return content_type == JSON or content_type.endswith("+json")


def plain_type(content_type: str) -> str:
    """A content type without parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def _by_content(name: str, parse: Callable[[bytes], Any], parse_json: Callable[[bytes], Any]) -> Decode:
    def decode(data: bytes, content_type: str) -> Any:
        said = plain_type(content_type)
        # An object in JSON begins with what no message in protobuf's binary form can begin with.
        json = is_json(said) or (said not in _BINARY and data[:1] in (b"{", b""))
        if not json and said == TEXT:
            raise ValueError(f"the message is text, not a {name}")
        try:
            return (parse_json if json else parse)(data)
        except ValueError as problem:
            if not json and said not in _BINARY:
                raise ValueError(
                    f"the message is no {name}: it is neither JSON nor protobuf of that kind"
                ) from None
            raise ValueError(_about(problem, name)) from None

    return decode


def _json_of(wanted: type, data: bytes, content_type: str) -> Any:
    found = _loaded(data, content_type)
    if not isinstance(found, wanted):
        raise Undecodable(
            f"the message is a {type(found).__name__} in JSON, and a {wanted.__name__} is wanted"
        )
    return found


def _anything(data: bytes, content_type: str) -> Any:
    """What is JSON, as that; other text as text; the rest as bytes."""
    said = plain_type(content_type)
    if is_json(said):
        return _loaded(data, said)
    if said in _BINARY or said == BYTES:
        return data
    if said != TEXT:
        try:
            return orjson.loads(data)
        except ValueError:
            pass
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _loaded(data: bytes, content_type: str) -> Any:
    if plain_type(content_type) in _BINARY:
        raise ValueError(f"the message is of the type {content_type}, and JSON is wanted")
    try:
        return loaded(data)
    except ValueError as problem:
        raise ValueError(_about(problem, "JSON")) from None


def _about(problem: ValueError, name: str) -> str:
    said = str(problem).replace("the request", "the message", 1)
    return f"the message is not a {name}: {said}" if said.startswith("field ") else said
