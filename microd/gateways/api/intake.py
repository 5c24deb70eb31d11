"""What a client sends, parsed, with every limit on its size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import httptools

from microd.gateways.api.limits import Limits
from microd.gateways.api.request import IDS, NO_HEAD, Answering, Head, Header, Request
from microd.kernel.errors import BadRequest, MicroError, TooLarge, Unavailable, Unimplemented


class HeadTooLarge(MicroError):
    """The head of the request is over the limit."""

    code = 431


class Ledger(Protocol):
    """What all connections of a server share.

    @ivar buffered: bytes of bodies held at present.
    @ivar now: the time, to the second.
    """

    buffered: int
    now: float


class Intake:
    """Turns bytes into requests, and hands on each as soon as it is whole.

    @param arrived: gets each request.
    @param asks_leave: called when a client waits for leave to send its body; L{awaits_leave} stays set until it is given.
    @ivar reading: the request whose beginning has come, and whose end has not.
    @ivar in_body: whether its head is complete.
    @ivar began: when its head was.
    @ivar size: bytes of its body so far.
    """

    def __init__(
        self,
        connection: Answering,
        ledger: Ledger,
        limits: Limits,
        arrived: Callable[[Request], None],
        asks_leave: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._ledger = ledger
        self._limits = limits
        self._arrived = arrived
        self._asks_leave = asks_leave
        self._parser = httptools.HttpRequestParser(self)
        self.reading: Request | None = None
        self.in_body = False
        self.awaits_leave = False
        self.began = 0.0
        self.size = 0
        self._raw: list[Header] = []
        self._head = NO_HEAD
        self._body: bytes | bytearray = b""
        self._overhead = 0

    def feed(self, data: bytes) -> None:
        """Take in bytes.

        @raise MicroError: they are no request, or one over a limit.
        """
        self._overhead += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Nothing here speaks another protocol: the request is answered as it is, and is the last.
            return
        except httptools.HttpParserError as error:
            cause = error.__context__
            raise cause if isinstance(cause, MicroError) else BadRequest(f"not HTTP: {error}") from None
        if self._overhead > self._limits.head and self.reading is not None:
            self._bound_overhead()

    def give_up(self) -> Request:
        """The request that is being read, which will never be whole; a new one if none is."""
        self.forget()
        request, self.reading = self.reading or Request(self._connection), None
        return request

    def forget(self) -> None:
        """Let go of what there is of a body."""
        self._ledger.buffered -= len(self._body)
        self._body = b""

    # The parser calls these.

    def on_message_begin(self) -> None:
        self.reading = Request(self._connection)
        self._raw = []
        self.size = 0

    def on_url(self, url: bytes) -> None:
        request = self.reading
        assert request is not None
        request.url = request.url + url if request.url else url
        if len(request.url) > self._limits.url:
            raise MicroError(f"the path is over the limit of {self._limits.url} bytes", code=414)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.in_body:
            return
        self.size += len(name) + len(value)
        if len(name) != 14 or name.lower() != b"content-length":
            self._raw.append((name, value))
        elif not value.isdigit():
            raise BadRequest("the Content-Length is no number")
        elif int(value) > self._limits.body:
            raise self._too_large()

    def on_headers_complete(self) -> None:
        request, raw, parser = self.reading, self._raw, self._parser
        assert request is not None
        if self.size > self._limits.head or len(raw) > self._limits.headers:
            raise self._head_too_large()
        head = self._head
        if not head.is_of(raw):
            same = [header for header in raw if header[0].lower() not in IDS]
            if len(same) < len(raw):
                request.ids = [(name.lower(), value) for name, value in raw if name.lower() in IDS]
            if not head.is_of(same):
                head = self._head = Head(same)
        request.head = head
        request.method = parser.get_method()
        request.version = parser.get_http_version()
        self.size, self._overhead, self.in_body = 0, 0, True
        self.began = self._ledger.now
        if head.coding is not None and head.coding != b"chunked":
            # RFC 9112 6.1; passed on as it is, the body would be noise to the service.
            raise Unimplemented("no Transfer-Encoding but chunked is understood here")
        if request.version == "1.1":
            if head.hosts != 1:
                raise BadRequest("there must be one Host header")
            if head.expected is not None:
                if head.expected.lower() != b"100-continue":
                    raise MicroError("only 100-continue can be expected", code=417)
                self.awaits_leave = True
                self._asks_leave()

    def on_body(self, part: bytes) -> None:
        self.size += len(part)
        self._ledger.buffered += len(part)
        if not self._body:
            self._body = part
        else:
            # One growing buffer, so that a body in a million crumbs takes no more room than one in a piece.
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += part
        if self.size > self._limits.body:
            raise self._too_large()
        if self._ledger.buffered > self._limits.bodies:
            raise Unavailable("too many large requests at once: try again later")

    def on_message_complete(self) -> None:
        request, self.reading = self.reading, None
        assert request is not None
        body = self._body
        if body:
            request.body = body if isinstance(body, bytes) else bytes(body)
            self._body = b""
        self.in_body = self.awaits_leave = False
        self._overhead = 0
        parser = self._parser
        request.keep_alive = parser.should_keep_alive() and not parser.should_upgrade()
        self._arrived(request)

    # Limits.

    def _bound_overhead(self) -> None:
        """What is neither finished head nor body, such as an endless header or chunks' extensions, has a bound too."""
        if not self.in_body:
            raise self._head_too_large()
        if self._overhead > 8 * self.size + 2 * self._limits.head:
            raise BadRequest("the chunks of the body are mostly not body")

    def _head_too_large(self) -> HeadTooLarge:
        limits = self._limits
        return HeadTooLarge(
            f"the headers are over the limit of {limits.head} bytes or {limits.headers} lines"
        )

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the body is over the limit of {self._limits.body} bytes")
