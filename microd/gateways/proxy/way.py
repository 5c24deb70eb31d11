"""What a request's headers say about where it goes, worked out once for each distinct header block."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from microd.gateways.core import plain_type
from microd.gateways.ids import NAMES, NONE, Ids, ids_of
from microd.kernel.errors import BadRequest, Internal
from microd.txgrpc import RpcError, StatusCode, replies, requests
from microd.txgrpc.headerblock import encode_field, encode_fields
from microd.txgrpc.heads import RequestHead, ResponseHead
from microd.txgrpc.metadata import RESERVED

if TYPE_CHECKING:
    from microd.gateways.tally import Row

#: How many doors a call came through; each adds one, so that calls which go round in circles end.
HOPS = "micro-hops"
#: Who forwards what it is called with, as services of the reference do, is counted in: hence not just a few.
MOST_HOPS = 16

_HOPS = HOPS.encode()
#: What is said of the trace goes on as well, though not always as it came: see L{Ids}.
_TRACE = {name.encode(): name for name in NAMES}
#: Headers which are about one hop; C{timeout} is made anew from what is left of it, as C{grpc-timeout}.
_HOP = frozenset(
    (
        *(b"timeout", b"user-agent", b"x-content-type", b"micro-namespace", _HOPS),
        *_TRACE,
        *(name.encode() for name in RESERVED),
    )
)
_COMPRESSION = frozenset((b"grpc-encoding", b"grpc-accept-encoding"))
_ANSWER_HOP = frozenset((b":status", *(name.encode() for name in RESERVED)))
_TYPES = frozenset(
    (
        "application/grpc",
        "application/grpc+proto",
        "application/grpc+json",
        "application/grpc+bytes",
    )
)


@dataclass(slots=True)
class Way:
    """A request's way.

    @ivar service: the registry's name of what is called.
    @ivar endpoint: C{Struct.Method}.
    @ivar hops: how many doors the request came through, this one included.
    @ivar ids: what the request says of its trace outside of a tail.
    @ivar state: the C{tracestate} among that, encoded.
    @ivar row: where its calls are counted, once that is known.
    @ivar namespace: what C{block} was made for.
    """

    head: RequestHead
    service: str
    endpoint: str
    hops: int
    ids: Ids
    state: bytes
    row: Row | None = None
    namespace: str = ""
    _forwarded: bytes = b""
    _blocks: dict[str, bytes] = field(default_factory=dict)

    def block(self, scheme: str, authority: str, namespace: str) -> bytes:
        """The header block of the request as it goes on to C{authority}, without its timeout."""
        if namespace != self.namespace:
            self.namespace = namespace
            self._forwarded = _forwarded(self.head, namespace, self.hops, self.ids)
            self._blocks.clear()
        found = self._blocks.get(authority)
        if found is None:
            if len(self._blocks) > 64:
                self._blocks.clear()
            own = ((b":scheme", scheme.encode()), (b":authority", authority.encode()))
            found = self._blocks[authority] = encode_fields([(b":method", b"POST"), *own]) + self._forwarded
        return found


def way_of(head: RequestHead) -> Way:
    """Where a request wants to go.

    @raise RpcError: its path is none (spec 2.2).
    @raise MicroError: it names no service, its content type is none that services speak, or it goes round in circles.
    """
    path = head.path
    parts = path.split("/")
    if len(parts) != 3 or parts[0] or not parts[1] or not parts[2]:
        raise RpcError(StatusCode.INVALID_ARGUMENT, f'malformed method name: "{path[:200]}"')
    service, _, struct = parts[1].rpartition(".")
    if not service:
        raise BadRequest("service name is blank", "go.micro.proxy")
    if head.content_type not in _TYPES and plain_type(head.content_type) not in _TYPES:
        raise Internal(f"Unsupported Content-Type: {head.content_type}", "proxy")
    hops = 1 + max(
        (int(value) for name, value in head.fields if name == _HOPS and _is_count(value)), default=0
    )
    if hops > MOST_HOPS:
        raise Internal(
            f"service {service}: its node is this daemon itself, or calls go round in circles: "
            f"this one came through {hops - 1} doors",
            "proxy",
        )
    ids = _ids(head)
    state = encode_field(b"tracestate", ids.state.encode("latin-1")) if ids.state else b""
    return Way(head, service, f"{struct}.{parts[2]}", hops, ids, state)


def _ids(head: RequestHead) -> Ids:
    said = [(_TRACE[name], value.decode("latin-1")) for name, value in head.fields if name in _TRACE]
    return ids_of(said) if said else NONE


def _is_count(value: bytes) -> bool:
    return len(value) < 6 and value.isdigit()


def _forwarded(head: RequestHead, namespace: str, hops: int, ids: Ids) -> bytes:
    """The request's headers which go on, as they came; of gRPC's own those about compression."""
    fields = [
        (name, value)
        for name, value in head.fields
        if name not in _HOP and name[:1] != b":" and (name[:5] != b"grpc-" or name in _COMPRESSION)
    ]
    return encode_fields(
        [
            (b":path", head.path.encode("latin-1")),
            (b"content-type", head.content_type.encode("latin-1")),
            (b"te", b"trailers"),
            (b"user-agent", requests.USER_AGENT),
            *fields,
            *[(name.encode(), value.encode("latin-1")) for name, value in ids.more],
            (b"micro-namespace", namespace.encode()),
            (_HOPS, b"%d" % hops),
        ]
    )


_answers: dict[ResponseHead, bytes] = {}


def answer_block(head: ResponseHead) -> bytes:
    """The headers of an answer which go on, as they came."""
    found = _answers.get(head)
    if found is None:
        fields = [
            (name, value)
            for name, value in head.fields
            if name not in _ANSWER_HOP and (name[:5] != b"grpc-" or name in _COMPRESSION)
        ]
        found = encode_fields(fields)
        if len(found) <= 1024:
            # A connection makes one head of equal header blocks, so most answers share theirs.
            if len(_answers) > 256:
                _answers.clear()
            _answers[head] = found
    return found


def trailers(head: ResponseHead) -> bytes:
    """The trailers of an answer, as they came."""
    if head.grpc_status == 0 and len(head.fields) == 1:
        return replies.TRAILERS_OK
    return encode_fields([(name, value) for name, value in head.fields if name not in _ANSWER_HOP])
