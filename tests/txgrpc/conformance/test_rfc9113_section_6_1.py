"""RFC 9113 sections 6.1 to 6.4: DATA, HEADERS, PRIORITY, RST_STREAM, from the side of a server."""

import pytest

from microd.testing import http2_frames as h2
from microd.testing.http2_frames import Code, Flag, Kind
from microd.testing.http2_peer import Peer
from microd.testing.http2_probe import ServerProbe, call, opening, request_fields

BLOCK = h2.block(request_fields())
PRIORITY = bytes(4) + b"\x0f"

# 6.1 DATA


def test_6_1_data_on_stream_zero(peer: Peer) -> None:
    """DATA on stream 0 is a connection error PROTOCOL_ERROR."""
    peer.send(h2.data(0, b"x"))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@pytest.mark.parametrize("pad", [0, 1, 16, 255])
def test_6_1_padding_is_removed(peer: Peer, pad: int) -> None:
    """Padding of any length up to 255 octets is no part of the data."""
    peer.send(opening(1, "Collect"), h2.data(1, h2.message(b"padded"), pad=pad, end=True))
    assert peer.body(1) == h2.message(b"padded")


def test_6_1_nothing_but_padding(peer: Peer) -> None:
    """A frame may consist of its padding alone."""
    peer.send(opening(1, "Collect"), h2.data(1, pad=9), h2.data(1, h2.message(b"x"), end=True))
    assert peer.body(1) == h2.message(b"x")


def test_6_1_end_of_stream_on_padding(peer: Peer) -> None:
    """END_STREAM counts on a frame of padding alone."""
    peer.send(opening(1, "Collect"), h2.data(1, h2.message(b"x")), h2.data(1, pad=9, end=True))
    assert peer.body(1) == h2.message(b"x")


@pytest.mark.parametrize(("pad", "octets"), [(1, 0), (5, 4), (6, 5), (255, 5), (255, 254)])
def test_6_1_padding_as_long_as_the_payload(peer: Peer, pad: int, octets: int) -> None:
    """Padding as long as the frame's payload or longer is a connection error PROTOCOL_ERROR."""
    peer.send(opening(1, "Collect"), h2.frame(Kind.DATA, Flag.PADDED, 1, bytes([pad]) + bytes(octets)))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


def test_6_1_padded_without_pad_length(peer: Peer) -> None:
    """A padded frame which lacks even the pad length is in error."""
    peer.send(opening(1, "Collect"), h2.frame(Kind.DATA, Flag.PADDED, 1))
    peer.expect_stream_or_connection_error(1, Code.FRAME_SIZE_ERROR, Code.PROTOCOL_ERROR)


def test_6_1_empty_data(peer: Peer) -> None:
    """DATA of zero length is legal, with and without END_STREAM."""
    peer.send(opening(1, "Collect"), h2.data(1), h2.data(1, h2.message(b"x")), h2.data(1, end=True))
    assert peer.body(1) == h2.message(b"x")


# 6.2 HEADERS


@pytest.mark.parametrize("end_headers", [True, False])
def test_6_2_headers_on_stream_zero(peer: Peer, end_headers: bool) -> None:
    """HEADERS on stream 0 is a connection error PROTOCOL_ERROR, told before its block is complete."""
    peer.send(h2.headers(0, BLOCK, end_headers=end_headers))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@pytest.mark.parametrize("pad", [0, 1, 255])
@pytest.mark.parametrize("weighted", [False, True])
def test_6_2_padding_and_priority_are_removed(peer: Peer, pad: int, weighted: bool) -> None:
    """Padding and priority fields are no part of the field block."""
    flags = Flag.END_HEADERS | Flag.PADDED | (Flag.PRIORITY if weighted else 0)
    payload = h2.padded((PRIORITY if weighted else b"") + BLOCK, pad)
    peer.send(h2.frame(Kind.HEADERS, flags, 1, payload), h2.data(1, h2.message(b"x"), end=True))
    assert peer.body(1) == h2.message(b"x")


@pytest.mark.parametrize("pad", [3, 4, 255])
def test_6_2_padding_as_long_as_the_payload(peer: Peer, pad: int) -> None:
    """Padding as long as the frame's payload or longer is a connection error PROTOCOL_ERROR."""
    peer.send(h2.frame(Kind.HEADERS, Flag.END_HEADERS | Flag.PADDED, 1, bytes([pad, 0, 0])))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


def test_6_2_padding_reaches_into_the_priority(peer: Peer) -> None:
    """Padding may not overlap the priority fields."""
    payload = bytes([6]) + PRIORITY + bytes(5)
    peer.send(h2.frame(Kind.HEADERS, Flag.END_HEADERS | Flag.PADDED | Flag.PRIORITY, 1, payload))
    peer.expect_connection_error(Code.PROTOCOL_ERROR, Code.FRAME_SIZE_ERROR)


@pytest.mark.parametrize(
    ("flags", "payload"),
    [
        pytest.param(Flag.PADDED, b"", id="no-pad-length"),
        pytest.param(Flag.PRIORITY, b"", id="no-priority"),
        pytest.param(Flag.PRIORITY, bytes(4), id="short-priority"),
        pytest.param(Flag.PADDED | Flag.PRIORITY, bytes(5), id="pad-length-and-short-priority"),
    ],
)
def test_6_2_too_small_for_its_flags(peer: Peer, flags: int, payload: bytes) -> None:
    """HEADERS too short for what its flags promise is a connection error."""
    peer.send(h2.frame(Kind.HEADERS, Flag.END_HEADERS | flags, 1, payload))
    peer.expect_connection_error(Code.FRAME_SIZE_ERROR, Code.PROTOCOL_ERROR)


@pytest.mark.parametrize(
    ("flags", "payload"), [(0x20, PRIORITY), (0x08, b"\x00"), (0x28, b"\x04" + PRIORITY + bytes(4))]
)
def test_6_2_no_fragment_behind_its_fields(peer: Peer, flags: int, payload: bytes) -> None:
    """HEADERS may consist of padding and priority alone, with all of the block in CONTINUATION."""
    peer.send(h2.frame(Kind.HEADERS, flags, 1, payload), h2.continuation(1, BLOCK))
    peer.send(h2.data(1, h2.message(b"x"), end=True))
    assert peer.body(1) == h2.message(b"x")


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(h2.data(1, b""), id="data"),
        pytest.param(h2.ping(), id="ping"),
        pytest.param(h2.continuation(3, b""), id="another-stream"),
        pytest.param(opening(3), id="another-headers"),
    ],
)
def test_6_2_without_end_headers_only_continuation_follows(peer: Peer, other: bytes) -> None:
    """HEADERS without END_HEADERS MUST be followed by CONTINUATION of its stream."""
    peer.send(h2.headers(1, BLOCK, end_headers=False), other)
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


def test_6_2_end_stream_before_continuation(peer: Peer) -> None:
    """END_STREAM on HEADERS holds although CONTINUATION follows."""
    block = h2.block(request_fields("Collect"))
    peer.send(h2.headers(1, block[:7], end=True, end_headers=False), h2.continuation(1, block[7:]))
    assert peer.body(1) == h2.message(b"")
    peer.send(h2.data(1, b"late"))
    assert not peer.goaways() or peer.goaways() == [Code.STREAM_CLOSED]


# 6.3 PRIORITY


def test_6_3_priority_on_stream_zero(peer: Peer) -> None:
    """PRIORITY on stream 0 is a connection error PROTOCOL_ERROR."""
    peer.send(h2.priority(0))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@pytest.mark.parametrize("octets", [0, 1, 4, 6, 10])
def test_6_3_length(probe: ServerProbe, octets: int) -> None:
    """PRIORITY of other than five octets is a stream error FRAME_SIZE_ERROR."""
    peer = probe.peer()
    peer.send(opening(1, "Deaf"), h2.frame(Kind.PRIORITY, 0, 1, bytes(octets)))
    peer.expect_stream_error(1, Code.FRAME_SIZE_ERROR)
    assert probe.finished == ["Deaf"]


def test_6_3_length_on_an_idle_stream(peer: Peer) -> None:
    """On an idle stream, where no RST_STREAM may be sent, the connection takes the error."""
    peer.send(h2.frame(Kind.PRIORITY, 0, 1, bytes(4)))
    peer.expect_stream_or_connection_error(1, Code.FRAME_SIZE_ERROR)


def test_6_3_not_inside_a_field_block(peer: Peer) -> None:
    """PRIORITY cannot come between the frames of a field block."""
    peer.send(h2.headers(1, b"", end_headers=False), h2.priority(3))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


# 6.4 RST_STREAM


def test_6_4_reset_of_stream_zero(peer: Peer) -> None:
    """RST_STREAM on stream 0 is a connection error PROTOCOL_ERROR."""
    peer.send(h2.rst_stream(0))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@pytest.mark.parametrize("stream", [1, 2, 7])
def test_6_4_reset_of_an_idle_stream(peer: Peer, stream: int) -> None:
    """RST_STREAM of an idle stream is a connection error PROTOCOL_ERROR."""
    peer.send(h2.rst_stream(stream))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@pytest.mark.parametrize("octets", [0, 3, 5, 8])
def test_6_4_length(peer: Peer, octets: int) -> None:
    """RST_STREAM of other than four octets is a connection error FRAME_SIZE_ERROR."""
    peer.send(opening(1, "Deaf"), h2.frame(Kind.RST_STREAM, 0, 1, bytes(octets)))
    peer.expect_connection_error(Code.FRAME_SIZE_ERROR)


def test_6_4_nothing_is_sent_after_their_reset(probe: ServerProbe) -> None:
    """After RST_STREAM of the peer no frame is sent on the stream, though its answer was under way."""
    peer = probe.peer()
    peer.send(call(1, "Pour", b"1000"))
    said = len(peer.frames)
    peer.send(h2.rst_stream(1), h2.window_update(0, 100_000))
    assert not [f for f in peer.frames[said:] if f.stream == 1]
    peer.expect_tolerance(1)
