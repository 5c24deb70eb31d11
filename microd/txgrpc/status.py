"""How a gRPC call ended: the code, the message and what travels with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from urllib.parse import unquote_to_bytes

MetadataLike = Mapping[str, "str | bytes"] | Iterable[tuple[str, "str | bytes"]]


class StatusCode(IntEnum):
    """The seventeen codes of gRPC."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class RpcError(Exception):
    """A call which did not end with OK: raised by handlers to say so, and by calls to report it.

    @ivar code: why.
    @ivar message: one sentence for a person.
    @ivar details: the bytes of C{grpc-status-details-bin} (a C{google.rpc.Status}), or nothing.
    @ivar trailing_metadata: what came with the answer, or shall go with it.
    @ivar undelivered: the server provably did not process the call, so that trying again, here or elsewhere, is
        safe. Otherwise the outcome is unknown or, where C{answered}, it is the server's own answer.
    @ivar answered: the status is the peer's own.
    """

    def __init__(
        self,
        code: StatusCode | int,
        message: str = "",
        *,
        details: bytes = b"",
        metadata: MetadataLike = (),
        delivered: bool | None = None,
        answered: bool = False,
    ) -> None:
        super().__init__(code, message)
        self.code = status_code(int(code))
        self.message = message
        self.details = details
        self._metadata = metadata
        self.undelivered = delivered is False
        self.answered = answered

    @property
    def trailing_metadata(self) -> Metadata:
        """The trailers, without those of gRPC itself."""
        return Metadata.of(self._metadata)

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}" if self.message else self.code.name

    def __reduce__(self) -> tuple[object, ...]:
        return (RpcError, (self.code, self.message))


_CODES = {int(code): code for code in StatusCode}


def status_code(number: int) -> StatusCode:
    """The code of that number; UNKNOWN for one that gRPC does not define."""
    return _CODES.get(number, StatusCode.UNKNOWN)


#: What an HTTP status means where the peer sent no C{grpc-status} (gRPC's http-grpc-status-mapping).
_BY_HTTP_STATUS = {
    400: StatusCode.INTERNAL,
    401: StatusCode.UNAUTHENTICATED,
    403: StatusCode.PERMISSION_DENIED,
    404: StatusCode.UNIMPLEMENTED,
    429: StatusCode.UNAVAILABLE,
    431: StatusCode.INTERNAL,
    502: StatusCode.UNAVAILABLE,
    503: StatusCode.UNAVAILABLE,
    504: StatusCode.UNAVAILABLE,
}


def code_of_http_status(status: int) -> StatusCode:
    """The code for an answer which is not gRPC's."""
    return _BY_HTTP_STATUS.get(status, StatusCode.UNKNOWN)


#: What an RST_STREAM code of the peer means (gRPC's PROTOCOL-HTTP2, "Errors").
_BY_HTTP2_ERROR = {
    0x7: StatusCode.UNAVAILABLE,
    0x8: StatusCode.CANCELLED,
    0xB: StatusCode.RESOURCE_EXHAUSTED,
    0xC: StatusCode.PERMISSION_DENIED,
}


def code_of_http2_error(error: int) -> StatusCode:
    """The code for a call which the peer reset."""
    return _BY_HTTP2_ERROR.get(error, StatusCode.INTERNAL)


def encode_message(message: str) -> bytes:
    """Percent-encode C{grpc-message}: printable ASCII but C{%} stands for itself."""
    if message.isascii() and message.isprintable() and "%" not in message:
        return message.encode("ascii")
    return b"".join(
        b"%c" % octet if 0x20 <= octet <= 0x7E and octet != 0x25 else b"%%%02X" % octet
        for octet in message.encode("utf-8", "replace")
    )


def decode_message(value: bytes) -> str:
    """Undo L{encode_message}; what is not valid is kept as it came, never refused."""
    return (unquote_to_bytes(value) if b"%" in value else value).decode("utf-8", "replace")


from microd.txgrpc.metadata import Metadata  # noqa: E402 - the two name each other
