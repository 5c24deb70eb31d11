"""What the end of a call means to its client; the same for the Twisted and the blocking one."""

from __future__ import annotations

from microd.txgrpc.frames import CANCEL, NO_ERROR, PROTOCOL_ERROR, REFUSED_STREAM
from microd.txgrpc.heads import ResponseHead
from microd.txgrpc.metadata import decode_binary
from microd.txgrpc.status import (
    RpcError,
    StatusCode,
    code_of_http2_error,
    code_of_http_status,
    decode_message,
)


def of_trailers(head: ResponseHead, first: ResponseHead | None) -> RpcError | None:
    """How the call ended, by its trailers (and its initial headers, C{first}); None: well."""
    if head.grpc_status == 0:
        return None
    http_status = (first or head).http_status or 0
    if head.grpc_status is None:
        if http_status != 200:
            return RpcError(code_of_http_status(http_status), f"the server answered with HTTP {http_status}")
        return RpcError(StatusCode.UNKNOWN, "the server sent no grpc-status")
    details = decode_binary(head.status_details) if head.status_details else b""
    return RpcError(
        head.grpc_status,
        decode_message(head.grpc_message),
        details=details,
        metadata=head.metadata,
        answered=True,
    )


def of_head(head: ResponseHead) -> RpcError | None:
    """What is wrong with the headers of an answer; None: nothing."""
    if head.http_status != 200 or not head.content_type.startswith("application/grpc"):
        # Not gRPC: what follows is a page for people, which is not read.
        status = head.http_status or 0
        code = StatusCode.UNKNOWN if status == 200 else code_of_http_status(status)
        return RpcError(
            code, f"the server answered with HTTP {status}, {head.content_type or 'no content-type'}"
        )
    if head.encoding is not None and head.encoding not in ("gzip", "deflate"):
        return RpcError(StatusCode.INTERNAL, f"grpc-encoding {head.encoding} is not supported")
    return None


def of_reset(error: int, text: str, delivered: bool, lost: bool) -> RpcError:
    """What a stream's sudden end means.

    @param error: the HTTP/2 error code.
    @param lost: the whole connection is gone.
    """
    if error == CANCEL and lost:
        code, text = StatusCode.UNAVAILABLE, f"{text}; the outcome of the call is unknown"
    elif lost:
        code = StatusCode.UNAVAILABLE if error != PROTOCOL_ERROR else StatusCode.INTERNAL
    elif not delivered or error == REFUSED_STREAM:
        code = StatusCode.UNAVAILABLE
    elif error == NO_ERROR:
        code = StatusCode.UNKNOWN
    else:
        code = code_of_http2_error(error)
    return RpcError(code, text, delivered=delivered)
