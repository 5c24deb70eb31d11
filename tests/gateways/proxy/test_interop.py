"""gRPC's public interop cases through a door, to a Python service in another process."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint

from microd.gateways.door import Door
from microd.gateways.gate import Gate
from microd.services.network.dialer import Dialer, tcp_endpoint
from microd.services.network.router import Router
from microd.services.registry.model import Node, Service
from microd.services.registry.service import Registry
from microd.testing.interop.cases import CASES
from microd.testing.interop.playing import Order, play_in_process
from microd.testing.process import PortPrinting

PLAYERS = ("channel", "blocking", "grpcio", "grpc-js")


@pytest_twisted.async_yield_fixture(scope="module")
async def door_port(known: Callable[[], Any]) -> AsyncIterator[int]:
    """The port of a door with the interop service behind it."""
    served = PortPrinting([sys.executable, "-m", "microd.testing.interop.serving"])
    clock: Any = reactor
    registry = Registry(clock)
    node = Node("one", f"127.0.0.1:{served.port}")
    await registry.register("micro", Service("grpc.testing", nodes=(node,)), 600)
    dialer = Dialer(clock, tcp_endpoint(reactor))
    door = Door([], Gate(known()), Router(registry, dialer), dialer, clock=clock)
    port: Any = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(door)
    yield port.getHost().port
    await port.stopListening()
    await door.drain(0)
    await dialer.stopService()
    registry.stopService()
    served.end()


_outcomes: dict[str, Mapping[str, str | None]] = {}


@pytest.mark.peer
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("player", PLAYERS)
@pytest_twisted.ensureDeferred
async def test_through_the_door(
    door_port: int, interop_players: Mapping[str, Sequence[str]], player: str, case: str
) -> None:
    """A client and a service understand each other through the door as the case describes."""
    if player not in _outcomes:
        order = Order(f"127.0.0.1:{door_port}", list(CASES), (("authorization", "Bearer root"),))
        _outcomes[player] = await play_in_process(reactor, interop_players[player], order)
    assert _outcomes[player][case] is None
