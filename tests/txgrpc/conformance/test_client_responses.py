"""RFC 9113 section 8, responses, from the side of a client; and servers that mean harm."""

import gzip
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from microd.testing import http2_frames as h2
from microd.testing.http2_frames import Code, Setting
from microd.testing.http2_peer import Handshake
from microd.testing.http2_probe import RESPONSE, TRAILERS, ClientProbe, reply
from microd.txgrpc import Limits, StatusCode

MIB = 2**20
HEAD = h2.headers(1, h2.block(RESPONSE))
BODY = h2.data(1, h2.message(b"pong"))
END = h2.headers(1, h2.block(TRAILERS), end=True)
Lines = list[tuple[bytes, bytes]]


def expect_malformed(client: ClientProbe, *frames: bytes) -> None:
    """The response is a stream error PROTOCOL_ERROR, its call fails, and the next call is served."""
    peer = client.peer
    peer.send(*frames)
    peer.expect_stream_error(1, Code.PROTOCOL_ERROR)
    client.outcomes[0].failed()
    again = client.call()
    peer.send(reply(3))
    assert again.reply == b"pong"


# 8.1 Message framing


def test_8_1_response(calling: ClientProbe) -> None:
    """Headers, data and trailers make a response."""
    calling.peer.send(HEAD, BODY, END)
    assert calling.outcomes[0].reply == b"pong"
    calling.peer.expect_tolerance(1)


@pytest.mark.parametrize("status", [b"100", b"103", b"199"])
@pytest.mark.parametrize("many", [1, 3])
def test_8_1_interim_responses(calling: ClientProbe, status: bytes, many: int) -> None:
    """Any number of interim responses may precede the final one."""
    interim = h2.headers(1, h2.block(((b":status", status), (b"x", b"y"))))
    calling.peer.send(*[interim] * many, HEAD, BODY, END)
    assert calling.outcomes[0].reply == b"pong"


def test_8_1_interim_response_with_end_stream(calling: ClientProbe) -> None:
    """An interim response that ends the stream is malformed."""
    expect_malformed(calling, h2.headers(1, h2.block(((b":status", b"100"),)), end=True))


def test_8_1_interim_response_after_the_final_one(calling: ClientProbe) -> None:
    """After the final status nothing but trailers may come."""
    expect_malformed(calling, HEAD, h2.headers(1, h2.block(((b":status", b"100"),))))


def test_8_1_trailers_without_end_stream(calling: ClientProbe) -> None:
    """HEADERS without END_STREAM after the final status make the response malformed."""
    expect_malformed(calling, HEAD, BODY, h2.headers(1, h2.block(TRAILERS)))


def test_8_1_data_before_headers(calling: ClientProbe) -> None:
    """A response begins with its header section."""
    expect_malformed(calling, BODY, HEAD, END)


def test_8_1_pseudo_fields_in_trailers(calling: ClientProbe) -> None:
    """Trailers MUST NOT include pseudo-header fields."""
    expect_malformed(
        calling, HEAD, BODY, h2.headers(1, h2.block(((b":status", b"200"), *TRAILERS)), end=True)
    )


def test_8_1_reset_with_no_error_behind_the_response(calling: ClientProbe) -> None:
    """A complete response is not discarded for the RST_STREAM(NO_ERROR) behind it."""
    calling.peer.send(HEAD, BODY, END, h2.rst_stream(1, Code.NO_ERROR))
    assert calling.outcomes[0].reply == b"pong"


def test_8_1_early_response_stops_the_upload(calling: ClientProbe) -> None:
    """A complete response and RST_STREAM(NO_ERROR) end a call whose request still waits for its window."""
    outcome = calling.call(bytes(200_000))
    peer = calling.peer
    peer.send(reply(3, b"enough"), h2.rst_stream(3, Code.NO_ERROR))
    assert outcome.reply == b"enough"
    said = len(peer.of(h2.Kind.DATA, 3))
    peer.send(h2.window_update(0, 2**20), h2.window_update(3, 2**20))
    assert len(peer.of(h2.Kind.DATA, 3)) == said


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([HEAD, h2.data(1, h2.message(b"pong"), end=True)], id="with-the-message"),
        pytest.param([HEAD, BODY, h2.data(1, end=True)], id="after-the-message"),
        pytest.param([HEAD, h2.data(1, end=True)], id="without-message"),
        pytest.param([HEAD, h2.data(1, pad=7, end=True)], id="padding"),
        pytest.param([HEAD, h2.data(1, h2.message(b"pong")[:7], end=True)], id="within-the-message"),
        pytest.param([HEAD, h2.data(1, h2.message(b"pong")[:7]), h2.data(1, end=True)], id="after-a-part"),
        pytest.param([h2.headers(1, h2.block(RESPONSE), end=True)], id="by-the-headers"),
    ],
)
def test_8_1_stream_that_ends_without_trailers(calling: ClientProbe, frames: list[bytes]) -> None:
    """A gRPC response that ends without trailers has no status: its call fails, at once."""
    calling.peer.send(*frames)
    assert calling.outcomes[0].failed().code in (StatusCode.INTERNAL, StatusCode.UNKNOWN)
    calling.peer.expect_alive()


# 8.1.1 Malformed messages


@pytest.mark.parametrize("length", [b"8", b"10", b"0", b"x", b"-9"])
def test_8_1_1_content_length_differs(calling: ClientProbe, length: bytes) -> None:
    """A content-length other than the sum of the DATA makes the response malformed."""
    head = h2.headers(1, h2.block((*RESPONSE, (b"content-length", length))))
    expect_malformed(calling, head, BODY, END)


def test_8_1_1_content_length_of_trailers_only(calling: ClientProbe) -> None:
    """A response of one HEADERS frame cannot announce content."""
    fields = (*RESPONSE, *TRAILERS, (b"content-length", b"5"))
    expect_malformed(calling, h2.headers(1, h2.block(fields), end=True))


def test_8_1_1_content_length_agrees(calling: ClientProbe) -> None:
    """The right content-length is fine."""
    calling.peer.send(h2.headers(1, h2.block((*RESPONSE, (b"content-length", b"9")))), BODY, END)
    assert calling.outcomes[0].reply == b"pong"


# 8.2 and 8.3 Fields


BAD_LINES: Lines = [
    (b"Upper", b"x"),
    (b"sp ace", b"x"),
    (b"x\x7f", b"x"),
    (b"x\x80", b"x"),
    (b"x:y", b"x"),
    (b"", b"x"),
    (b"x", b"a\0"),
    (b"x", b"a\nb"),
    (b"x", b"\rb"),
    (b"x", b" a"),
    (b"x", b"a\t"),
    (b"connection", b"close"),
    (b"proxy-connection", b"close"),
    (b"keep-alive", b"5"),
    (b"transfer-encoding", b"chunked"),
    (b"upgrade", b"h2c"),
]


@pytest.mark.parametrize("line", BAD_LINES)
def test_8_2_forbidden_lines_in_headers(calling: ClientProbe, line: tuple[bytes, bytes]) -> None:
    """A response with a forbidden name, value or connection-specific field is malformed."""
    expect_malformed(calling, h2.headers(1, h2.block((*RESPONSE, line))), BODY, END)


@pytest.mark.parametrize("line", BAD_LINES)
def test_8_2_forbidden_lines_in_trailers(calling: ClientProbe, line: tuple[bytes, bytes]) -> None:
    """So it is when the line stands in its trailers."""
    expect_malformed(calling, HEAD, BODY, h2.headers(1, h2.block((*TRAILERS, line)), end=True))


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param([(b"content-type", b"application/grpc")], id="no-status"),
        pytest.param([], id="nothing"),
        pytest.param([(b":status", b"200"), (b":status", b"200")], id="twice"),
        pytest.param([(b"content-type", b"application/grpc"), (b":status", b"200")], id="late"),
        pytest.param([(b":status", b"200"), (b":path", b"/")], id="of-a-request"),
        pytest.param([(b":status", b"200"), (b":unknown", b"/")], id="unknown"),
        pytest.param([(b":status", b"")], id="empty"),
        pytest.param([(b":status", b"ok")], id="no-number"),
        pytest.param([(b":status", b"20")], id="two-digits"),
        pytest.param([(b":status", b"2000")], id="four-digits"),
    ],
)
def test_8_3_2_status(calling: ClientProbe, fields: Lines) -> None:
    """Every response has one :status of three digits, before all other fields, and no other pseudo-header field."""
    expect_malformed(calling, h2.headers(1, h2.block(fields)), BODY, END)


def test_8_6_no_switching_of_protocols(calling: ClientProbe) -> None:
    """The status 101 does not exist in HTTP/2."""
    expect_malformed(calling, h2.headers(1, h2.block(((b":status", b"101"), (b"x", b"y")))), HEAD, BODY, END)


# Servers that mean harm


@contextmanager
def bounded(octets: int, seconds: float = 5.0) -> Iterator[None]:
    """What happens inside takes no more memory at its worst, and no more time of the processor."""
    tracemalloc.start()
    began = time.process_time()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < octets, f"{peak:,} octets were held"
    assert time.process_time() - began < seconds


INTERIM = h2.headers(1, h2.block(((b":status", b"103"),)))
NOISE = {
    "ping": h2.ping(),
    "ping-ack": h2.ping(ack=True),
    "settings": h2.settings(),
    "settings-ack": h2.settings_ack(),
    "data-empty": h2.data(1),
    "data-padding-only": h2.data(1, pad=255),
    "priority": h2.priority(1),
    "window-update": h2.window_update(0, 1),
    "window-update-stream": h2.window_update(1, 1),
    "unknown": h2.frame(0xBE, 0, 0),
    "unknown-full": h2.frame(0xBE, 0, 1, bytes(16_384)),
    "interim-responses": INTERIM,
}


@pytest.mark.parametrize("name", NOISE)
def test_flood_of_noise(calling: ClientProbe, name: str) -> None:
    """A server's endless frames that bring nothing end the connection with ENHANCE_YOUR_CALM, and the call."""
    peer = calling.peer
    peer.send(HEAD if name.startswith("data") else b"")
    with bounded(6 * MIB):
        for _ in range(200):
            peer.deliver(NOISE[name] * 100)
            del peer.frames[:-10]
            if peer.closed:
                break
    peer.expect_connection_error(Code.ENHANCE_YOUR_CALM)
    calling.outcomes[0].failed()


@pytest.mark.parametrize("name", NOISE)
def test_a_little_noise_is_welcome(calling: ClientProbe, name: str) -> None:
    """A hundred such frames harm no call."""
    peer = calling.peer
    headed = name.startswith("data")
    peer.send(HEAD if headed else b"", NOISE[name] * 100, b"" if headed else HEAD, BODY, END)
    assert calling.outcomes[0].reply == b"pong"


def test_noise_beside_calls_is_welcome(calling: ClientProbe) -> None:
    """A server that grants and measures with every call that we make is a good server."""
    peer = calling.peer
    for n in range(1, 1500):
        outcome = calling.call()
        peer.send(h2.window_update(0, 9), h2.ping(), h2.priority(1), reply(1 + 2 * n))
        assert outcome.reply == b"pong"


@pytest.mark.parametrize("octets", [0, 1, 16_384])
def test_continuation_flood(calling: ClientProbe, octets: int) -> None:
    """A response's field block without end ends the connection."""
    peer = calling.peer
    peer.send(h2.headers(1, h2.block(RESPONSE), end_headers=False))
    fragment = h2.continuation(1, h2.literal(b"x", b"y" * octets)[:octets], end_headers=False)
    with bounded(4 * MIB):
        for _ in range(1000):
            peer.deliver(fragment * 10)
            if peer.closed:
                break
    peer.expect_connection_error(Code.ENHANCE_YOUR_CALM)
    calling.outcomes[0].failed()


def test_hpack_bomb(calling: ClientProbe) -> None:
    """A small block that expands without measure ends the connection."""
    peer = calling.peer
    peer.send(h2.headers(1, h2.block(RESPONSE) + h2.literal(b"x", b"b" * 4000, first=0x40)))
    with bounded(2 * MIB):
        peer.send(h2.headers(1, h2.indexed(62) * 16_000, end=True))
    peer.expect_connection_error(Code.ENHANCE_YOUR_CALM, Code.COMPRESSION_ERROR)
    calling.outcomes[0].failed()


@pytest.mark.parametrize("headed", [False, True], ids=["headers", "trailers"])
def test_header_list_somewhat_too_long(calling: ClientProbe, headed: bool) -> None:
    """A header list above the limit fails its call, not the connection."""
    peer = calling.peer
    peer.send(h2.headers(1, h2.block(((b":status", b"103"),)) + h2.literal(b"x", b"v" * 4000, first=0x40)))
    peer.send(HEAD if headed else b"")
    peer.send(h2.headers(1, h2.block(TRAILERS if headed else RESPONSE) + h2.indexed(62) * 20, end=headed))
    peer.expect_stream_error(1, Code.ENHANCE_YOUR_CALM, Code.CANCEL)
    assert calling.outcomes[0].failed().code in (StatusCode.RESOURCE_EXHAUSTED, StatusCode.INTERNAL)


def test_response_beyond_the_window(calling: ClientProbe) -> None:
    """DATA beyond what we granted is a FLOW_CONTROL_ERROR, or was granted already while it was read."""
    peer = calling.peer
    window = peer.announced()[Setting.INITIAL_WINDOW_SIZE]
    peer.send(HEAD, *(h2.data(1, h2.message(bytes(9995))) for _ in range(2 + window // 10_000)))
    calling.outcomes[0].failed()


def test_message_that_claims_gigabytes(calling: ClientProbe) -> None:
    """The length in a message's prefix reserves nothing; the call fails with RESOURCE_EXHAUSTED and is cancelled."""
    peer = calling.peer
    with bounded(MIB):
        peer.send(HEAD, h2.data(1, b"\0\xff\xff\xff\xff"))
    assert calling.outcomes[0].failed().code == StatusCode.RESOURCE_EXHAUSTED
    peer.expect_stream_error(1, Code.CANCEL)


def test_gzip_bomb() -> None:
    """A compressed reply that would expand beyond the limit is refused without being expanded."""
    body = h2.message(gzip.compress(bytes(100 * MIB), 1), compressed=True)
    head = h2.headers(1, h2.block((*RESPONSE, (b"grpc-encoding", b"gzip"))))
    with ClientProbe(Limits(max_message=4 * MIB)) as client, bounded(20 * MIB):
        outcome = client.call()
        client.peer.send(Handshake.server(), head)
        for at in range(0, len(body), 16_000):
            client.peer.deliver(h2.data(1, body[at : at + 16_000]))
        assert outcome.failed().code == StatusCode.RESOURCE_EXHAUSTED


def test_endless_replies_to_a_unary_call(calling: ClientProbe) -> None:
    """A second reply to a unary call is not collected; the call fails."""
    peer = calling.peer
    with bounded(4 * MIB):
        peer.send(HEAD)
        for _ in range(2000):
            peer.deliver(h2.data(1, h2.message(bytes(10_000))))
            if peer.closed or peer.resets(1):
                break
    assert not calling.outcomes[0].pending


def test_server_that_never_introduces_itself(client: ClientProbe) -> None:
    """A server that accepts and says nothing does not hold a call beyond its deadline."""
    outcome = client.call(timeout=5)
    client.peer.wait(6)
    assert outcome.failed().code in (StatusCode.DEADLINE_EXCEEDED, StatusCode.UNAVAILABLE)


@pytest.mark.parametrize("end", range(0, len(Handshake.server() + HEAD + BODY + END), 9))
def test_truncated_response(client: ClientProbe, end: int) -> None:
    """A connection lost at any octet of a response fails its call once."""
    outcome = client.call()
    client.peer.send((Handshake.server() + HEAD + BODY + END)[:end])
    client.peer.hang_up()
    assert outcome.failed().code == StatusCode.UNAVAILABLE


def test_goaway_flood(calling: ClientProbe) -> None:
    """GOAWAY again and again is noise too; it costs no reconnection each."""
    peer = calling.peer
    for _ in range(2000):
        if peer.closed:
            break
        peer.send(h2.goaway(1) * 10)
    assert len(calling.peers) <= 2
