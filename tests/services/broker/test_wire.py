"""The broker over gRPC connections in memory: who does not read, and clients of the reference's kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from microd.gateways.door import Door
from microd.gateways.gate import Gate
from microd.kernel.caller import Account
from microd.services.auth.model import Resource
from microd.services.broker import rpc
from microd.services.broker.model import Limits
from microd.services.broker.service import Broker
from microd.services.network.dialer import Dialer
from microd.services.network.router import Router
from microd.services.registry.service import Registry
from microd.testing.outcome import done
from microd.txgrpc import Channel, RpcError, StatusCode
from microd.txgrpc.memory import MemoryEndpoint, connect
from microd.wire import broker_pb2 as pb

PUBLISH, SUBSCRIBE = "/broker.Broker/Publish", "/broker.Broker/Subscribe"


class Anybody:
    """An auth to which every token is an account of C{acme}."""

    def inspect_cached(self, token: str) -> Account | None:
        return Account(token, "user", "acme")

    def authorize(self, account: Account | None, namespace: str, resource: Resource) -> None:
        """Everybody may."""

    def lasting(self, token: str | None) -> Any:
        return lambda: True


class Town:
    """A broker behind a server; each client is a connection of its own."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.broker = Broker(limits)
        self.clock = Clock()
        nowhere: dict[str, MemoryEndpoint] = {}
        dialer = Dialer(self.clock, nowhere.__getitem__)
        routes = Router(Registry(self.clock), dialer)
        core = rpc.endpoints(self.broker)
        self.server = Door(core, Gate(Anybody()), routes, dialer, clock=self.clock)
        self.publisher = self.client()

    def client(self) -> Channel:
        return connect(self.server, self.clock)

    def publish(self, body: bytes, topic: str = "news", **metadata: str) -> None:
        request = pb.PublishRequest(topic=topic, message=pb.Message(body=body))
        call = self.publisher.unary_unary(PUBLISH)
        done(call(request.SerializeToString(), metadata={"authorization": "Bearer ann", **metadata}))

    def subscribe(self, client: Channel | None = None) -> Any:
        request = pb.SubscribeRequest(topic="news").SerializeToString()
        call = (client or self.client()).unary_stream(SUBSCRIBE)
        return call(request, metadata={"authorization": "Bearer bob"})


MakeTown = Callable[..., Town]


@pytest.fixture
def make_town() -> Iterator[MakeTown]:
    """Makes towns; what is still read there in the end is ended."""
    made: list[Town] = []

    def make(limits: Limits | None = None) -> Town:
        made.append(Town(limits))
        return made[-1]

    yield make
    for town in made:
        town.broker.stopService()


class Reader:
    """Reads the bodies of all messages as they come."""

    def __init__(self, call: Any) -> None:
        self.messages: list[pb.Message] = []
        self.ended: Any = None
        self._call = call
        Deferred.fromCoroutine(self._read()).addBoth(self._end)

    async def _read(self) -> None:
        async for message in self._call:
            self.messages.append(pb.Message.FromString(message))

    def _end(self, outcome: Any) -> None:
        self.ended = outcome


def test_credentials_stay_behind(make_town: MakeTown) -> None:
    """The publisher's token does not arrive; what else its request says does (defect 11.4 of the reference)."""
    town = make_town()
    reader = Reader(town.subscribe())
    for name in ("cookie", "x-api-key"):
        town.publish(b"x", **{name: "secret", "x-shop": "7"})
    assert [dict(message.header) for message in reader.messages] == [{"X-Shop": "7"}] * 2


def test_does_not_read(make_town: MakeTown) -> None:
    """A subscriber who does not read holds a bounded number of messages; nobody else misses one or waits for it."""
    town = make_town(Limits(backlog=50))
    stuck = town.subscribe()
    readers = [Reader(town.subscribe()) for _ in range(2)]
    for number in range(2000):
        town.publish(b"%04d" % number * 1000)
    assert [len(reader.messages) for reader in readers] == [2000, 2000]
    assert readers[0].messages[1999].body == b"1999" * 1000
    kept = Reader(stuck)
    bodies = [int(message.body[:4]) for message in kept.messages]
    assert town.broker.counts.dropped == 2000 - len(bodies)
    assert 50 <= len(bodies) < 500
    assert bodies == sorted(bodies)
    assert bodies[-50:] == list(range(1950, 2000))
    town.publish(b"next")
    assert kept.messages[-1].body == b"next"


def test_bidi_client(make_town: MakeTown) -> None:
    """A client which opens every stream for both ways, and does not end its half, is answered at once."""
    town = make_town()
    call = town.client().stream_stream(SUBSCRIBE)(metadata={"authorization": "Bearer bob"})
    done(call.write(pb.SubscribeRequest(topic="news").SerializeToString()))
    reader = Reader(call)
    town.publish(b"1")
    assert [message.body for message in reader.messages] == [b"1"]


def test_connection_is_lost(make_town: MakeTown) -> None:
    """A subscriber whose connection has gone is forgotten at once."""
    town = make_town()
    client = town.client()
    reader = Reader(town.subscribe(client))
    assert town.broker.subscriptions == 1
    Deferred.fromCoroutine(client.close(0))
    town.clock.advance(1)
    assert town.broker.subscriptions == 0
    assert isinstance(reader.ended.value, RpcError)


def test_revoked(make_town: MakeTown) -> None:
    """A subscriber whose account is revoked is told so."""
    town = make_town()
    reader = Reader(town.subscribe())
    town.broker.revoked("acme", "bob")
    assert reader.ended.value.code == StatusCode.UNAUTHENTICATED


def test_one_connection(make_town: MakeTown) -> None:
    """Several subscriptions may share a connection; one of them that is not read does not stop the others."""
    town = make_town(Limits(backlog=10))
    client = town.client()
    stuck = town.subscribe(client)
    reader = Reader(town.subscribe(client))
    for number in range(300):
        town.publish(b"%04d" % number * 500)
    assert len(reader.messages) == 300
    assert 0 < len(Reader(stuck).messages) < 300
