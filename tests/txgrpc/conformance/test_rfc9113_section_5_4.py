"""RFC 9113 sections 5.3, 5.4 and 5.5: priorities, error handling, extensions; and section 7, error codes."""

import pytest

from microd.testing import http2_frames as h2
from microd.testing.http2_frames import Code, Kind
from microd.testing.http2_peer import Peer
from microd.testing.http2_probe import ServerProbe, call, opening, request_fields

# 5.3 Prioritization


@pytest.mark.parametrize("depends_on", [0, 1, 2, 99, 1 << 31 | 1])
def test_5_3_2_priority_signals_are_ignored(peer: Peer, depends_on: int) -> None:
    """Deprecated priorities have no effect, not even those that make no sense."""
    block = depends_on.to_bytes(4, "big") + b"\xff" + h2.block(request_fields())
    peer.send(
        h2.priority(1, depends_on=depends_on),
        h2.frame(Kind.HEADERS, 0x24, 1, block),
        h2.priority(1, depends_on=depends_on),
        h2.data(1, h2.message(b"on"), end=True),
    )
    peer.expect_tolerance(1)
    assert peer.body(1) == h2.message(b"on")


# 5.4 Error handling


def test_5_4_1_goaway_names_the_last_stream(peer: Peer) -> None:
    """The GOAWAY of a connection error names the highest stream that was taken up."""
    peer.send(call(1), opening(7, "Collect"), h2.ping(b"short"))
    peer.expect_connection_error(Code.FRAME_SIZE_ERROR)
    assert peer.of(Kind.GOAWAY)[-1].last_stream == 7


def test_5_4_1_goaway_before_any_stream(peer: Peer) -> None:
    """Without streams the GOAWAY says that none was processed."""
    peer.send(h2.ping(b"short"))
    assert peer.of(Kind.GOAWAY)[-1].last_stream == 0


def test_5_4_1_nothing_is_processed_after_the_error(probe: ServerProbe) -> None:
    """Frames behind the one in error, even in the same piece, reach nobody and are not answered."""
    peer = probe.peer()
    said = len(peer.frames)
    peer.deliver(h2.data(0, b"") + call(1) + h2.ping() + h2.ping(b"short"))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)
    assert [f.kind for f in peer.frames[said:]] == [Kind.GOAWAY]
    assert not probe.started


def test_5_4_1_octets_after_the_end_are_dropped(probe: ServerProbe) -> None:
    """What the transport still delivers after the GOAWAY is dropped."""
    peer = probe.peer()
    peer.protocol.dataReceived(h2.data(0, b""))
    peer.protocol.dataReceived(call(1))
    peer.settle()
    peer.expect_connection_error(Code.PROTOCOL_ERROR)
    assert peer.goaways() == [Code.PROTOCOL_ERROR]
    assert not probe.started


def test_5_4_1_handlers_are_cancelled_by_a_connection_error(probe: ServerProbe) -> None:
    """Calls in flight end with their connection."""
    peer = probe.peer()
    peer.send(call(1, "Hang"), opening(3, "Deaf"), h2.data(0, b""))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)
    assert sorted(probe.finished) == ["Deaf", "Hang"]


def test_5_4_2_other_streams_go_on(probe: ServerProbe) -> None:
    """A stream error touches no other stream."""
    peer = probe.peer()
    peer.send(opening(1, "Collect"), opening(3, "Collect", [(b"Bad", b"")]), opening(5, "Collect"))
    peer.send(h2.data(1, h2.message(b"one"), end=True), h2.data(5, h2.message(b"five"), end=True))
    peer.expect_stream_error(3, Code.PROTOCOL_ERROR)
    assert peer.body(1) == h2.message(b"one")
    assert peer.body(5) == h2.message(b"five")


def test_5_4_2_reset_is_not_answered_by_reset(peer: Peer) -> None:
    """No RST_STREAM is sent in response to RST_STREAM, in any state."""
    peer.send(opening(1, "Deaf"), h2.rst_stream(1), h2.rst_stream(1))
    peer.send(opening(3, "Deaf", [(b"Bad", b"")]), h2.rst_stream(3), call(5), h2.rst_stream(5))
    assert not peer.resets(1)
    assert len(peer.resets(3)) == 1
    assert not peer.resets(5)


def test_5_4_2_reset_is_the_last_frame_of_a_stream(probe: ServerProbe) -> None:
    """After our RST_STREAM nothing follows on the stream."""
    peer = probe.peer()
    peer.send(call(1, "Pour", b"1000"))
    peer.send(h2.data(1, b"late"))
    peer.expect_stream_error(1, Code.STREAM_CLOSED)
    peer.send(h2.window_update(0, 10_000), h2.window_update(1, 10_000))
    of_stream = [f for f in peer.frames if f.stream == 1]
    assert of_stream[-1].kind == Kind.RST_STREAM


def test_5_4_3_a_lost_connection_ends_its_calls(probe: ServerProbe) -> None:
    """When the transport goes, so do the handlers."""
    peer = probe.peer()
    peer.send(call(1, "Hang"), opening(3, "Deaf"))
    peer.hang_up()
    assert sorted(probe.finished) == ["Deaf", "Hang"]


# 5.5 Extending HTTP/2


@pytest.mark.parametrize("payload", [b"", b"x" * 16_384])
def test_5_5_unknown_frames_are_discarded(peer: Peer, payload: bytes) -> None:
    """An unknown frame type is discarded whatever its size, between the frames of a call too."""
    unknown = h2.frame(0xFA, 0x1F, 1, payload)
    peer.send(opening(1, "Collect"), unknown, h2.data(1, h2.message(b"on")), unknown, h2.data(1, end=True))
    peer.expect_tolerance(1)
    assert peer.body(1) == h2.message(b"on")


def test_5_5_unknown_frame_inside_a_field_block(peer: Peer) -> None:
    """An extension frame in the middle of a field block is a connection error PROTOCOL_ERROR."""
    peer.send(h2.headers(1, b"", end_headers=False), h2.frame(0xFA, 0, 0))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@pytest.mark.parametrize("setting", [0, 7, 8, 9, 0xBEEF, 0xFFFF])
def test_5_5_unknown_settings_are_ignored(peer: Peer, setting: int) -> None:
    """Settings with unknown identifiers are ignored, and their frame acknowledged."""
    before = len([f for f in peer.of(Kind.SETTINGS) if f.is_ack])
    peer.send(h2.settings((setting, 2**32 - 1)))
    assert len([f for f in peer.of(Kind.SETTINGS) if f.is_ack]) == before + 1
    peer.expect_tolerance()


# 7 Error codes


@pytest.mark.parametrize("code", [0, 8, 14, 0xFF, 2**32 - 1])
def test_7_unknown_error_codes_in_rst_stream(probe: ServerProbe, code: int) -> None:
    """Any error code resets a stream alike."""
    peer = probe.peer()
    peer.send(opening(1, "Deaf"), h2.rst_stream(1, code))
    assert probe.finished == ["Deaf"]
    peer.expect_tolerance(1)


@pytest.mark.parametrize("code", [0, 1, 14, 0xFF, 2**32 - 1])
def test_7_unknown_error_codes_in_goaway(probe: ServerProbe, code: int) -> None:
    """A call in flight is answered after the client's GOAWAY, whatever its code."""
    peer = probe.peer()
    peer.send(opening(1, "Collect"), h2.goaway(0, code, b"bye"))
    peer.send(h2.data(1, h2.message(b"last"), end=True))
    assert peer.body(1) == h2.message(b"last")
