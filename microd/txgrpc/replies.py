"""The header blocks of answers; what does not differ between calls is made once."""

from __future__ import annotations

from functools import lru_cache

from microd.txgrpc.headerblock import Field, encode_field, encode_fields
from microd.txgrpc.heads import RequestHead
from microd.txgrpc.metadata import EMPTY, Metadata, encode_binary, to_fields
from microd.txgrpc.status import StatusCode, encode_message

#: C{grpc-encoding} of an answer whose messages may be compressed.
GZIP = encode_field(b"grpc-encoding", b"gzip")
#: What we can read.
ACCEPT = encode_field(b"grpc-accept-encoding", b"identity,deflate,gzip")

#: Characters and bytes of a status that is remembered.
_MEMORABLE = 1024
_STATUS_200 = encode_field(b":status", b"200")
#: What a status takes along, in characters and bytes, and how long trailers may be: a peer ends the whole connection over a
#: block far beyond its limit, and 64 KiB is usual.
LONGEST_TEXT, LONGEST_DETAILS, LONGEST_TRAILERS = 4096, 8 * 1024, 60 * 1024
#: Trailers of a call that went well and has nothing to add.
TRAILERS_OK = encode_field(b"grpc-status", b"0")


def head_block(head: RequestHead) -> bytes:
    """The headers of an answer, kept on the request's head; the content type is the request's."""
    block = head.reply_block
    if not block:
        block = head.reply_block = _STATUS_200 + encode_field(
            b"content-type", head.content_type.encode("latin-1")
        )
    return block


def initial(metadata: Metadata) -> bytes:
    """What a handler adds to the headers.

    @raise ValueError: metadata which cannot be sent.
    """
    block = encode_fields(to_fields(metadata))
    if len(block) > LONGEST_TRAILERS:
        raise ValueError(f"its {len(block)} bytes are more than {LONGEST_TRAILERS}")
    return block


def trailers(
    metadata: Metadata, code: StatusCode = StatusCode.OK, text: str = "", details: bytes = b""
) -> bytes:
    """The status, and what goes with it; a text that is too long is cut, details that are too long stay here.

    @raise ValueError: metadata which cannot be sent.
    """
    if code is StatusCode.OK and metadata is EMPTY:
        return TRAILERS_OK
    if metadata is EMPTY:
        if len(text) + len(details) <= _MEMORABLE:
            return _status_before(code, text, details)
        return encode_fields(_status(code, text, details))
    block = encode_fields(_status(code, text, details) + to_fields(metadata))
    if len(block) > LONGEST_TRAILERS:
        raise ValueError(f"its {len(block)} bytes are more than {LONGEST_TRAILERS}")
    return block


def _status(code: StatusCode, text: str, details: bytes) -> list[Field]:
    fields = [(b"grpc-status", b"%d" % code)]
    if text:
        fields.append((b"grpc-message", encode_message(text[:LONGEST_TEXT])))
    if details and len(details) <= LONGEST_DETAILS:
        fields.append((b"grpc-status-details-bin", encode_binary(details)))
    return fields


@lru_cache(maxsize=256)
def _status_before(code: StatusCode, text: str, details: bytes) -> bytes:
    """A status that others may have had before."""
    return encode_fields(_status(code, text, details))


def refusal(status: int, text: str) -> bytes:
    """An answer at the level of HTTP, for a request that is not gRPC."""
    fields = [
        (b":status", b"%d" % status),
        (b"content-type", b"application/grpc"),
        (b"grpc-status", b"%d" % (StatusCode.UNKNOWN if status == 415 else StatusCode.INTERNAL)),
        (b"grpc-message", encode_message(text)),
    ]
    if status == 405:
        fields.append((b"allow", b"POST"))
    return encode_fields(fields)


def failure(
    head: RequestHead, code: StatusCode, text: str, details: bytes = b"", metadata: Metadata = EMPTY
) -> bytes:
    """A whole answer that is only a status."""
    return head_block(head) + trailers(metadata, code, text, details)
