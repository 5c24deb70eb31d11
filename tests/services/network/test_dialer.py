"""Channels to nodes: made once, watched, closed when idle."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.task import Clock

from microd.services.network.dialer import DOWN, IDLE, MOST, Dialer, tcp_endpoint
from microd.testing.outcome import done
from microd.txgrpc import GrpcServer, Method, RpcError, ServerCall
from microd.txgrpc.memory import MemoryEndpoint


class Place:
    """A dialer, and one server which answers at every address."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.waiting: list[Deferred[bytes]] = []
        methods = {"/s.S/Say": Method("unary_unary", self.say), "/s.S/Wait": Method("unary_unary", self.wait)}
        self.server = GrpcServer(methods, clock=self.clock)
        self.endpoints: dict[str, MemoryEndpoint] = {}
        self.dialer = Dialer(self.clock, self.endpoint)
        self.dialer.startService()

    def endpoint(self, address: str) -> MemoryEndpoint:
        """Where an address is; each is asked for once."""
        assert address not in self.endpoints
        made = self.endpoints[address] = MemoryEndpoint(self.server)
        return made

    async def say(self, request: bytes, call: ServerCall) -> bytes:
        """Echo."""
        return request

    async def wait(self, request: bytes, call: ServerCall) -> bytes:
        """Answer later."""
        self.waiting.append(Deferred())
        return await self.waiting[-1]

    def call(self, address: str) -> bytes:
        """Call an address."""
        found: bytes = done(self.dialer.channel(address).unary_unary("/s.S/Say")(b"hi"))
        return found

    def drop(self, address: str, *, refusing: bool = True) -> None:
        """Lose an address."""
        self.endpoints[address].refusing = refusing
        self.endpoints[address].connections[-1][1].abortConnection()


@pytest.fixture
def place() -> Place:
    """A dialer."""
    return Place()


def test_one_channel(place: Place) -> None:
    """An address has one channel and one connection, whoever asks."""
    assert place.dialer.channel("a:1") is place.dialer.channel("a:1")
    assert place.dialer.channel("a:1") is not place.dialer.channel("b:1")
    place.call("a:1")
    place.call("a:1")
    assert len(place.endpoints["a:1"].connections) == 1


def test_authority(place: Place) -> None:
    """A node is told the address by which it was called."""
    assert place.dialer.channel("a:1").authority == "a:1"


def test_load(place: Place) -> None:
    """The load of an address is the number of calls which it is working on."""
    assert place.dialer.load("a:1") == 0
    method = place.dialer.channel("a:1").unary_unary("/s.S/Wait")
    calls = [method(b""), method(b"")]
    assert place.dialer.load("a:1") == 2
    calls[0].addErrback(lambda _: None)
    calls[0].cancel()
    assert place.dialer.load("a:1") == 1
    place.waiting[1].callback(b"")
    assert place.dialer.load("a:1") == 0


def test_down(place: Place) -> None:
    """An address whose connection drops is down at once, and up again once it was reached."""
    place.call("a:1")
    assert place.dialer.load("a:1") == 0
    place.drop("a:1")
    assert place.dialer.load("a:1") >= DOWN
    with pytest.raises(RpcError):
        place.call("a:1")
    assert place.dialer.load("a:1") >= DOWN
    place.endpoints["a:1"].refusing = False
    place.clock.pump([1.0] * 8)
    assert place.dialer.load("a:1") == 0


def test_reconnects(place: Place) -> None:
    """A lost address is dialled again with nobody calling it."""
    place.call("a:1")
    place.drop("a:1", refusing=False)
    place.clock.advance(1.5)
    assert len(place.endpoints["a:1"].connections) == 2
    assert place.dialer.load("a:1") == 0


def test_rests(place: Place) -> None:
    """An address which cannot be reached is not dialled all the time."""
    place.call("a:1")
    place.drop("a:1")
    endpoint = place.endpoints["a:1"]
    attempts = 0
    connect = endpoint.connect

    def counting(factory: Any) -> Any:
        nonlocal attempts
        attempts += 1
        return connect(factory)

    endpoint.connect = counting  # type: ignore[method-assign,assignment]
    place.clock.pump([0.1] * 1000)
    assert 10 < attempts < 100


def test_idle(place: Place) -> None:
    """A channel without calls is closed after a while; the next call opens another."""
    place.call("a:1")
    client, _ = place.endpoints["a:1"].connections[0]
    place.clock.pump([1.0] * int(IDLE - 2))
    assert not client.disconnected
    place.clock.pump([1.0] * 4)
    assert client.disconnected
    del place.endpoints["a:1"]
    assert place.call("a:1") == b"hi"


def test_busy_is_not_idle(place: Place) -> None:
    """A channel with a call is left alone, however long the call takes."""
    call = place.dialer.channel("a:1").unary_unary("/s.S/Wait")(b"")
    place.clock.pump([10.0] * 100)
    place.waiting[0].callback(b"done")
    assert done(call) == b"done"


def test_bounded(place: Place) -> None:
    """Channels are no more than so many; those unused longest make room, those in use never do."""
    waiting = place.dialer.channel("busy:1").unary_unary("/s.S/Wait")(b"")
    for number in range(MOST + 10):
        place.clock.advance(0.001)
        place.dialer.channel(f"a:{number}")
    assert len(place.dialer._lines) <= MOST
    assert "busy:1" in place.dialer._lines
    assert f"a:{MOST}" in place.dialer._lines
    assert "a:0" not in place.dialer._lines
    place.waiting[0].callback(b"done")
    assert done(waiting) == b"done"


def test_stop(place: Place) -> None:
    """Stopping closes every channel, and leaves no timer behind."""
    place.call("a:1")
    place.call("b:1")
    stopping = place.dialer.stopService()
    place.clock.advance(0)
    done(stopping)
    assert all(endpoint.connections[0][0].disconnected for endpoint in place.endpoints.values())
    assert place.clock.getDelayedCalls() == []


@pytest.mark.parametrize(
    ("address", "kind"),
    [("127.0.0.1:80", TCP4ClientEndpoint), ("[::1]:80", TCP6ClientEndpoint), ("node-7:80", HostnameEndpoint)],
)
def test_endpoints(address: str, kind: type[object]) -> None:
    """An address may hold an IPv4 or IPv6 address, or a name."""
    assert isinstance(tcp_endpoint(reactor)(address), kind)


def test_figures(place: Place) -> None:
    """Operators see how many nodes were called, how many of them are lost, and what is under way."""
    place.call("a:1")
    place.call("b:1")
    place.dialer.channel("b:1").unary_unary("/s.S/Wait")(b"").addErrback(lambda _: None)
    place.drop("a:1")
    assert [figure.samples[0][1] for figure in place.dialer.figures()] == [2, 1, 1]
