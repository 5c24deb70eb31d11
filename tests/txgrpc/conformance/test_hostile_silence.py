"""What is not HTTP/2, never finishes, or says nothing more; and frames of every flag and length."""

import time

import pytest

from microd.testing import http2_frames as h2
from microd.testing.http2_frames import Flag, Kind
from microd.testing.http2_peer import Handshake, Peer
from microd.testing.http2_probe import ServerProbe, opening, request_fields

FIELDS = h2.block(request_fields())


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", id="http-1.1"),
        pytest.param(b"POST /greeter HTTP/1.0\r\n\r\n", id="http-1.0"),
        pytest.param(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"GET / HTTP/1.1\r\n\r\n", id="http-1.1-behind-preface"
        ),
        pytest.param(bytes(range(256)), id="octets"),
        pytest.param(b"\n", id="newline"),
    ],
)
def test_not_http2(fresh: Peer, octets: bytes) -> None:
    """Whoever does not speak HTTP/2 is hung up on."""
    fresh.send(octets)
    assert fresh.closed


def test_field_block_that_never_finishes(probe: ServerProbe) -> None:
    """A field block which drips in slowly is not waited for without limit."""
    peer = probe.peer()
    peer.send(h2.headers(1, FIELDS[:10], end_headers=False))
    peer.wait(600)
    assert peer.closed


def test_frame_that_never_finishes(probe: ServerProbe) -> None:
    """An octet a second makes no frame in any reasonable time."""
    peer = probe.peer()
    frame = h2.headers(1, FIELDS + h2.literal(b"x", b"v" * 4000))
    for octet in frame[:4000]:
        peer.deliver(bytes([octet]))
        peer.wait(1)
        if peer.closed:
            break
    assert peer.closed


def test_preface_that_never_finishes(probe: ServerProbe) -> None:
    """A connection that does not introduce itself is not kept."""
    silent, half, bare = probe.connect(), probe.connect(), probe.connect()
    half.send(h2.PREFACE[:10])
    bare.send(h2.PREFACE)
    for peer in (silent, half, bare):
        peer.wait(120)
        assert peer.closed


def test_octet_by_octet(probe: ServerProbe) -> None:
    """A large frame in single octets costs no more than its octets' worth of time."""
    peer = probe.connect()
    whole = Handshake.client() + opening(1, "Collect") + h2.data(1, h2.message(bytes(16_000)), end=True)
    began = time.process_time()
    for octet in whole:
        peer.protocol.dataReceived(bytes([octet]))
    assert time.process_time() - began < 2.0
    peer.settle()
    assert len(peer.body(1)) == 16_005


def test_flags_and_types_of_every_value(probe: ServerProbe) -> None:
    """Every type with every flag on streams old and new is answered, never raised."""
    for kind in range(12):
        for flags in range(256):
            peer = probe.peer()
            peer.send(opening(1, "Deaf"))
            for stream in (0, 1, 2, 3):
                peer.send(h2.frame(kind, flags, stream, bytes(8)))
            assert peer.closed or not peer.goaways()
            if not peer.closed:
                peer.hang_up()


def test_padding_flag_with_every_length(probe: ServerProbe) -> None:
    """Pad lengths around the payload's length are told apart to the octet."""
    for pad in range(12):
        peer = probe.peer()
        peer.send(opening(1, "Deaf"), h2.frame(Kind.DATA, Flag.PADDED, 1, bytes([pad]) + bytes(6)))
        assert peer.closed == (pad > 6)


def test_peer_that_falls_silent(probe: ServerProbe) -> None:
    """A peer that says nothing more is asked with PING, and dropped with its calls when it does not answer."""
    peer = probe.peer()
    peer.send(opening(1, "Deaf"))
    peer.wait(24 * 3600, step=10)
    assert [f for f in peer.of(Kind.PING) if not f.is_ack]
    assert peer.closed
    assert probe.finished == ["Deaf"]


def test_peer_that_answers_pings_is_kept(probe: ServerProbe) -> None:
    """A quiet stream of a living peer is no offence, however long."""
    peer = probe.peer()
    peer.send(opening(1, "Collect"))
    for _ in range(400):
        peer.wait(10, step=5)
        peer.send(*(h2.ping(f.payload, ack=True) for f in peer.of(Kind.PING) if not f.is_ack))
        peer.frames.clear()
    peer.send(h2.data(1, h2.message(b"patience"), end=True))
    assert peer.body(1) == h2.message(b"patience")
