"""RFC 9113 section 8, responses, from the side of a client."""

import zlib

import pytest

from microd.testing import http2_frames as h2
from microd.testing.http2_frames import Code
from microd.testing.http2_probe import RESPONSE, TRAILERS, ClientProbe, reply
from microd.txgrpc import StatusCode

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


@pytest.mark.parametrize("encoding", [b"snappy", b"identity"])
def test_message_compressed_by_what_nobody_knows(calling: ClientProbe, encoding: bytes) -> None:
    """A reply that is compressed in a way which is not supported, or not said, fails its call."""
    head = h2.headers(1, h2.block((*RESPONSE, (b"grpc-encoding", encoding))))
    calling.peer.send(head, h2.data(1, h2.message(zlib.compress(b"pong"), compressed=True)), END)
    assert calling.outcomes[0].failed().code in (StatusCode.INTERNAL, StatusCode.UNIMPLEMENTED)
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
    # The one exception that section 8.2.2 makes for TE is for requests.
    (b"te", b"trailers"),
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
