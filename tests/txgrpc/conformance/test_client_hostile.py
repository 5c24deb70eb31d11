"""Servers that mean harm, before the client: their calls fail, at a bounded cost."""

import gzip

import pytest

from microd.testing import http2_frames as h2
from microd.testing.bounded import bounded
from microd.testing.http2_frames import Code, Setting
from microd.testing.http2_peer import Handshake
from microd.testing.http2_probe import RESPONSE, TRAILERS, ClientProbe, reply
from microd.txgrpc import Limits, StatusCode

MIB = 2**20
HEAD = h2.headers(1, h2.block(RESPONSE))
BODY = h2.data(1, h2.message(b"pong"))
END = h2.headers(1, h2.block(TRAILERS), end=True)
Lines = list[tuple[bytes, bytes]]


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
