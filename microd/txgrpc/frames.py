"""HTTP/2 frames: their numbers, their packing, and the two ways in which a peer can be wrong (RFC 9113)."""

from __future__ import annotations

from struct import Struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    range(10)
)

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITISED = 0x20

NO_ERROR = 0x0
PROTOCOL_ERROR = 0x1
INTERNAL_ERROR = 0x2
FLOW_CONTROL_ERROR = 0x3
STREAM_CLOSED = 0x5
FRAME_SIZE_ERROR = 0x6
REFUSED_STREAM = 0x7
CANCEL = 0x8
COMPRESSION_ERROR = 0x9
ENHANCE_YOUR_CALM = 0xB

HEADER_TABLE_SIZE = 0x1
ENABLE_PUSH = 0x2
MAX_CONCURRENT_STREAMS = 0x3
INITIAL_WINDOW_SIZE = 0x4
MAX_FRAME_SIZE = 0x5
MAX_HEADER_LIST_SIZE = 0x6

MAX_STREAM_ID = MAX_WINDOW = (1 << 31) - 1
DEFAULT_WINDOW = 65535
#: The longest frame payload that we take: the least that HTTP/2 allows, so that calls interleave finely.
OUR_MAX_FRAME = 16384

#: Length (in 16 + 8 bits), type, flags, stream id.
HEAD = Struct(">HBBBI")
#: The same and a 32-bit number: WINDOW_UPDATE and RST_STREAM in one go.
HEAD_NUMBER = Struct(">HBBBII")
#: The head of a DATA frame and the prefix of the gRPC message in it.
HEAD_PREFIX = Struct(">HBBBIBI")
PREFIX = Struct(">BI")
SETTING = Struct(">HI")


class ProtocolFault(Exception):
    """The peer broke the protocol so that the connection cannot go on: GOAWAY with C{code}."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text


class StreamFault(Exception):
    """The peer broke the protocol within one stream: RST_STREAM with C{code}."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text


def frame(type: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """One whole frame."""
    size = len(payload)
    return HEAD.pack(size >> 8, size & 255, type, flags, stream_id) + payload


def settings(values: dict[int, int]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(SETTING.pack(key, value) for key, value in values.items()))


def goaway(last_id: int, code: int, text: str = "") -> bytes:
    """A GOAWAY frame, with a reason for people to read in a packet dump."""
    return frame(GOAWAY, 0, 0, last_id.to_bytes(4, "big") + code.to_bytes(4, "big") + text.encode()[:256])
