"""The reference which the NATS door is compared with says what nats-server says."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from random import Random

import pytest

from microd.testing import nats_wire as wire
from microd.testing.nats_client import RawNats
from microd.testing.nats_reference import Reference, comparable
from microd.testing.nats_traffic import Traffic, mutated
from microd.testing.nats_wire import Heard
from tests.compat.nats.peers import ALICE, NatsServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """nats-server."""
    server = NatsServer(tmp_path_factory.mktemp("nats") / "server", ALICE, 1 << 20)
    server.start()
    yield server
    server.stop()


def _told(server: NatsServer, stream: bytes) -> list[Heard]:
    with RawNats(server.address) as client:
        with contextlib.suppress(OSError):
            client.send(stream)
            client.socket.shutdown(socket.SHUT_WR)
        return comparable(client.until_end())


@pytest.mark.peer
@pytest.mark.parametrize("verbose", [False, True])
def test_legal(server: NatsServer, verbose: bool) -> None:
    """All that it says to a client which abides by the protocol is what nats-server says."""
    for seed in range(40):
        stream = wire.connect(verbose=verbose, **ALICE.options)
        stream += b"".join(Traffic(seed).operations(60)) + wire.PING
        reference = Reference()
        assert reference.run(stream), stream[reference.read : reference.read + 100]
        assert _told(server, stream) == comparable(reference.said), seed


@pytest.mark.peer
def test_mutated(server: NatsServer) -> None:
    """Up to the point where a client leaves the protocol, too."""
    left = 0
    for seed in range(60):
        opening = wire.connect(verbose=True, **ALICE.options)
        stream = opening + mutated(Random(seed), b"".join(Traffic(seed).operations(30)))
        reference = Reference()
        left += not reference.run(stream)
        expected = comparable(reference.said)
        told = _told(server, stream[: reference.read])
        assert told == expected, seed
    assert 20 < left < 60
