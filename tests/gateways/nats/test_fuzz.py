"""Whatever a client says, however it is cut: the same answer, no exception, no memory kept."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microd.testing import nats_wire as wire
from microd.testing.http2_traffic import examples
from microd.testing.nats_door import MemoryDoor
from microd.testing.nats_peer import NatsPeer
from microd.testing.nats_reference import Reference, comparable
from microd.testing.nats_traffic import Traffic, mutated, pieces
from microd.testing.nats_wire import Heard


def _said(chunks: Sequence[bytes], opening: bytes) -> NatsPeer:
    """A client which says all of that, as far as it may."""
    peer = MemoryDoor().peer()
    peer.send(opening)
    peer.send(*chunks)
    return peer


def _told(peer: NatsPeer) -> list[Heard]:
    return comparable(peer.heard)


def _expected(opening: bytes, stream: bytes) -> list[Heard]:
    reference = Reference()
    assert reference.run(opening + stream)
    return comparable(reference.said)


@pytest.mark.parametrize("verbose", [False, True])
def test_reference(verbose: bool) -> None:
    """Legal traffic is answered as the reference answers it."""
    for seed in range(60):
        opening, stream = wire.connect(verbose=verbose), b"".join(Traffic(seed).operations(80))
        peer = _said([stream], opening)
        assert _told(peer) == _expected(opening, stream), seed
        assert peer.alive()


def test_split() -> None:
    """It is the same however it is cut."""
    for seed in range(40):
        opening, stream = wire.connect(verbose=bool(seed % 2)), b"".join(Traffic(seed).operations(60))
        cut = pieces(Random(seed), opening + stream)
        assert _told(_said(cut, b"")) == _expected(opening, stream), seed


def test_octet_by_octet() -> None:
    """It is the same an octet at a time."""
    for seed in range(8):
        opening, stream = wire.connect(), b"".join(Traffic(seed).operations(40))
        cut = [bytes((octet,)) for octet in opening + stream]
        assert _told(_said(cut, b"")) == _expected(opening, stream), seed


def test_line_ends_by_octets() -> None:
    """Payloads which are nothing but line ends, or end in the middle of one, are as whole when they come by octets."""
    for payload in (
        b"\r\n" * 700,
        b"\n" * 1500,
        b"\r" * 1500,
        b"x" * 600 + b"\r\nPING\r\n" * 80,
        b"y" * 509 + b"\r\n",
    ):
        stream = (
            wire.sub("a", 1) + wire.pub("a", b"1:" + payload) + wire.PING + wire.pub("a", b"2:") + wire.PING
        )
        peer = _said([bytes((octet,)) for octet in stream], wire.connect())
        assert _told(peer) == _expected(wire.connect(), stream)


def test_large() -> None:
    """Payloads of many reads are as whole as small ones."""
    opening, stream = wire.connect(), b"".join(Traffic(1, most=300_000).operations(200))
    cut = pieces(Random(1), stream, most=5000)
    assert _told(_said(cut, opening)) == _expected(opening, stream)


def test_mutated() -> None:
    """Up to the point where a client leaves the protocol it is answered; then it is told so, or goes on."""
    ended = 0
    for seed in range(300):
        opening = wire.connect(verbose=True)
        stream = mutated(Random(seed), b"".join(Traffic(seed).operations(25)))
        reference = Reference()
        reference.run(opening + stream)
        peer = _said([stream], opening)
        expected = comparable(reference.said)
        assert _told(peer)[: len(expected)] == expected, (seed, stream)
        if peer.closed:
            ended += 1
            assert peer.heard[-1].verb == "-ERR", (seed, stream)
    assert 50 < ended < 300


def test_mutated_and_split() -> None:
    """What is against the protocol has the same effect however it is cut."""
    for seed in range(200):
        opening = wire.connect(verbose=True)
        stream = mutated(Random(seed), b"".join(Traffic(seed).operations(15)))
        whole, cut = _said([stream], opening), _said(pieces(Random(seed), stream), opening)
        assert (_told(cut), cut.closed) == (_told(whole), whole.closed), (seed, stream)


@examples(150)
@given(st.lists(st.binary(max_size=60) | st.sampled_from([b"PUB a 3\r\n", b"SUB a ", b"\r\n", b"CONNECT {"])))
def test_anything(chunks: list[bytes]) -> None:
    """Octets which mean nothing raise nothing, before CONNECT and after it."""
    for opening in (b"", wire.connect()):
        peer = _said(chunks, opening)
        assert peer.closed or peer.transport.producerState == "producing"
        if peer.closed:
            assert peer.heard[-1].verb == "-ERR"


def test_nothing_stays() -> None:
    """Once they are gone, nothing is left of clients who said anything at all, nor of what they subscribed to."""
    door = MemoryDoor()

    def visit(seed: int) -> None:
        peer = door.peer()
        peer.send(wire.connect(verbose=True))
        peer.send(*pieces(Random(seed), mutated(Random(seed), b"".join(Traffic(seed).operations(30)))))
        peer.hang_up()

    for seed in range(100):
        visit(seed)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for seed in range(100):
            visit(seed)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert not door.sessions
    assert not door.broker.subscriptions
    assert not door.clock.getDelayedCalls()
    assert grown < 20_000, grown
