"""Servers to play gRPC's interop cases against, and players: ours in both forms, grpcio's, grpc-js's."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from twisted.internet import reactor

from microd.testing.interop.cases import CASES
from microd.testing.interop.playing import Order, play_in_process
from microd.testing.process import PortPrinting

PEERS = Path(__file__).parents[2] / "peers"

SERVERS = {
    "microd": [sys.executable, "-m", "microd.testing.interop.serving"],
    "grpcio": [sys.executable, str(PEERS / "grpcio_server.py")],
    "grpc-js": ["node", str(PEERS / "interop_server.js")],
}

Outcome = Callable[[str, str], Awaitable[Mapping[str, str | None]]]


@pytest.fixture(scope="session")
def ports() -> Iterator[dict[str, int]]:
    """The ports of the three servers, each a process."""
    running = {name: PortPrinting(command) for name, command in SERVERS.items()}
    try:
        yield {name: server.port for name, server in running.items()}
    finally:
        for server in running.values():
            server.end()


@pytest.fixture(scope="session")
def outcome_of(ports: dict[str, int], interop_players: Mapping[str, Sequence[str]]) -> Outcome:
    """Plays all the cases once for a player and a server; what went wrong, by case."""
    known: dict[tuple[str, str], Mapping[str, str | None]] = {}

    async def outcome(player: str, server: str) -> Mapping[str, str | None]:
        if (player, server) not in known:
            # The libraries of the others do not let a server see how a message was compressed.
            order = Order(f"127.0.0.1:{ports[server]}", list(CASES), probe=server == "microd")
            known[player, server] = await play_in_process(reactor, interop_players[player], order)
        return known[player, server]

    return outcome
