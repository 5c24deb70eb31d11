"""RFC 9113 sections 3.4 and 4, from the side of a client: prefaces, frames and field blocks of a server."""

import pytest

from microd.testing import http2_frames as h2
from microd.testing.http2_frames import Code, Flag, Kind, Setting
from microd.testing.http2_peer import Handshake
from microd.testing.http2_probe import RESPONSE, TRAILERS, ClientProbe, reply

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
