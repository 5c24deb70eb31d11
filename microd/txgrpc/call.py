"""A call as its handler sees it, and how it runs.

::

    headers ─▶ waiting ──message──▶ running ──returned──▶ answered
                  │                    │ raised, deadline, too large ──▶ failed (trailers)
                  └──── reset, connection lost ──▶ cancelled (nothing is sent)

A unary call that finishes in its handler's first step goes through here in one sweep, with no Deferred, no
timer and no write of its own; everything else is built when it is first needed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextvars import ContextVar, copy_context
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from microd.txgrpc import messages, replies, tail
from microd.txgrpc.driver import Running
from microd.txgrpc.frames import NO_ERROR
from microd.txgrpc.heads import RequestHead
from microd.txgrpc.metadata import EMPTY, Metadata
from microd.txgrpc.method import Method
from microd.txgrpc.status import MetadataLike, RpcError, StatusCode
from microd.txgrpc.stream import Stream

if TYPE_CHECKING:
    from microd.txgrpc.protocol import ServerProtocol

#: The call whose handler is running; a client call made meanwhile inherits its deadline.
CURRENT: ContextVar[ServerCall | None] = ContextVar("microd.txgrpc.call", default=None)

_log = Logger()


class ServerCall(Stream):
    """One call, on the server. Handlers that take a stream of requests may read them from the call itself.

    @ivar compress: None: replies are not compressed; True or False, which may change between messages: they are, or
        not, where the client takes gzip. Set it before the first reply.
    @ivar was_compressed: whether the request, of several the one last read, came compressed.
    @ivar began: when the call came, in the clock's seconds.
    @ivar notes: whatever its handler wants to remember with it.
    @ivar expires: the deadline in the clock's seconds; only where there is one.
    @ivar head: the request's headers, the same for all calls of the connection that came with the same ones; where there is a
        C{tail}, it is not among them.
    """

    __slots__ = (
        "_armed",
        "_begun",
        "_children",
        "_done",
        "_headers_sent",
        "_inbox",
        "_initial",
        "_lingers",
        "_metadata",
        "_method",
        "_protocol",
        "_reader",
        "_request",
        "_running",
        "_trailing",
        "_writer",
        "began",
        "compress",
        "expires",
        "head",
        "notes",
        "was_compressed",
    )

    began: float
    expires: float
    compress: bool | None
    was_compressed: bool
    _armed: set[Any] | None
    _request: bytes | None
    _running: Running | None
    _inbox: deque[bytes] | None
    _reader: Deferred[None] | None
    _writer: Deferred[None] | None
    _children: set[Any] | None
    _initial: Metadata
    _trailing: Metadata

    def __init__(self, protocol: ServerProtocol, head: RequestHead, method: Method) -> None:
        # L{Stream}'s own constructor in one go with ours: calls of constructors would be a tenth of a call's time.
        self.connection = connection = protocol.connection
        self.send_window = connection.peer_initial_window
        self.recv_window = connection.initial_window
        self.state = self.unread = self.held = self.debt = self.credit = self.need = 0
        self.expected = -1
        self._protocol = protocol
        self.head = head
        self._method = method
        self.outbox = self.last_block = self.partial = self._armed = self._request = self._running = None
        self.notes: Any = None
        self._metadata: Metadata | None = None
        self._inbox = self._reader = self._writer = self._children = self.compress = None
        self.headed = self.was_compressed = self._begun = self._done = self._headers_sent = self._lingers = (
            False
        )
        self._initial = self._trailing = EMPTY
        self.tail = b""

    # What the handler sees.

    @property
    def path(self) -> str:
        """C{/package.Service/Method}, as the client sent it."""
        return self.head.path

    @property
    def metadata(self) -> Metadata:
        """What the client sent beside its messages."""
        if not self.tail:
            return self.head.metadata
        made = self._metadata
        if made is None:
            made = self._metadata = self.head.metadata.with_more(tail.pairs_of(self.tail))
        return made

    @property
    def authority(self) -> str:
        """The host which the client meant to call."""
        return self.head.authority

    @property
    def content_type(self) -> str:
        """As the client sent it, such as C{application/grpc+proto}; the answer has the same."""
        return self.head.content_type

    @property
    def peer(self) -> str:
        """C{host:port} of the client, or C{unix}."""
        return self._protocol.peer

    @property
    def deadline(self) -> float | None:
        """When the call must be over, in the clock's seconds; None without a limit."""
        return None if self.head.timeout is None else self.expires

    @property
    def cancelled(self) -> bool:
        """Nobody waits for the answer any more."""
        return self._done

    def time_remaining(self) -> float | None:
        """Seconds until the deadline, never negative; None without a limit."""
        if self.head.timeout is None:
            return None
        return max(0.0, self.expires - self._protocol.clock.seconds())

    @property
    def trailing_metadata(self) -> Metadata:
        """What goes with the status; to be set."""
        return self._trailing

    @trailing_metadata.setter
    def trailing_metadata(self, metadata: MetadataLike) -> None:
        self._trailing = Metadata.of(metadata)

    def send_initial_metadata(self, metadata: MetadataLike = ()) -> None:
        """Send the headers of the answer now, rather than with the first reply."""
        if self._headers_sent:
            raise RuntimeError("the initial metadata has been sent")
        self._initial = Metadata.of(metadata)
        if not self._done:
            try:
                self._send_head()
            except ValueError:
                self._initial = EMPTY
                raise

    @property
    def on_connection_lost(self) -> Callable[[Callable[[], None]], Callable[[], None]]:
        """Has what it is given called when the client's connection is gone, be it long after this call.

        It returns a function that withdraws this.
        """
        return self._protocol.on_lost

    def __aiter__(self) -> ServerCall:
        return self

    async def __anext__(self) -> Any:
        """The next request."""
        while True:
            inbox = self._inbox
            if inbox:
                message = inbox.popleft()
                self.consumed(len(message))
                self.was_compressed = type(message) is messages.Unpacked
                return self._read(message)
            if self._done:
                raise CancelledError
            if self.state & 2:
                raise StopAsyncIteration
            reader: Deferred[None] = Deferred()
            self._reader = reader
            await reader

    async def write(self, reply: Any) -> None:
        """Send one more reply, waiting while the client does not keep up; for handlers that do not yield them."""
        if not self._write(reply):
            await self._drained()

    def use(self, method: Method) -> None:
        """Be served by C{method}."""
        self._method = method

    def adopt(self, child: Any) -> None:
        """Cancel C{child}, a streaming call which the handler makes, when this call is over."""
        if self._children is None:
            self._children = set()
        self._children.add(child)

    def disown(self, child: Any) -> None:
        """C{child} is over."""
        if self._children is not None:
            self._children.discard(child)

    # What the connection tells.

    def opened(self) -> None:
        protocol = self._protocol
        self.began = protocol.arrived
        timeout = self.head.timeout
        if timeout is not None:
            self.expires = protocol.arrived + timeout
            protocol.fresh.append(self)
        if self._method.streams_in:
            self._inbox = deque()
            self._begin()

    def message_received(self, message: bytes, last: bool) -> None:
        if self._done:
            return
        if self._inbox is not None:
            if last:
                self.unread += len(message) + 5
            self._inbox.append(message)
            if self._reader is not None and len(self._inbox) == 1:
                # Wake the handler once for all that has arrived.
                self.connection.afterwards.append(self._wake)
        elif self._request is not None:
            self._fail(StatusCode.UNIMPLEMENTED, "this method takes one request, and there were more")
        else:
            self._request = message
            if last:
                self._begin()
            else:
                # The end is probably in the same piece; if not, the answer does not wait for it.
                self._protocol.fresh.append(self)

    def half_closed(self) -> None:
        if self._inbox is not None:
            self._wake()
        elif not self._begun and not self._done:
            self._begin()

    def settle(self) -> None:
        """All that came with the headers has been taken in: begin, if that is still to be done, and arm the deadline."""
        if self._request is not None and not self._begun and not self._done:
            self._begin()
        if not self._done and self._armed is None and self.head.timeout is not None:
            self._armed = self._protocol.deadlines.add(self)

    def message_refused(self, code: int, text: str) -> None:
        self._fail(StatusCode(code), text)

    def was_reset(self, error: int, text: str, delivered: bool) -> None:
        if not self._done:
            self._over(1, text)
        self._finish()

    def writable(self) -> None:
        writer = self._writer
        if writer is not None:
            self._writer = None
            writer.callback(None)

    def ended(self) -> None:
        # Our answer is complete and the client still sends: tell it that nobody listens (RFC 9113 8.1).
        self.connection.reset(self, NO_ERROR)

    def dismiss(self) -> None:
        """The server wants to go: do not wait for a call that has no end of its own."""
        if self._method.endless:
            self._fail(StatusCode.UNAVAILABLE, "the server is going away")

    def refuse(self, error: RpcError) -> None:
        """End it with C{error}, whatever its handler still does; nothing happens if it is over."""
        self._fail(error.code, error.message, error.details)

    def expired(self) -> None:
        """The deadline has passed."""
        self._fail(StatusCode.DEADLINE_EXCEEDED, "the deadline has passed")

    @property
    def awaits_request(self) -> bool:
        """Whether the one request, without which nothing can begin, has not come."""
        return not self._begun and not self._done and self._inbox is None

    def starved(self) -> None:
        """The one request has stood still for too long."""
        self._fail(StatusCode.DEADLINE_EXCEEDED, "the request did not come")

    # Running.

    def _begin(self) -> None:
        self._begun = True
        head, method = self.head, self._method
        if head.timeout is not None and head.timeout <= 0:
            self._fail(StatusCode.DEADLINE_EXCEEDED, "the deadline had passed before the call came")
            return
        try:
            if self._inbox is not None:
                request: Any = self
            else:
                if self._request is None:
                    self._fail(StatusCode.UNIMPLEMENTED, "this method takes one request, and there was none")
                    return
                self.was_compressed = type(self._request) is messages.Unpacked
                request = self._read(self._request)
            coroutine = method.handler(request, self)
            if method.plain and type(coroutine) is not CoroutineType:
                running = False
            else:
                if method.streams_out:
                    coroutine = self._stream(coroutine)
                context = copy_context()
                context.run(CURRENT.set, self)
                waiting = context.run(coroutine.send, None)
                running = True
        except StopIteration as stop:
            self._reply(stop.value)
            return
        except BaseException as error:  # noqa: BLE001 - whatever a handler raises is that call's answer
            self._raised(error)
            return
        if not running:
            self._reply(coroutine)
        else:
            self._running = Running(coroutine, context, waiting, self._returned)
            if self._done:
                # It was cancelled in its own first step.
                self._cancel()

    def _read(self, message: bytes) -> Any:
        deserialize = self._method.deserialize
        if deserialize is None:
            return message
        try:
            return deserialize(message)
        except RpcError:
            raise
        except Exception as error:
            raise RpcError(
                StatusCode.INTERNAL, f"grpc: failed to unmarshal the received message: {error}"
            ) from error

    def _returned(self, value: Any, error: BaseException | None) -> None:
        """The handler is over, after having waited; others mostly are too, for the same reason, and share a write."""
        self._running = None
        self._protocol.collect()
        if self._done:
            self._lingered(error)
        elif error is None:
            self._reply(value)
        else:
            self._raised(error)

    def _lingered(self, error: BaseException | None) -> None:
        """The handler of a call that was over before it has ended too."""
        if self._lingers:
            self._lingers = False
            self.connection.lingering -= 1
        if error is not None and not isinstance(error, CancelledError | RpcError | GeneratorExit):
            _log.failure("{path} failed after its call had ended", Failure(error), path=self.path)

    async def _stream(self, replies: AsyncGenerator[Any, None]) -> None:
        try:
            async for reply in replies:
                is_sent = self._write(reply)
                # A large one is in memory once: where it waits to be sent.
                del reply
                if not is_sent:
                    await self._drained()
        except GeneratorExit:
            # Forgotten by everybody; there is no way to wait now.
            raise
        except BaseException:
            await replies.aclose()
            raise

    async def _drained(self) -> None:
        """Wait until the client has taken what was sent."""
        if self._done:
            raise CancelledError
        writer: Deferred[None] = Deferred()
        self._writer = writer
        await writer

    def _wake(self) -> None:
        reader = self._reader
        if reader is not None:
            self._reader = None
            reader.callback(None)

    # Answering.

    def _reply(self, value: Any) -> None:
        """The handler has returned."""
        if self._done:
            return
        method = self._method
        trailers = replies.TRAILERS_OK
        if self._trailing is not EMPTY:
            try:
                trailers = replies.trailers(self._trailing)
            except ValueError as error:
                self._raised(error)
                return
        if method.streams_out:
            if not self._headers_sent:
                self._send_head()
            self._done = True
            self.connection.send_trailers(self, trailers)
            if method.ended is not None:
                method.ended(self, 0, "")
            self._finish()
            return
        try:
            message = value if method.serialize is None else method.serialize(value)
            size = len(message)
        except Exception as error:  # noqa: BLE001 - a reply that cannot be sent is the handler's defect
            self._raised(error)
            return
        if size > self.connection.limits.max_message:
            self._too_large(size)
            return
        if self._headers_sent or self.compress is not None or self._trailing is not EMPTY:
            self._write_bytes(message)
            self._done = True
            self.connection.send_trailers(self, trailers)
        else:
            self._done = True
            head = self.head
            self.connection.send_unary(self, head.reply_block or replies.head_block(head), message, trailers)
        if method.ended is not None:
            method.ended(self, 0, "")
        if self._armed is not None or self._children:
            self._finish()

    def _write(self, reply: Any) -> bool:
        """Send one reply of a stream; whether more may follow at once."""
        serialize = self._method.serialize
        message = reply if serialize is None else serialize(reply)
        size = len(message)
        if size > self.connection.limits.max_message:
            self._too_large(size)
        if self._done:
            raise CancelledError
        return self._write_bytes(message)

    def _write_bytes(self, message: bytes) -> bool:
        if not self._headers_sent:
            self._send_head()
        if self.compress and self.head.accepts_gzip:
            return self.connection.send_data(self, messages.frame_compressed(message))
        return self.connection.send_message(self, message)

    def _send_head(self) -> None:
        head = self.head
        block = head.reply_block or replies.head_block(head)
        if self.compress is not None and head.accepts_gzip:
            block += replies.GZIP
        if self._initial is not EMPTY:
            block += replies.initial(self._initial)
        self._headers_sent = True
        self.connection.send_headers(self, block)

    def _too_large(self, size: int) -> None:
        bad = messages.too_large(size, self.connection.limits.max_message)
        self._fail(StatusCode(bad.code), bad.text)

    def _raised(self, error: BaseException) -> None:
        """The handler has raised."""
        if self._done:
            self._lingered(error)
        elif isinstance(error, RpcError):
            metadata = error.trailing_metadata
            self._fail(
                error.code, error.message, error.details, metadata if len(metadata) else self._trailing
            )
        elif isinstance(error, CancelledError):
            self._fail(StatusCode.CANCELLED, "the call was cancelled by its handler")
        else:
            _log.failure("the handler of {path} failed", Failure(error), path=self.path)
            self._fail(StatusCode.UNKNOWN, "the handler failed; the server's log says how")

    def _fail(
        self, code: StatusCode, text: str, details: bytes = b"", metadata: Metadata | None = None
    ) -> None:
        """End with a status; whatever the handler still does goes nowhere."""
        if self._done:
            return
        self._done = True
        trailing = self._trailing if metadata is None else metadata
        try:
            block = replies.trailers(trailing, code, text, details)
        except ValueError as error:
            _log.error(
                "{path} has trailing metadata that cannot be sent: {error}", path=self.path, error=error
            )
            block = replies.trailers(EMPTY, code, text, details)
        if self._headers_sent:
            self.connection.send_trailers(self, block)
        else:
            self._headers_sent = True
            self.connection.send_headers(self, replies.head_block(self.head) + block, end=True)
        self._over(code, text)
        self._finish()

    def _over(self, code: int, text: str) -> None:
        """The call has ended, and who wants to know is told."""
        ended = self._method.ended
        if ended is not None:
            ended(self, code, text)

    def _finish(self) -> None:
        """The call is over: disarm, and stop a handler that still runs."""
        self._done = True
        if self._armed is not None:
            self._armed.discard(self)
            self._armed = None
        if self._inbox:
            self._inbox.clear()
        self._cancel()
        while self._children:
            self._children.pop().cancel()

    def _cancel(self) -> None:
        running = self._running
        if running is not None and not self._lingers:
            # Until it has really stopped, it counts against the client's limit of calls.
            self.connection.lingering += 1
            self._lingers = True
            running.cancel()
