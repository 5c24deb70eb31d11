"""HTTP/2 frames as bytes, legal and illegal alike (RFC 9113 sections 4 and 6; RFC 7541 section 6).

The builders check nothing: a test that wants a PING of seven octets gets one. Header blocks made here are stateless
(literals without indexing, no Huffman coding), so that a test may repeat, reorder or cut them at will.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum, IntFlag

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DEFAULT_WINDOW = 65_535
DEFAULT_FRAME_SIZE = 16_384
MAX_WINDOW = 2**31 - 1

Fields = tuple[tuple[bytes, bytes], ...]


class Kind(IntEnum):
    """The frame types of RFC 9113."""

    DATA = 0x0
    HEADERS = 0x1
    PRIORITY = 0x2
    RST_STREAM = 0x3
    SETTINGS = 0x4
    PUSH_PROMISE = 0x5
    PING = 0x6
    GOAWAY = 0x7
    WINDOW_UPDATE = 0x8
    CONTINUATION = 0x9


class Flag(IntFlag):
    """The flags of RFC 9113; ACK shares its bit with END_STREAM."""

    END_STREAM = 0x1
    ACK = 0x1
    END_HEADERS = 0x4
    PADDED = 0x8
    PRIORITY = 0x20


class Code(IntEnum):
    """The error codes of RFC 9113 section 7."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


class Setting(IntEnum):
    """The settings of RFC 9113 section 6.5.2."""

    HEADER_TABLE_SIZE = 0x1
    ENABLE_PUSH = 0x2
    MAX_CONCURRENT_STREAMS = 0x3
    INITIAL_WINDOW_SIZE = 0x4
    MAX_FRAME_SIZE = 0x5
    MAX_HEADER_LIST_SIZE = 0x6


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as received; `fields` are the decoded lines of a field block that ended in this frame."""

    kind: int
    flags: int
    stream: int
    payload: bytes
    fields: Fields | None = None

    @property
    def ends_stream(self) -> bool:
        return self.kind in (Kind.DATA, Kind.HEADERS) and bool(self.flags & Flag.END_STREAM)

    @property
    def is_ack(self) -> bool:
        return self.kind in (Kind.SETTINGS, Kind.PING) and bool(self.flags & Flag.ACK)

    @property
    def code(self) -> int:
        """The error code of a RST_STREAM or GOAWAY."""
        at = 4 if self.kind == Kind.GOAWAY else 0
        return int.from_bytes(self.payload[at : at + 4], "big")

    @property
    def last_stream(self) -> int:
        """The last stream identifier of a GOAWAY."""
        return int.from_bytes(self.payload[:4], "big") & MAX_WINDOW

    @property
    def increment(self) -> int:
        """What a WINDOW_UPDATE grants."""
        return int.from_bytes(self.payload, "big") & MAX_WINDOW

    @property
    def settings(self) -> dict[int, int]:
        """The values of a SETTINGS frame."""
        return dict(struct.iter_unpack(">HI", self.payload))


def frame(kind: int, flags: int, stream: int, payload: bytes = b"", *, length: int | None = None) -> bytes:
    """A frame of these parts; `length` lies about the payload's."""
    size = len(payload) if length is None else length
    return struct.pack(">HBBBI", size >> 8, size & 0xFF, kind, flags, stream) + payload


def padded(payload: bytes, pad: int) -> bytes:
    """The payload with its pad length before it and that many zero octets after it."""
    return bytes([pad]) + payload + bytes(pad)


def data(stream: int, payload: bytes = b"", *, end: bool = False, pad: int | None = None) -> bytes:
    flags = (Flag.END_STREAM if end else 0) | (Flag.PADDED if pad is not None else 0)
    return frame(Kind.DATA, flags, stream, payload if pad is None else padded(payload, pad))


def headers(stream: int, block: bytes, *, end: bool = False, end_headers: bool = True) -> bytes:
    flags = (Flag.END_STREAM if end else 0) | (Flag.END_HEADERS if end_headers else 0)
    return frame(Kind.HEADERS, flags, stream, block)


def continuation(stream: int, block: bytes, *, end_headers: bool = True) -> bytes:
    return frame(Kind.CONTINUATION, Flag.END_HEADERS if end_headers else 0, stream, block)


def priority(stream: int, *, depends_on: int = 0, weight: int = 15) -> bytes:
    return frame(Kind.PRIORITY, 0, stream, struct.pack(">IB", depends_on, weight))


def rst_stream(stream: int, code: int = Code.CANCEL) -> bytes:
    return frame(Kind.RST_STREAM, 0, stream, code.to_bytes(4, "big"))


def settings(*pairs: tuple[int, int]) -> bytes:
    return frame(Kind.SETTINGS, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


def settings_ack() -> bytes:
    return frame(Kind.SETTINGS, Flag.ACK, 0)


def push_promise(stream: int, promised: int, block: bytes) -> bytes:
    return frame(Kind.PUSH_PROMISE, Flag.END_HEADERS, stream, promised.to_bytes(4, "big") + block)


def ping(payload: bytes = b"\0" * 8, *, ack: bool = False) -> bytes:
    return frame(Kind.PING, Flag.ACK if ack else 0, 0, payload)


def goaway(last_stream: int = 0, code: int = Code.NO_ERROR, debug: bytes = b"") -> bytes:
    return frame(Kind.GOAWAY, 0, 0, struct.pack(">II", last_stream, code) + debug)


def window_update(stream: int, increment: int) -> bytes:
    return frame(Kind.WINDOW_UPDATE, 0, stream, increment.to_bytes(4, "big"))


def integer(value: int, prefix: int, first: int = 0) -> bytes:
    """An HPACK integer (RFC 7541 section 5.1) under the bits of `first`."""
    limit = (1 << prefix) - 1
    if value < limit:
        return bytes([first | value])
    out = bytearray([first | limit])
    value -= limit
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def string(value: bytes, *, huffman: bool = False) -> bytes:
    """An HPACK string (RFC 7541 section 5.2); with `huffman` the value is taken as coded already."""
    return integer(len(value), 7, 0x80 if huffman else 0) + value


def literal(name: bytes, value: bytes, *, first: int = 0x00) -> bytes:
    """A literal field line with a new name: 0x00 without indexing, 0x40 indexed, 0x10 never indexed."""
    return bytes([first]) + string(name) + string(value)


def indexed(index: int) -> bytes:
    """An indexed field line (RFC 7541 section 6.1)."""
    return integer(index, 7, 0x80)


def table_size(size: int) -> bytes:
    """A dynamic table size update (RFC 7541 section 6.3)."""
    return integer(size, 5, 0x20)


def block(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A field block of these lines, independent of any table."""
    return b"".join(literal(name, value) for name, value in fields)


def message(payload: bytes, *, compressed: bool = False) -> bytes:
    """A gRPC length-prefixed message."""
    return struct.pack(">BI", compressed, len(payload)) + payload
