"""A call as the client sees it.

::

    queued ──connection──▶ open ──trailers──▶ over (OK, or the peer's status)
      │ refused, closed       │ reset, connection lost, deadline, cancelled, too large ──▶ over (our status)
      └──▶ over (undelivered)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from microd.txgrpc import messages, verdicts
from microd.txgrpc.frames import CANCEL, NO_ERROR
from microd.txgrpc.heads import ResponseHead
from microd.txgrpc.metadata import EMPTY, Metadata
from microd.txgrpc.status import RpcError, StatusCode
from microd.txgrpc.stream import CLOSED, LOCAL, Stream

if TYPE_CHECKING:
    from microd.txgrpc.call import ServerCall
    from microd.txgrpc.channel import Channel


class Outbound(Stream):
    """What unary and streaming calls have in common.

    @ivar block: the request's headers, but for the timeout.
    @ivar first: the messages known when the call is made; C{whole}: there are no others.
    @ivar expires: the deadline in the clock's seconds; only where there is one.
    """

    __slots__ = (
        "block",
        "channel",
        "deserialize",
        "expires",
        "first",
        "head",
        "is_open",
        "over",
        "timed",
        "wait_for_ready",
        "whole",
    )

    expires: float
    head: ResponseHead | None
    timed: set[Any] | None

    def __init__(
        self,
        channel: Channel,
        block: bytes,
        first: bytes,
        whole: bool,
        deserialize: Callable[[bytes], Any] | None,
    ) -> None:
        super().__init__(None)
        self.channel = channel
        self.block = block
        self.first = first
        self.whole = whole
        self.deserialize = deserialize
        self.head = self.timed = None
        self.over = self.is_open = self.wait_for_ready = False

    # What the channel tells.

    def failed(self, error: RpcError) -> None:
        """The call is over and did not go well."""
        raise NotImplementedError

    def went_well(self, head: ResponseHead) -> None:
        """The call is over with OK."""
        raise NotImplementedError

    def has_opened(self) -> None:
        """The request is on its way."""

    # What the connection tells.

    def head_received(self, head: ResponseHead) -> None:
        self.head = head
        if not head.sound:
            error = verdicts.of_head(head)
            if error is not None:
                self._end(error)

    def trailers_received(self, head: ResponseHead) -> None:
        if self.partial is not None:
            self._end(RpcError(StatusCode.INTERNAL, "the answer ended within a message"))
            return
        if self.state != CLOSED:
            # The server wants no more of our requests.
            self.connection.reset(self, NO_ERROR)
        error = None if head.grpc_status == 0 else verdicts.of_trailers(head, self.head)
        if error is None:
            self._over()
            self.went_well(head)
        else:
            self._end(error)

    def half_closed(self) -> None:
        self._end(RpcError(StatusCode.INTERNAL, "the server ended the call without trailers"))

    def message_refused(self, code: int, text: str) -> None:
        self._end(RpcError(code, text))

    def was_reset(self, error: int, text: str, delivered: bool) -> None:
        self._end(verdicts.of_reset(error, text, delivered, self.connection.lost), gone=True)

    def failed_to_open(self, why: str) -> None:
        """The server could not be reached."""
        self._end(RpcError(StatusCode.UNAVAILABLE, why, delivered=False))

    def expired(self) -> None:
        """The deadline has passed."""
        delivered = None if self.is_open else False
        self._end(RpcError(StatusCode.DEADLINE_EXCEEDED, "the deadline has passed", delivered=delivered))

    def ended(self) -> None:
        # Our half is over and the answer is still to come: the usual state of a call.
        pass

    # Ending.

    def _over(self) -> None:
        self.over = True
        channel = self.channel
        if self.timed is not None:
            self.timed.discard(self)
            self.timed = None
        channel.done(self)

    def _end(self, error: RpcError, *, gone: bool = False) -> None:
        """End with our own verdict; unless the stream is C{gone}, the server is told that nobody listens."""
        if self.over:
            return
        self.abandon(gone=gone)
        self.failed(error)

    def abandon(self, *, gone: bool = False) -> None:
        """Be over without telling anybody here."""
        if self.over:
            return
        if self.is_open and not gone and self.state != 3:
            answered = self.state & 2 != 0
            self.connection.reset(self, NO_ERROR if answered else CANCEL)
        self._over()

    def read(self, message: bytes) -> Any:
        """The reply in C{message}.

        @raise RpcError: it is not one.
        """
        if self.deserialize is None:
            return message
        try:
            return self.deserialize(message)
        except Exception as error:
            raise RpcError(StatusCode.INTERNAL, f"the reply cannot be read: {error}") from error


class UnaryCall(Outbound):
    """A call with one reply, which fires C{reply}."""

    __slots__ = ("_message", "reply")

    greedy = True

    _message: bytes | None

    def __init__(
        self,
        channel: Channel,
        block: bytes,
        first: bytes,
        whole: bool,
        deserialize: Callable[[bytes], Any] | None,
    ) -> None:
        # What the constructors above would do, in one go: they take a tenth of a call's time.
        self.id = self.state = self.unread = self.held = self.debt = self.credit = self.need = 0
        self.outbox = self.last_block = self.partial = self.encoding = self.head = None
        self._message = self.timed = None
        self.headed = self.over = self.is_open = self.wait_for_ready = False
        self.expected = -1
        self.channel = channel
        self.block = block
        self.first = first
        self.whole = whole
        self.deserialize = deserialize
        self.reply: Deferred[Any] = Deferred(self._cancelled)

    def _cancelled(self, _: Deferred[Any]) -> None:
        del self.reply
        self.abandon()

    def message_received(self, message: bytes, last: bool) -> None:
        if self._message is not None:
            self._end(RpcError(StatusCode.INTERNAL, "the method gives one reply, and there were more"))
            return
        self._message = message
        if last:
            self.half_closed()
        elif self.unread:
            self.consumed(len(message))

    def went_well(self, head: ResponseHead) -> None:
        reply, message = self.reply, self._message
        # The Deferred knows how to cancel us: if we kept it, both would wait for the garbage collector.
        del self.reply
        if message is None:
            reply.errback(RpcError(StatusCode.INTERNAL, "the server said OK and gave no reply"))
            return
        try:
            result = self.read(message)
        except RpcError as error:
            reply.errback(error)
        else:
            reply.callback(result)

    def failed(self, error: RpcError) -> None:
        reply = self.reply
        del self.reply
        reply.errback(error)


class ClientCall(Outbound):
    """A call with a stream of replies: iterate over it with C{async for}.

    Used as an asynchronous context manager it is cancelled where the block is left early.
    """

    __slots__ = ("_error", "_feeding", "_inbox", "_outer", "_trailers", "_waiting", "compress", "serialize")

    def __init__(
        self,
        channel: Channel,
        block: bytes,
        first: bytes,
        whole: bool,
        deserialize: Callable[[bytes], Any] | None,
        serialize: Callable[[Any], bytes] | None = None,
        compress: bool = False,
        outer: ServerCall | None = None,
    ) -> None:
        super().__init__(channel, block, first, whole, deserialize)
        self.serialize = serialize
        self.compress = compress
        self._inbox: deque[bytes] = deque()
        self._waiting: list[Deferred[None]] = []
        self._error: BaseException | None = None
        self._trailers: ResponseHead | None = None
        self._outer = outer
        self._feeding: Deferred[None] | None = None

    # Reading.

    def __aiter__(self) -> ClientCall:
        return self

    async def __anext__(self) -> Any:
        """The next reply."""
        while True:
            if self._inbox:
                message = self._inbox.popleft()
                if not self.over:
                    self.consumed(len(message))
                try:
                    return self.read(message)
                except RpcError:
                    self.cancel()
                    raise
            if self.over:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            await self._changed()

    async def initial_metadata(self) -> Metadata:
        """What the server sent before its first reply."""
        while self.head is None and not self.over:
            await self._changed()
        if self.head is None and self._error is not None and not getattr(self._error, "answered", False):
            raise self._error
        return EMPTY if self.head is None else self.head.metadata

    async def trailing_metadata(self) -> Metadata:
        """What the server sent with the status, once the call is over; all replies are kept until they are read.

        @raise RpcError: the call did not end with OK.
        """
        while not self.over:
            await self._changed()
        if self._error is not None:
            raise self._error
        return EMPTY if self._trailers is None else self._trailers.metadata

    # Writing.

    async def write(self, message: Any) -> None:
        """Send one more request, waiting while the server does not keep up.

        @raise RpcError: the call is over; why.
        """
        data = message if self.serialize is None else self.serialize(message)
        most = self.channel.limits.max_message
        if len(data) > most:
            bad = messages.too_large(len(data), most)
            raise RpcError(bad.code, bad.text)
        while not self.is_open or self.outbox is not None:
            self._check_writable()
            await self._changed()
        self._check_writable()
        connection = self.connection
        if not (
            connection.send_data(self, messages.frame_compressed(data))
            if self.compress
            else connection.send_message(self, data)
        ):
            while not self.over and (self.outbox is not None or self.connection.paused):
                await self._changed()

    async def done_writing(self) -> None:
        """There are no more requests."""
        while not self.is_open and not self.over:
            await self._changed()
        if not self.over and not self.state & LOCAL and self.last_block is None:
            self.connection.send_data(self, b"", end=True)

    def feed(self, writing: Coroutine[Any, Any, None]) -> None:
        """Have C{writing} write the requests; it is cancelled when the call is over."""
        self._feeding = Deferred.fromCoroutine(writing)
        self._feeding.addErrback(self._cannot_feed)

    def _cannot_feed(self, failure: Failure) -> None:
        self._feeding = None
        if not self.over:
            self.abandon()
            self._error = failure.value
            self._settled()

    def _check_writable(self) -> None:
        if self.over:
            raise self._error or RpcError(StatusCode.CANCELLED, "the server has ended the call")

    # Ending.

    def cancel(self) -> None:
        """Have no more interest in the call; whoever waits for it gets C{CancelledError}."""
        if not self.over:
            self.abandon()
            self._error = CancelledError()
            self._inbox.clear()
            self._settled()

    async def __aenter__(self) -> ClientCall:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cancel()

    # What the channel and the connection tell.

    def has_opened(self) -> None:
        self._wake()

    def head_received(self, head: ResponseHead) -> None:
        super().head_received(head)
        self._wake()

    def message_received(self, message: bytes, last: bool) -> None:
        if last:
            self.unread += len(message) + 5
        self._inbox.append(message)
        if last:
            self.half_closed()
        elif self._waiting and len(self._inbox) == 1:
            # Wake the reader once for all that has arrived.
            self.connection.afterwards.append(self._wake)

    def writable(self) -> None:
        self._wake()

    def went_well(self, head: ResponseHead) -> None:
        self._trailers = head
        self._settled()

    def failed(self, error: RpcError) -> None:
        self._error = error
        self._settled()

    def _settled(self) -> None:
        if self._outer is not None:
            self._outer.disown(self)
            self._outer = None
        feeding, self._feeding = self._feeding, None
        if feeding is not None:
            feeding.cancel()
        self._wake()

    def _changed(self) -> Deferred[None]:
        """Fires when something has happened; whoever is cancelled while waiting cancels the call."""
        changed: Deferred[None] = Deferred(self._abandoned)
        self._waiting.append(changed)
        return changed

    def _abandoned(self, changed: Deferred[None]) -> None:
        self._waiting.remove(changed)
        self.cancel()

    def _wake(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for changed in waiting:
                changed.callback(None)
