"""A request, as the parser made it and as it is answered."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred

from microd.gateways.ids import NAMES, ids_of
from microd.kernel import trace
from microd.kernel.errors import MicroError
from microd.txgrpc.tail import begin, trace_of

if TYPE_CHECKING:
    from microd.gateways.api.paths import Target
    from microd.gateways.tally import Row
    from microd.kernel.caller import Account
    from microd.kernel.endpoint import Endpoint

Header = tuple[bytes, bytes]

#: What the value of metadata may be.
TEXT = re.compile(r"[\x20-\x7e]*")

#: Headers about a trace: each request has its own, so they are kept apart from those that are the same each time.
IDS = {name.encode(): name for name in NAMES}


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

    @ivar headers: names in lower case, in the order of their coming, without C{Content-Length} and L{IDS}.
    @ivar trace: the trace which is named besides L{IDS}: by C{X-Request-Id}, if that is an id, or by C{micro-id}.
    @ivar coding: what C{Transfer-Encoding} says, in lower case; None without it.
    @ivar notes: what the server's user makes of them, once.
    """

    __slots__ = ("_raw", "coding", "expected", "headers", "hosts", "notes", "origin", "trace")

    def __init__(self, raw: list[Header]) -> None:
        self._raw = raw
        self.headers = [(name.lower(), value) for name, value in raw]
        self.hosts = sum(name == b"host" for name, _ in self.headers)
        codings = [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"]
        self.coding = b",".join(codings) if codings else None
        self.expected = self.get(b"expect")
        self.origin = self.get(b"origin")
        self.notes: Any = None
        self.trace = _named(self.get(b"x-request-id") or b"", self.get(b"micro-id") or b"")

    def get(self, name: bytes) -> bytes | None:
        """The first header of that name."""
        for each, value in self.headers:
            if each == name:
                return value
        return None

    def is_of(self, raw: list[Header]) -> bool:
        """Whether C{raw} are the same headers."""
        return self._raw == raw


def _named(request: bytes, micro: bytes) -> trace.Trace | None:
    return trace.from_ids(trace.exact_id(request.decode("latin-1")) or micro.decode("latin-1"))


NO_HEAD = Head([])


class Request:
    """What a client asks.

    @ivar keep_alive: whether another request may follow on the connection.
    @ivar begun: a part of the answer is on its way, and with it the status.
    @ivar endless: the answer goes on until somebody ends it, so that nobody need wait for its end.
    @ivar ids: the L{IDS} that came; None where none did.
    @ivar tail: the trace as it goes on, once C{trace} was asked for; C{b""} where it does not fit, and C{more} headers say it.
    @ivar began: when it was taken up, in the clock's seconds.
    @ivar target: the endpoint it is for, once that is known; then C{row}, where it is counted, C{account} and C{namespace}.
    @ivar core: the platform's own endpoint that answers it; None for any other, or none.
    @ivar gone: called once if the client goes away before the answer is complete.
    """

    __slots__ = (
        *(
            "_trace",
            "account",
            "began",
            "begun",
            "body",
            "connection",
            "core",
            "endless",
            "gone",
            "head",
            "ids",
            "keep_alive",
            "method",
            "more",
            "namespace",
            "refusal",
            "row",
            "tail",
            "target",
            "url",
            "version",
        ),
    )

    began: float
    tail: bytes

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
        self.ids: list[Header] | None = None
        self.target: Target | None = None
        self.row: Row | None = None
        self.account: Account | None = None
        self.namespace = ""
        self.core: Endpoint | None = None
        self._trace = b""

    @property
    def trace(self) -> bytes:
        """The id of the trace, 32 hex digits: the one that the request names, or one which begins here."""
        known = self._trace
        if not known:
            if self.ids is None and self.head.trace is None:
                self.tail = begin()
                self.more: Sequence[tuple[str, str]] = ()
                known = self._trace = trace_of(self.tail)
            else:
                known = self._trace = self._named()
        return known

    def _named(self) -> bytes:
        # What cannot travel on as metadata is no id either.
        texts = [(IDS[name], value.decode("latin-1").strip()) for name, value in self.ids or ()]
        said = [(name, text) for name, text in texts if TEXT.fullmatch(text)]
        ids = ids_of(said, self.head.trace or trace.begin())
        self.tail = ids.tail
        self.more = (*ids.more, *((((trace.TRACESTATE, ids.state),)) if ids.state else ()))
        return ids.trace.encode()

    def answer(self, reply: bytes) -> None:
        """Send a whole answer: head and body."""
        self.connection.answered(self, reply)

    def send(self, part: bytes) -> Deferred[None] | None:
        """Send a part of an answer; None, or what fires when there is room for more."""
        return self.connection.sent(self, part)
