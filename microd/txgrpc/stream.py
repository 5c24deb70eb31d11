"""One call's half of the connection's state, and what the connection tells it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from microd.txgrpc.connection import Http2Connection

#: Bits of L{Stream.state}: who has ended his half. Both: the stream is closed.
LOCAL, REMOTE, CLOSED = 1, 2, 3


class Stream:
    """One HTTP/2 stream that carries a gRPC call; shells derive their calls from it.

    The connection calls the methods below as things arrive; none of them may raise. They may call the connection
    back at once (answer, reset), as it is always in a consistent state when it calls.

    @ivar state: bits of C{LOCAL} and C{REMOTE}.
    @ivar send_window: how much the peer lets us send.
    @ivar recv_window: how much we still let the peer send.
    @ivar outbox: what waits for a window, in order; None when nothing does.
    @ivar last_block: trailers (a header block) which wait behind the outbox.
    @ivar partial: an incomplete message; C{need} is how long it must be before it is worth a look.
    @ivar unread: bytes of messages delivered and not yet C{consumed}, with their prefixes.
    @ivar held: bytes received and not yet consumed, whole or in part.
    @ivar debt: bytes received for which the sender's window was not reopened.
    @ivar credit: bytes by which it will be, once they are worth a frame.
    @ivar expected: what is left of C{content-length}; negative when unknown.
    @ivar headed: the headers of the response have come (client).
    @cvar greedy: it takes each message as it comes, so that there is nothing unread; one that comes whole is then not
        accounted for, and need not be C{consumed} while C{unread} is 0.
    @cvar opaque: it takes compressed messages as they are, marked as L{microd.txgrpc.messages.Packed}.
    @ivar tail: the ids of the call's trace, as L{microd.txgrpc.tail} has them; C{b""} where it has none, or they are among the
        other headers.
    @ivar encoding: how messages marked as compressed are compressed; None: they must not be.
    """

    __slots__ = (
        "connection",
        "credit",
        "debt",
        "encoding",
        "expected",
        "headed",
        "held",
        "id",
        "last_block",
        "need",
        "outbox",
        "partial",
        "recv_window",
        "send_window",
        "state",
        "tail",
        "unread",
    )

    greedy = False
    opaque = False

    outbox: deque[bytes | memoryview] | None
    last_block: bytes | None
    partial: bytearray | None
    encoding: str | None
    tail: bytes

    connection: Http2Connection
    send_window: int
    recv_window: int

    def __init__(self, connection: Http2Connection | None) -> None:
        self.id = 0
        self.state = 0
        if connection is not None:
            self.join(connection)
        self.outbox = self.last_block = self.partial = self.encoding = None
        self.unread = self.held = self.debt = self.credit = self.need = 0
        self.expected = -1
        self.headed = False
        self.tail = b""

    def join(self, connection: Http2Connection) -> None:
        """Belong to C{connection}, for a stream made before it was known which."""
        self.connection = connection
        self.send_window = connection.peer_initial_window
        self.recv_window = connection.initial_window

    def consumed(self, size: int) -> None:
        """The reader took a message of C{size} bytes: let the sender send more."""
        self.unread -= size + 5
        self.connection.reopen(self, size + 5)

    # What the connection tells.

    def opened(self) -> None:
        """The headers of a request have come (server)."""

    def head_received(self, head: Any) -> None:
        """The initial headers of the response have come (client)."""

    def message_received(self, message: bytes, last: bool) -> None:
        """A message has come, uncompressed.

        @param last: the peer ended its half with it: C{half_closed} is not called, and there is nothing left to be
            told with C{consumed}. False does not mean that more will come.
        """

    def half_closed(self) -> None:
        """The peer ended its half, with no message and no trailers that matter."""

    def trailers_received(self, head: Any) -> None:
        """The response ended with trailers (client)."""

    def message_refused(self, code: int, text: str) -> None:
        """A message was too large, or not a message; the rest of the peer's half is thrown away."""

    def was_reset(self, error: int, text: str, delivered: bool) -> None:
        """The stream is gone: the peer reset it, broke the protocol, or the connection ended.

        @param error: the HTTP/2 error code.
        @param delivered: False when the peer surely did not process it.
        """

    def writable(self) -> None:
        """All that waited for a window has been sent."""

    def ended(self) -> None:
        """Our half is over, and the peer's is not."""
