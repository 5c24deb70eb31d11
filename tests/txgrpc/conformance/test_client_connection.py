"""RFC 9113 sections 3.4 to 6 and 8.4, from the side of a client: a server that breaks the rules of the connection."""

import random
import struct

import pytest
from twisted.internet.defer import CancelledError, Deferred

from microd.testing import http2_frames as h2
from microd.testing.http2_frames import Code, Flag, Kind, Setting
from microd.testing.http2_peer import Handshake
from microd.testing.http2_probe import RESPONSE, TRAILERS, ClientProbe, reply, request_fields
from microd.txgrpc import RpcError, StatusCode

BLOCK = h2.block(RESPONSE)
END = h2.block(TRAILERS)

# 3.4 Connection preface


def test_3_4_client_preface(client: ClientProbe) -> None:
    """A client begins with the 24 octets, then SETTINGS that switch push off."""
    client.call()
    assert client.peer.reader.preface == h2.PREFACE
    first = client.peer.frames[0]
    assert first.kind == Kind.SETTINGS
    assert not first.flags & Flag.ACK
    assert first.settings[Setting.ENABLE_PUSH] == 0


def test_3_4_settings_of_the_server_are_acknowledged(calling: ClientProbe) -> None:
    """The server's SETTINGS are acknowledged once."""
    assert len([f for f in calling.peer.of(Kind.SETTINGS) if f.is_ack]) == 1


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(h2.ping(), id="ping"),
        pytest.param(h2.settings_ack(), id="settings-ack"),
        pytest.param(reply(1), id="response"),
        pytest.param(h2.frame(0xBE, 0, 0), id="unknown"),
        pytest.param(h2.window_update(0, 1), id="window-update"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", id="http-1.1"),
        pytest.param(h2.PREFACE, id="preface-of-a-client"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n", id="ssh"),
    ],
)
def test_3_4_server_preface_without_settings(client: ClientProbe, first: bytes) -> None:
    """The server's first frame MUST be SETTINGS; anything else ends the connection and its calls."""
    outcome = client.call()
    peer = client.peer
    peer.send(first, h2.settings())
    assert peer.closed
    assert set(peer.goaways()) <= {Code.PROTOCOL_ERROR, Code.FRAME_SIZE_ERROR}
    assert outcome.reply is None


def test_3_4_server_preface_octet_by_octet(client: ClientProbe) -> None:
    """The server's octets may come in any number of pieces."""
    outcome = client.call()
    for octet in Handshake.server() + reply(1):
        client.peer.deliver(bytes([octet]))
    assert outcome.reply == b"pong"


# 4 Frames


def test_4_1_unknown_frames_are_discarded(calling: ClientProbe) -> None:
    """Unknown frames around and within a response are ignored, with any flags."""
    unknown = b"".join(h2.frame(0xBE, 0xFF, stream, b"?") for stream in (0, 1, 2, 99))
    calling.peer.send(unknown, h2.headers(1, BLOCK), unknown, h2.data(1, h2.message(b"pong")), unknown)
    calling.peer.send(h2.headers(1, END, end=True), unknown)
    calling.peer.expect_tolerance(1)
    assert calling.outcomes[0].reply == b"pong"


def test_4_1_reserved_bit_is_ignored(calling: ClientProbe) -> None:
    """The reserved bit of the stream identifier is ignored."""
    calling.peer.send(reply(1 << 31 | 1))
    assert calling.outcomes[0].reply == b"pong"


@pytest.mark.parametrize("kind", [Kind.HEADERS, Kind.SETTINGS, Kind.PING, Kind.GOAWAY, Kind.DATA, 0xBE])
def test_4_2_above_max_frame_size(calling: ClientProbe, kind: int) -> None:
    """A frame above our SETTINGS_MAX_FRAME_SIZE is a FRAME_SIZE_ERROR."""
    limit = calling.peer.announced().get(Setting.MAX_FRAME_SIZE, h2.DEFAULT_FRAME_SIZE)
    stream = 1 if kind in (Kind.HEADERS, Kind.DATA) else 0
    calling.peer.send(h2.frame(kind, 0, stream, bytes(limit + 1)))
    calling.peer.expect_connection_error(Code.FRAME_SIZE_ERROR)
    calling.outcomes[0].failed()


def test_4_3_response_in_fragments(calling: ClientProbe) -> None:
    """The server may cut its field blocks as it likes."""
    calling.peer.send(
        h2.headers(1, b"", end_headers=False),
        h2.continuation(1, BLOCK[:7], end_headers=False),
        h2.continuation(1, BLOCK[7:]),
        h2.data(1, h2.message(b"pong")),
        h2.headers(1, END[:1], end=True, end_headers=False),
        h2.continuation(1, END[1:]),
    )
    assert calling.outcomes[0].reply == b"pong"


@pytest.mark.parametrize(
    "between",
    [h2.ping(), h2.data(1, b""), h2.continuation(3, b""), h2.frame(0xBE, 0, 0), h2.settings()],
    ids=["ping", "data", "continuation-of-another", "unknown", "settings"],
)
def test_4_3_nothing_comes_between_the_fragments(calling: ClientProbe, between: bytes) -> None:
    """A field block that is interrupted is a connection error PROTOCOL_ERROR."""
    calling.peer.send(h2.headers(1, BLOCK[:5], end_headers=False), between)
    calling.peer.expect_connection_error(Code.PROTOCOL_ERROR)
    calling.outcomes[0].failed()


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(h2.indexed(0), id="index-0"),
        pytest.param(h2.indexed(62), id="index-beyond"),
        pytest.param(h2.table_size(4097), id="table-size"),
        pytest.param(BLOCK + h2.table_size(0), id="table-size-late"),
        pytest.param(BLOCK[:-1], id="cut"),
        pytest.param(BLOCK + b"\x00\x01x" + h2.string(b"\xff", huffman=True), id="huffman-padding"),
        pytest.param(b"\xff" * 20, id="integer"),
    ],
)
def test_4_3_decoding_error(calling: ClientProbe, block: bytes) -> None:
    """A field block that cannot be decoded is a connection error COMPRESSION_ERROR."""
    calling.peer.send(h2.headers(1, block))
    calling.peer.expect_connection_error(Code.COMPRESSION_ERROR)
    calling.outcomes[0].failed()


def test_4_3_blocks_of_a_cancelled_call_feed_the_table(calling: ClientProbe) -> None:
    """A response that crosses our RST_STREAM is decoded, though nobody waits for it."""
    peer = calling.peer
    calling.outcomes[0].cancel()
    calling.settle()
    assert peer.resets(1) == [Code.CANCEL]
    second = calling.call()
    peer.send(
        h2.headers(1, BLOCK + h2.literal(b"grpc-status", b"0", first=0x40)), h2.data(1, b"late", end=True)
    )
    peer.send(h2.headers(3, BLOCK), h2.data(3, h2.message(b"two")), h2.headers(3, h2.indexed(62), end=True))
    assert second.reply == b"two"


@pytest.mark.parametrize("sizes", [(0,), (0, 4096), (100,)])
def test_4_3_1_our_encoder_obeys_a_reduced_table(calling: ClientProbe, sizes: tuple[int, ...]) -> None:
    """After a smaller table is acknowledged our next request begins with a size update."""
    peer = calling.peer
    peer.send(*(h2.settings((Setting.HEADER_TABLE_SIZE, size)) for size in sizes))
    peer.reader.decoder.max_allowed_table_size = sizes[-1]
    calling.call()
    block = peer.of(Kind.HEADERS, 3)[0].payload
    assert block[0] & 0xE0 == 0x20
    assert block[0] & 0x1F == 0 or min(sizes) > 0


def test_4_3_same_octets_mean_what_the_table_says_now(calling: ClientProbe) -> None:
    """Trailers seen before are read with the table of now."""
    peer = calling.peer
    opened = h2.block(RESPONSE)
    ok, aborted = h2.literal(b"grpc-status", b"0", first=0x40), h2.literal(b"grpc-status", b"10", first=0x40)
    trailers = [ok, h2.indexed(62), h2.indexed(62), aborted, h2.indexed(62), h2.indexed(63)]
    codes = []
    for n, block in enumerate(trailers):
        outcome = calling.outcomes[0] if n == 0 else calling.call()
        stream = 1 + 2 * n
        peer.send(
            h2.headers(stream, opened), h2.data(stream, h2.message(b"")), h2.headers(stream, block, end=True)
        )
        codes.append(0 if outcome.error is None else int(outcome.error.code))
        assert not outcome.pending
    assert codes == [0, 0, 0, 10, 10, 0]


# 5.1 Stream states


IDLE = {
    "data": h2.data,
    "headers": lambda stream: h2.headers(stream, BLOCK),
    "rst-stream": h2.rst_stream,
    "window-update": lambda stream: h2.window_update(stream, 1),
    "continuation": lambda stream: h2.continuation(stream, b""),
}


@pytest.mark.parametrize("name", IDLE)
@pytest.mark.parametrize("stream", [2, 3, 4, 99])
def test_5_1_idle(calling: ClientProbe, name: str, stream: int) -> None:
    """Frames on streams that this client never opened are a connection error PROTOCOL_ERROR."""
    calling.peer.send(IDLE[name](stream))
    calling.peer.expect_connection_error(Code.PROTOCOL_ERROR)
    calling.outcomes[0].failed()


@pytest.mark.parametrize("stream", [1, 2, 3, 99])
def test_5_1_priority_anywhere(calling: ClientProbe, stream: int) -> None:
    """PRIORITY of a server is ignored in every state."""
    calling.peer.send(h2.priority(stream), reply(1), h2.priority(stream))
    calling.peer.expect_tolerance(1)


LATE = {
    "data": h2.data(1, b"x"),
    "data-end": h2.data(1, b"x", end=True),
    "headers": h2.headers(1, BLOCK),
    "trailers": h2.headers(1, END, end=True),
    "window-update": h2.window_update(1, 5),
    "rst-stream": h2.rst_stream(1, 0),
    "priority": h2.priority(1),
    "response": reply(1),
}


@pytest.mark.parametrize("name", LATE)
def test_5_1_cancelled_ignores(calling: ClientProbe, name: str) -> None:
    """What crosses our RST_STREAM is dropped, and not answered again."""
    calling.outcomes[0].cancel()
    calling.settle()
    calling.peer.send(LATE[name])
    calling.peer.expect_stream_error(1, Code.CANCEL)


@pytest.mark.parametrize("name", ["data", "data-end", "headers", "trailers", "response"])
def test_5_1_closed(calling: ClientProbe, name: str) -> None:
    """DATA or HEADERS behind a complete response is STREAM_CLOSED."""
    calling.peer.send(reply(1), LATE[name])
    calling.peer.expect_stream_or_connection_error(1, Code.STREAM_CLOSED, Code.PROTOCOL_ERROR)
    assert calling.outcomes[0].reply == b"pong"


@pytest.mark.parametrize("name", ["window-update", "rst-stream", "priority"])
def test_5_1_closed_tolerates(calling: ClientProbe, name: str) -> None:
    """WINDOW_UPDATE, RST_STREAM and PRIORITY behind a complete response are no errors."""
    calling.peer.send(reply(1), LATE[name])
    calling.peer.expect_tolerance(1)


def test_5_1_1_our_streams_are_odd_and_rise(calling: ClientProbe) -> None:
    """The identifiers of our streams are odd and go up."""
    for _ in range(5):
        calling.call()
    assert [f.stream for f in calling.peer.of(Kind.HEADERS)] == [1, 3, 5, 7, 9, 11]


def test_5_1_2_the_servers_limit_of_streams_is_kept(calling: ClientProbe) -> None:
    """No more streams are opened than the server allows; further calls wait for room."""
    peer = calling.peer
    peer.send(h2.settings((Setting.MAX_CONCURRENT_STREAMS, 2)))
    second, third = calling.call(), calling.call()
    assert {f.stream for f in peer.of(Kind.HEADERS)} == {1, 3}
    peer.send(reply(3))
    assert second.reply == b"pong"
    assert 5 in {f.stream for f in peer.of(Kind.HEADERS)}
    peer.send(reply(5))
    assert third.reply == b"pong"


def test_5_1_2_no_stream_at_all(calling: ClientProbe) -> None:
    """A limit of zero stops new calls until it is raised."""
    peer = calling.peer
    peer.send(h2.settings((Setting.MAX_CONCURRENT_STREAMS, 0)))
    second = calling.call()
    assert second.pending
    assert {f.stream for f in peer.of(Kind.HEADERS)} == {1}
    peer.send(h2.settings((Setting.MAX_CONCURRENT_STREAMS, 10)))
    peer.send(reply(3))
    assert second.reply == b"pong"


# 5.2 Flow control


def test_5_2_1_we_keep_the_servers_windows(calling: ClientProbe) -> None:
    """A request larger than the window waits for grants, to the octet."""
    peer = calling.peer
    calling.call(bytes(100_000))
    assert len(peer.body(3)) + len(peer.body(1)) == h2.DEFAULT_WINDOW
    peer.send(h2.window_update(0, 100_000), h2.window_update(3, 1000))
    assert len(peer.body(3)) == h2.DEFAULT_WINDOW + 1000
    assert max(len(f.payload) for f in peer.of(Kind.DATA)) <= h2.DEFAULT_FRAME_SIZE


def test_5_2_1_the_servers_initial_window_is_kept(client: ClientProbe) -> None:
    """A window of nothing in the server's SETTINGS holds for streams opened after it."""
    client.call()
    client.peer.send(Handshake.server((Setting.INITIAL_WINDOW_SIZE, 0)), reply(1))
    client.call(b"held")
    assert not client.peer.body(3)
    client.peer.send(h2.window_update(3, 9))
    assert client.peer.body(3) == h2.message(b"held")


@pytest.mark.parametrize("size", [0, 1, 100, 5000, 8200, 16_000, 16_379, 16_380, 40_000])
@pytest.mark.parametrize("compress", [False, True])
def test_5_2_1_every_message_of_a_stream_counts(calling: ClientProbe, size: int, compress: bool) -> None:
    """A stream of requests is cut at the window's last octet, and goes on where it was cut."""
    peer = calling.peer
    connection = h2.DEFAULT_WINDOW - len(peer.body(1))
    window = 3000 if size < 1000 else 50_000 if size < 10_000 else connection
    peer.send(h2.settings((Setting.INITIAL_WINDOW_SIZE, window)))
    message = random.Random(size).randbytes(size)
    stream = calling.channel.stream_stream("/conformance.Probe/Chat")(compress=compress)

    async def write() -> None:
        for _ in range(2000):
            await stream.write(message)

    writing = Deferred.fromCoroutine(write())
    calling.settle()
    assert len(peer.body(3)) == window
    peer.send(h2.window_update(3, 1234))
    assert len(peer.body(3)) == min(window + 1234, connection)
    peer.send(h2.window_update(0, 1234))
    body = peer.body(3)
    assert len(body) == window + 1234
    flag, length = struct.unpack_from(">BI", body)
    assert flag == compress
    one = body[: 5 + length]
    assert (one * 2000)[: len(body)] == body
    writing.addErrback(lambda failure: failure.trap(RpcError, CancelledError))
    stream.cancel()


def test_6_9_2_overflow_by_settings(calling: ClientProbe) -> None:
    """SETTINGS that lift a window above 2^31-1 are a connection error FLOW_CONTROL_ERROR."""
    calling.peer.send(h2.window_update(1, h2.MAX_WINDOW - h2.DEFAULT_WINDOW))
    calling.peer.send(h2.settings((Setting.INITIAL_WINDOW_SIZE, h2.MAX_WINDOW)))
    calling.peer.expect_connection_error(Code.FLOW_CONTROL_ERROR)


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
