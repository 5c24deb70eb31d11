"""HTTP/1.1 over a transport: L{httptools} parses, this keeps order, limits and time.

::

    idle ──first byte──▶ head ──▶ body ──▶ asked ──answered──▶ idle
      │                    │        │                            │
      └── idle time        └ 431    └ 413, 408                   └ closed, where either side wants it

Requests of one connection are answered in the order in which they came, one at a time; those that came early wait.
One timer serves all connections of a server: it looks at each once a second, so that a request costs no timer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import httptools
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IProtocolNegotiationFactory,
    IPushProducer,
    IReactorTime,
    ISSLTransport,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.internet.tcp import Connection
from zope.interface import implementer

from microd.gateways.api.limits import Limits
from microd.gateways.api.replies import CONTINUE, Dated, error_reply
from microd.kernel.errors import BadRequest, MicroError, TimedOut, TooLarge, Unavailable

NEVER = float("inf")

#: Seconds for which a refused client's bytes are still read, so that it gets to see why.
LINGER = 2.0

Header = tuple[bytes, bytes]


class HeadTooLarge(MicroError):
    """The head of the request is over the limit."""

    code = 431


class Head:
    """The headers of a request; the requests of a connection share one as long as they send the same.

    @ivar headers: names in lower case, in the order of their coming, without C{Content-Length}.
    @ivar notes: what the server's user makes of them, once.
    """

    __slots__ = ("_raw", "expected", "headers", "hosts", "notes", "origin")

    def __init__(self, raw: list[Header]) -> None:
        self._raw = raw
        self.headers = [(name.lower(), value) for name, value in raw]
        self.hosts = sum(name == b"host" for name, _ in self.headers)
        self.expected = self.get(b"expect")
        self.origin = self.get(b"origin")
        self.notes: Any = None

    def get(self, name: bytes) -> bytes | None:
        """The first header of that name."""
        for each, value in self.headers:
            if each == name:
                return value
        return None

    def is_of(self, raw: list[Header]) -> bool:
        """Whether C{raw} are the same headers."""
        return self._raw == raw


_NO_HEAD = Head([])


class Request:
    """What a client asks.

    @ivar keep_alive: whether another request may follow on the connection.
    @ivar endless: the answer goes on until somebody ends it, so that nobody need wait for its end.
    @ivar gone: called once if the client goes away before the answer is complete.
    """

    __slots__ = (
        *(
            "body",
            "connection",
            "endless",
            "gone",
            "head",
            "keep_alive",
            "method",
            "refusal",
            "url",
            "version",
        ),
    )

    def __init__(self, connection: HttpConnection) -> None:
        self.connection = connection
        self.head = _NO_HEAD
        self.method = b""
        self.url = b""
        self.version = "1.1"
        self.body = b""
        self.keep_alive = True
        self.endless = False
        self.refusal: MicroError | None = None
        self.gone: Callable[[], None] | None = None

    def answer(self, reply: bytes) -> None:
        """Send a whole answer: head and body."""
        self.connection.answered(self, reply)

    def send(self, part: bytes) -> Deferred[None] | None:
        """Send a part of an answer; None, or what fires when there is room for more."""
        return self.connection.sent(self, part)


@implementer(IPushProducer)
class HttpConnection(Protocol):
    """One client's connection.

    @ivar deadline: when the server's look will find it too late for what is awaited.
    """

    transport: Any

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._limits = server.limits
        self._parser = httptools.HttpRequestParser(self)
        self._reading: Request | None = None
        self._in_body = False
        self._parts: list[bytes] = []
        self._size = 0
        self._overhead = 0
        self._began = 0.0
        self._current: Request | None = None
        self._queue: deque[Request] = deque()
        self._advancing = False
        self._raw: list[Header] = []
        self._head = _NO_HEAD
        self._awaits_leave = False
        self._deaf = False
        self._unread = False
        self._last_answer = False
        self._ending = False
        self._full = False
        self._unsent = 0
        self._send: Callable[[bytes], int] | None = None
        self._out: list[bytes] = []
        self._room: Deferred[None] | None = None
        self._lost: list[Callable[[], None]] = []
        self.deadline = NEVER
        self.peer = ""

    # Twisted calls these.

    def connectionMade(self) -> None:
        transport = self.transport
        if ITCPTransport.providedBy(transport):
            transport.setTcpNoDelay(True)
        if isinstance(transport, Connection) and not transport.TLS:
            self._send = transport.socket.send
        peer = transport.getPeer()
        host = getattr(peer, "host", None)
        self.peer = f"{host}:{peer.port}" if host is not None else "unix"
        transport.registerProducer(self, True)
        self._server.opened(self)
        self.deadline = self._server.now + self._limits.head_time

    def dataReceived(self, data: bytes) -> None:
        if self._deaf:
            return
        self._overhead += len(data)
        already = self._reading
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Nothing here speaks another protocol: the request was answered as it is, and is the last.
            self._deaf = True
            self._last().keep_alive = False
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause if isinstance(cause, MicroError) else BadRequest(f"not HTTP: {error}"))
        else:
            reading = self._reading
            if reading is not None and not self._deaf:
                if self._in_body:
                    self._progress()
                elif reading is not already and self._current is None:
                    self.deadline = self._server.now + self._limits.head_time
                if self._overhead > self._limits.head:
                    self._bound_overhead()

    def connectionLost(self, reason: object = None) -> None:
        self._ending = self._deaf = True
        self._server.closed(self)
        current, self._current = self._current, None
        self._forget_all()
        self._room = None
        if current is not None:
            self._server.buffered -= len(current.body)
            if current.gone is not None:
                current.gone()
        lost, self._lost = self._lost, []
        for told in lost:
            told()

    def pauseProducing(self) -> None:
        """More is unsent than the transport likes: the client has its time to read it."""
        self._full = True

    def resumeProducing(self) -> None:
        """All is sent."""
        self._full = False
        self._unsent = 0
        self.deadline = NEVER
        self._made_room()
        if self._last_answer:
            self._end()
        else:
            self._advance()

    def stopProducing(self) -> None:
        """The connection is lost; C{connectionLost} sees to the rest."""

    # The parser calls these.

    def on_message_begin(self) -> None:
        self._reading = Request(self)
        self._raw = []
        self._size = 0

    def on_url(self, url: bytes) -> None:
        request = self._read()
        request.url = request.url + url if request.url else url
        if len(request.url) > self._limits.url:
            raise _url_too_long(self._limits.url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_body:
            return
        self._size += len(name) + len(value)
        if len(name) != 14 or name.lower() != b"content-length":
            self._raw.append((name, value))
        elif not value.isdigit():
            raise BadRequest("the Content-Length is no number")
        elif int(value) > self._limits.body:
            raise self._too_large()

    def on_headers_complete(self) -> None:
        request = self._read()
        raw, parser = self._raw, self._parser
        if self._size > self._limits.head or len(raw) > self._limits.headers:
            raise self._head_too_large()
        head = self._head
        if not head.is_of(raw):
            head = self._head = Head(raw)
        request.head = head
        request.method = parser.get_method()
        request.version = parser.get_http_version()
        self._size, self._overhead, self._in_body = 0, 0, True
        self._began = self._server.now
        if request.version == "1.1":
            if head.hosts != 1:
                raise BadRequest("there must be one Host header")
            if head.expected is not None:
                if head.expected.lower() != b"100-continue":
                    raise MicroError("only 100-continue can be expected", code=417)
                self._awaits_leave = True
                if self._current is None:
                    self._await_more()

    def on_body(self, part: bytes) -> None:
        self._size += len(part)
        self._server.buffered += len(part)
        self._parts.append(part)
        if self._size > self._limits.body:
            raise self._too_large()
        if self._server.buffered > self._limits.bodies:
            raise Unavailable("too many large requests at once: try again later")

    def on_message_complete(self) -> None:
        request, self._reading = self._read(), None
        parts = self._parts
        if parts:
            request.body = parts[0] if len(parts) == 1 else b"".join(parts)
            self._parts = []
        self._in_body = self._awaits_leave = False
        self._overhead = 0
        request.keep_alive = self._parser.should_keep_alive() and not self._server.draining
        if not self._full:
            self.deadline = NEVER
        self._queue.append(request)
        if self._current is None:
            self._advance()
        elif len(self._queue) >= self._limits.pipelined:
            self.transport.pauseProducing()

    # Requests call these.

    def answered(self, request: Request, reply: bytes) -> None:
        """Send the (rest of the) answer of the current request, and turn to the next."""
        if request is not self._current:
            return
        if self._advancing:
            self._out.append(reply)
        else:
            self._write(self._unhurried(reply))
        self._current = request.gone = None
        self._server.buffered -= len(request.body)
        if request.keep_alive and not (self._server.draining and not self._queue):
            self._advance()
            return
        self._last_answer = True
        if not self._full and not self._advancing:
            self._end()

    def sent(self, request: Request, part: bytes) -> Deferred[None] | None:
        """Send a part of the answer of the current request, after all that was answered before.

        @raise CancelledError: the client is gone.
        """
        if request is not self._current:
            raise CancelledError
        out, self._out = self._out, []
        self._write(b"".join([*out, part]) if out else part)
        if not self._full:
            return None
        self._room = self._room or Deferred()
        return self._room

    def on_lost(self, told: Callable[[], None]) -> None:
        """Have C{told} called once the client is gone."""
        self._lost.append(told)

    # The server calls these.

    def overdue(self) -> None:
        """What is awaited did not come in time."""
        if self._full or self._ending:
            self._ending = self._deaf = True
            self.transport.abortConnection()
        elif self._reading is None:
            self._end()
        else:
            self._refuse(TimedOut("the request did not arrive in time"))

    def drain(self) -> None:
        """Take no more requests; close once those that came are answered."""
        current = self._current
        if current is None and not self._queue and self._reading is None:
            self._end()
        elif current is not None and current.endless:
            self._current = None
            if current.gone is not None:
                current.gone()
            self._server.buffered -= len(current.body)
            self._end()

    # Its own.

    def _read(self) -> Request:
        assert self._reading is not None
        return self._reading

    def _last(self) -> Request:
        """The latest request that is not answered yet; one that nobody sees if all are."""
        if self._queue:
            return self._queue[-1]
        return self._current or Request(self)

    def _unhurried(self, data: bytes) -> bytes:
        """Give an answer straight to the kernel; what it does not take is left.

        A transport's own C{write} waits for the next turn of the reactor and costs two more system calls: a third of
        the gateway's time, where answers are small. The parts of a stream go that way, since it is the one that pushes back.
        """
        transport = self.transport
        if self._send is None or self._ending or transport.dataBuffer or transport._tempDataBuffer:
            return data
        try:
            sent = self._send(data)
        except OSError:
            # Full, or broken: either way the transport will find out and do what is right.
            return data
        return data[sent:]

    def _write(self, data: bytes) -> None:
        if not data:
            return
        self._unsent += len(data)
        self.transport.write(data)
        if self._full:
            limits = self._limits
            self.deadline = self._server.now + limits.stall + self._unsent / limits.slowest
        else:
            self._unsent = 0

    def _advance(self) -> None:
        """Take up requests until one of them waits. A loop, because answers may come at once."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while self._current is None and self._queue and not self._last_answer and not self._full:
                if len(self._queue) == self._limits.pipelined:
                    self.transport.resumeProducing()
                request = self._current = self._queue.popleft()
                if request.refusal is not None:
                    request.answer(error_reply(request, request.refusal, self._server.dated))
                else:
                    self._server.ask(request)
        finally:
            self._advancing = False
        if self._out:
            out, self._out = self._out, []
            self._write(self._unhurried(out[0] if len(out) == 1 else b"".join(out)))
        if self._last_answer and not self._full:
            self._end()
        if self._current is None and not self._ending and not self._full:
            self._await_more()

    def _await_more(self) -> None:
        if self._reading is None:
            self.deadline = self._server.now + self._limits.idle
        elif not self._in_body:
            self.deadline = self._server.now + self._limits.head_time
        else:
            self._progress()
            if self._awaits_leave:
                self._awaits_leave = False
                self.transport.write(CONTINUE)

    def _progress(self) -> None:
        """A body must not pause for long, nor come too slowly on the whole."""
        limits = self._limits
        fair = self._began + limits.stall + self._size / limits.slowest
        self.deadline = min(self._server.now + limits.stall, fair)

    def _bound_overhead(self) -> None:
        """What is neither finished head nor body, such as an endless header or chunks' extensions, has a bound too."""
        if not self._in_body:
            self._refuse(self._head_too_large())
        elif self._overhead > 8 * self._size + 2 * self._limits.head:
            self._refuse(BadRequest("the chunks of the body are mostly not body"))

    def _head_too_large(self) -> HeadTooLarge:
        limits = self._limits
        return HeadTooLarge(
            f"the headers are over the limit of {limits.head} bytes or {limits.headers} lines"
        )

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the body is over the limit of {self._limits.body} bytes")

    def _refuse(self, error: MicroError) -> None:
        """Hear nothing more; say why, after the answers to what came before; close."""
        self._deaf = self._unread = True
        request, self._reading = self._reading or Request(self), None
        self._forget_body()
        request.refusal = error
        request.keep_alive = False
        self.deadline = NEVER
        self._queue.append(request)
        if self._current is None:
            self._advance()

    def _forget_body(self) -> None:
        self._server.buffered -= sum(map(len, self._parts))
        self._parts = []

    def _forget_all(self) -> None:
        self._forget_body()
        self._server.buffered -= sum(len(each.body) for each in self._queue)
        self._queue.clear()

    def _made_room(self) -> None:
        if self._room is not None:
            room, self._room = self._room, None
            room.callback(None)

    def _end(self) -> None:
        """Close for good, once all is sent.

        A client which was refused may still be sending: if that were left unread, the system would take back the
        answer that is on its way. So what comes is read and dropped for a while.
        """
        if self._ending:
            return
        self._ending = self._deaf = True
        self._forget_all()
        self.transport.unregisterProducer()
        if self._unread and _can_linger(self.transport):
            self.deadline = self._server.now + LINGER
            self.transport.loseWriteConnection()
        else:
            self.deadline = self._server.now + self._limits.stall
            self.transport.loseConnection()


def _can_linger(transport: object) -> bool:
    return ITCPTransport.providedBy(transport) and not ISSLTransport.providedBy(transport)


def _url_too_long(limit: int) -> MicroError:
    return MicroError(f"the path is over the limit of {limit} bytes", code=414)


@implementer(IProtocolNegotiationFactory)
class HttpServer(ServerFactory):
    """Makes connections, and looks after their time.

    @ivar ask: what is called with each request, in its turn; it calls C{request.answer} now or later.
    @ivar now: the time, to the second.
    @ivar buffered: bytes of bodies held at present.
    """

    noisy = False

    def __init__(self, ask: Callable[[Request], None], clock: IReactorTime, limits: Limits) -> None:
        self.ask = ask
        self.limits = limits
        self.now = clock.seconds()
        self.buffered = 0
        self.draining = False
        self.dated = Dated(self.now)
        self._clock = clock
        self._connections: set[HttpConnection] = set()
        self._looking: IDelayedCall | None = None
        self._emptied: Deferred[None] | None = None

    def acceptableProtocols(self) -> list[bytes]:
        """What ALPN offers when an endpoint puts TLS in front."""
        return [b"http/1.1"]

    def buildProtocol(self, addr: IAddress | None) -> HttpConnection:
        """A new client."""
        return HttpConnection(self)

    def opened(self, connection: HttpConnection) -> None:
        """A connection has come."""
        self._connections.add(connection)
        if self._looking is None:
            self._look()

    def closed(self, connection: HttpConnection) -> None:
        """A connection has gone."""
        self._connections.discard(connection)
        if not self._connections:
            if self._looking is not None:
                self._looking.cancel()
                self._looking = None
            if self._emptied is not None:
                emptied, self._emptied = self._emptied, None
                emptied.callback(None)

    async def drain(self, timeout: float) -> None:
        """Let requests in flight be answered, for at most C{timeout} seconds; then close all connections."""
        self.draining = True
        for connection in list(self._connections):
            connection.drain()
        if not self._connections:
            return
        self._emptied = Deferred()
        late = self._clock.callLater(timeout, self._abort)
        await self._emptied
        if late.active():
            late.cancel()

    def _abort(self) -> None:
        for connection in list(self._connections):
            connection.transport.abortConnection()

    def _look(self) -> None:
        """Once a second: what time is it, and who is late?"""
        now = self.now = self._clock.seconds()
        self.dated.turn(now)
        self._looking = self._clock.callLater(1.0, self._look)
        for connection in [each for each in self._connections if each.deadline <= now]:
            connection.overdue()
