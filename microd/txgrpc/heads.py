"""What a header list says, checked as RFC 9113 section 8 asks and read as gRPC means it.

A head is made once for each distinct header block and may serve many calls, so whoever serves calls keeps
what he works out for it (the route, the block of the answer) on it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from microd.txgrpc import metadata, timeouts
from microd.txgrpc.frames import PROTOCOL_ERROR, StreamFault
from microd.txgrpc.headerblock import Field

_valid_name: Callable[[bytes], object] = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+").fullmatch
_valid_method: Callable[[bytes], object] = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-zA-Z]+").fullmatch
#: Names that were found to be valid and nothing special, and how many are kept.
_ordinary: set[bytes] = set()
_MOST_KNOWN = 1024

#: Fields which only HTTP/1 may carry (RFC 9113 8.2.2).
_CONNECTION_FIELDS = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)


def malformed(text: str) -> StreamFault:
    """A message that breaks section 8 ends its stream (RFC 9113 8.1.1)."""
    return StreamFault(PROTOCOL_ERROR, text)


def _check(fields: list[Field], pseudo: dict[bytes, bytes], allowed: tuple[bytes, ...]) -> dict[bytes, bytes]:
    """Sort the pseudo-header fields into C{pseudo}; the first of each other field is returned.

    Clients that send ids of their own with each call send a new list each time, so this is on the hot path: names
    are known from before, values are looked at all together.
    """
    _check_values(fields)
    first: dict[bytes, bytes] = {}
    for name, value in fields:
        if name in _ordinary:
            if name not in first:
                first[name] = value
            continue
        if name[:1] == b":":
            if first or name not in allowed or name in pseudo:
                raise malformed("invalid pseudo-header field")
            pseudo[name] = value
            continue
        if not _valid_name(name):
            raise malformed("invalid field name")
        if name in _CONNECTION_FIELDS or (
            # Only the head of a request may have it, and only to say this.
            name == b"te" and (b":path" not in allowed or value.lower() != b"trailers")
        ):
            raise malformed("a field of HTTP/1")
        if name == b"content-length" and first.get(name, value) != value:
            raise malformed("two content-lengths")
        if name not in first:
            first[name] = value
        if name not in (b"te", b"content-length") and len(_ordinary) < _MOST_KNOWN and len(name) < 64:
            _ordinary.add(name)
    return first


def _check_values(fields: list[Field]) -> None:
    """No value may hold NUL, CR or LF, or begin or end with white space (RFC 9113 8.2.1)."""
    joined = b"\n%s\n" % b"\n".join([value for _, value in fields])
    if (
        joined.count(b"\n") != (len(fields) or 1) + 1
        or b"\x00" in joined
        or b"\r" in joined
        or b"\n " in joined
        or b" \n" in joined
        or b"\n\t" in joined
        or b"\t\n" in joined
    ):
        raise malformed("invalid field value")


def _content_length(first: dict[bytes, bytes]) -> int:
    value = first.get(b"content-length")
    if value is None:
        return -1
    if not value.isdigit() or len(value) > 18:
        raise malformed("invalid content-length")
    return int(value)


class RequestHead:
    """The headers of a request.

    @ivar http_status: what to refuse the request with at the level of HTTP; 0 for a request that is gRPC.
    @ivar timeout: seconds, the lesser of C{grpc-timeout} and C{timeout}; None without either.
    @ivar bad_timeout: C{grpc-timeout} could not be read.
    @ivar route: a place for what the server looked up for C{path}.
    @ivar reply_block: a place for the server's made header block.
    @ivar kept: a place for what handlers worked out from these headers.
    """

    __slots__ = (
        "_metadata",
        "accepts_gzip",
        "authority",
        "bad_timeout",
        "content_length",
        "content_type",
        "encoding",
        "fields",
        "http_status",
        "kept",
        "path",
        "reply_block",
        "route",
        "timeout",
    )

    def __init__(self, fields: list[Field]) -> None:
        pseudo: dict[bytes, bytes] = {}
        first = _check(fields, pseudo, (b":method", b":scheme", b":path", b":authority"))
        self.fields = fields
        self._metadata: metadata.Metadata | None = None
        self.route: Any = None
        self.kept: Any = None
        self.reply_block = b""
        method = pseudo.get(b":method")
        self.http_status = 0 if method == b"POST" else 405
        if method == b"CONNECT":
            # RFC 9113 8.5: a CONNECT without these three is well-formed, and nothing that we do.
            if b":scheme" in pseudo or b":path" in pseudo or b":authority" not in pseudo:
                raise malformed("invalid CONNECT")
        elif (
            not method or not _valid_method(method) or not pseudo.get(b":scheme") or not pseudo.get(b":path")
        ):
            raise malformed("a pseudo-header field is missing")
        authority = pseudo.get(b":authority", b"")
        host = first.get(b"host")
        if host is not None and authority and host.lower() != authority.lower():
            raise malformed("host and :authority differ")
        if b"@" in authority:
            raise malformed("user information in :authority")
        self.authority = (authority or host or b"").decode("latin-1")
        path = pseudo.get(b":path", b"")
        self.path = path.decode("latin-1")
        content_type = first.get(b"content-type", b"")
        kind = content_type.lower()
        if not self.http_status:
            if len(path) > _LONGEST_PATH:
                self.http_status = 414
            elif kind != b"application/grpc" and (kind[:17] not in _GRPC_TYPES or len(kind) > _LONGEST_TOKEN):
                self.http_status = 415
        self.content_type = content_type[:_LONGEST_TOKEN].decode("latin-1")
        self.content_length = _content_length(first)
        self._read_grpc(first)

    def _read_grpc(self, first: dict[bytes, bytes]) -> None:
        encoding = first.get(b"grpc-encoding", b"identity")
        self.encoding = None if encoding == b"identity" else encoding[:_LONGEST_TOKEN].decode("latin-1")
        self.accepts_gzip = b"gzip" in first.get(b"grpc-accept-encoding", b"")
        self.bad_timeout = False
        timeout: float | None = None
        if b"timeout" in first:
            timeout = timeouts.parse_nanoseconds(first[b"timeout"])
        if b"grpc-timeout" in first:
            try:
                given = timeouts.parse_grpc(first[b"grpc-timeout"])
            except ValueError:
                self.bad_timeout = True
            else:
                timeout = given if timeout is None else min(given, timeout)
        self.timeout = timeout

    @property
    def metadata(self) -> metadata.Metadata:
        """What the application sees; made when first asked for."""
        made = self._metadata
        if made is None:
            made = self._metadata = metadata.from_fields(self.fields)
        return made


_GRPC_TYPES = (b"application/grpc+", b"application/grpc;")
#: What answers repeat must be short: with HPACK's table a few octets can ask for kilobytes again and again.
_LONGEST_PATH, _LONGEST_TOKEN = 1024, 100


class ResponseHead:
    """The headers of a response, or its trailers, or both in one.

    @ivar http_status: None in trailers.
    @ivar sound: they begin an answer of gRPC that can be read.
    @ivar grpc_status: None where the peer sent none, -1 for one that is no number.
    """

    __slots__ = (
        "_metadata",
        "accepted_encodings",
        "content_length",
        "content_type",
        "encoding",
        "fields",
        "grpc_message",
        "grpc_status",
        "http_status",
        "sound",
        "status_details",
    )

    def __init__(self, fields: list[Field]) -> None:
        pseudo: dict[bytes, bytes] = {}
        first = _check(fields, pseudo, (b":status",))
        self.fields = fields
        self._metadata: metadata.Metadata | None = None
        self.http_status: int | None = None
        status = pseudo.get(b":status")
        if status is not None:
            if len(status) != 3 or not status.isdigit() or status == b"101" or status < b"100":
                raise malformed("invalid :status")
            self.http_status = int(status)
        self.content_type = first.get(b"content-type", b"").decode("latin-1")
        self.content_length = _content_length(first)
        encoding = first.get(b"grpc-encoding", b"identity")
        self.encoding = None if encoding == b"identity" else encoding.decode("latin-1")
        self.sound = (
            self.http_status == 200
            and self.content_type.startswith("application/grpc")
            and self.encoding in (None, "gzip", "deflate")
        )
        grpc_status = first.get(b"grpc-status")
        self.grpc_status: int | None = None
        if grpc_status is not None:
            self.grpc_status = int(grpc_status) if grpc_status.isdigit() and len(grpc_status) < 10 else -1
        self.grpc_message = first.get(b"grpc-message", b"")
        self.status_details = first.get(b"grpc-status-details-bin", b"")

    @property
    def metadata(self) -> metadata.Metadata:
        """What the application sees; made when first asked for."""
        made = self._metadata
        if made is None:
            made = self._metadata = metadata.from_fields(self.fields)
        return made


def check_request_trailers(fields: list[Field]) -> None:
    """Trailers of a request mean nothing to gRPC, but must be well-formed."""
    _check(fields, {}, ())
