"""A call of another service, before anything is sent and after everything has come: what both clients share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from microd.framework import naming
from microd.framework.failures import CLIENT
from microd.framework.schema.codec import NOTHING, Codec, codec_of
from microd.kernel import trace
from microd.kernel.errors import BadGateway, BadRequest
from microd.kernel.trace import Trace

T = TypeVar("T")
MetadataLike = Mapping[str, "str | bytes"] | Iterable[tuple[str, "str | bytes"]]
Pairs = list[tuple[str, "str | bytes"]]

#: Seconds which a unary call may take where nobody says otherwise.
TIMEOUT = 10.0
#: How many prepared calls are kept.
KEPT = 1024
#: The namespace in which the core services are, whichever one they are asked about (spec 7.1).
CORE = "micro"

PROTO = "application/grpc+proto"
JSON = "application/grpc+json"


@dataclass(frozen=True, slots=True)
class Outgoing(Generic[T]):
    """One call that is to be made.

    @ivar name: C{<service>.<endpoint>}, as spans are named.
    @ivar dump: makes bytes of a request; C{parse} makes a reply of bytes. Both raise L{MicroError}s.
    """

    path: str
    name: str
    content_type: str
    dump: Callable[[Any], bytes]
    parse: Callable[[bytes], T]


_kept: dict[tuple[str, str, type | None, type], Outgoing[Any]] = {}


def outgoing(service: str, endpoint: str, request: type | None, reply: type[T]) -> Outgoing[T]:
    """Prepare a call; what was prepared once is kept.

    @param request: the type of what is sent: a dataclass, a generated message, C{dict} (as JSON) or C{NoneType}; C{None}
        where each message of a stream tells by itself.
    @param reply: the type of what shall come back. With C{dict} on either side the call is made in JSON.
    @raise BadRequest: C{endpoint} is not one.
    @raise SchemaError: a type cannot be a message.
    """
    key = (service, endpoint, request, reply)
    found = _kept.get(key)
    if found is None:
        if len(_kept) >= KEPT:
            _kept.clear()
        found = _kept[key] = _outgoing(service, endpoint, request, reply)
    return found


def _outgoing(service: str, endpoint: str, request: type | None, reply: type[T]) -> Outgoing[T]:
    receiving = _codec(reply)
    json = request is dict or reply is dict
    known: Codec[Any] | None = None if request is None else _codec(request)
    parse = receiving.parse_json if json else receiving.parse
    name = f"{service}.{endpoint}" if service else endpoint

    def dumped(value: Any) -> bytes:
        codec = known or _codec(type(value))
        try:
            return codec.dump_json(value) if json else codec.dump(value)
        except ValueError as problem:
            raise BadRequest(f"the request to {name}: {problem}", CLIENT) from None

    def parsed(data: bytes) -> T:
        try:
            return parse(data)
        except ValueError as problem:
            said = str(problem).replace("the request", "the reply")
            raise BadGateway(f"{name} answered what is not a {reply.__name__}: {said}", CLIENT) from None

    path = naming.path_of(service, endpoint)
    return Outgoing(path, path[1:].replace("/", "."), JSON if json else PROTO, dumped, parsed)


def pairs(metadata: MetadataLike | None) -> Pairs:
    """What the author gave, names in lower case."""
    if metadata is None:
        return []
    items = metadata.items() if isinstance(metadata, Mapping) else metadata
    return [(name.lower(), value) for name, value in items]


def headers(namespace: str, token: str, own: Trace | None, extra: Pairs) -> Pairs:
    """The metadata of a call; what the author gave wins over what we would say.

    @param own: the trace that the call belongs to, with its own span.
    """
    made = list(extra)
    given = {name for name, _ in extra}
    if "micro-namespace" not in given:
        made.append(("micro-namespace", namespace))
    if token and "authorization" not in given:
        made.append(("authorization", f"Bearer {token}"))
    if own is not None and given.isdisjoint(trace.NAMES):
        # The ids are last: see microd.txgrpc.tail.
        if own.state:
            made.append((trace.TRACESTATE, own.state))
        made += trace.headers(own._replace(state=""))
    return made


def _codec(kind: type[T]) -> Codec[T]:
    return NOTHING if kind is type(None) else codec_of(kind)
