"""RFC 9113 section 3.4, the connection preface, from the side of a server."""

import pytest

from microd.testing import http2_frames as h2
from microd.testing.http2_frames import Code, Flag, Kind
from microd.testing.http2_peer import Handshake, Peer
from microd.testing.http2_probe import ServerProbe, call

PREFACE = h2.PREFACE


def test_3_4_server_settings_are_its_first_frame(fresh: Peer) -> None:
    """The first frame that a server sends is SETTINGS, whatever the client sends first."""
    fresh.send(PREFACE, h2.settings(), h2.ping(), call(1))
    assert fresh.frames[0].kind == Kind.SETTINGS
    assert not fresh.frames[0].flags & Flag.ACK


def test_3_4_settings_of_the_preface_are_acknowledged(fresh: Peer) -> None:
    """The SETTINGS of the client's preface are acknowledged once, after the server's own."""
    fresh.send(PREFACE, h2.settings())
    acks = [n for n, f in enumerate(fresh.frames) if f.kind == Kind.SETTINGS and f.is_ack]
    assert len(acks) == 1
    assert acks[0] > 0


def test_3_4_requests_need_not_wait_for_the_server(fresh: Peer) -> None:
    """A request right behind the client's preface is served."""
    fresh.send(PREFACE, h2.settings(), call(1, payload=b"early"))
    assert fresh.body(1) == h2.message(b"early")


def test_3_4_preface_octet_by_octet(fresh: Peer) -> None:
    """The preface may arrive in any number of pieces."""
    for octet in Handshake.client() + call(1):
        fresh.deliver(bytes([octet]))
    assert fresh.body(1) == h2.message(b"ping")


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(b"PRI * HTTP/1.1\r\n\r\nSM\r\n\r\n", id="version"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r", id="last-octet"),
        pytest.param(b"\0" * 24, id="zeros"),
        pytest.param(h2.settings() + h2.settings() + h2.settings(), id="frames-without-preface"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32), id="tls-hello"),
    ],
)
def test_3_4_invalid_preface(fresh: Peer, octets: bytes) -> None:
    """An invalid preface is a connection error PROTOCOL_ERROR; the GOAWAY may be left out."""
    fresh.send(octets, call(1))
    assert fresh.closed
    assert fresh.goaways() in ([], [Code.PROTOCOL_ERROR])
    assert not fresh.body(1)


def test_3_4_invalid_preface_is_told_by_its_first_wrong_octet(fresh: Peer) -> None:
    """Nobody waits for 24 octets of a preface which is wrong already."""
    fresh.send(b"GET / HT")
    assert fresh.closed


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(h2.ping(), id="ping"),
        pytest.param(call(1), id="headers"),
        pytest.param(h2.settings_ack(), id="settings-ack"),
        pytest.param(h2.window_update(0, 1), id="window-update"),
        pytest.param(h2.frame(0xBE, 0, 0, b"extension"), id="unknown"),
        pytest.param(h2.goaway(), id="goaway"),
        pytest.param(h2.priority(1), id="priority"),
    ],
)
def test_3_4_preface_without_settings(fresh: Peer, first: bytes) -> None:
    """The 24 octets MUST be followed by a SETTINGS frame, which is no acknowledgement."""
    fresh.send(PREFACE, first, h2.settings())
    assert fresh.closed
    assert fresh.goaways() in ([], [Code.PROTOCOL_ERROR])


def test_3_4_empty_settings_are_a_preface(fresh: Peer) -> None:
    """The SETTINGS frame of the preface may be empty."""
    fresh.send(PREFACE, h2.settings())
    fresh.expect_tolerance()


def test_3_4_second_preface(probe: ServerProbe) -> None:
    """The 24 octets in the middle of a connection are read as a frame header of impossible size."""
    peer = probe.peer()
    peer.send(PREFACE)
    peer.expect_connection_error(Code.FRAME_SIZE_ERROR, Code.PROTOCOL_ERROR)
