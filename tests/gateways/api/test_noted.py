"""Calls of core endpoints, as the HTTP door notes them."""

from __future__ import annotations

from typing import Any

import pytest

from microd.kernel.activity import Activity
from microd.kernel.endpoint import Endpoint
from microd.kernel.errors import NotFound
from microd.txgrpc.noted import headers_of
from microd.wire import store_pb2 as pb

ID, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


async def read(request: pb.ReadRequest, caller: Any) -> pb.ReadResponse:
    """Read a record."""
    if request.key == "nothing":
        raise NotFound("there is nothing")
    return pb.ReadResponse()


@pytest.fixture
def activity() -> Activity:
    """What the one service was asked."""
    return Activity(headers_of)


@pytest.fixture
def client(make: Any, activity: Activity) -> Any:
    """A client of it."""
    noted: Any = {"activity": activity}
    paths = ("/t.T/Call", "/t.Debug/Health")
    return make([Endpoint(path, pb.ReadRequest, pb.ReadResponse, read, **noted) for path in paths]).client()


def test_named(client: Any, activity: Activity) -> None:
    """A request's span is in the trace that it names, whether or not that can be told in the usual form."""
    client.ask("POST", "/t", b"{}", headers={"traceparent": f"00-{ID}-{SPAN}-01"})
    client.ask("POST", "/t", b"{}", headers={"micro-trace-id": "a trace", "micro-span-id": "a span"})
    first, second = activity.spans()
    assert (first.name, first.trace, first.parent, first.metadata) == ("t.T.Call", ID, SPAN, {})
    assert second.trace == activity.spans("a trace")[0].trace
    assert (activity.requests, activity.errors) == (2, 0)


def test_begun(client: Any, activity: Activity) -> None:
    """One that names none is in the trace which its client is told."""
    told = [client.ask("POST", "/t", b"{}").headers["x-request-id"] for _ in range(3)]
    assert [span.trace for span in activity.spans()] == told


def test_error(client: Any, activity: Activity) -> None:
    """A failure says why."""
    client.ask("POST", "/t", b'{"key":"nothing"}')
    assert activity.spans()[0].metadata == {"error": "there is nothing"}
    assert (activity.requests, activity.errors) == (1, 1)


def test_debug(client: Any, activity: Activity) -> None:
    """Calls of Debug are counted, and are no spans."""
    client.ask("POST", "/t/debug/health", b"{}")
    assert (activity.requests, activity.spans()) == (1, [])
