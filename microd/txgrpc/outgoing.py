"""The sending half of a connection: frames, windows, and who waits for them.

What is sent collects in one list, which the shell takes with C{data_to_send} and writes at once. While the
connection is C{busy} (it is taking in what arrived) nobody is told; the shell takes everything at the end. At
other times C{on_output} is called for each send; and even while busy once much has collected, so that a
writer who never waits meets the transport's back-pressure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from microd.txgrpc.frames import (
    CONTINUATION,
    DATA,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    HEAD,
    HEAD_NUMBER,
    HEAD_PREFIX,
    HEADERS,
    PING,
    PREFIX,
    RST_STREAM,
    frame,
)
from microd.txgrpc.limits import Limits
from microd.txgrpc.stream import CLOSED, LOCAL, REMOTE, Stream

_HEAD = HEAD.pack
_HEAD_PREFIX = HEAD_PREFIX.pack
#: Pieces collected (a call is four to six) after which the shell is told at once, so that the peer need not wait for
#: all of a large batch before it has something to do.
_MANY = 160
#: The same in bytes of large frames, which some peers take: few of them fill the transport.
_MUCH = 1 << 18
#: The longest DATA frame that messages are joined in: what every peer takes.
_JOINED = 16384


class Outgoing:
    """Sends on the streams of one connection within the windows of the peer.

    @ivar streams: the open ones, by id.
    @ivar paused: the transport's buffer is full; set by the shell. Messages are held back until C{resume}.
    @ivar frames_sent: DATA frames, and messages that joined one, since the connection last forgave the peer its noise: some
        peers reopen their window message by message.
    @ivar on_idle: called when the last stream has closed.
    """

    __slots__ = (
        "_blocked",
        "_last",
        "_last_at",
        "_last_end",
        "_last_size",
        "_ours_reset",
        "_out",
        "_prefix",
        "_weight",
        "busy",
        "frames_sent",
        "limits",
        "on_idle",
        "on_output",
        "on_release",
        "paused",
        "peer_initial_window",
        "peer_max_frame",
        "send_window",
        "streams",
    )

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.streams: dict[int, Stream] = {}
        self.send_window = DEFAULT_WINDOW
        self.peer_initial_window = DEFAULT_WINDOW
        self.peer_max_frame = 16384
        self.paused = False
        self.busy = False
        self.frames_sent = 0
        self.on_output: Callable[[], None] | None = None
        self.on_release: Callable[[], None] | None = None
        self.on_idle: Callable[[], None] | None = None
        self._out: list[bytes | memoryview] = []
        self._weight = 0
        self._blocked: dict[Stream, None] = {}
        # Where the last DATA frame that took a message begins and ends in what is to be written.
        self._last: Stream | None = None
        self._last_at = self._last_end = self._last_size = 0
        self._prefix = b""
        self._ours_reset: dict[int, int] = {}

    def data_to_send(self) -> bytes:
        """Everything that is to be written now; it is forgotten here."""
        out = self._out
        if not out:
            return b""
        data = b"".join(out)
        out.clear()
        self._weight = 0
        self._last = None
        return data

    def hold(self, later: Callable[[Callable[[], None]], object]) -> None:
        """Collect what is sent until C{later} calls what it is given, for one write; unless somebody collects already."""
        if not self.busy:
            self.busy = True
            later(self._release)

    def _release(self) -> None:
        self.busy = False
        if self.on_release is not None:
            self.on_release()

    def _sent(self) -> None:
        if self.on_output is not None and (not self.busy or len(self._out) > _MANY or self._weight > _MUCH):
            self.on_output()

    def send_headers(self, stream: Stream, block: bytes, *, end: bool = False) -> None:
        """Send a header block, in as many frames as it needs; C{end} ends our half."""
        self._put_headers(stream.id, block, END_STREAM if end else 0)
        if end:
            self._ended(stream)
        self._sent()

    def _put_headers(self, stream_id: int, block: bytes, flags: int) -> None:
        if self._prefix:
            block = self._prefix + block
            self._prefix = b""
        size, most = len(block), self.peer_max_frame
        if size <= most:
            self._out += (_HEAD(size >> 8, size & 255, HEADERS, flags | END_HEADERS, stream_id), block)
            return
        self._out.append(frame(HEADERS, flags, stream_id, block[:most]))
        for at in range(most, size, most):
            done = END_HEADERS if at + most >= size else 0
            self._out.append(frame(CONTINUATION, done, stream_id, block[at : at + most]))

    def send_message(self, stream: Stream, message: bytes) -> bool:
        """Send one message of many, as L{send_data} does; where the one before is still to be written, both go into
        one DATA frame."""
        size = len(message) + 5
        if (
            stream.outbox is not None
            or size > stream.send_window
            or size > self.send_window
            or size > _JOINED
            or self.paused
        ):
            return self.send_data(stream, PREFIX.pack(0, size - 5) + message)
        stream.send_window -= size
        self.send_window -= size
        self.frames_sent += 1
        out = self._out
        if self._last is stream and self._last_end == len(out) and self._last_size + size <= _JOINED:
            self._last_size = whole = self._last_size + size
            out[self._last_at] = _HEAD(whole >> 8, whole & 255, DATA, 0, stream.id)
        else:
            self._last, self._last_at, self._last_size = stream, len(out), size
            out.append(_HEAD(size >> 8, size & 255, DATA, 0, stream.id))
        out += (PREFIX.pack(0, size - 5), message)
        self._last_end = len(out)
        self._sent()
        if self.paused:
            self._blocked[stream] = None
            return False
        return True

    def send_data(self, stream: Stream, data: bytes, *, end: bool = False) -> bool:
        """Send C{data} (messages with their prefixes), or queue it; C{end} ends our half after it.

        @return: whether more may be sent now. If not, C{stream.writable} will tell when.
        """
        size = len(data)
        if (
            stream.outbox is None
            and size <= stream.send_window
            and size <= self.send_window
            and size <= self.peer_max_frame
            and not self.paused
        ):
            stream.send_window -= size
            self.send_window -= size
            self.frames_sent += 1
            self._out += (_HEAD(size >> 8, size & 255, DATA, 1 if end else 0, stream.id), data)
            self._weight += size
            if end:
                self._ended(stream)
            self._sent()
            if self.paused and not end:
                self._blocked[stream] = None
                return False
            return True
        if stream.outbox is None:
            stream.outbox = deque()
        if data:
            stream.outbox.append(data)
        if end:
            stream.last_block = b""
        self._blocked[stream] = None
        if not self.paused:
            self._pump(stream)
            self._sent()
            if self.paused and stream.outbox is None and not end:
                # All went out, and filled the transport: whoever waits now is to be told when it drains.
                self._blocked[stream] = None
        return stream.outbox is None and not self.paused

    def send_unary(self, stream: Stream, head: bytes, message: bytes, trailers: bytes) -> None:
        """Send a whole answer: headers, one message, trailers (a block of less than 256 bytes)."""
        size = len(message) + 5
        if (
            size > stream.send_window
            or size > self.send_window
            or size > self.peer_max_frame
            or len(head) > self.peer_max_frame
            or self.paused
            or self._prefix
        ):
            self._put_headers(stream.id, head, 0)
            self.send_data(stream, PREFIX.pack(0, size - 5) + message)
            self.send_trailers(stream, trailers)
            return
        id = stream.id
        stream.send_window -= size
        self.send_window -= size
        self.frames_sent += 1
        self._out += (
            _HEAD(len(head) >> 8, len(head) & 255, HEADERS, END_HEADERS, id),
            head,
            _HEAD_PREFIX(size >> 8, size & 255, DATA, 0, id, 0, size - 5),
            message,
            _HEAD(0, len(trailers), HEADERS, END_HEADERS | END_STREAM, id),
            trailers,
        )
        if size > _JOINED:
            self._weight += size
        self._ended(stream)
        self._sent()

    def send_trailers(self, stream: Stream, block: bytes) -> None:
        """End our half with trailers, after what waits."""
        if stream.outbox is None:
            self.send_headers(stream, block, end=True)
        else:
            stream.last_block = block

    def _pump(self, stream: Stream) -> bool:
        """Send what the windows allow, a frame at most for each call; whether anything was."""
        outbox = stream.outbox
        if outbox is None:
            self._drained(stream)
            return False
        moved = False
        if not outbox and stream.last_block == b"":
            self._out.append(frame(DATA, END_STREAM, stream.id))
        while outbox:
            chunk = outbox[0]
            room = min(stream.send_window, self.send_window, self.peer_max_frame)
            if room <= 0:
                return moved
            size = len(chunk)
            if size > room:
                view = memoryview(chunk)
                outbox[0] = view[room:]
                chunk, size = view[:room], room
            else:
                outbox.popleft()
            stream.send_window -= size
            self.send_window -= size
            end = not outbox and stream.last_block == b""
            self._out += (_HEAD(size >> 8, size & 255, DATA, 1 if end else 0, stream.id), chunk)
            self._weight += size
            self.frames_sent += 1
            moved = True
        self._drained(stream)
        return True

    def _drained(self, stream: Stream) -> None:
        stream.outbox = None
        self._blocked.pop(stream, None)
        block = stream.last_block
        if block is None:
            stream.writable()
            return
        stream.last_block = None
        if block:
            self._put_headers(stream.id, block, END_STREAM)
        self._ended(stream)

    def _pump_all(self) -> None:
        """Windows or the transport opened: let everybody who waits send, in turns."""
        for stream in list(self._blocked):
            if self.paused or self.send_window <= 0:
                break
            # Whoever could not send all goes to the end of the line.
            if stream in self._blocked:
                del self._blocked[stream]
                self._blocked[stream] = None
                self._pump(stream)
                # Once much has collected, the transport is to say whether it can take more.
                self._sent()

    def resume(self) -> None:
        """The transport can take more."""
        self.paused = False
        self._pump_all()
        self._sent()

    def _ended(self, stream: Stream) -> None:
        """Our half of the stream is over."""
        stream.state |= LOCAL
        if stream.state == CLOSED:
            self.forget(stream)
        else:
            stream.ended()

    def reset(self, stream: Stream, code: int) -> None:
        """End the stream at once, both ways."""
        if self.streams.get(stream.id) is not stream:
            return
        self._out.append(HEAD_NUMBER.pack(0, 4, RST_STREAM, 0, stream.id, code))
        if not stream.state & REMOTE:
            self._remember_reset(stream.id, stream.recv_window)
        self.forget(stream)
        self._sent()

    def _remember_reset(self, stream_id: int, window: int) -> None:
        """The peer may have sent as much as its window before it learns; a few hundred streams are enough to know."""
        ours = self._ours_reset
        ours[stream_id] = window
        if len(ours) > 512:
            del ours[next(iter(ours))]

    def forget(self, stream: Stream) -> None:
        """The stream is closed."""
        stream.state = CLOSED
        stream.outbox = stream.last_block = None
        if self._blocked:
            self._blocked.pop(stream, None)
        if stream.held:
            self.released(stream)
        streams = self.streams
        if streams.pop(stream.id, None) is not None and not streams and self.on_idle is not None:
            self.on_idle()

    def released(self, stream: Stream) -> None:
        """What the stream held is not held any more."""
        raise NotImplementedError

    def ping(self, payload: bytes) -> None:
        """Send a PING of eight bytes; the answer comes to C{on_pong}."""
        self._out.append(frame(PING, 0, 0, payload))
        self._sent()
