"""The public interop cases between four clients and three servers, wherever one side is ours."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from microd.testing.interop.cases import CASES, play
from microd.testing.interop.channel_player import ChannelPlayer
from microd.testing.interop.service import TestService
from microd.testing.outcome import done
from microd.txgrpc import GrpcServer
from microd.txgrpc.memory import connect

PAIRS = [
    ("channel", "microd"),
    ("blocking", "microd"),
    ("grpcio", "microd"),
    ("grpc-js", "microd"),
    ("channel", "grpcio"),
    ("blocking", "grpcio"),
    ("channel", "grpc-js"),
    ("blocking", "grpc-js"),
]


@pytest.mark.peer
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("player", "server"), PAIRS)
@pytest_twisted.ensureDeferred
async def test_between_processes(
    outcome_of: Callable[[str, str], Awaitable[Mapping[str, str | None]]], player: str, server: str, case: str
) -> None:
    """The client and the server understand each other as the case describes."""
    assert (await outcome_of(player, server))[case] is None


@pytest.mark.parametrize("case", CASES)
def test_in_memory(case: str) -> None:
    """Our client and our server understand each other with no network in between."""
    clock = Clock()
    server = GrpcServer(TestService(clock).methods(), clock=clock)
    channel = connect(server, clock)
    playing = Deferred.fromCoroutine(play(ChannelPlayer(channel), [case]))
    # Only a case about time has anything to wait for.
    clock.advance(0.001)
    assert done(playing) == {case: None}
