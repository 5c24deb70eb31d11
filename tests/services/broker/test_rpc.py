"""The broker's answers (spec micro-v3-server 6.5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from microd.kernel.caller import Account, Caller
from microd.kernel.errors import BadRequest, TooLarge, Unauthorized
from microd.services.broker import rpc
from microd.services.broker.model import Limits, Message
from microd.services.broker.service import Broker
from microd.testing.outcome import done
from microd.wire import broker_pb2 as pb

ACME = Account("ann", "user", "acme")
OTHER = Account("bob", "user", "other", scopes=("admin",))


class Wire:
    """Asks the broker's endpoints by name."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.broker = Broker(limits)
        self.endpoints = {each.name: each for each in rpc.endpoints(self.broker)}

    def publish(
        self,
        topic: str,
        message: pb.Message | None,
        account: Account | None = ACME,
        metadata: Mapping[str, str] | None = None,
    ) -> pb.Empty:
        caller = Caller(account, metadata=metadata or {})
        request = pb.PublishRequest(topic=topic, message=message)
        endpoint = self.endpoints["Broker.Publish"]
        assert endpoint.at_once is not None
        found: pb.Empty = done(endpoint.handler(request, caller))
        assert endpoint.at_once(pb.PublishRequest(topic="nobody", message=message), caller) == b""
        return found

    def subscribe(
        self, topic: str, queue: str = "", account: Account | None = ACME, **more: Any
    ) -> tuple[list[pb.Message], Deferred[None]]:
        got: list[pb.Message] = []
        stream = self.endpoints["Broker.Subscribe"].handler(
            pb.SubscribeRequest(topic=topic, queue=queue), Caller(account, **more)
        )

        async def read() -> None:
            async for message in stream:
                got.append(message)

        return got, Deferred.fromCoroutine(read())


@pytest.fixture
def wire() -> Wire:
    return Wire()


def test_paths(wire: Wire) -> None:
    """The endpoints carry the names of the contract; a subscription has no end of its own."""
    assert [each.path for each in wire.endpoints.values()] == [
        "/broker.Broker/Publish",
        "/broker.Broker/Subscribe",
    ]
    subscribe = wire.endpoints["Broker.Subscribe"]
    assert (subscribe.client_streaming, subscribe.server_streaming, subscribe.endless) == (False, True, True)


def test_round_trip(wire: Wire) -> None:
    """A message arrives with its body, its headers, and those of the publisher's request that may go along."""
    got, _ = wire.subscribe("news")
    sent = pb.Message(
        header={"Micro-Topic": "news", "Content-Type": "application/grpc+proto"}, body=b"\x00\xff"
    )
    metadata = {
        "authorization": "Bearer x",
        "cookie": "micro-token=x",
        "micro-namespace": "micro",
        "content-type": "application/grpc",
        "user-agent": "grpc-go/1",
        "micro-trace-id": "7",
    }
    assert wire.publish("news", sent, metadata=metadata) == pb.Empty()
    sent.header["Micro-Trace-Id"] = "7"
    assert got == [sent]


def test_topic(wire: Wire) -> None:
    """Who subscribes to a pattern is told of each message where it was published; others get what its publisher wrote."""
    literal, _ = wire.subscribe("orders.new")
    wild, _ = wire.subscribe("orders.*")
    wire.broker.publish("acme", "orders.new", Message({"A": "1"}, b"x", "_INBOX.1"))
    wire.broker.publish("acme", "orders.new", Message({"Micro-Topic": "mine"}, b"y"))
    assert [dict(each.header) for each in literal] == [
        {"A": "1", "Reply-To": "_INBOX.1"},
        {"Micro-Topic": "mine"},
    ]
    assert [dict(each.header) for each in wild] == [
        {"A": "1", "Reply-To": "_INBOX.1", "Micro-Topic": "orders.new"},
        {"Micro-Topic": "mine"},
    ]


def test_reply(wire: Wire) -> None:
    """Where an answer goes to is a header of the message, whatever its publisher wrote there."""
    got, _ = wire.subscribe("orders")
    wire.broker.publish("acme", "orders", Message({"A": "1", "Reply-To": "forged"}, b"x", "_INBOX.1"))
    wire.broker.publish("acme", "orders", Message({"A": "1"}, b"x"))
    assert [dict(each.header) for each in got] == [{"A": "1", "Reply-To": "_INBOX.1"}, {"A": "1"}]


def test_tenants(wire: Wire) -> None:
    """Topics belong to the namespace of the account, whatever the request's header says; admins are no exception."""
    got, _ = wire.subscribe("news")
    wire.publish("news", pb.Message(body=b"x"), OTHER, {"micro-namespace": "acme"})
    wire.publish("acme.news", pb.Message(body=b"x"), OTHER)
    assert got == []


def test_anonymous(wire: Wire) -> None:
    """Nobody gets in without an account."""
    with pytest.raises(Unauthorized, match=r"^access denied to namespace$"):
        wire.publish("news", pb.Message(), None)
    _, reading = wire.subscribe("news", account=None)
    with pytest.raises(Unauthorized, match=r"^access denied to namespace$"):
        done(reading)


def test_missing(wire: Wire) -> None:
    """What is missing is named in the words that clients know; a message needs no topic."""
    with pytest.raises(BadRequest, match=r"^Missing message$"):
        wire.publish("news", None)
    _, reading = wire.subscribe("")
    with pytest.raises(BadRequest, match=r"^Missing topic$"):
        done(reading)
    assert wire.publish("", pb.Message(body=b"x")) == pb.Empty()


def test_too_large() -> None:
    """A message over the limit is refused, and reaches nobody; the publisher's own metadata is not counted."""
    wire = Wire(Limits(message=100, headers=1))
    got, _ = wire.subscribe("news")
    with pytest.raises(TooLarge, match="101 bytes"):
        wire.publish("news", pb.Message(body=b"x" * 101))
    assert got == []
    wire.publish(
        "news", pb.Message(header={"a": "b"}, body=b"x" * 98), metadata={f"x-{n}": "y" for n in range(9)}
    )
    assert len(got[0].header) == 10


def test_gone(wire: Wire) -> None:
    """A subscriber whose call has ended is forgotten."""
    _, reading = wire.subscribe("news")
    assert wire.broker.subscriptions == 1
    reading.addErrback(lambda failure: None)
    reading.cancel()
    assert wire.broker.subscriptions == 0


def test_queue(wire: Wire) -> None:
    """Subscribers with the same queue share the messages."""
    one, _ = wire.subscribe("news", "workers")
    two, _ = wire.subscribe("news", "workers")
    for _ in range(4):
        wire.publish("news", pb.Message(body=b"x"))
    assert (len(one), len(two)) == (2, 2)


def test_per_connection() -> None:
    """Subscriptions are counted for the connection that the call came on."""
    wire = Wire(Limits(connection_streams=1))
    connection = object()
    wire.subscribe("a", connection=connection)
    _, second = wire.subscribe("b", connection=connection)
    with pytest.raises(Exception, match="this connection has 1 subscriptions"):
        done(second)
    _, other = wire.subscribe("b", peer="127.0.0.1:1")
    assert not other.called
