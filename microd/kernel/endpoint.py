"""What a core service offers: a path, two message types, and a function between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from microd.kernel.activity import Activity


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One RPC of a core service, as its C{rpc.py} lists it and every door serves it.

    The shape of C{handler} follows from the two flags; C{caller} is a L{microd.kernel.caller.Caller}::

        unary            async def handler(request, caller) -> reply
        server streaming async def handler(request, caller): yield reply        (an async generator)
        client streaming async def handler(requests, caller) -> reply           (an async iterator in)
        both             async def handler(requests, caller): yield reply

    A handler raises L{microd.kernel.errors.MicroError}; the door fills in the id and turns it into a status.

    @ivar later: what a client sends after its first message, where that is something else.
    @ivar at_once: C{at_once(request, caller)}, for a unary endpoint: a door which speaks protobuf may ask it first, and is
        spared the waiting. It gives the reply's bytes, or None for whatever C{handler} is to be asked; it raises the same.
    @ivar endless: calls go on until somebody ends them; a daemon that stops does not wait for them.
    @ivar activity: is told by each door of the calls that it has answered.
    @ivar path: C{/package.Struct/Method}, the gRPC path.
    """

    path: str
    request: type[Message]
    reply: type[Message]
    handler: Callable[..., Any]
    client_streaming: bool = False
    server_streaming: bool = False
    endless: bool = False
    at_once: Callable[..., bytes | None] | None = None
    activity: Activity | None = None
    later: type[Message] | None = None

    @property
    def service(self) -> str:
        """The registry name of the service: the path's package."""
        return self.path[1:].split("/")[0].rpartition(".")[0]

    @property
    def name(self) -> str:
        """C{Struct.Method}."""
        struct, _, method = self.path[1:].partition("/")
        return f"{struct.rpartition('.')[2]}.{method}"

    @property
    def id(self) -> str:
        """The id of the errors decided here, such as C{store.Store.Read}."""
        return f"{self.service}.{self.name}"
