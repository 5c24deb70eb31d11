"""The circumstances of the call that is being answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from microd.kernel.activity import Place, placed
from microd.kernel.caller import DEFAULT_NAMESPACE, Account

if TYPE_CHECKING:
    from microd.txgrpc import Metadata, ServerCall


class Call:
    """One call, as the endpoint that answers it sees it.

    @ivar endpoint: C{Struct.Method}.
    @ivar known_place: C{place}, once somebody has asked for it.
    """

    __slots__ = ("_inspect", "_server_call", "endpoint", "known_place", "service")

    def __init__(
        self,
        service: str,
        endpoint: str,
        server_call: ServerCall,
        inspect: Callable[[str], Awaitable[Account | None]],
    ) -> None:
        self.service = service
        self.endpoint = endpoint
        self._server_call = server_call
        self._inspect = inspect
        self.known_place: Place | None = None

    @property
    def metadata(self) -> Metadata:
        """What came with the request: names in lower case; C{-bin} values are bytes, all others text."""
        return self._server_call.metadata

    @property
    def peer(self) -> str:
        """C{host:port} of the connection, which is usually the daemon's."""
        return self._server_call.peer

    @property
    def place(self) -> Place:
        """Where the call belongs: the trace which its headers name, or one that begins here."""
        place = self.known_place
        if place is None:
            place = self.known_place = placed(self._server_call.metadata)
        return place

    @property
    def trace_id(self) -> str:
        """What names, in logs and headers, all that one request at a door led to: 32 hexadecimal digits."""
        return self.place.own.id

    @property
    def span_id(self) -> str:
        """What names this call within its trace: 16 hexadecimal digits."""
        return self.place.own.span

    @property
    def id(self) -> str:
        """What names the call in logs: its C{trace_id}."""
        return self.place.own.id

    @property
    def namespace(self) -> str:
        """The namespace which the call was routed in."""
        return str(self.metadata.get("micro-namespace") or DEFAULT_NAMESPACE)

    @property
    def token(self) -> str:
        """The token that the caller showed; empty for none."""
        given = str(self.metadata.get("authorization") or "")
        scheme, _, token = given.partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""

    @property
    def deadline(self) -> float | None:
        """When the caller stops waiting, by the reactor's clock; C{None} for never."""
        return self._server_call.deadline

    def time_remaining(self) -> float | None:
        """How many seconds the caller still waits; C{None} for ever."""
        return self._server_call.time_remaining()

    async def account(self) -> Account | None:
        """Who calls, by the auth service's word; C{None} for somebody anonymous, or whose token is not valid."""
        token = self.token
        return await self._inspect(token) if token else None

    def set_trailing_metadata(self, metadata: Any) -> None:
        """Send metadata after the reply."""
        self._server_call.trailing_metadata = metadata


_current: ContextVar[Call | None] = ContextVar("microd_call", default=None)


def current_call() -> Call | None:
    """The call that is being answered here; C{None} outside of any."""
    return _current.get()


def enter(call: Call) -> None:
    """Make C{call} the current one, for the rest of its coroutine or thread."""
    _current.set(call)
