"""A call with a stream of replies, or of requests, or of both, as the client sees it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from microd.txgrpc import messages
from microd.txgrpc.clientcall import Outbound
from microd.txgrpc.heads import ResponseHead
from microd.txgrpc.metadata import EMPTY, Metadata
from microd.txgrpc.status import RpcError, StatusCode
from microd.txgrpc.stream import LOCAL

if TYPE_CHECKING:
    from microd.txgrpc.call import ServerCall
    from microd.txgrpc.channel import Channel


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
