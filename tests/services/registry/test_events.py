"""What changes is published to C{registry.events} of the namespace that it happens in."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from microd.services.broker.model import Message
from microd.services.broker.service import Broker
from microd.services.registry.events import TOPIC, Announcer
from microd.services.registry.model import Node, Service
from microd.services.registry.service import Registry
from microd.testing.outcome import done
from microd.wire import registry_pb2 as pb

ONE, TWO = Node("g-1", "127.0.0.1:4001"), Node("g-2", "127.0.0.1:4002")
GREETER = Service("greeter", nodes=(ONE,))
NOW = 1_700_000_000


class Town:
    """A registry which tells a broker."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.broker = Broker()
        self.registry = Registry(self.clock, announce=Announcer(self.broker))

    def listen(self, namespace: str) -> list[Message]:
        """All that is published there from now on."""
        heard: list[Message] = []

        async def read() -> None:
            async for message in self.broker.subscribe(namespace, TOPIC):
                heard.append(message)

        Deferred.fromCoroutine(read())
        return heard

    def register(self, *nodes: Node, namespace: str = "acme", ttl: float = 60) -> None:
        done(self.registry.register(namespace, Service("greeter", nodes=nodes), ttl))


@pytest.fixture
def town() -> Town:
    return Town()


def events(heard: list[Message]) -> list[tuple[str, list[str]]]:
    found = [pb.Event.FromString(message.body) for message in heard]
    return [(pb.EventType.Name(each.type), [node.id for node in each.service.nodes]) for each in found]


def test_each_change(town: Town) -> None:
    """Coming, changing, going and running out are told; renewing a lease is no change."""
    heard = town.listen("acme")
    town.register(ONE)
    town.register(ONE)
    town.register(TWO, ttl=10)
    town.clock.advance(11)
    done(town.registry.deregister("acme", GREETER))
    assert events(heard) == [
        ("Create", ["g-1"]),
        ("Update", ["g-1", "g-2"]),
        ("Update", ["g-1"]),
        ("Delete", ["g-1"]),
    ]


def test_event(town: Town) -> None:
    """An event says when it was, in nanoseconds, and has an id of its own; its headers say how to read it."""
    heard = town.listen("acme")
    town.register(ONE)
    town.clock.advance(61)
    one, two = (pb.Event.FromString(message.body) for message in heard)
    assert (one.timestamp, two.timestamp) == (NOW * 10**9, (NOW + 60 + 1) * 10**9)
    assert len({one.id, two.id}) == 2
    assert one.service.metadata["domain"] == "acme"
    assert heard[0].header == {"Micro-Topic": "registry.events", "Content-Type": "application/grpc+proto"}


def test_only_its_own(town: Town) -> None:
    """Another namespace hears nothing of it, and neither does the platform's."""
    others = [town.listen("other"), town.listen("micro")]
    town.register(ONE)
    town.register(ONE, namespace="other")
    assert [len(heard) for heard in others] == [1, 0]
