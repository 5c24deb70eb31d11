"""A call as the client sees it.

::

    queued ──connection──▶ open ──trailers──▶ over (OK, or the peer's status)
      │ refused, closed       │ reset, connection lost, deadline, cancelled, too large ──▶ over (our status)
      └──▶ over (undelivered)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from microd.txgrpc import verdicts
from microd.txgrpc.frames import CANCEL, NO_ERROR
from microd.txgrpc.heads import ResponseHead
from microd.txgrpc.status import RpcError, StatusCode
from microd.txgrpc.stream import CLOSED, Stream

if TYPE_CHECKING:
    from microd.txgrpc.channel import Channel


class Outbound(Stream):
    """What unary and streaming calls have in common.

    @ivar block: the request's headers, but for the timeout and the C{tail}.
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
        self.tail = b""
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
