"""RFC 9113 sections 6.5 to 6.10: SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION, for a server."""

import pytest

from microd.testing import http2_frames as h2
from microd.testing.http2_frames import Code, Flag, Kind, Setting
from microd.testing.http2_peer import Peer
from microd.testing.http2_probe import ServerProbe, call, opening, request_fields

BLOCK = h2.block(request_fields())

# 6.5 SETTINGS


def test_6_5_ack_with_payload(peer: Peer) -> None:
    """An acknowledgement with a payload is a connection error FRAME_SIZE_ERROR."""
    peer.send(h2.frame(Kind.SETTINGS, Flag.ACK, 0, bytes(6)))
    peer.expect_connection_error(Code.FRAME_SIZE_ERROR)


@pytest.mark.parametrize("flags", [0, Flag.ACK])
def test_6_5_settings_of_a_stream(peer: Peer, flags: int) -> None:
    """SETTINGS on any stream but 0 is a connection error PROTOCOL_ERROR."""
    peer.send(opening(1, "Deaf"), h2.frame(Kind.SETTINGS, flags, 1))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@pytest.mark.parametrize("octets", [1, 5, 7, 17])
def test_6_5_length(peer: Peer, octets: int) -> None:
    """SETTINGS whose length is no multiple of six is a connection error FRAME_SIZE_ERROR."""
    peer.send(h2.frame(Kind.SETTINGS, 0, 0, bytes(octets)))
    peer.expect_connection_error(Code.FRAME_SIZE_ERROR)


@pytest.mark.parametrize("value", [2, 3, 2**31, 2**32 - 1])
def test_6_5_2_enable_push_above_one(peer: Peer, value: int) -> None:
    """SETTINGS_ENABLE_PUSH other than 0 or 1 is a connection error PROTOCOL_ERROR."""
    peer.send(h2.settings((Setting.ENABLE_PUSH, value)))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@pytest.mark.parametrize("value", [0, 1])
def test_6_5_2_enable_push_of_a_client(peer: Peer, value: int) -> None:
    """A client may enable or disable push."""
    peer.send(h2.settings((Setting.ENABLE_PUSH, value)))
    peer.expect_tolerance()


def test_6_5_2_a_server_does_not_enable_push(peer: Peer) -> None:
    """A server MUST NOT set SETTINGS_ENABLE_PUSH to 1."""
    assert peer.announced().get(Setting.ENABLE_PUSH, 0) == 0


@pytest.mark.parametrize("value", [2**31, 2**32 - 1])
def test_6_5_2_initial_window_size_above_max(peer: Peer, value: int) -> None:
    """SETTINGS_INITIAL_WINDOW_SIZE above 2^31-1 is a connection error FLOW_CONTROL_ERROR."""
    peer.send(h2.settings((Setting.INITIAL_WINDOW_SIZE, value)))
    peer.expect_connection_error(Code.FLOW_CONTROL_ERROR)


@pytest.mark.parametrize("value", [0, 1, 16_383, 2**24, 2**32 - 1])
def test_6_5_2_max_frame_size_out_of_range(peer: Peer, value: int) -> None:
    """SETTINGS_MAX_FRAME_SIZE outside 2^14 to 2^24-1 is a connection error PROTOCOL_ERROR."""
    peer.send(h2.settings((Setting.MAX_FRAME_SIZE, value)))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        (Setting.HEADER_TABLE_SIZE, 0),
        (Setting.HEADER_TABLE_SIZE, 2**32 - 1),
        (Setting.MAX_CONCURRENT_STREAMS, 0),
        (Setting.MAX_CONCURRENT_STREAMS, 2**32 - 1),
        (Setting.INITIAL_WINDOW_SIZE, 2**31 - 1),
        (Setting.MAX_FRAME_SIZE, 2**14),
        (Setting.MAX_FRAME_SIZE, 2**24 - 1),
        (Setting.MAX_HEADER_LIST_SIZE, 2**32 - 1),
    ],
)
def test_6_5_2_extreme_values(peer: Peer, setting: int, value: int) -> None:
    """Every value of the legal range is taken, and calls are served under it."""
    peer.send(h2.settings((setting, value)), call(1))
    assert peer.body(1) == h2.message(b"ping")
    peer.expect_tolerance(1)


def test_6_5_2_an_illegal_value_among_legal_ones(peer: Peer) -> None:
    """Each value of a frame is checked."""
    peer.send(h2.settings((Setting.HEADER_TABLE_SIZE, 100), (0xBEEF, 1), (Setting.MAX_FRAME_SIZE, 1)))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


def test_6_5_2_max_concurrent_streams_of_a_client_is_about_the_server(probe: ServerProbe) -> None:
    """The client's limit of streams binds the server only; the client goes on opening its own."""
    peer = probe.peer((Setting.MAX_CONCURRENT_STREAMS, 0))
    peer.send(call(1), call(3))
    assert peer.body(3) == h2.message(b"ping")


@pytest.mark.parametrize("frames", [1, 5])
def test_6_5_3_each_settings_frame_is_acknowledged(peer: Peer, frames: int) -> None:
    """Every SETTINGS is acknowledged with an empty SETTINGS at once."""
    before = len([f for f in peer.of(Kind.SETTINGS) if f.is_ack])
    peer.send(*[h2.settings((Setting.MAX_CONCURRENT_STREAMS, 7))] * frames)
    acks = [f for f in peer.of(Kind.SETTINGS) if f.is_ack]
    assert len(acks) == before + frames
    assert all(not f.payload and f.stream == 0 for f in acks)


def test_6_5_3_an_acknowledgement_is_not_acknowledged(fresh: Peer) -> None:
    """SETTINGS with ACK gets no answer."""
    fresh.send(h2.PREFACE, h2.settings())
    said = len(fresh.frames)
    fresh.send(h2.settings_ack())
    assert len(fresh.frames) == said


def test_6_5_3_settings_hold_from_their_acknowledgement(probe: ServerProbe) -> None:
    """What a SETTINGS changes is applied before the frames behind it."""
    peer = probe.peer()
    peer.send(h2.settings((Setting.INITIAL_WINDOW_SIZE, 3)), call(1))
    assert len(peer.body(1)) == 3


# 6.6 and 8.4 PUSH_PROMISE


@pytest.mark.parametrize("stream", [0, 1, 3])
@pytest.mark.parametrize("promised", [2, 5])
def test_6_6_push_promise_of_a_client(peer: Peer, stream: int, promised: int) -> None:
    """A client cannot push: PUSH_PROMISE is a connection error PROTOCOL_ERROR."""
    peer.send(opening(1, "Deaf"), h2.push_promise(stream, promised, BLOCK))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


def test_8_4_push_promise_in_fragments(peer: Peer) -> None:
    """A push of a client is refused before its field block is complete."""
    peer.send(opening(1, "Deaf"), h2.frame(Kind.PUSH_PROMISE, 0, 1, b"\0\0\0\2"))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


# 6.7 PING


def test_6_7_ping_is_answered_with_its_octets(peer: Peer) -> None:
    """A PING comes back with ACK and the same eight octets."""
    peer.send(h2.ping(b"12345678"), h2.ping(b"abcdefgh"))
    answers = [f.payload for f in peer.of(Kind.PING) if f.is_ack]
    assert answers == [b"12345678", b"abcdefgh"]


def test_6_7_an_answer_is_not_answered(peer: Peer) -> None:
    """PING with ACK is not answered, even if nobody asked."""
    peer.send(h2.ping(b"12345678", ack=True))
    assert not peer.of(Kind.PING)
    peer.expect_tolerance()


@pytest.mark.parametrize("flags", [0, Flag.ACK])
def test_6_7_ping_of_a_stream(peer: Peer, flags: int) -> None:
    """PING on any stream but 0 is a connection error PROTOCOL_ERROR."""
    peer.send(opening(1, "Deaf"), h2.frame(Kind.PING, flags, 1, bytes(8)))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@pytest.mark.parametrize("flags", [0, Flag.ACK])
@pytest.mark.parametrize("octets", [0, 6, 7, 9, 16])
def test_6_7_length(peer: Peer, flags: int, octets: int) -> None:
    """PING of other than eight octets is a connection error FRAME_SIZE_ERROR."""
    peer.send(h2.frame(Kind.PING, flags, 0, bytes(octets)))
    peer.expect_connection_error(Code.FRAME_SIZE_ERROR)


# 6.8 GOAWAY


def test_6_8_goaway_of_a_stream(peer: Peer) -> None:
    """GOAWAY on any stream but 0 is a connection error PROTOCOL_ERROR."""
    peer.send(opening(1, "Deaf"), h2.frame(Kind.GOAWAY, 0, 1, bytes(8)))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@pytest.mark.parametrize("octets", [0, 4, 7])
def test_6_8_length(peer: Peer, octets: int) -> None:
    """GOAWAY without room for its two fields is a connection error FRAME_SIZE_ERROR."""
    peer.send(h2.frame(Kind.GOAWAY, 0, 0, bytes(octets)))
    peer.expect_connection_error(Code.FRAME_SIZE_ERROR)


def test_6_8_calls_finish_after_goaway(probe: ServerProbe) -> None:
    """Calls in flight are answered after the client's GOAWAY, debug data or not."""
    peer = probe.peer()
    peer.send(opening(1, "Collect"), h2.goaway(0, debug=b"leaving"), h2.goaway(0))
    peer.send(h2.data(1, h2.message(b"last"), end=True))
    assert peer.body(1) == h2.message(b"last")
    assert peer.of(Kind.HEADERS, 1)[-1].ends_stream


# 6.9 WINDOW_UPDATE


@pytest.mark.parametrize("increment", [0, 1 << 31])
def test_6_9_zero_increment_of_a_stream(probe: ServerProbe, increment: int) -> None:
    """An increment of zero (the reserved bit does not count) is a stream error PROTOCOL_ERROR."""
    peer = probe.peer()
    peer.send(opening(1, "Deaf"), h2.window_update(1, increment))
    peer.expect_stream_error(1, Code.PROTOCOL_ERROR)
    assert probe.finished == ["Deaf"]


@pytest.mark.parametrize("increment", [0, 1 << 31])
def test_6_9_zero_increment_of_the_connection(peer: Peer, increment: int) -> None:
    """An increment of zero for the connection is a connection error PROTOCOL_ERROR."""
    peer.send(h2.window_update(0, increment))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


def test_6_9_zero_increment_while_the_response_is_under_way(peer: Peer) -> None:
    """A half-closed stream is reset for a zero increment too."""
    peer.send(call(1, "Hang"), h2.window_update(1, 0))
    peer.expect_stream_error(1, Code.PROTOCOL_ERROR)


def test_6_9_reserved_bit_of_the_increment(probe: ServerProbe) -> None:
    """The reserved bit before the increment is ignored."""
    peer = probe.peer((Setting.INITIAL_WINDOW_SIZE, 0))
    peer.send(call(1), h2.window_update(1, 1 << 31 | 4))
    assert len(peer.body(1)) == 4


@pytest.mark.parametrize("stream", [0, 1])
@pytest.mark.parametrize("octets", [0, 3, 5, 8])
def test_6_9_length(peer: Peer, stream: int, octets: int) -> None:
    """WINDOW_UPDATE of other than four octets is a connection error FRAME_SIZE_ERROR."""
    peer.send(opening(1, "Deaf"), h2.frame(Kind.WINDOW_UPDATE, 0, stream, bytes(octets)))
    peer.expect_connection_error(Code.FRAME_SIZE_ERROR)


def test_6_9_on_a_closed_stream(peer: Peer) -> None:
    """WINDOW_UPDATE for a stream that has ended MUST NOT be an error."""
    peer.send(call(1))
    peer.send(h2.window_update(1, 100))
    peer.expect_tolerance(1)


@pytest.mark.parametrize("increments", [(h2.MAX_WINDOW,), (2**30, 2**30)])
def test_6_9_1_window_of_a_stream_overflows(probe: ServerProbe, increments: tuple[int, ...]) -> None:
    """A stream's window above 2^31-1 is a stream error FLOW_CONTROL_ERROR."""
    peer = probe.peer()
    peer.send(call(1, "Hang"), *(h2.window_update(1, increment) for increment in increments))
    peer.expect_stream_error(1, Code.FLOW_CONTROL_ERROR)
    assert probe.finished == ["Hang"]


@pytest.mark.parametrize("increments", [(h2.MAX_WINDOW,), (2**30, 2**30)])
def test_6_9_1_window_of_the_connection_overflows(peer: Peer, increments: tuple[int, ...]) -> None:
    """The connection's window above 2^31-1 is a connection error FLOW_CONTROL_ERROR."""
    peer.send(*(h2.window_update(0, increment) for increment in increments))
    peer.expect_connection_error(Code.FLOW_CONTROL_ERROR)


# 6.10 CONTINUATION


def test_6_10_continuation_on_stream_zero(peer: Peer) -> None:
    """CONTINUATION on stream 0 is a connection error PROTOCOL_ERROR."""
    peer.send(h2.continuation(0, BLOCK))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(opening(1, "Deaf"), id="after-a-complete-block"),
        pytest.param(
            h2.headers(1, BLOCK[:5], end_headers=False) + h2.continuation(1, BLOCK[5:]),
            id="after-the-last-one",
        ),
        pytest.param(opening(1, "Deaf") + h2.data(1, b""), id="after-data"),
        pytest.param(b"", id="first"),
    ],
)
def test_6_10_continuation_of_nothing(peer: Peer, before: bytes) -> None:
    """CONTINUATION without an open field block before it is a connection error PROTOCOL_ERROR."""
    peer.send(before, h2.continuation(1, b""))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(h2.continuation(3, BLOCK[7:]), id="another-stream"),
        pytest.param(h2.ping(), id="ping"),
        pytest.param(h2.data(1, b""), id="data"),
        pytest.param(h2.headers(1, BLOCK), id="headers"),
        pytest.param(h2.frame(0xBE, 0, 1), id="unknown"),
    ],
)
def test_6_10_without_end_headers_another_must_follow(peer: Peer, other: bytes) -> None:
    """CONTINUATION without END_HEADERS MUST be followed by CONTINUATION of its stream."""
    peer.send(h2.headers(1, BLOCK[:5], end_headers=False), h2.continuation(1, BLOCK[5:7], end_headers=False))
    peer.send(other)
    peer.expect_connection_error(Code.PROTOCOL_ERROR)
