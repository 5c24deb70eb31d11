"""Calls of core endpoints, as the gRPC doors note them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from twisted.internet.task import Clock

from microd.gateways.door import Door
from microd.gateways.gate import Gate
from microd.kernel import trace
from microd.kernel.activity import Activity
from microd.kernel.caller import Account, Caller
from microd.kernel.endpoint import Endpoint
from microd.kernel.errors import NotFound
from microd.services.auth.model import Resource
from microd.services.network.dialer import Dialer
from microd.services.network.router import Router
from microd.services.registry.service import Registry
from microd.testing.outcome import done
from microd.txgrpc import RpcError
from microd.txgrpc.memory import MemoryEndpoint, connect
from microd.txgrpc.noted import headers_of
from microd.wire import store_pb2 as pb

READ, LIST, HEALTH = "/store.Store/Read", "/store.Store/List", "/store.Debug/Health"


class Open:
    """An auth which lets everybody in, for ever."""

    def inspect_cached(self, token: str) -> Account | None:
        """Nobody."""

    def authorize(self, account: Account | None, namespace: str, resource: Resource) -> None:
        """They may."""

    def lasting(self, token: str | None) -> Callable[[], bool]:
        """For ever."""
        return lambda: True


async def read(request: pb.ReadRequest, caller: Caller) -> pb.ReadResponse:
    """Read a record."""
    if request.key == "nothing":
        raise NotFound("there is nothing")
    return pb.ReadResponse()


def at_once(request: pb.ReadRequest, caller: Caller) -> bytes | None:
    """Read one that is at hand."""
    return b"" if request.key == "at hand" else None


async def keys(request: pb.ListRequest, caller: Caller) -> AsyncIterator[pb.ListResponse]:
    """List for ever."""
    while True:
        yield pb.ListResponse()


class Scene:
    """A door with three endpoints, and its client."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.5)
        self.activity = Activity(headers_of)
        noted: Any = {"activity": self.activity}
        endpoints = [
            Endpoint(READ, pb.ReadRequest, pb.ReadResponse, read, at_once=at_once, **noted),
            Endpoint(LIST, pb.ListRequest, pb.ListResponse, keys, server_streaming=True, **noted),
            Endpoint(HEALTH, pb.ReadRequest, pb.ReadResponse, read, **noted),
        ]
        nowhere: dict[str, MemoryEndpoint] = {}
        dialer = Dialer(self.clock, nowhere.__getitem__)
        router = Router(Registry(self.clock), dialer)
        auth: Any = Open()
        self.client = connect(Door(endpoints, Gate(auth), router, dialer, clock=self.clock), self.clock)

    def read(self, key: str, headers: list[tuple[str, str]] | None = None, path: str = READ) -> None:
        """Make a call."""
        request = pb.ReadRequest(key=key).SerializeToString()
        done(self.client.unary_unary(path)(request, metadata=headers))


@pytest.fixture
def scene() -> Scene:
    """A door."""
    return Scene()


@pytest.mark.parametrize("key", ["at hand", "elsewhere"])
def test_own_trace(scene: Scene, key: str) -> None:
    """Each of many calls of one client is in its own trace, though who makes them is remembered."""
    traces = [trace.begin() for _ in range(6)]
    for each in traces:
        scene.read(key, trace.headers(each))
    found = [(span.trace, span.parent, span.name) for span in scene.activity.spans()]
    assert found == [(each.id, each.span, "store.Store.Read") for each in traces]


def test_reference(scene: Scene) -> None:
    """Headers in the reference's form alone are understood as well."""
    scene.read("k", [("micro-trace-id", "0af76519-16cd-43dd-8448-eb211c80319c")])
    assert scene.activity.spans()[0].trace == "0af7651916cd43dd8448eb211c80319c"


def test_errors(scene: Scene) -> None:
    """A failed call says why, in words."""
    with pytest.raises(RpcError):
        scene.read("nothing")
    [span] = scene.activity.spans()
    assert (span.metadata, span.started) == ({"error": "there is nothing"}, 1000_500_000_000)
    assert (scene.activity.requests, scene.activity.errors) == (1, 1)


def test_left_stream(scene: Scene) -> None:
    """A stream whose reader has had enough is no error; how long it took is its whole life."""

    async def first() -> None:
        call = scene.client.unary_stream(LIST)(b"")
        async for _ in call:
            scene.clock.advance(2)
            call.cancel()
            return

    done(first())
    scene.clock.advance(0)
    [span] = scene.activity.spans()
    assert (span.name, span.metadata, span.duration) == ("store.Store.List", {}, 2 * 10**9)
    assert (scene.activity.requests, scene.activity.errors) == (1, 0)


def test_debug(scene: Scene) -> None:
    """Calls of Debug are counted, and are no spans."""
    scene.read("k", path=HEALTH)
    assert (scene.activity.requests, scene.activity.spans()) == (1, [])
