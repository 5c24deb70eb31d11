"""Readers that do not read: what waits for them stays bounded, and arrives once they do."""

import pytest

from microd.testing import http2_frames as h2
from microd.testing.bounded import bounded
from microd.testing.http2_frames import Kind, Setting
from microd.testing.http2_probe import ServerProbe, call, opening

MIB = 2**20


def test_reader_without_window(probe: ServerProbe) -> None:
    """A stream whose reader grants nothing stops its writer after a few messages."""
    peer = probe.peer((Setting.INITIAL_WINDOW_SIZE, 0))
    with bounded(4 * MIB):
        peer.send(call(1, "Pour", b"100000"))
        peer.wait(10)
    assert probe.poured <= 3


def test_reader_of_one_octet(probe: ServerProbe) -> None:
    """A reader that grants octet by octet keeps no more in memory than one that grants nothing."""
    peer = probe.peer((Setting.INITIAL_WINDOW_SIZE, 0))
    with bounded(4 * MIB):
        peer.send(call(1, "Pour", b"100000"))
        for _ in range(800):
            peer.deliver(h2.window_update(1, 1))
            peer.wait(1)
    assert probe.poured <= 3
    assert len(peer.body(1)) == 800
    assert max(len(f.payload) for f in peer.of(Kind.DATA, 1)) == 1


def test_many_readers_without_window(probe: ServerProbe) -> None:
    """So do many of them, each with its own stream."""
    peer = probe.peer((Setting.INITIAL_WINDOW_SIZE, 0))
    with bounded(16 * MIB):
        for n in range(100):
            peer.deliver(call(1 + 2 * n, "Pour", b"50000"))
    assert probe.poured <= 300


@pytest.mark.parametrize("size", [b"1000", b"10000", b"20000", b"50000"])
def test_transport_that_takes_nothing(probe: ServerProbe, size: bytes) -> None:
    """When the transport's buffer is full the writers stop, whatever the windows, and go on when it has drained."""
    peer = probe.peer((Setting.INITIAL_WINDOW_SIZE, 2**30))
    peer.send(h2.window_update(0, 2**30))
    peer.transport.reads = False
    with bounded(4 * MIB):
        peer.send(call(1, "Pour", size))
    assert probe.poured < 100
    peer.transport.reads = True
    peer.settle()
    assert peer.body(1) == h2.message(bytes(int(size))) * 1000


def test_unary_calls_over_a_transport_that_takes_nothing(probe: ServerProbe) -> None:
    """Answers that cannot be written occupy their streams, so that there is an end to them; none is lost."""
    peer = probe.peer((Setting.INITIAL_WINDOW_SIZE, 2**30))
    peer.send(h2.window_update(0, 2**30))
    limit = peer.announced()[Setting.MAX_CONCURRENT_STREAMS]
    peer.transport.reads = False
    octets = [call(1 + 2 * n, payload=b"%d," % n * 100) for n in range(limit)]
    with bounded(8 * MIB):
        peer.send(*octets)
    peer.transport.reads = True
    peer.settle()
    for n in range(limit):
        assert peer.body(1 + 2 * n) == h2.message(b"%d," % n * 100)
        assert peer.of(Kind.HEADERS, 1 + 2 * n)[-1].ends_stream


def test_answers_of_headers_over_a_transport_that_takes_nothing(probe: ServerProbe) -> None:
    """Refusals, which no window holds back, stop the reading when nobody takes them."""
    peer = probe.peer()
    peer.transport.reads = False
    with bounded(8 * MIB):
        for n in range(100_000):
            if peer.transport.producerState == "paused" or peer.closed:
                break
            peer.deliver(opening(1 + 2 * n, "Nothing", end=True))
    assert peer.transport.producerState == "paused"
    peer.transport.reads = True
    peer.settle()
    assert peer.transport.producerState == "producing"
