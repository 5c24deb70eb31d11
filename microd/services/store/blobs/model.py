"""What is said of blobs. All values are frozen."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Blob:
    """What is known of a blob without reading it.

    @ivar size: in bytes.
    @ivar digest: SHA-256 of the whole, 64 small hexadecimal digits.
    @ivar modified: when it was written, in Unix seconds.
    """

    key: str
    size: int
    digest: str
    modified: float
    content_type: str = ""
    public: bool = False


@dataclass(frozen=True, slots=True)
class About:
    """What a writer says of a blob; kept and shown, of no effect here."""

    content_type: str = ""
    public: bool = False


@dataclass(frozen=True, slots=True)
class Span:
    """Which bytes of a blob are wanted.

    @ivar length: 0: to the end.
    @ivar digest: the digest which the blob must have; empty: any.
    """

    offset: int = 0
    length: int = 0
    digest: str = ""


WHOLE = Span()


@dataclass(frozen=True, slots=True)
class Limits:
    """How large things may be, in bytes, and how many.

    @ivar page: the blobs of one list.
    @ivar writing: the blobs which one namespace may be writing at once.
    @ivar reading: the same for reading.
    """

    blob: int = 1 << 30
    key: int = 1024
    content_type: int = 255
    page: int = 1000
    writing: int = 64
    reading: int = 256
