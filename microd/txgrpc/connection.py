"""HTTP/2 as gRPC needs it, without I/O: bytes go in, calls on streams come out (RFC 9113).

::

    connection = Http2Connection(client_side=False, limits=Limits(), accept=lambda connection, head: MyStream(connection))
    connection.start()                      # our preface and SETTINGS
    connection.receive(data)                # from the network; never raises
    transport.write(connection.data_to_send())
    if connection.failed: ...               # GOAWAY is in data_to_send(); write it and hang up

    stream = MyStream(connection)           # the client's way: a stream of its own, opened with a header block
    connection.open(stream, block, data, end=True)
    connection.connection_lost("why")       # the transport is gone: every open stream is told

Streams are L{microd.txgrpc.stream.Stream}; the connection calls their methods, so there are no event objects.
Messages are whole gRPC messages, uncompressed, within C{Limits.max_message}.

It is built in four layers, each the base class of the next::

    Outgoing      frames to the peer, within its windows
    Accounting    windows for the peer, what is held for readers, patience
    Control       the connection as a whole: settings, PING, GOAWAY, numbers of streams
    Http2Connection    what calls are made of: HEADERS and DATA

Rules of this file. It is the hot path of the whole: C{receive} walks the buffer once, with local names, and
treats the two frames of a unary call in place; everything rare is a method. Header blocks which left the
HPACK table alone are remembered as bytes, with the head that was made of them, and all are forgotten as soon
as the table changes. The ids of a trace, if they are a block's L{tail<microd.txgrpc.tail>}, are left out of it. Whatever a peer can do wrong raises C{ProtocolFault} (GOAWAY) or C{StreamFault}
(RST_STREAM) inside and is answered in one place.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from microd.txgrpc import frames, messages
from microd.txgrpc.control import Control
from microd.txgrpc.frames import (
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    HEAD,
    HEAD_NUMBER,
    NO_ERROR,
    OUR_MAX_FRAME,
    PREFACE,
    PREFIX,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    RST_STREAM,
    STREAM_CLOSED,
    ProtocolFault,
    StreamFault,
)
from microd.txgrpc.headerblock import Field, HeaderDecoder, Oversize, encode_fields
from microd.txgrpc.heads import RequestHead, ResponseHead, check_request_trailers
from microd.txgrpc.limits import DEFAULT, Limits
from microd.txgrpc.stream import CLOSED, REMOTE, Stream
from microd.txgrpc.tail import SIZE as TAIL_SIZE
from microd.txgrpc.tail import of as tail_of

Accept = Callable[["Http2Connection", RequestHead], Stream]
H = TypeVar("H", RequestHead, ResponseHead)

_unpack_head = HEAD.unpack_from
_unpack_prefix = PREFIX.unpack_from
#: How many header blocks are remembered, and how long one may be.
_MEMORY, _MEMORABLE = 64, 1024


_TOO_LONG = encode_fields(
    [
        (b":status", b"431"),
        (b"content-type", b"application/grpc"),
        (b"grpc-status", b"8"),
        (b"grpc-message", b"the header list is longer than the limit"),
    ]
)


def _refuse(connection: Http2Connection, head: RequestHead) -> Stream:
    raise StreamFault(REFUSED_STREAM, "nobody serves calls here")


class Http2Connection(Control):
    """One side of one connection.

    @ivar frames_received: how many; the shell compares it to tell silence from life.
    @ivar afterwards: what the shell calls once, when all that arrived has been taken in.
    """

    __slots__ = (
        "_accept",
        "_block",
        "_block_flags",
        "_block_id",
        "_continuations",
        "_decoder",
        "_memory",
        "_partial",
        "_preface",
        "_skipped",
        "afterwards",
        "frames_received",
    )

    def __init__(
        self,
        client_side: bool,
        limits: Limits = DEFAULT,
        accept: Accept = _refuse,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(client_side, limits, now)
        self._accept = accept
        self._preface = not client_side
        self._partial = b""
        self._decoder = HeaderDecoder(limits.max_header_list)
        self._memory: dict[bytes, Any] = {}
        self._block: bytearray | None = None
        self._block_id = self._block_flags = self._continuations = 0
        self._skipped: list[tuple[int, int]] = []
        self.frames_received = 0
        self.afterwards: list[Callable[[], None]] = []

    # Taking in.

    def receive(self, data: bytes) -> None:
        """Take in what arrived; the answers are in C{data_to_send}. Never raises for anything a peer sends."""
        if self.failed is not None or self.lost:
            return
        if self._partial:
            data = self._partial + data
            self._partial = b""
        self.busy = True
        try:
            if self._preface and not self._take_preface(data):
                return
            if self._preface:
                self._preface = False
                data = data[len(PREFACE) :]
            self._take_frames(data)
        except ProtocolFault as fault:
            self.fail(fault.code, fault.text)
        finally:
            self.busy = False

    def _take_preface(self, data: bytes) -> bool:
        if not PREFACE.startswith(data[: len(PREFACE)]):
            raise ProtocolFault(PROTOCOL_ERROR, "this is not HTTP/2")
        if len(data) < len(PREFACE):
            self._partial = data
            return False
        return True

    def _take_frames(self, data: bytes) -> None:
        # One pass. A unary call is two turns of this loop: HEADERS found in the memory, DATA that is one message.
        streams = self.streams
        position, size = 0, len(data)
        server = not self.client_side
        while size - position >= 9:
            high, low, kind, flags, stream_id = _unpack_head(data, position)
            length = high << 8 | low
            if length > OUR_MAX_FRAME:
                raise ProtocolFault(FRAME_SIZE_ERROR, "frame too long")
            start = position + 9
            end = start + length
            if end > size:
                break
            position = end
            self.frames_received += 1
            stream_id &= 0x7FFFFFFF
            if not self.settled or self._block is not None:
                self._check_order(kind, flags, stream_id)
            try:
                if kind == 0:
                    stream = streams.get(stream_id)
                    self._recv_window -= length
                    if self._recv_window < self._low:
                        self._reopen_connection()
                    if stream is None or stream.state & REMOTE:
                        self._on_closed(stream, stream_id, "DATA", length)
                        continue
                    if (
                        flags & 0x8 == 0
                        and length >= 5
                        and stream.partial is None
                        and not data[start]
                        and _unpack_prefix(data, start)[1] == length - 5 <= self.limits.max_message
                        and length <= stream.recv_window
                    ):
                        if flags & 1:
                            if stream.expected < 0 or stream.expected == length:
                                # One whole message, and the end with it.
                                stream.state |= REMOTE
                                stream.message_received(data[start + 5 : end], True)
                                if stream.state == CLOSED and stream_id in streams:
                                    self.forget(stream)
                                continue
                        elif stream.expected < 0 and (server or stream.headed):
                            self._take_whole(stream, data[start + 5 : end], length)
                            continue
                    self._take_data(stream, data, start, end, flags)
                elif kind == 1:
                    block = (
                        data[start:end]
                        if not flags & 0x28
                        else self._strip(data[start:end], flags, stream_id)
                    )
                    if not server and flags & 4 and block in self._memory:
                        stream = streams.get(stream_id)
                        if stream is not None and not stream.state & REMOTE:
                            self._take_response(stream, self._memory[block], flags & 1)
                            continue
                    if not flags & 4:
                        self._begin_block(stream_id, block, flags)
                    elif server and stream_id > self.last_peer_id:
                        self._take_request(stream_id, block, flags)
                    else:
                        self._take_headers(stream_id, block, flags)
                elif kind == 9:
                    self._take_continuation(data[start:end], flags)
                else:
                    self._take_control(kind, flags, stream_id, data[start:end])
            except StreamFault as fault:
                self._stream_fault(stream_id, fault)
            if self.failed is not None or self.lost:
                return
        if position < size:
            self._partial = data[position:] if position else data

    def _check_order(self, kind: int, flags: int, stream_id: int) -> None:
        if self._block is not None:
            if kind != frames.CONTINUATION or stream_id != self._block_id:
                raise ProtocolFault(PROTOCOL_ERROR, "a header block was interrupted")
        elif kind != frames.SETTINGS or flags & frames.ACK:
            raise ProtocolFault(PROTOCOL_ERROR, "SETTINGS must come first")

    def _stream_fault(self, stream_id: int, fault: StreamFault) -> None:
        stream = self.streams.get(stream_id)
        if stream is not None:
            self.reset(stream, fault.code)
            stream.was_reset(fault.code, fault.text, True)
        else:
            self._out.append(HEAD_NUMBER.pack(0, 4, RST_STREAM, 0, stream_id, fault.code))
            self._remember_reset(stream_id, self.initial_window)
        self._annoy()

    # Header blocks.

    def _strip(self, payload: bytes, flags: int, stream_id: int) -> bytes:
        """The header block inside a padded or prioritised HEADERS frame (RFC 9113 6.2)."""
        at, end = 0, len(payload)
        if flags & frames.PADDED:
            if not payload:
                raise ProtocolFault(FRAME_SIZE_ERROR, "no pad length")
            at, end = 1, end - payload[0]
        if flags & frames.PRIORITISED:
            at += 5
            if at > len(payload):
                raise ProtocolFault(FRAME_SIZE_ERROR, "no priority")
        if end < at:
            raise ProtocolFault(PROTOCOL_ERROR, "more padding than payload")
        return payload[at:end]

    def _begin_block(self, stream_id: int, block: bytes, flags: int) -> None:
        if stream_id == 0:
            raise ProtocolFault(PROTOCOL_ERROR, "HEADERS on stream 0")
        self._block = bytearray(block)
        self._block_id = stream_id
        self._block_flags = flags
        self._continuations = 0

    def _take_continuation(self, payload: bytes, flags: int) -> None:
        block = self._block
        if block is None:
            raise ProtocolFault(PROTOCOL_ERROR, "CONTINUATION of nothing")
        block += payload
        self._continuations += 1
        most = self.limits.max_header_list
        if len(block) > 2 * most or self._continuations > 8 + 2 * most // OUR_MAX_FRAME:
            raise ProtocolFault(ENHANCE_YOUR_CALM, "the header block is far too long")
        if not flags & frames.END_HEADERS:
            return
        self._block = None
        stream_id, flags = self._block_id, self._block_flags
        if not self.client_side and stream_id > self.last_peer_id:
            self._take_request(stream_id, bytes(block), flags)
        else:
            self._take_headers(stream_id, bytes(block), flags)

    def _fields(self, block: bytes) -> list[Field]:
        """Decode a block; when that changed the table, no block means what it meant."""
        decoder = self._decoder
        try:
            return decoder.decode(block)
        finally:
            if decoder.changed:
                self._memory.clear()

    def _head(self, block: bytes, kind: type[H]) -> H:
        head = kind(self._fields(block))
        if not self._decoder.changed and len(block) <= _MEMORABLE:
            self._remembered(block, head)
        return head

    def _remembered(self, block: bytes, head: H) -> H:
        if len(self._memory) >= _MEMORY:
            self._memory.clear()
        self._memory[block] = head
        return head

    def _tailed(self, block: bytes, ids: bytes) -> tuple[RequestHead, bytes]:
        """Read a block that ends like one with a tail, for the first time.

        It has one if what stands before is a block by itself: so it will be with any other tail as well, as long as the
        table stays as it is. It need not be, for the same bytes may also be the end of a string in Huffman code.
        """
        fields = self._fields(block)
        decoder = self._decoder
        if not decoder.changed and len(block) - len(ids) <= _MEMORABLE:
            try:
                apart = decoder.decode(block[: -len(ids)])
            except ProtocolFault:
                pass
            else:
                if apart == fields[:-3]:
                    return self._remembered(block[: -len(ids)], RequestHead(apart)), ids
        return RequestHead(fields), b""

    def _take_request(self, stream_id: int, block: bytes, flags: int) -> None:
        """HEADERS that open a stream (server)."""
        last = self.last_peer_id
        if stream_id & 1 == 0:
            raise ProtocolFault(PROTOCOL_ERROR, "a client's stream id is odd")
        if stream_id != last + 2 and (last or stream_id != 1):
            self._skip(last, stream_id)
        self.last_peer_id = stream_id
        ids = b""
        try:
            if len(block) > TAIL_SIZE and block[-TAIL_SIZE] == 0 and (ids := tail_of(block)):
                found = self._memory.get(block[:-TAIL_SIZE])
                if found is None:
                    found, ids = self._tailed(block, ids)
            else:
                found = self._memory.get(block) or self._head(block, RequestHead)
            head: RequestHead = found
        except Oversize:
            self._oversize(stream_id, flags)
            return
        if self.draining:
            self._remember_reset(stream_id, self.initial_window)
            return
        if len(self.streams) + self.lingering >= self.limits.max_streams:
            raise StreamFault(REFUSED_STREAM, "too many calls at once")
        if flags & 1 and head.content_length > 0:
            raise StreamFault(PROTOCOL_ERROR, "less data than content-length")
        stream = self._accept(self, head)
        stream.id = stream_id
        if ids:
            stream.tail = ids
        self.streams[stream_id] = stream
        if head.content_length >= 0:
            stream.expected = head.content_length
        stream.encoding = head.encoding
        if flags & 1:
            stream.state = REMOTE
        stream.opened()
        if flags & 1 and stream.state != CLOSED:
            self._half_closed(stream)

    def _skip(self, last: int, stream_id: int) -> None:
        """The ids between were never used and now never can be (RFC 9113 5.1.1)."""
        if len(self._skipped) >= 64:
            del self._skipped[0]
        self._skipped.append((last, stream_id))

    def _oversize(self, stream_id: int, flags: int) -> None:
        """Refuse a call whose headers are too long, in HTTP (RFC 6585) and in gRPC."""
        block = _TOO_LONG
        self._put_headers(stream_id, block, frames.END_STREAM)
        if not flags & 1:
            raise StreamFault(NO_ERROR, "the header list is too long")

    def _take_headers(self, stream_id: int, block: bytes, flags: int) -> None:
        """HEADERS on a stream which is not new: a response, or trailers."""
        stream = self.streams.get(stream_id)
        if stream is None or stream.state & REMOTE:
            self._fields_of_closed(stream, stream_id, block)
            return
        if not self.client_side:
            try:
                fields = self._fields(block)
            except Oversize as error:
                raise StreamFault(ENHANCE_YOUR_CALM, "the trailers are too long") from error
            if not flags & 1:
                raise StreamFault(PROTOCOL_ERROR, "a second header list that ends nothing")
            check_request_trailers(fields)
            self._end_remote(stream)
            return
        try:
            head: ResponseHead = self._memory.get(block) or self._head(block, ResponseHead)
        except Oversize as error:
            raise StreamFault(ENHANCE_YOUR_CALM, "the header list is too long") from error
        self._take_response(stream, head, flags & 1)

    def _take_response(self, stream: Stream, head: ResponseHead, ended: int) -> None:
        status = head.http_status
        if stream.headed and ended and status is None and stream.expected < 0:
            # Trailers, as they should be.
            stream.state |= REMOTE
            if stream.state == CLOSED:
                self.forget(stream)
            stream.trailers_received(head)
            return
        if not stream.headed:
            if status is None:
                raise StreamFault(PROTOCOL_ERROR, "trailers before the headers")
            if status < 200:
                if ended:
                    raise StreamFault(PROTOCOL_ERROR, "an interim response that ends the stream")
                self._annoy()
                return
        elif status is not None:
            raise StreamFault(PROTOCOL_ERROR, "a response after a response")
        if ended:
            if stream.expected > 0 or (stream.expected < 0 < head.content_length):
                raise StreamFault(PROTOCOL_ERROR, "less data than content-length")
            stream.state |= REMOTE
            if stream.state == CLOSED:
                self.forget(stream)
            stream.trailers_received(head)
            return
        if stream.headed:
            raise StreamFault(PROTOCOL_ERROR, "a second header list that ends nothing")
        stream.headed = True
        if head.content_length >= 0:
            stream.expected = head.content_length
        stream.encoding = head.encoding
        stream.head_received(head)

    def _fields_of_closed(self, stream: Stream | None, stream_id: int, block: bytes) -> None:
        """Keep the table up to date for a stream that is closed, then say what is wrong, if anything."""
        with suppress(Oversize):
            self._fields(block)
        self._on_closed(stream, stream_id, "HEADERS", 0)

    def _on_closed(self, stream: Stream | None, stream_id: int, what: str, size: int) -> None:
        """DATA or HEADERS where the peer may not send them (RFC 9113 5.1)."""
        if stream_id == 0:
            raise ProtocolFault(PROTOCOL_ERROR, f"{what} on stream 0")
        if stream is not None:
            raise StreamFault(STREAM_CLOSED, f"{what} after END_STREAM")
        if self._is_idle(stream_id):
            raise ProtocolFault(PROTOCOL_ERROR, f"{what} on an idle stream")
        if stream_id in self._ours_reset:
            left = self._ours_reset[stream_id] - size
            if size == 0 or left < 0:
                self._annoy()
            else:
                self._ours_reset[stream_id] = left
            return
        if any(low < stream_id < high for low, high in self._skipped):
            raise ProtocolFault(PROTOCOL_ERROR, f"{what} on a stream that was passed over")
        raise ProtocolFault(STREAM_CLOSED, f"{what} on a closed stream")

    # Data.

    def _take_whole(self, stream: Stream, message: bytes, length: int) -> None:
        """DATA that is one whole message, and not the end."""
        stream.recv_window -= length
        if stream.greedy:
            stream.credit += length
            if stream.credit >= self.limits.stream_window >> 1:
                self.reopen(stream, 0)
            stream.message_received(message, False)
            return
        stream.debt += length
        stream.held += length + messages.OVERHEAD
        self.buffered += length + messages.OVERHEAD
        if self.buffered > self.limits.max_buffered:
            self._overfull(stream)
            return
        stream.unread += length
        stream.message_received(message, False)
        if stream.unread == 0 and stream.state != CLOSED:
            self.reopen(stream, 0)

    def _overfull(self, stream: Stream) -> None:
        most = self.limits.max_buffered
        self._give_up(stream, 8, f"this connection holds more than {most} bytes unread")

    def _take_data(self, stream: Stream, data: bytes, start: int, end: int, flags: int) -> None:
        """DATA that is not one whole last message."""
        length = end - start
        if flags & frames.PADDED:
            if start == end:
                raise ProtocolFault(FRAME_SIZE_ERROR, "no pad length")
            padding = data[start]
            start += 1
            if padding > end - start:
                raise ProtocolFault(PROTOCOL_ERROR, "more padding than payload")
            end -= padding
        if self.client_side and not stream.headed:
            raise StreamFault(PROTOCOL_ERROR, "DATA before the headers")
        if length > stream.recv_window:
            raise StreamFault(FLOW_CONTROL_ERROR, "more data than the stream's window")
        stream.recv_window -= length
        ended = flags & 1
        size = end - start
        if size == 0 and not ended:
            self._annoy()
        if stream.expected >= 0:
            stream.expected -= size
            if stream.expected < 0 or (ended and stream.expected):
                raise StreamFault(PROTOCOL_ERROR, "content-length is another")
        if ended:
            stream.state |= REMOTE
        stream.debt += length
        if size:
            stream.held += size
            self.buffered += size
            if self.buffered > self.limits.max_buffered:
                self._overfull(stream)
                return
            messages.assemble(self, stream, data[start:end])
        if self.streams.get(stream.id) is not stream:
            # Whoever took the messages has closed the stream.
            return
        if ended:
            self._half_closed(stream)
        elif stream.unread == 0:
            self.reopen(stream, 0)

    def _end_remote(self, stream: Stream) -> None:
        """The peer's half ended with something that carries no data."""
        if stream.expected > 0:
            raise StreamFault(PROTOCOL_ERROR, "less data than content-length")
        stream.state |= REMOTE
        self._half_closed(stream)

    def _half_closed(self, stream: Stream) -> None:
        if stream.partial is not None:
            self._give_up(stream, 13, "the stream ended within a message")
            return
        stream.half_closed()
        if stream.state == CLOSED and self.streams.get(stream.id) is stream:
            self.forget(stream)

    def _give_up(self, stream: Stream, code: int, text: str) -> None:
        """Take no more messages on this stream."""
        stream.partial = None
        self.released(stream)
        stream.message_refused(code, text)
