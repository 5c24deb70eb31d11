"""Core endpoints whose calls are noted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from microd.kernel.activity import Activity
from microd.kernel.caller import Caller
from microd.kernel.endpoint import Endpoint
from microd.kernel.errors import NotFound
from microd.services.debug.watching import watched
from microd.testing.outcome import done
from microd.txgrpc.noted import headers_of
from microd.wire import store_pb2 as pb

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = Caller(metadata={"micro-trace-id": TRACE, "micro-span-id": "00000000-0000-0000-b7ad-6b7169203331"})


async def read(request: str, caller: Caller) -> str:
    """Read something."""
    if request == "nothing":
        raise NotFound("there is nothing")
    return request


async def follow(request: str, caller: Caller) -> AsyncIterator[str]:
    """Read for ever."""
    while True:
        yield await read(request, caller)


@pytest.fixture
def activity() -> Activity:
    """What a service was asked, by a clock that ticks when it is looked at."""
    ticks = iter(range(1000, 100_000, 10))
    return Activity(headers_of, lambda: next(ticks))


def endpoint(activity: Activity, path: str = "/store.Store/Read", **options: Any) -> Endpoint:
    """A watched endpoint."""
    chosen: dict[str, Any] = {"handler": read, **options}
    return watched(Endpoint(path, pb.ReadRequest, pb.ReadResponse, **chosen), activity)


def test_unary(activity: Activity) -> None:
    """A call is counted, and becomes a span of the caller's trace."""
    assert done(endpoint(activity).handler("k", CALLER)) == "k"
    [span] = activity.spans()
    assert (span.name, span.trace, span.parent) == ("store.Store.Read", TRACE, "b7ad6b7169203331")
    assert (span.started, span.duration, span.metadata, span.type) == (1000, 10, {}, 0)
    assert (activity.requests, activity.errors) == (1, 0)


def test_error(activity: Activity) -> None:
    """One that failed says why, and the caller is told as before."""
    with pytest.raises(NotFound):
        done(endpoint(activity).handler("nothing", CALLER))
    assert activity.spans()[0].metadata == {"error": "there is nothing"}
    assert (activity.requests, activity.errors) == (1, 1)


def test_stream(activity: Activity) -> None:
    """A stream is noted at its end; that its reader left it is no error, what it broke off with is."""
    handler = endpoint(activity, handler=follow, server_streaming=True, endless=True).handler

    async def first(request: str) -> str:
        replies = handler(request, CALLER)
        async for reply in replies:
            assert activity.spans() == []
            await replies.aclose()
            return str(reply)
        return ""

    assert done(first("k")) == "k"
    with pytest.raises(NotFound):
        done(first("nothing"))
    assert [dict(span.metadata) for span in activity.spans()] == [{}, {"error": "there is nothing"}]
    assert (activity.requests, activity.errors) == (2, 1)


def test_debug(activity: Activity) -> None:
    """Calls of Debug are counted, and are no spans."""
    done(endpoint(activity, "/store.Debug/Health").handler("k", CALLER))
    assert (activity.requests, activity.spans()) == (1, [])


def test_same(activity: Activity) -> None:
    """The registry describes a watched endpoint as it would the bare one."""
    assert endpoint(activity).handler.__doc__ == "Read something."
    assert endpoint(activity).at_once is None
