"""The header blocks of requests; what does not differ between calls is made once."""

from __future__ import annotations

from functools import lru_cache

from microd.txgrpc import timeouts
from microd.txgrpc.headerblock import encode_field, encode_fields
from microd.txgrpc.metadata import Metadata, to_fields
from microd.txgrpc.status import MetadataLike

USER_AGENT = b"microd-txgrpc/1"


@lru_cache(maxsize=1024)
def _plain(scheme: str, authority: str, path: str, content_type: str, compress: bool) -> bytes:
    fields = [
        (b":method", b"POST"),
        (b":scheme", scheme.encode("ascii")),
        (b":path", path.encode("latin-1")),
        (b":authority", authority.encode("latin-1")),
        (b"content-type", content_type.encode("latin-1")),
        (b"te", b"trailers"),
        (b"grpc-accept-encoding", b"identity,deflate,gzip"),
        (b"user-agent", USER_AGENT),
    ]
    if compress:
        fields.append((b"grpc-encoding", b"gzip"))
    return encode_fields(fields)


def block(
    scheme: str,
    authority: str,
    path: str,
    metadata: MetadataLike | None = None,
    content_type: str | None = None,
    *,
    compress: bool = False,
) -> bytes:
    """The headers of a call, but for its timeout.

    @raise ValueError: metadata which cannot be sent.
    """
    made = _plain(scheme, authority, path, content_type or "application/grpc+proto", compress)
    if not metadata:
        return made
    if isinstance(metadata, Metadata):
        return made + _metadata(metadata)
    return made + encode_fields(to_fields(metadata))


@lru_cache(maxsize=1024)
def _metadata(metadata: Metadata) -> bytes:
    """Made once for metadata that is used again, as a relay's and a gateway's is."""
    return encode_fields(to_fields(metadata))


def timeout(seconds: float) -> bytes:
    """The field for what is left of a call's time.

    In whole milliseconds where that is fine enough, so that a server which remembers header blocks meets few.
    """
    return _timeout(-int(-seconds * 1000 // 1) * 1000 if seconds >= 1 else -int(-seconds * 1_000_000 // 1))


@lru_cache(maxsize=4096)
def _timeout(microseconds: int) -> bytes:
    return encode_field(b"grpc-timeout", timeouts.format_grpc(microseconds / 1_000_000))
