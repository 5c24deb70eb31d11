"""RFC 9113 sections 6, 8.4 and 8.7, from the side of a client: frames, push, and what is known of a call that failed."""

import pytest

from microd.testing import http2_frames as h2
from microd.testing.http2_frames import Code, Flag, Kind, Setting
from microd.testing.http2_peer import Handshake
from microd.testing.http2_probe import RESPONSE, TRAILERS, ClientProbe, reply, request_fields
from microd.txgrpc import StatusCode

BLOCK = h2.block(RESPONSE)
END = h2.block(TRAILERS)

# 6 Frames


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        pytest.param(h2.data(0, b"x"), Code.PROTOCOL_ERROR, id="6_1-data-on-0"),
        pytest.param(h2.frame(Kind.DATA, Flag.PADDED, 1, b"\x03ab"), Code.PROTOCOL_ERROR, id="6_1-padding"),
        pytest.param(h2.headers(0, BLOCK), Code.PROTOCOL_ERROR, id="6_2-headers-on-0"),
        pytest.param(h2.frame(Kind.HEADERS, 0xC, 1, b"\x09ab"), Code.PROTOCOL_ERROR, id="6_2-padding"),
        pytest.param(h2.frame(Kind.HEADERS, 0x24, 1, b"abc"), Code.FRAME_SIZE_ERROR, id="6_2-priority"),
        pytest.param(h2.priority(0), Code.PROTOCOL_ERROR, id="6_3-priority-on-0"),
        pytest.param(h2.rst_stream(0), Code.PROTOCOL_ERROR, id="6_4-reset-of-0"),
        pytest.param(h2.frame(Kind.RST_STREAM, 0, 1, bytes(5)), Code.FRAME_SIZE_ERROR, id="6_4-length"),
        pytest.param(h2.frame(Kind.SETTINGS, 1, 0, bytes(6)), Code.FRAME_SIZE_ERROR, id="6_5-ack"),
        pytest.param(h2.frame(Kind.SETTINGS, 0, 1), Code.PROTOCOL_ERROR, id="6_5-stream"),
        pytest.param(h2.frame(Kind.SETTINGS, 0, 0, bytes(7)), Code.FRAME_SIZE_ERROR, id="6_5-length"),
        pytest.param(h2.settings((2, 1)), Code.PROTOCOL_ERROR, id="6_5_2-server-enables-push"),
        pytest.param(h2.settings((2, 2)), Code.PROTOCOL_ERROR, id="6_5_2-enable-push"),
        pytest.param(h2.settings((4, 2**31)), Code.FLOW_CONTROL_ERROR, id="6_5_2-initial-window-size"),
        pytest.param(h2.settings((5, 100)), Code.PROTOCOL_ERROR, id="6_5_2-max-frame-size-small"),
        pytest.param(h2.settings((5, 2**24)), Code.PROTOCOL_ERROR, id="6_5_2-max-frame-size-large"),
        pytest.param(h2.frame(Kind.PING, 0, 1, bytes(8)), Code.PROTOCOL_ERROR, id="6_7-stream"),
        pytest.param(h2.ping(b"short"), Code.FRAME_SIZE_ERROR, id="6_7-length"),
        pytest.param(h2.frame(Kind.GOAWAY, 0, 1, bytes(8)), Code.PROTOCOL_ERROR, id="6_8-stream"),
        pytest.param(h2.frame(Kind.GOAWAY, 0, 0, bytes(7)), Code.FRAME_SIZE_ERROR, id="6_8-length"),
        pytest.param(h2.window_update(0, 0), Code.PROTOCOL_ERROR, id="6_9-zero"),
        pytest.param(h2.frame(Kind.WINDOW_UPDATE, 0, 1, bytes(3)), Code.FRAME_SIZE_ERROR, id="6_9-length"),
        pytest.param(h2.window_update(0, h2.MAX_WINDOW), Code.FLOW_CONTROL_ERROR, id="6_9_1-overflow"),
        pytest.param(h2.continuation(1, b""), Code.PROTOCOL_ERROR, id="6_10-of-nothing"),
        pytest.param(h2.continuation(0, b""), Code.PROTOCOL_ERROR, id="6_10-on-0"),
    ],
)
def test_6_connection_errors(calling: ClientProbe, octets: bytes, code: Code) -> None:
    """A frame that no server may send ends the connection with the code of its section, and the call with it."""
    calling.peer.send(octets)
    calling.peer.expect_connection_error(code)
    calling.outcomes[0].failed()


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        pytest.param(h2.frame(Kind.PRIORITY, 0, 1, bytes(4)), Code.FRAME_SIZE_ERROR, id="6_3-length"),
        pytest.param(h2.window_update(1, 0), Code.PROTOCOL_ERROR, id="6_9-zero"),
        pytest.param(h2.window_update(1, h2.MAX_WINDOW), Code.FLOW_CONTROL_ERROR, id="6_9_1-overflow"),
    ],
)
def test_6_stream_errors(calling: ClientProbe, octets: bytes, code: Code) -> None:
    """A frame that is wrong for its stream alone resets the stream and fails its call."""
    calling.peer.send(octets)
    calling.peer.expect_stream_error(1, code)
    calling.outcomes[0].failed()


def test_6_1_padding_is_removed(calling: ClientProbe) -> None:
    """Padding of a response is no part of it."""
    calling.peer.send(h2.frame(Kind.HEADERS, 0x0C, 1, h2.padded(BLOCK, 200)))
    calling.peer.send(h2.data(1, h2.message(b"pong"), pad=100), h2.headers(1, END, end=True))
    assert calling.outcomes[0].reply == b"pong"


def test_6_5_3_settings_are_acknowledged(calling: ClientProbe) -> None:
    """Every SETTINGS of the server is acknowledged."""
    calling.peer.send(h2.settings((Setting.MAX_FRAME_SIZE, 2**20)), h2.settings((0xBEEF, 1)))
    assert len([f for f in calling.peer.of(Kind.SETTINGS) if f.is_ack]) == 3


def test_6_7_ping_is_answered(calling: ClientProbe) -> None:
    """A server's PING is answered, a stray answer ignored."""
    calling.peer.send(h2.ping(b"12345678"), h2.ping(b"87654321", ack=True))
    assert [f.payload for f in calling.peer.of(Kind.PING) if f.is_ack] == [b"12345678"]
    calling.peer.expect_tolerance(1)


# 6.6 and 8.4 PUSH_PROMISE


@pytest.mark.parametrize("stream", [0, 1, 3])
@pytest.mark.parametrize("promised", [2, 3])
def test_8_4_push_promise(calling: ClientProbe, stream: int, promised: int) -> None:
    """Push was switched off: PUSH_PROMISE is a connection error PROTOCOL_ERROR."""
    calling.peer.send(h2.push_promise(stream, promised, h2.block(request_fields())))
    calling.peer.expect_connection_error(Code.PROTOCOL_ERROR)
    calling.outcomes[0].failed()


# 6.8 GOAWAY and 8.7 request reliability


def test_6_8_calls_above_the_last_stream_were_not_delivered(calling: ClientProbe) -> None:
    """A call above GOAWAY's last stream was not processed and may be tried elsewhere; one below goes on."""
    second = calling.call()
    peer = calling.peer
    peer.send(h2.goaway(1))
    assert second.failed().undelivered
    peer.send(reply(1))
    assert calling.outcomes[0].reply == b"pong"


def test_6_8_no_stream_is_opened_after_goaway(calling: ClientProbe) -> None:
    """After GOAWAY new calls go over a new connection."""
    first = calling.peer
    first.send(h2.goaway(1))
    said = len(first.frames)
    second = calling.call()
    assert not [f for f in first.frames[said:] if f.kind == Kind.HEADERS]
    assert calling.peer is not first
    calling.peer.send(Handshake.server(), reply(1, b"elsewhere"))
    assert second.reply == b"elsewhere"


def test_6_8_calls_below_the_last_stream_are_lost_with_the_connection(calling: ClientProbe) -> None:
    """A call that the server may have processed is not called undelivered when the connection goes."""
    calling.peer.send(h2.goaway(1, Code.INTERNAL_ERROR))
    calling.peer.hang_up()
    error = calling.outcomes[0].failed()
    assert error.code == StatusCode.UNAVAILABLE
    assert not error.undelivered


def test_6_8_last_stream_that_rises(calling: ClientProbe) -> None:
    """A last stream identifier MUST NOT rise: it would take back what was said of calls that may run elsewhere by now."""
    calling.call()
    calling.peer.send(h2.goaway(2**31 - 1), h2.goaway(1), h2.goaway(3))
    calling.peer.expect_connection_error(Code.PROTOCOL_ERROR)
    assert not calling.outcomes[0].failed().undelivered
    assert calling.outcomes[1].failed().undelivered


def test_8_7_refused_stream_was_not_delivered(calling: ClientProbe) -> None:
    """REFUSED_STREAM says that the call was not processed."""
    calling.peer.send(h2.rst_stream(1, Code.REFUSED_STREAM))
    assert calling.outcomes[0].failed().undelivered


@pytest.mark.parametrize("code", [c for c in Code if c not in (Code.REFUSED_STREAM,)])
def test_8_7_other_resets_leave_the_outcome_open(calling: ClientProbe, code: Code) -> None:
    """Any other reset fails the call without saying that it was not processed."""
    calling.peer.send(h2.rst_stream(1, code))
    assert not calling.outcomes[0].failed().undelivered
    calling.peer.expect_tolerance(1)


def test_8_7_a_lost_connection_leaves_the_outcome_open(calling: ClientProbe) -> None:
    """A connection lost without GOAWAY may have processed every call on it."""
    calling.peer.hang_up()
    assert not calling.outcomes[0].failed().undelivered


@pytest.mark.parametrize("code", [14, 255, 2**32 - 1])
def test_7_unknown_error_codes(calling: ClientProbe, code: int) -> None:
    """Unknown error codes fail a call like INTERNAL_ERROR and do no more."""
    calling.peer.send(h2.rst_stream(1, code))
    assert calling.outcomes[0].failed().code in (StatusCode.INTERNAL, StatusCode.UNKNOWN)
    calling.peer.expect_tolerance(1)
