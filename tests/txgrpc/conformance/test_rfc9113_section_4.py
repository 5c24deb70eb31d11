"""RFC 9113 section 4: frame format, frame size, field compression."""

import pytest
from hpack import Encoder
from hpack.hpack import decode_integer

from microd.testing import http2_frames as h2
from microd.testing.http2_frames import Code, Flag, Kind, Setting
from microd.testing.http2_peer import Peer
from microd.testing.http2_probe import ServerProbe, call, opening, request_fields

# 4.1 Frame format


@pytest.mark.parametrize("kind", [0x0A, 0x0B, 0x10, 0x7F, 0xFF])
@pytest.mark.parametrize("stream", [0, 1, 2, 99])
def test_4_1_unknown_frame_type_is_discarded(peer: Peer, kind: int, stream: int) -> None:
    """Frames of unknown types are ignored on any stream, whatever their flags."""
    peer.send(opening(1, "Collect"), h2.frame(kind, 0xFF, stream, b"whatever"))
    peer.send(h2.data(1, h2.message(b"on"), end=True))
    peer.expect_tolerance(1)
    assert peer.body(1) == h2.message(b"on")


@pytest.mark.parametrize(
    ("kind", "undefined", "stream", "payload"),
    [
        pytest.param(Kind.DATA, 0xF6, 1, h2.message(b"x"), id="data"),
        pytest.param(Kind.RST_STREAM, 0xFF, 1, b"\0\0\0\x08", id="rst-stream"),
        pytest.param(Kind.PRIORITY, 0xFF, 1, bytes(5), id="priority"),
        pytest.param(Kind.SETTINGS, 0xFE, 0, b"", id="settings"),
        pytest.param(Kind.PING, 0xFE, 0, bytes(8), id="ping"),
        pytest.param(Kind.GOAWAY, 0xFF, 0, bytes(8), id="goaway"),
        pytest.param(Kind.WINDOW_UPDATE, 0xFF, 0, b"\0\0\0\1", id="window-update"),
        pytest.param(Kind.WINDOW_UPDATE, 0xFF, 1, b"\0\0\0\1", id="window-update-of-stream"),
    ],
)
def test_4_1_unused_flags_are_ignored(
    peer: Peer, kind: int, undefined: int, stream: int, payload: bytes
) -> None:
    """Flags without a meaning for the frame's type are ignored."""
    peer.send(opening(1, "Collect"), h2.frame(kind, undefined, stream, payload))
    peer.expect_tolerance(1)


def test_4_1_unused_flags_of_headers_and_continuation(peer: Peer) -> None:
    """A header block is read alike with every undefined flag set."""
    block = h2.block(request_fields())
    peer.send(
        h2.frame(Kind.HEADERS, 0xD2, 1, block[:9]),
        h2.frame(Kind.CONTINUATION, 0xFB | Flag.END_HEADERS, 1, block[9:]),
        h2.data(1, h2.message(b"on"), end=True),
    )
    peer.expect_tolerance(1)
    assert peer.body(1) == h2.message(b"on")


def test_4_1_reserved_bit_is_ignored(peer: Peer) -> None:
    """The reserved bit before the stream identifier is ignored on receipt."""
    high = 1 << 31
    peer.send(
        h2.headers(high | 1, h2.block(request_fields())),
        h2.data(high | 1, h2.message(b"on"), end=True),
        h2.frame(Kind.PING, 0, high, b"reserved"),
    )
    peer.expect_tolerance(1)
    assert peer.body(1) == h2.message(b"on")
    assert next(f.payload for f in peer.of(Kind.PING)) == b"reserved"


def test_4_1_what_we_send_leaves_unused_bits_unset(peer: Peer) -> None:
    """Our own frames carry no undefined flag and no reserved bit."""
    peer.send(call(1), h2.ping())
    defined = {
        Kind.DATA: Flag.END_STREAM | Flag.PADDED,
        Kind.HEADERS: Flag.END_STREAM | Flag.END_HEADERS | Flag.PADDED | Flag.PRIORITY,
        Kind.SETTINGS: Flag.ACK,
        Kind.PING: Flag.ACK,
        Kind.CONTINUATION: Flag.END_HEADERS,
    }
    for f in peer.frames:
        assert not f.flags & ~defined.get(Kind(f.kind), Flag(0)), f
        assert f.stream < 2**31, f


# 4.2 Frame size


def test_4_2_frames_of_16384_octets_are_accepted(peer: Peer) -> None:
    """Every implementation takes frames of 2^14 octets."""
    payload = h2.message(bytes(16_384 - 5))
    peer.send(opening(1, "Collect"), h2.data(1, payload, end=True))
    peer.expect_tolerance(1)
    assert len(peer.body(1)) == 16_384


def test_4_2_header_frames_of_16384_octets_are_accepted(peer: Peer) -> None:
    """A HEADERS frame filled to 2^14 octets is a frame like others."""
    start = h2.block(request_fields())
    value = b"f" * (16_384 - len(start) - 1 - len(h2.string(b"x-filler")) - 3)
    block = start + h2.literal(b"x-filler", value)
    assert len(block) == 16_384
    peer.send(h2.headers(1, block), h2.data(1, h2.message(b"on"), end=True))
    assert not peer.goaways()


@pytest.mark.parametrize(
    ("kind", "stream"),
    [
        pytest.param(Kind.HEADERS, 3, id="headers"),
        pytest.param(Kind.CONTINUATION, 1, id="continuation"),
        pytest.param(Kind.SETTINGS, 0, id="settings"),
        pytest.param(Kind.PING, 0, id="ping"),
        pytest.param(Kind.GOAWAY, 0, id="goaway"),
        pytest.param(Kind.WINDOW_UPDATE, 0, id="window-update"),
        pytest.param(0xBE, 0, id="unknown-on-stream-0"),
    ],
)
def test_4_2_above_max_frame_size_and_state_of_the_connection(peer: Peer, kind: int, stream: int) -> None:
    """A frame above SETTINGS_MAX_FRAME_SIZE that could alter the connection is a connection error FRAME_SIZE_ERROR."""
    limit = peer.announced().get(Setting.MAX_FRAME_SIZE, h2.DEFAULT_FRAME_SIZE)
    before = h2.headers(1, b"", end_headers=False) if kind == Kind.CONTINUATION else opening(1, "Collect")
    peer.send(before, h2.frame(kind, 0, stream, bytes(limit + 1)))
    peer.expect_connection_error(Code.FRAME_SIZE_ERROR)


@pytest.mark.parametrize("kind", [Kind.DATA, Kind.PRIORITY, Kind.RST_STREAM, Kind.WINDOW_UPDATE, 0xBE])
def test_4_2_above_max_frame_size_on_a_stream(peer: Peer, kind: int) -> None:
    """A frame above SETTINGS_MAX_FRAME_SIZE gets FRAME_SIZE_ERROR, on its stream or for the connection."""
    limit = peer.announced().get(Setting.MAX_FRAME_SIZE, h2.DEFAULT_FRAME_SIZE)
    peer.send(opening(1, "Collect"), h2.frame(kind, 0, 1, bytes(limit + 1)))
    peer.expect_stream_or_connection_error(1, Code.FRAME_SIZE_ERROR)


def test_4_2_oversize_is_told_by_the_frame_header(peer: Peer) -> None:
    """The nine octets of the header suffice: nobody collects 16 MiB to refuse them."""
    peer.send(opening(1, "Collect"), h2.frame(Kind.DATA, 0, 1, length=2**24 - 1))
    peer.expect_connection_error(Code.FRAME_SIZE_ERROR)


@pytest.mark.parametrize(
    ("kind", "stream", "payload"),
    [
        pytest.param(Kind.PING, 0, bytes(7), id="ping"),
        pytest.param(Kind.GOAWAY, 0, bytes(7), id="goaway"),
        pytest.param(Kind.WINDOW_UPDATE, 0, bytes(3), id="window-update"),
        pytest.param(Kind.RST_STREAM, 1, bytes(3), id="rst-stream"),
        pytest.param(Kind.SETTINGS, 0, bytes(5), id="settings"),
        pytest.param(Kind.PING, 0, b"", id="ping-empty"),
        pytest.param(Kind.GOAWAY, 0, b"", id="goaway-empty"),
        pytest.param(Kind.WINDOW_UPDATE, 0, b"", id="window-update-empty"),
        pytest.param(Kind.RST_STREAM, 1, b"", id="rst-stream-empty"),
    ],
)
def test_4_2_too_small_for_mandatory_data(peer: Peer, kind: int, stream: int, payload: bytes) -> None:
    """A frame too small for its mandatory data is a FRAME_SIZE_ERROR."""
    peer.send(opening(1, "Collect"), h2.frame(kind, 0, stream, payload))
    peer.expect_connection_error(Code.FRAME_SIZE_ERROR)


def test_4_2_our_frames_keep_the_peers_max_frame_size(probe: ServerProbe) -> None:
    """No frame of ours exceeds 2^14 octets for a peer that did not allow more."""
    peer = probe.peer((Setting.INITIAL_WINDOW_SIZE, 2**20))
    peer.send(h2.window_update(0, 2**20), call(1, "Pour", b"50000"))
    assert max(len(f.payload) for f in peer.frames) <= h2.DEFAULT_FRAME_SIZE
    assert len(peer.body(1)) > 50_000


# 4.3 Field section compression and decompression


def test_4_3_field_block_in_fragments(peer: Peer) -> None:
    """A field block may be cut anywhere into HEADERS and CONTINUATION frames, empty ones too."""
    block = h2.block(request_fields("Field", [(b"x", b"cut")]))
    peer.send(
        h2.headers(1, b"", end_headers=False),
        h2.continuation(1, block[:1], end_headers=False),
        h2.continuation(1, b"", end_headers=False),
        h2.continuation(1, block[1:40], end_headers=False),
        h2.continuation(1, block[40:]),
        h2.data(1, h2.message(b""), end=True),
    )
    assert peer.body(1) == h2.message(b"cut")


@pytest.mark.parametrize(
    "between",
    [
        pytest.param(h2.data(1, b""), id="data"),
        pytest.param(h2.headers(1, b""), id="headers"),
        pytest.param(h2.headers(3, b""), id="headers-of-another"),
        pytest.param(h2.priority(1), id="priority"),
        pytest.param(h2.rst_stream(1), id="rst-stream"),
        pytest.param(h2.settings(), id="settings"),
        pytest.param(h2.settings_ack(), id="settings-ack"),
        pytest.param(h2.ping(), id="ping"),
        pytest.param(h2.goaway(), id="goaway"),
        pytest.param(h2.window_update(0, 1), id="window-update"),
        pytest.param(h2.window_update(1, 1), id="window-update-of-stream"),
        pytest.param(h2.continuation(3, b""), id="continuation-of-another"),
        pytest.param(h2.continuation(0, b""), id="continuation-of-0"),
        pytest.param(h2.frame(0xBE, 0, 1), id="unknown"),
        pytest.param(h2.push_promise(1, 2, b""), id="push-promise"),
    ],
)
def test_4_3_nothing_comes_between_the_fragments(peer: Peer, between: bytes) -> None:
    """Field blocks are contiguous: any other frame in between is a connection error PROTOCOL_ERROR."""
    block = h2.block(request_fields())
    peer.send(h2.headers(1, block[:10], end_headers=False), between, h2.continuation(1, block[10:]))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


def test_4_3_decoding_error(peer: Peer) -> None:
    """A field block which cannot be decoded is a connection error COMPRESSION_ERROR."""
    peer.send(h2.headers(1, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", end=True))
    peer.expect_connection_error(Code.COMPRESSION_ERROR)


def test_4_3_block_that_ends_in_the_middle_of_a_field(peer: Peer) -> None:
    """A field block is a discrete unit: it cannot end inside a field line."""
    peer.send(h2.headers(1, h2.block(request_fields())[:-3], end=True))
    peer.expect_connection_error(Code.COMPRESSION_ERROR)


def test_4_3_decoding_error_in_trailers(peer: Peer) -> None:
    """Trailers are field blocks too."""
    peer.send(opening(1, "Collect"), h2.headers(1, h2.indexed(0), end=True))
    peer.expect_connection_error(Code.COMPRESSION_ERROR)


@pytest.mark.parametrize(
    "discarded",
    [
        pytest.param(h2.rst_stream(1), id="on-a-stream-the-peer-reset"),
        pytest.param(b"", id="on-an-open-stream"),
    ],
)
def test_4_3_decoding_error_in_a_second_block(peer: Peer, discarded: bytes) -> None:
    """Even a block whose stream is gone must decode, or the connection cannot go on."""
    peer.send(opening(1, "Collect"), discarded, h2.headers(1, h2.indexed(0), end=True))
    peer.expect_connection_error(Code.COMPRESSION_ERROR, Code.STREAM_CLOSED, Code.PROTOCOL_ERROR)


def test_4_3_discarded_blocks_feed_the_table(peer: Peer) -> None:
    """A block that is refused as malformed still enters the dynamic table, which later blocks use."""
    encoder = Encoder()
    malformed = encoder.encode([*request_fields("Field"), (b"x", b"kept"), (b"Bad", b"upper case")])
    peer.send(h2.headers(1, malformed, end=True))
    peer.expect_stream_error(1, Code.PROTOCOL_ERROR)
    block = encoder.encode([*request_fields("Field"), (b"x", b"kept")])
    peer.send(h2.headers(3, block), h2.data(3, h2.message(b""), end=True))
    assert peer.body(3) == h2.message(b"kept")


def test_4_3_blocks_on_a_stream_that_we_reset_feed_the_table(peer: Peer) -> None:
    """Trailers which cross our RST_STREAM are decoded, though discarded."""
    encoder = Encoder()
    peer.send(h2.headers(1, encoder.encode([*request_fields("Collect"), (b"bad ", b"name")])))
    peer.expect_stream_error(1, Code.PROTOCOL_ERROR)
    peer.send(h2.headers(1, encoder.encode([(b"x", b"from trailers")]), end=True))
    peer.expect_alive()
    block = encoder.encode([*request_fields("Field"), (b"x", b"from trailers")])
    peer.send(h2.headers(3, block), h2.data(3, h2.message(b""), end=True))
    assert peer.body(3) == h2.message(b"from trailers")


# 4.3.1 Compression state


@pytest.mark.parametrize("sizes", [(0,), (0, 4096), (100,), (4096, 0, 8192)])
def test_4_3_1_our_encoder_obeys_a_reduced_table(probe: ServerProbe, sizes: tuple[int, ...]) -> None:
    """After acknowledging a smaller table our next block begins with a size update to no more than the smallest."""
    peer = probe.peer()
    for size in sizes:
        peer.send(h2.settings((Setting.HEADER_TABLE_SIZE, size)))
    peer.reader.decoder.max_allowed_table_size = sizes[-1]
    peer.send(call(1))
    block = peer.of(Kind.HEADERS, 1)[0].payload
    assert block[0] & 0xE0 == 0x20
    assert decode_integer(block, 5)[0] <= min(sizes)
    peer.send(call(3))
    assert peer.body(3) == h2.message(b"ping")


def test_4_3_1_reduced_in_the_preface(probe: ServerProbe) -> None:
    """A table of zero octets asked for in the preface is obeyed from the first block on."""
    peer = probe.connect()
    peer.reader.decoder.max_allowed_table_size = 0
    peer.send(h2.PREFACE, h2.settings((Setting.HEADER_TABLE_SIZE, 0)), call(1), call(3))
    assert peer.body(1) == peer.body(3) == h2.message(b"ping")


def test_4_3_1_the_table_is_one_for_all_streams(peer: Peer) -> None:
    """What one stream put into the table, any other may refer to."""
    start = h2.block((n, v) for n, v in request_fields("Field"))
    peer.send(h2.headers(1, start + h2.literal(b"x", b"shared", first=0x40)))
    peer.send(h2.headers(3, start + h2.indexed(62)))
    peer.send(h2.data(3, h2.message(b""), end=True), h2.data(1, h2.message(b""), end=True))
    assert peer.body(1) == peer.body(3) == h2.message(b"shared")
