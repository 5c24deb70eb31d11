"""A call of the blocking client."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from microd.txgrpc import messages, requests, verdicts
from microd.txgrpc.frames import CANCEL, NO_ERROR
from microd.txgrpc.heads import ResponseHead
from microd.txgrpc.limits import Limits
from microd.txgrpc.metadata import EMPTY, Metadata
from microd.txgrpc.sockets import Wire
from microd.txgrpc.status import RpcError, StatusCode
from microd.txgrpc.stream import CLOSED, LOCAL, Stream

Serialize = Callable[[Any], bytes] | None
Deserialize = Callable[[bytes], Any] | None

#: How much a writer may leave for the kernel before it waits.
_AHEAD = 1 << 18


class BlockingCall(Stream):
    """A call under way: iterate over it for the replies.

    @ivar compress: whether what is written next is compressed; only in a call that was begun with it.
    """

    __slots__ = (
        "_deserialize",
        "_error",
        "_expires",
        "_head",
        "_inbox",
        "_limits",
        "_over",
        "_requests",
        "_serialize",
        "_trailers",
        "_wire",
        "compress",
    )

    def __init__(self, wire: Wire, limits: Limits, serialize: Serialize, deserialize: Deserialize) -> None:
        super().__init__(wire.connection)
        self._wire = wire
        self._limits = limits
        self._serialize = serialize
        self._deserialize = deserialize
        self._inbox: deque[bytes] = deque()
        self._error: RpcError | None = None
        self._expires: float | None = None
        self._head: ResponseHead | None = None
        self._over = False
        self._requests: Iterator[Any] | None = None
        self._trailers: ResponseHead | None = None
        self.compress = False

    # What the connection tells.

    def head_received(self, head: ResponseHead) -> None:
        self._head = head
        error = verdicts.of_head(head)
        if error is not None:
            self._end(error)

    def message_received(self, message: bytes, last: bool) -> None:
        if not self._over:
            if last:
                self.unread += len(message)
            self._inbox.append(message)
            if last:
                self.half_closed()

    def half_closed(self) -> None:
        self._end(RpcError(StatusCode.INTERNAL, "the server ended the call without trailers"))

    def trailers_received(self, head: ResponseHead) -> None:
        if self.partial is not None:
            self._end(RpcError(StatusCode.INTERNAL, "the answer ended within a message"))
            return
        if self.state != CLOSED:
            # The server wants no more of our requests.
            self.connection.reset(self, NO_ERROR)
        self._trailers = head
        self._error = verdicts.of_trailers(head, self._head)
        self._over = True

    def message_refused(self, code: int, text: str) -> None:
        self._end(RpcError(code, text))

    def was_reset(self, error: int, text: str, delivered: bool) -> None:
        if not self._over:
            self._error = verdicts.of_reset(error, text, delivered, self.connection.lost)
            self._over = True

    def _end(self, error: RpcError) -> None:
        """End with our own verdict, and tell the server that nobody listens."""
        if not self._over:
            self._error = error
            self._over = True
            self.connection.reset(self, NO_ERROR if self.state & 2 else CANCEL)

    # Beginning and waiting.

    def begin(self, block: bytes, first: bytes, whole: bool, expires: float | None) -> None:
        """Open the stream."""
        self._expires = expires
        if expires is not None:
            left = expires - time.monotonic()
            if left <= 0:
                self._over = True
                self._error = too_late(delivered=False)
                return
            block += requests.timeout(left)
        self.connection.open(self, block, first, end=whole)
        self._wire.push()

    def feed(self, given: Iterable[Any]) -> None:
        """Take the requests from C{given}: one is asked for whenever a reply is waited for and there is none."""
        self._requests = iter(given)

    def wait(self) -> None:
        """Wait for anything to happen to this call, but not past its deadline."""
        if self._expires is not None and time.monotonic() >= self._expires:
            self._end(too_late(delivered=None))
            self._wire.push()
        else:
            self._wire.exchange(self._expires)

    def finish(self) -> None:
        """Wait until the call is over, sending what requests there are.

        @raise RpcError: it did not end with OK.
        """
        while not self._over:
            self._advance()
        if self._error is not None:
            raise self._error

    def _advance(self) -> None:
        """Send the next of the requests given, if there is one and room for it; else wait for something to happen."""
        given = self._requests
        if given is None or self._clogged():
            self.wait()
            return
        try:
            request = next(given)
        except StopIteration:
            self._requests = None
            self.done_writing()
        except BaseException:
            self.cancel()
            raise
        else:
            if not self._over:
                self._put(request)

    # Reading.

    @property
    def ready(self) -> int:
        """How many replies can be read without waiting."""
        return len(self._inbox)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        """The next reply; waits for it.

        @raise RpcError: the call ended, and not with OK.
        """
        while not self._inbox:
            if self._over:
                if self._error is not None:
                    raise self._error
                raise StopIteration
            self._advance()
        message = self._inbox.popleft()
        if self._over:
            self.unread -= len(message)
        else:
            self.consumed(len(message))
        if self._deserialize is None:
            return message
        try:
            return self._deserialize(message)
        except Exception as error:
            self.cancel()
            raise RpcError(StatusCode.INTERNAL, f"the reply cannot be read: {error}") from error

    def initial_metadata(self) -> Metadata:
        """What the server sent before its first reply."""
        while self._head is None and not self._over:
            self._advance()
        if self._head is None and self._error is not None and not self._error.answered:
            raise self._error
        return EMPTY if self._head is None else self._head.metadata

    def trailing_metadata(self) -> Metadata:
        """What the server sent with the status, once the call is over; replies are kept until they are read.

        @raise RpcError: the call did not end with OK.
        """
        self.finish()
        return EMPTY if self._trailers is None else self._trailers.metadata

    # Writing.

    def write(self, message: Any) -> None:
        """Send one more request, waiting while the server does not keep up.

        @raise RpcError: the call is over; why.
        """
        if self._over:
            raise self._error or RpcError(StatusCode.CANCELLED, "the server has ended the call")
        self._put(message)
        while not self._over and self._clogged():
            self.wait()

    def _put(self, message: Any) -> None:
        self.connection.send_data(self, framed(message, self._serialize, self._limits, self.compress))
        self._wire.push()

    def _clogged(self) -> bool:
        """Whether more would only pile up here."""
        return self.outbox is not None or self._wire.backlog > _AHEAD

    def done_writing(self) -> None:
        """There are no more requests."""
        if not self._over and not self.state & LOCAL and self.last_block is None:
            self.connection.send_data(self, b"", end=True)
            self._wire.push()

    # Ending.

    def cancel(self) -> None:
        """Have no more interest in the call."""
        if not self._over:
            self._end(RpcError(StatusCode.CANCELLED, "the call was cancelled"))
            self._inbox.clear()
            self._wire.push()

    def __enter__(self) -> BlockingCall:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.cancel()


def too_late(*, delivered: bool | None) -> RpcError:
    """There is no time left."""
    return RpcError(StatusCode.DEADLINE_EXCEEDED, "the deadline has passed", delivered=delivered)


def framed(message: Any, serialize: Serialize, limits: Limits, compress: bool) -> bytes:
    """A message as it travels.

    @raise RpcError: it is larger than the limit.
    """
    data = message if serialize is None else serialize(message)
    if len(data) > limits.max_message:
        bad = messages.too_large(len(data), limits.max_message)
        raise RpcError(bad.code, bad.text, delivered=False)
    return messages.frame_compressed(data) if compress else messages.frame_message(data)
