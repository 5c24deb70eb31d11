"""What a server offers at a path: a handler of one of the four kinds, and how its messages are read and written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from microd.txgrpc.status import RpcError, StatusCode

Kind = Literal["unary_unary", "unary_stream", "stream_unary", "stream_stream"]
Deserialize = Callable[[bytes], Any] | None
Serialize = Callable[[Any], bytes] | None
Ended = Callable[[Any, int, str], object]


@dataclass(frozen=True, slots=True)
class Method:
    """One method; see L{microd.txgrpc} for the shape of its handler.

    @ivar deserialize: makes a request of its bytes; None hands on the bytes.
    @ivar serialize: makes bytes of a reply; None: replies are bytes.
    @ivar endless: its calls go on until somebody ends them, as those of a watch do; a drain does so, with UNAVAILABLE.
    @ivar plain: C{handler} (of one request and one reply) is no C{async def}: it returns the reply, or a coroutine for
        what has to wait. Only that coroutine may make calls that depend on this one.
    @ivar ended: C{ended(call, code, text)} is called once with each call that is over, however it ended; must not raise.
    """

    kind: Kind
    handler: Callable[..., Any]
    deserialize: Deserialize = None
    serialize: Serialize = None
    endless: bool = False
    plain: bool = False
    ended: Ended | None = None
    streams_in: bool = field(init=False)
    streams_out: bool = field(init=False)

    def __post_init__(self) -> None:
        if self.kind not in ("unary_unary", "unary_stream", "stream_unary", "stream_stream"):
            raise ValueError(f"{self.kind!r} is not a kind of method")
        if self.plain and self.kind != "unary_unary":
            raise ValueError("only a handler of one request and one reply can be plain")
        object.__setattr__(self, "streams_in", self.kind.startswith("stream"))
        object.__setattr__(self, "streams_out", self.kind.endswith("stream"))


def unary_unary(
    handler: Callable[..., Any], deserialize: Deserialize = None, serialize: Serialize = None
) -> Method:
    """One request, one reply: C{async def handler(request, call) -> reply}."""
    return Method("unary_unary", handler, deserialize, serialize)


def unary_stream(
    handler: Callable[..., Any], deserialize: Deserialize = None, serialize: Serialize = None
) -> Method:
    """One request, many replies: C{async def handler(request, call): yield reply}."""
    return Method("unary_stream", handler, deserialize, serialize)


def stream_unary(
    handler: Callable[..., Any], deserialize: Deserialize = None, serialize: Serialize = None
) -> Method:
    """Many requests, one reply: C{async def handler(requests, call) -> reply}."""
    return Method("stream_unary", handler, deserialize, serialize)


def stream_stream(
    handler: Callable[..., Any], deserialize: Deserialize = None, serialize: Serialize = None
) -> Method:
    """Many of both: C{async def handler(requests, call): yield reply}."""
    return Method("stream_stream", handler, deserialize, serialize)


#: How much of a path an answer repeats.
_REPEATED = 200


def unknown(path: str, methods: Mapping[str, Method]) -> RpcError:
    """The answer to a path that nothing serves."""
    path = path if len(path) <= _REPEATED else path[:_REPEATED] + "..."
    parts = path.split("/")
    if len(parts) != 3 or parts[0]:
        return RpcError(StatusCode.INVALID_ARGUMENT, f'malformed method name: "{path}"')
    struct = parts[1].rpartition(".")[2]
    if any(known.split("/")[1] == parts[1] for known in methods if known.count("/") == 2):
        return RpcError(StatusCode.UNIMPLEMENTED, f"unknown service {struct}.{parts[2]}")
    return RpcError(StatusCode.UNIMPLEMENTED, f"unknown service {struct}")
