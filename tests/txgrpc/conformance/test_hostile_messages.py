"""gRPC messages that claim, expand, break off or pile up."""

import gzip
from collections.abc import Callable

import pytest

from microd.testing import http2_frames as h2
from microd.testing.bounded import bounded
from microd.testing.http2_frames import Kind, Setting
from microd.testing.http2_peer import Peer
from microd.testing.http2_probe import ServerProbe, call, opening
from microd.txgrpc import Limits

MIB = 2**20


@pytest.mark.parametrize("end", range(1, 60, 7))
def test_truncated_frames(probe: ServerProbe, end: int) -> None:
    """A connection lost within a frame ends its calls and says nothing."""
    peer = probe.peer()
    peer.send(call(1, "Hang"), opening(3, "Deaf"), call(5)[:end])
    peer.hang_up()
    assert sorted(probe.finished) == ["Deaf", "Hang"]


def status_of(peer: Peer, stream: int) -> bytes:
    """The grpc-status with which a call ended."""
    return dict(peer.field_sections(stream)[-1])[b"grpc-status"]


def test_message_that_claims_gigabytes(probe: ServerProbe) -> None:
    """The length in a message's prefix reserves nothing and is refused when above the limit."""
    peer = probe.peer()
    with bounded(MIB):
        peer.send(opening(1, "Collect"), h2.data(1, b"\0\xff\xff\xff\xff"))
    assert status_of(peer, 1) == b"8"
    peer.expect_alive()


@pytest.mark.parametrize(
    ("octets", "encoding", "status"),
    [
        pytest.param(b"\x02\0\0\0\x01x", b"identity", b"13", id="flag-2"),
        pytest.param(b"\xff\0\0\0\x01x", b"gzip", b"13", id="flag-255"),
        pytest.param(b"\x02" + h2.message(gzip.compress(b""))[1:], b"gzip", b"13", id="flag-2-of-gzip"),
        pytest.param(h2.message(b"cut")[:-1], b"identity", b"13", id="cut"),
        pytest.param(b"\0\0\0", b"identity", b"13", id="cut-in-the-prefix"),
        pytest.param(h2.message(b"x", compressed=True), b"identity", b"13", id="compressed-by-nothing"),
        pytest.param(h2.message(b"no gzip", compressed=True), b"gzip", b"13", id="not-gzip"),
        pytest.param(
            h2.message(gzip.compress(b"x" * 99)[:-9], compressed=True), b"gzip", b"13", id="gzip-cut"
        ),
        pytest.param(h2.message(b"x", compressed=True), b"snappy", b"12", id="unknown-encoding"),
    ],
)
def test_broken_messages(probe: ServerProbe, octets: bytes, encoding: bytes, status: bytes) -> None:
    """A message that is none fails its call with gRPC's code, and nobody else's."""
    for stream, method in ((1, "Collect"), (3, "Echo")):
        peer = probe.peer()
        peer.send(opening(stream, method, [(b"grpc-encoding", encoding)]), h2.data(stream, octets, end=True))
        assert status_of(peer, stream) == status
        peer.expect_alive()
    assert not probe.messages


def test_message_that_never_comes(probe: ServerProbe) -> None:
    """A thousand messages begun and left cost what was sent of them."""
    peer = probe.peer()
    prefix = (30 * MIB).to_bytes(5, "big")
    with bounded(16 * MIB):
        for n in range(500):
            peer.deliver(opening(1 + 2 * n, "Collect") + h2.data(1 + 2 * n, prefix + b"x"))
    peer.expect_alive()


def test_all_that_is_held_has_a_limit() -> None:
    """Many messages in part, each within its own limit, are bounded together."""
    start = opening(1, "Collect")
    with ServerProbe(Limits(max_buffered=MIB)) as probe, bounded(8 * MIB):
        peer = probe.peer()
        for n in range(50):
            stream = 1 + 2 * n
            peer.deliver(h2.headers(stream, start[9:]) + h2.data(stream, (30 * MIB).to_bytes(5, "big")))
            peer.deliver(b"".join(h2.data(stream, bytes(16_000)) for _ in range(10)))
        peer.expect_alive()
    assert any(status_of(peer, 1 + 2 * n) == b"8" for n in range(50) if peer.field_sections(1 + 2 * n))


PART = h2.message(bytes(150_000))[:100_000]
WHOLE = h2.message(bytes(50_000)) * 2


@pytest.mark.parametrize(
    ("method", "held", "end"),
    [
        pytest.param("Collect", PART, h2.rst_stream, id="part-and-their-reset"),
        pytest.param("Deaf", WHOLE, h2.rst_stream, id="unread-and-their-reset"),
        pytest.param("Deaf", WHOLE + PART, h2.rst_stream, id="both-and-their-reset"),
        pytest.param("Collect", PART, lambda n: h2.data(n, end=True), id="part-and-end"),
        pytest.param("Collect", PART, lambda n: h2.window_update(n, 0), id="part-and-our-reset"),
        pytest.param("Deaf", WHOLE, lambda n: h2.window_update(n, 0), id="unread-and-our-reset"),
        pytest.param("Collect", WHOLE, lambda n: h2.data(n, end=True), id="read-and-end"),
        pytest.param("Collect", WHOLE, lambda n: h2.data(n, b"\xff" * 9), id="read-and-broken"),
        pytest.param("Chat", WHOLE + PART, h2.rst_stream, id="answered-in-part"),
        pytest.param("Echo", PART, h2.rst_stream, id="unary-in-part"),
    ],
)
def test_what_was_held_is_given_back(method: str, held: bytes, end: Callable[[int], bytes]) -> None:
    """However a call ends, what it held no longer counts towards what its connection may hold."""
    with ServerProbe(Limits(max_buffered=MIB)) as probe:
        peer = probe.peer((Setting.INITIAL_WINDOW_SIZE, 2**30))
        peer.send(h2.window_update(0, 2**30))
        for stream in range(1, 101, 2):
            peer.send(opening(stream, method))
            peer.send(*(h2.data(stream, held[at : at + 16_000]) for at in range(0, len(held), 16_000)))
            peer.send(end(stream))
            peer.frames.clear()
        peer.send(opening(101, "Collect"))
        peer.send(*(h2.data(101, WHOLE[at : at + 16_000]) for at in range(0, len(WHOLE), 16_000)))
        peer.send(h2.data(101, end=True))
        assert len(peer.body(101)) == 100_005


def test_unread_messages_of_nothing(probe: ServerProbe) -> None:
    """Empty messages for a handler that does not read are counted by more than their octets."""
    peer = probe.peer()
    peer.send(opening(1, "Deaf"))
    octets = h2.data(1, h2.message(b"") * 3200)
    with bounded(8 * MIB):
        for _ in range(1000):
            if peer.closed or peer.resets(1) or peer.announced()[Setting.INITIAL_WINDOW_SIZE] < 16_000:
                break
            peer.deliver(octets)
    assert peer.resets(1) or peer.closed


def test_unread_messages_of_little() -> None:
    """Tiny messages that nobody reads are counted with what keeping them costs."""
    octets = h2.data(1, h2.message(b"ab") * 2340)
    with ServerProbe(Limits(max_buffered=4 * MIB)) as probe, bounded(16 * MIB):
        peer = probe.peer()
        window = peer.announced()[Setting.INITIAL_WINDOW_SIZE]
        for stream in range(1, 21, 2):
            peer.deliver(opening(stream, "Deaf"))
            for _ in range(window // 16_380):
                peer.deliver(h2.frame(Kind.DATA, 0, stream, octets[9:]))
        peer.expect_alive()


def test_gzip_bomb() -> None:
    """A compressed message that would expand beyond the limit is refused without being expanded."""
    body = h2.message(gzip.compress(bytes(100 * MIB), 1), compressed=True)
    with ServerProbe(Limits(max_message=4 * MIB)) as probe, bounded(20 * MIB):
        peer = probe.peer()
        peer.send(opening(1, "Collect", [(b"grpc-encoding", b"gzip")]))
        for at in range(0, len(body), 16_000):
            peer.deliver(h2.data(1, body[at : at + 16_000]))
        assert status_of(peer, 1) == b"8"
        peer.expect_alive()
