"""gRPC messages inside DATA: a flag, a length, the bytes; perhaps gzip (PROTOCOL-HTTP2, "Length-Prefixed-Message")."""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING

from microd.txgrpc.frames import PREFIX
from microd.txgrpc.stream import CLOSED, Stream

if TYPE_CHECKING:
    from microd.txgrpc.connection import Http2Connection

_RESOURCE_EXHAUSTED, _INTERNAL, _UNIMPLEMENTED = 8, 13, 12
#: What keeping a message costs besides its bytes, or a flood of tiny ones would hold many times what it sent.
OVERHEAD = 64


class BadMessage(Exception):
    """What came is not a message that we take; carries a gRPC status and its text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text


class Unpacked(bytes):
    """A message which came compressed; otherwise bytes like any other."""

    __slots__ = ()


class Packed(bytes):
    """A message which is still compressed, for a stream that is C{opaque}."""

    __slots__ = ()


def frame_message(message: bytes) -> bytes:
    """A message as it goes into DATA."""
    return PREFIX.pack(0, len(message)) + message


def frame_again(message: bytes) -> bytes:
    """A message as it goes on from an opaque stream."""
    return PREFIX.pack(type(message) is Packed, len(message)) + message


def frame_compressed(message: bytes) -> bytes:
    """The same, with gzip."""
    packed = gzip.compress(message, 6, mtime=0)
    return PREFIX.pack(1, len(packed)) + packed


def too_large(size: int, most: int) -> BadMessage:
    """The answer to a message over the limit, which it names."""
    return BadMessage(
        _RESOURCE_EXHAUSTED, f"message of {size} bytes is larger than the limit of {most} bytes"
    )


def decompress(data: bytes, encoding: str | None, most: int) -> bytes:
    """Undo gzip or deflate, stopping as soon as the message is longer than allowed.

    @raise BadMessage: it is too long, or not compressed like that.
    """
    if encoding is None:
        raise BadMessage(_INTERNAL, "a compressed message without grpc-encoding")
    if encoding not in ("gzip", "deflate"):
        raise BadMessage(_UNIMPLEMENTED, f"grpc-encoding {encoding} is not supported")
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | (16 if encoding == "gzip" else 0))
    try:
        made = unpacker.decompress(data, most + 1)
    except zlib.error as error:
        raise BadMessage(_INTERNAL, f"the message is not {encoding}") from error
    if len(made) > most:
        raise BadMessage(
            _RESOURCE_EXHAUSTED, f"message is larger than the limit of {most} bytes, decompressed"
        )
    if not unpacker.eof:
        raise BadMessage(_INTERNAL, "the compressed message is cut short")
    return made


def assemble(connection: Http2Connection, stream: Stream, chunk: bytes) -> None:
    """Deliver the messages which C{chunk} completes; keep the rest."""
    partial = stream.partial
    data: bytes | bytearray = chunk
    if partial is not None:
        partial += chunk
        if len(partial) < stream.need:
            return
        data = partial
        stream.partial = None
    try:
        at = _deliver(connection, stream, data)
    except BadMessage as bad:
        stream.partial = None
        connection.released(stream)
        stream.message_refused(bad.code, bad.text)
        return
    if at < len(data) and stream.state != CLOSED:
        if at:
            stream.partial = bytearray(memoryview(data)[at:])
        else:
            stream.partial = data if isinstance(data, bytearray) else bytearray(data)


def _deliver(connection: Http2Connection, stream: Stream, data: bytes | bytearray) -> int:
    """Deliver each whole message; where the rest begins. C{stream.need} is set for it."""
    most = connection.limits.max_message
    at, end = 0, len(data)
    while True:
        if end - at < 5:
            stream.need = 5
            return at
        flag, size = PREFIX.unpack_from(data, at)
        if flag > 1:
            raise BadMessage(_INTERNAL, "this is not a gRPC message")
        if size > most:
            raise too_large(size, most)
        start = at + 5
        at_next = start + size
        if at_next > end:
            stream.need = 5 + size
            return at
        message = bytes(memoryview(data)[start:at_next])
        if flag and stream.opaque:
            message = Packed(message)
        elif flag:
            message = Unpacked(decompress(message, stream.encoding, most))
            grown = len(message) - size
            stream.held += grown
            connection.buffered += grown
        at = at_next
        stream.unread += len(message) + 5
        stream.held += OVERHEAD
        connection.buffered += OVERHEAD
        stream.message_received(message, False)
        if stream.state == CLOSED:
            return end
