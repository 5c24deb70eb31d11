"""A request, as the parser made it and as it is answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from microd.kernel.errors import MicroError

Header = tuple[bytes, bytes]


class Answering(Protocol):
    """The connection which a request came on.

    @ivar peer: who asks: C{host:port}, or C{unix}.
    """

    peer: str

    def answered(self, request: Request, reply: bytes) -> None:
        """Send the (rest of the) answer of the current request, and turn to the next."""

    def sent(self, request: Request, part: bytes) -> Deferred[None] | None:
        """Send a part of the answer of the current request."""

    def on_lost(self, told: Callable[[], None]) -> None:
        """Have C{told} called once the client is gone."""


class Head:
    """The headers of a request; the requests of a connection share one as long as they send the same.

    @ivar headers: names in lower case, in the order of their coming, without C{Content-Length}.
    @ivar coding: what C{Transfer-Encoding} says, in lower case; None without it.
    @ivar notes: what the server's user makes of them, once.
    """

    __slots__ = ("_raw", "coding", "expected", "headers", "hosts", "notes", "origin")

    def __init__(self, raw: list[Header]) -> None:
        self._raw = raw
        self.headers = [(name.lower(), value) for name, value in raw]
        self.hosts = sum(name == b"host" for name, _ in self.headers)
        codings = [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"]
        self.coding = b",".join(codings) if codings else None
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


NO_HEAD = Head([])


class Request:
    """What a client asks.

    @ivar keep_alive: whether another request may follow on the connection.
    @ivar begun: a part of the answer is on its way, and with it the status.
    @ivar endless: the answer goes on until somebody ends it, so that nobody need wait for its end.
    @ivar gone: called once if the client goes away before the answer is complete.
    """

    __slots__ = (
        *(
            "begun",
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

    def __init__(self, connection: Answering) -> None:
        self.connection = connection
        self.head = NO_HEAD
        self.method = b""
        self.url = b""
        self.version = "1.1"
        self.body = b""
        self.keep_alive = True
        self.begun = False
        self.endless = False
        self.refusal: MicroError | None = None
        self.gone: Callable[[], None] | None = None

    def answer(self, reply: bytes) -> None:
        """Send a whole answer: head and body."""
        self.connection.answered(self, reply)

    def send(self, part: bytes) -> Deferred[None] | None:
        """Send a part of an answer; None, or what fires when there is room for more."""
        return self.connection.sent(self, part)
