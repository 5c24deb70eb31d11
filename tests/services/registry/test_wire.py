"""Watching the registry over a gRPC connection in memory."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from microd.gateways.door import Door
from microd.gateways.gate import Gate
from microd.kernel.caller import Account
from microd.services.auth.model import Resource
from microd.services.network.dialer import Dialer
from microd.services.network.router import Router
from microd.services.registry import rpc
from microd.services.registry.model import Limits, Node, Service
from microd.services.registry.service import Registry
from microd.testing.outcome import done
from microd.txgrpc import Channel, RpcError, StatusCode
from microd.txgrpc.memory import MemoryEndpoint, connect
from microd.wire import registry_pb2 as pb

WATCH = "/registry.Registry/Watch"
TOKEN = {"authorization": "Bearer admin"}


class Admins:
    """An auth to which every token is the platform's admin."""

    def inspect_cached(self, token: str) -> Account | None:
        return Account(token, "user", "micro", scopes=("admin",))

    def authorize(self, account: Account | None, namespace: str, resource: Resource) -> None:
        """Everybody may."""

    def lasting(self, token: str | None) -> Any:
        return lambda: True


class Town:
    """A registry behind a server."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.registry = Registry(self.clock, Limits(backlog=100))
        nowhere: dict[str, MemoryEndpoint] = {}
        dialer = Dialer(self.clock, nowhere.__getitem__)
        core = rpc.endpoints(self.registry)
        self.server = Door(core, Gate(Admins()), Router(self.registry, dialer), dialer, clock=self.clock)

    def client(self) -> Channel:
        return connect(self.server, self.clock)

    def register(self, number: int) -> None:
        node = Node(f"node-{number}", "127.0.0.1:80", {"padding": "x" * 5000})
        done(self.registry.register("micro", Service(f"s{number}", nodes=(node,)), 60))


class Reader:
    """Reads all results as they come."""

    def __init__(self, call: Any) -> None:
        self.results: list[pb.Result] = []
        self.ended: Any = None
        self._call = call
        Deferred.fromCoroutine(self._read()).addBoth(self._end)

    async def _read(self) -> None:
        async for message in self._call:
            self.results.append(pb.Result.FromString(message))

    def _end(self, outcome: Any) -> None:
        self.ended = outcome


@pytest.fixture
def town() -> Town:
    return Town()


def test_does_not_read(town: Town) -> None:
    """A watcher who does not read is told that it missed something, and how to begin anew; others miss nothing."""
    stuck = town.client().unary_stream(WATCH)(pb.WatchRequest().SerializeToString(), metadata=TOKEN)
    other = Reader(town.client().unary_stream(WATCH)(b"", metadata=TOKEN))
    for number in range(500):
        town.register(number)
    assert len(other.results) == 500
    late = Reader(stuck)
    assert len(late.results) < 500
    assert [each.service.name for each in late.results] == [f"s{n}" for n in range(len(late.results))]
    error = late.ended.value
    assert isinstance(error, RpcError)
    assert error.code == StatusCode.UNAVAILABLE
    assert "watch anew, beginning with the present state (current)" in error.message
    anew = pb.WatchRequest(current=True).SerializeToString()
    again = Reader(town.client().unary_stream(WATCH)(anew, metadata=TOKEN))
    town.register(500)
    assert [each.action for each in again.results] == ["create"] * 500 + ["synced", "create"]
    town.registry.stopService()


def test_bidi_client(town: Town) -> None:
    """A client which opens every stream for both ways, and does not end its half, is answered at once."""
    call = town.client().stream_stream(WATCH)(metadata=TOKEN)
    done(call.write(pb.WatchRequest(service="s1").SerializeToString()))
    reader = Reader(call)
    town.register(1)
    town.register(2)
    assert [each.service.name for each in reader.results] == ["s1"]
    town.registry.stopService()


def test_connection_is_lost(town: Town) -> None:
    """A watcher whose connection has gone is forgotten at once."""
    client = town.client()
    Reader(client.unary_stream(WATCH)(b"", metadata=TOKEN))
    assert sum(watch.watched for watch in town.registry._watches) == 1
    Deferred.fromCoroutine(client.close(0))
    town.clock.advance(1)
    assert sum(watch.watched for watch in town.registry._watches) == 0
