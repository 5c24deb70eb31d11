"""The connection as a whole: how it starts, what its control frames mean, and how it ends (RFC 9113 3.4, 5, 6)."""

from __future__ import annotations

from collections.abc import Callable

from microd.txgrpc import frames
from microd.txgrpc.accounting import TOO_MANY_PINGS, Accounting
from microd.txgrpc.frames import (
    CANCEL,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    HEAD,
    HEAD_NUMBER,
    MAX_STREAM_ID,
    MAX_WINDOW,
    NO_ERROR,
    PREFACE,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    RST_STREAM,
    WINDOW_UPDATE,
    ProtocolFault,
    StreamFault,
)
from microd.txgrpc.headerblock import EMPTY_TABLE, TABLE_SIZE
from microd.txgrpc.limits import Limits
from microd.txgrpc.stream import LOCAL, Stream


class Control(Accounting):
    """The state of a connection and of its peer.

    @ivar failed: the error code of the GOAWAY which ended it, else None.
    @ivar reason: why, for the log.
    @ivar lost: it can carry nothing any more.
    @ivar draining: no new streams are accepted, or may be opened.
    @ivar goaway_last: the last stream id in the peer's GOAWAY, else None.
    @ivar last_peer_id: the highest stream id that the peer has opened.
    @ivar lingering: calls which were cancelled and whose handlers still run.
    @ivar settled: the peer's first SETTINGS have come.
    @ivar on_pong: called with the payload of a PING's answer.
    @ivar on_goaway: called with error code and text when the peer says that it will go.
    @ivar on_settings: called when the peer's settings changed.
    """

    __slots__ = (
        "_next_id",
        "_table_gone",
        "client_side",
        "draining",
        "failed",
        "goaway_last",
        "last_peer_id",
        "lingering",
        "lost",
        "on_goaway",
        "on_pong",
        "on_settings",
        "peer_max_streams",
        "reason",
        "settled",
    )

    def __init__(self, client_side: bool, limits: Limits, now: Callable[[], float]) -> None:
        super().__init__(limits, now)
        self.client_side = client_side
        self._next_id = 1
        self._table_gone = False
        self.last_peer_id = self.lingering = 0
        self.draining = self.settled = self.lost = False
        self.failed: int | None = None
        self.reason = ""
        self.goaway_last: int | None = None
        self.peer_max_streams = MAX_STREAM_ID
        self.on_pong: Callable[[bytes], None] | None = None
        self.on_goaway: Callable[[int, str], None] | None = None
        self.on_settings: Callable[[], None] | None = None

    # Starting and ending.

    def start(self) -> None:
        """Send our preface: the client's magic, our settings, the connection's window."""
        limits = self.limits
        ours = {
            frames.INITIAL_WINDOW_SIZE: limits.stream_window,
            frames.MAX_HEADER_LIST_SIZE: limits.max_header_list,
        }
        if self.client_side:
            self._out.append(PREFACE)
            ours[frames.ENABLE_PUSH] = 0
        else:
            ours[frames.MAX_CONCURRENT_STREAMS] = limits.max_streams
        self._out.append(frames.settings(ours))
        more = limits.connection_window - self._recv_window
        if more > 0:
            self._out.append(HEAD_NUMBER.pack(0, 4, WINDOW_UPDATE, 0, 0, more))
            self._recv_window += more
        self._sent()

    def drain(self, *, final: bool = False) -> None:
        """Say that no new streams are wanted: first kindly, then (C{final}) naming the last one that counts."""
        self._out.append(frames.goaway(self.last_peer_id if final else MAX_STREAM_ID, NO_ERROR))
        self.draining = self.draining or final
        self._sent()

    def fail(self, code: int, text: str) -> None:
        """End the connection: GOAWAY, and every stream is told."""
        if self.failed is not None:
            return
        self.failed = code
        self.reason = text
        self._out.append(frames.goaway(self.last_peer_id, code, text))
        self.connection_lost(text, code)
        self._sent()

    def connection_lost(self, text: str, code: int = CANCEL) -> None:
        """There is no connection any more: tell every open stream. What was not processed says so."""
        self.lost = True
        streams = list(self.streams.values())
        for stream in streams:
            self.forget(stream)
            stream.was_reset(code, text, True)

    # Opening streams (client).

    @property
    def can_open(self) -> bool:
        """Whether one more stream may be opened now."""
        return (
            not self.draining
            and not self.lost
            and self.goaway_last is None
            and len(self.streams) < self.peer_max_streams
            and self._next_id <= MAX_STREAM_ID
        )

    @property
    def exhausted(self) -> bool:
        """Whether no stream can be opened ever again: numbers ran out, or the peer is going."""
        return self.lost or self.draining or self.goaway_last is not None or self._next_id > MAX_STREAM_ID

    def open(self, stream: Stream, block: bytes, data: bytes = b"", *, end: bool = False) -> bool:
        """Open a stream with a header block and, if there is any, its first data; see L{Outgoing.send_data}.

        The caller has looked at C{can_open}.
        """
        stream.id = id = self._next_id
        self._next_id = id + 2
        self.streams[id] = stream
        size, most = len(data), self.peer_max_frame
        if (
            end
            and 0 < size <= most
            and len(block) <= most
            and size <= stream.send_window
            and size <= self.send_window
            and not self.paused
            and not self._prefix
        ):
            # A unary call, which needs no more than two frames.
            stream.send_window -= size
            self.send_window -= size
            self.frames_sent += 1
            length = len(block)
            self._out += (
                HEAD.pack(length >> 8, length & 255, frames.HEADERS, frames.END_HEADERS, id),
                block,
                HEAD.pack(size >> 8, size & 255, frames.DATA, frames.END_STREAM, id),
                data,
            )
            stream.state |= LOCAL
            self._sent()
            return True
        busy, self.busy = self.busy, True
        try:
            self._put_headers(stream.id, block, frames.END_STREAM if end and not data else 0)
            if data:
                more = self.send_data(stream, data, end=end)
            else:
                more = not self.paused
                if end:
                    self._ended(stream)
        finally:
            self.busy = busy
        self._sent()
        return more

    def _is_idle(self, stream_id: int) -> bool:
        """Whether the stream was never opened (RFC 9113 5.1)."""
        if stream_id & 1 == 0:
            return True
        if self.client_side:
            return stream_id >= self._next_id
        return stream_id > self.last_peer_id

    # Control frames.

    def _take_control(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if kind == WINDOW_UPDATE:
            self._take_window_update(stream_id, payload)
        elif kind == RST_STREAM:
            self._take_reset(stream_id, payload)
        elif kind == frames.PING:
            self._take_ping(flags, stream_id, payload)
        elif kind == frames.SETTINGS:
            self._take_settings(flags, stream_id, payload)
        elif kind == frames.GOAWAY:
            self._take_goaway(stream_id, payload)
        elif kind == frames.PUSH_PROMISE:
            raise ProtocolFault(PROTOCOL_ERROR, "PUSH_PROMISE, which nobody allowed")
        elif kind == frames.PRIORITY:
            if stream_id == 0:
                raise ProtocolFault(PROTOCOL_ERROR, "PRIORITY on stream 0")
            if len(payload) != 5:
                raise StreamFault(FRAME_SIZE_ERROR, "PRIORITY of another size")
            self._annoy()
        else:
            # RFC 9113 4.1: frames of unknown types are ignored.
            self._annoy()

    def _take_window_update(self, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ProtocolFault(FRAME_SIZE_ERROR, "WINDOW_UPDATE of another size")
        more = int.from_bytes(payload, "big") & MAX_WINDOW
        self._annoy()
        if stream_id == 0:
            if more == 0:
                raise ProtocolFault(PROTOCOL_ERROR, "WINDOW_UPDATE by 0")
            self.send_window += more
            if self.send_window > MAX_WINDOW:
                raise ProtocolFault(FLOW_CONTROL_ERROR, "the connection's window is too large")
            if self._blocked:
                self._pump_all()
            return
        stream = self.streams.get(stream_id)
        if stream is None:
            if self._is_idle(stream_id):
                raise ProtocolFault(PROTOCOL_ERROR, "WINDOW_UPDATE on an idle stream")
            return
        if more == 0:
            raise StreamFault(PROTOCOL_ERROR, "WINDOW_UPDATE by 0")
        stream.send_window += more
        if stream.send_window > MAX_WINDOW:
            raise StreamFault(FLOW_CONTROL_ERROR, "the stream's window is too large")
        if stream.outbox is not None and not self.paused:
            self._pump(stream)
            # The transport may be full now, and one piece may let many streams go on.
            self._sent()

    def _take_reset(self, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ProtocolFault(FRAME_SIZE_ERROR, "RST_STREAM of another size")
        if stream_id == 0 or self._is_idle(stream_id):
            raise ProtocolFault(PROTOCOL_ERROR, "RST_STREAM on an idle stream")
        stream = self.streams.get(stream_id)
        if stream is None:
            self._annoy()
            return
        code = int.from_bytes(payload, "big")
        self.forget(stream)
        stream.was_reset(code, "the peer reset the stream", code != REFUSED_STREAM)
        if not self.client_side:
            self._count_reset()

    def _take_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ProtocolFault(PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise ProtocolFault(FRAME_SIZE_ERROR, "PING of another size")
        if flags & frames.ACK:
            if self.on_pong is not None:
                self.on_pong(payload)
            else:
                self._annoy()
            return
        self._annoy(TOO_MANY_PINGS)
        self._out.append(frames.frame(frames.PING, frames.ACK, 0, payload))

    def _take_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ProtocolFault(PROTOCOL_ERROR, "SETTINGS on a stream")
        if flags & frames.ACK:
            if payload:
                raise ProtocolFault(FRAME_SIZE_ERROR, "SETTINGS ACK that says something")
            self._annoy()
            self._acknowledged()
            return
        if len(payload) % 6:
            raise ProtocolFault(FRAME_SIZE_ERROR, "SETTINGS of another size")
        if self.settled:
            self._annoy()
        self.settled = True
        for key, value in frames.SETTING.iter_unpack(payload):
            self._apply(key, value)
        self._out.append(frames.frame(frames.SETTINGS, frames.ACK, 0))
        if self._blocked:
            self._pump_all()
        if self.on_settings is not None:
            self.on_settings()

    def _acknowledged(self) -> None:
        """The peer has our settings: only now do windows smaller than HTTP/2's own bind it (RFC 9113 6.9.3)."""
        less = self.initial_window - self.limits.stream_window
        if less > 0:
            self.initial_window -= less
            for stream in self.streams.values():
                stream.recv_window -= less

    def _apply(self, key: int, value: int) -> None:
        if key == frames.INITIAL_WINDOW_SIZE:
            if value > MAX_WINDOW:
                raise ProtocolFault(FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE too large")
            change = value - self.peer_initial_window
            self.peer_initial_window = value
            for stream in self.streams.values():
                stream.send_window += change
                if stream.send_window > MAX_WINDOW:
                    raise ProtocolFault(FLOW_CONTROL_ERROR, "a stream's window is too large")
        elif key == frames.HEADER_TABLE_SIZE:
            if value < TABLE_SIZE and not self._table_gone:
                # Our blocks use no table, but a decoder waits to hear that it has shrunk (RFC 7541 4.2). Once it is
                # said to be empty there is nothing more to say.
                self._table_gone = True
                self._prefix = EMPTY_TABLE
        elif key == frames.MAX_FRAME_SIZE:
            if not 16384 <= value <= 16777215:
                raise ProtocolFault(PROTOCOL_ERROR, "MAX_FRAME_SIZE out of range")
            self.peer_max_frame = value
        elif key == frames.MAX_CONCURRENT_STREAMS:
            self.peer_max_streams = value
        elif key == frames.ENABLE_PUSH and value > (0 if self.client_side else 1):
            raise ProtocolFault(PROTOCOL_ERROR, "ENABLE_PUSH out of range")

    def _take_goaway(self, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ProtocolFault(PROTOCOL_ERROR, "GOAWAY on a stream")
        if len(payload) < 8:
            raise ProtocolFault(FRAME_SIZE_ERROR, "GOAWAY of another size")
        self._annoy()
        last = int.from_bytes(payload[:4], "big") & MAX_STREAM_ID
        if self.goaway_last is not None and last > self.goaway_last:
            raise ProtocolFault(PROTOCOL_ERROR, "GOAWAY with a higher stream id")
        self.goaway_last = last
        code = int.from_bytes(payload[4:8], "big")
        text = payload[8:].decode("utf-8", "replace")
        if self.client_side:
            for stream in [stream for id, stream in self.streams.items() if id > last]:
                self.forget(stream)
                stream.was_reset(REFUSED_STREAM, "the server is going away", False)
        if self.on_goaway is not None:
            self.on_goaway(code, text)
