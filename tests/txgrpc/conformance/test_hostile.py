"""Clients that mean harm: each is ended with the right code, after a bounded number of frames, octets and seconds."""

import gzip
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from microd.testing import http2_frames as h2
from microd.testing.http2_frames import Code, Flag, Kind, Setting
from microd.testing.http2_peer import Handshake, Peer
from microd.testing.http2_probe import PATH, ServerProbe, call, opening, request_fields
from microd.txgrpc import Limits

KIB, MIB = 2**10, 2**20
FIELDS = h2.block(request_fields())
MALFORMED = h2.block(request_fields(extra=[(b"Upper", b"case")]))


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
    spent = time.process_time() - began
    assert peak < octets, f"{peak:,} octets were held"
    assert spent < seconds, f"{spent:.1f} s were spent"


def flood(peer: Peer, unit: bytes, most: int, batch: int = 100) -> int:
    """Send the unit until the connection ends, at most so often; returns how often. Answers are read and dropped."""
    sent = 0
    octets = unit * batch
    while sent < most and not peer.closed:
        peer.deliver(octets)
        sent += batch
        del peer.frames[:-10]
    return sent


# Floods of frames


def noise(stream: int) -> dict[str, bytes]:
    """Legal frames that bring nothing, for a connection whose stream 1 is open."""
    return {
        "ping": h2.ping(),
        "ping-ack": h2.ping(ack=True),
        "settings": h2.settings(),
        "settings-values": h2.settings(
            (Setting.INITIAL_WINDOW_SIZE, 1000), (Setting.INITIAL_WINDOW_SIZE, 2000)
        ),
        "settings-ack": h2.settings_ack(),
        "settings-full": h2.settings(*[(0xBEEF, 1)] * 500),
        "data-empty": h2.data(stream),
        "data-padding-only": h2.data(stream, pad=255),
        "priority": h2.priority(stream),
        "priority-idle": h2.priority(2**31 - 1),
        "window-update": h2.window_update(0, 1),
        "window-update-stream": h2.window_update(stream, 1),
        "unknown": h2.frame(0xBE, 0, 0),
        "unknown-full": h2.frame(0xBE, 0xFF, stream, bytes(16_384)),
        "goaway": h2.goaway(),
    }


@pytest.mark.parametrize("name", noise(1))
def test_flood_of_noise(probe: ServerProbe, name: str) -> None:
    """Endless frames that bring nothing end the connection with ENHANCE_YOUR_CALM."""
    peer = probe.peer()
    peer.send(opening(1, "Chat"))
    with bounded(6 * MIB):
        flood(peer, noise(1)[name], 20_000)
    peer.expect_connection_error(Code.ENHANCE_YOUR_CALM)


@pytest.mark.parametrize("name", noise(1))
def test_a_little_noise_is_welcome(probe: ServerProbe, name: str) -> None:
    """A hundred such frames harm nobody, and are forgiven with time."""
    peer = probe.peer()
    peer.send(opening(1, "Chat"))
    for _ in range(20):
        flood(peer, noise(1)[name], 100)
        assert not peer.closed
        peer.wait(10)
        peer.frames.clear()
    peer.send(h2.data(1, h2.message(b"still"), end=True))
    assert peer.body(1) == h2.message(b"still")


def test_noise_beside_a_stream_that_we_send_is_welcome(probe: ServerProbe) -> None:
    """Who receives much grants much and measures with PINGs: what we send forgives that."""
    peer = probe.peer()
    peer.send(call(1, "Pour", b"10000"))
    for _ in range(2000):
        peer.send(h2.window_update(1, 3000), h2.window_update(0, 3000), h2.ping())
    peer.expect_alive()
    assert len(peer.body(1)) == h2.DEFAULT_WINDOW + 2000 * 3000


@pytest.mark.parametrize("size", [10, 10_000])
def test_noise_beside_calls_is_welcome(probe: ServerProbe, size: int) -> None:
    """So do the answers of unary calls, short and long."""
    peer = probe.peer()
    for n in range(1500):
        peer.send(
            call(1 + 2 * n, payload=bytes(size)), h2.window_update(0, size + 5), h2.ping(), h2.priority(1)
        )
    peer.expect_alive()


@pytest.mark.parametrize("name", ["data-empty", "data-padding-only", "window-update-stream", "priority"])
def test_flood_of_noise_on_a_stream_that_we_reset(probe: ServerProbe, name: str) -> None:
    """Late frames are forgiven, endless late frames that bring nothing are not."""
    peer = probe.peer()
    peer.send(h2.headers(1, MALFORMED))
    with bounded(2 * MIB):
        flood(peer, noise(1)[name], 20_000)
    peer.expect_connection_error(Code.ENHANCE_YOUR_CALM)


def test_a_window_of_small_late_messages_is_welcome(probe: ServerProbe) -> None:
    """All that was under way when a call was answered early is dropped in peace, though it be thousands of frames."""
    peer = probe.peer()
    window = peer.announced().get(Setting.INITIAL_WINDOW_SIZE, h2.DEFAULT_WINDOW)
    peer.send(opening(1, "Early"))
    peer.deliver(h2.data(1, h2.message(b"x" * 45)) * (window // 50))
    peer.expect_stream_error(1, Code.NO_ERROR)


def test_flood_of_headers_on_a_stream_that_we_reset(probe: ServerProbe) -> None:
    """Decoding the field blocks of dead streams for ever is not owed either."""
    peer = probe.peer()
    peer.send(h2.headers(1, MALFORMED))
    with bounded(2 * MIB):
        flood(peer, h2.headers(1, FIELDS), 20_000)
    peer.expect_connection_error(Code.ENHANCE_YOUR_CALM)


def test_flood_of_resets_on_a_closed_stream(probe: ServerProbe) -> None:
    """RST_STREAM again and again on a stream that has ended brings nothing either."""
    peer = probe.peer()
    peer.send(call(1))
    with bounded(2 * MIB):
        flood(peer, h2.rst_stream(1), 20_000)
    peer.expect_connection_error(Code.ENHANCE_YOUR_CALM)


def test_ping_flood_of_a_peer_that_does_not_read(probe: ServerProbe) -> None:
    """Answers to PINGs do not pile up behind a transport that takes nothing."""
    peer = probe.peer()
    peer.transport.reads = False
    with bounded(2 * MIB):
        flood(peer, h2.ping(), 20_000)
    peer.transport.reads = True
    peer.settle()
    peer.expect_connection_error(Code.ENHANCE_YOUR_CALM)


# Streams opened to be thrown away


def reset_batches(units: list[bytes], size: int = 100) -> Iterator[bytes]:
    for start in range(0, len(units), size):
        yield b"".join(units[start : start + size])


@pytest.mark.parametrize("method", ["Deaf", "Early", "Chat"])
def test_rapid_reset(probe: ServerProbe, method: str) -> None:
    """Calls opened and reset at once, without end, end the connection with ENHANCE_YOUR_CALM."""
    peer = probe.peer()
    units = [opening(n, method) + h2.rst_stream(n) for n in range(1, 20_001, 2)]
    with bounded(12 * MIB):
        for octets in reset_batches(units):
            peer.deliver(octets)
    peer.expect_connection_error(Code.ENHANCE_YOUR_CALM)
    assert len(probe.started) < 2000
    assert len(probe.finished) == len(probe.started)


def test_rapid_reset_in_one_piece(probe: ServerProbe) -> None:
    """A single large read is no way around: the burst is counted frame by frame."""
    peer = probe.peer()
    peer.deliver(b"".join(opening(n, "Deaf") + h2.rst_stream(n) for n in range(1, 20_001, 2)))
    peer.expect_connection_error(Code.ENHANCE_YOUR_CALM)
    assert len(probe.started) < 2000
    assert len(probe.finished) == len(probe.started)


def test_ordinary_cancellations_are_welcome(probe: ServerProbe) -> None:
    """A hundred cancelled calls at once, again and again with time in between, are everyday life."""
    peer = probe.peer()
    stream = 1
    for _ in range(20):
        for _ in range(100):
            peer.send(call(stream, "Hang"), h2.rst_stream(stream))
            stream += 2
        peer.wait(10)
    peer.send(call(stream))
    assert peer.body(stream) == h2.message(b"ping")


PROVOKE = {
    "window-update-zero": lambda n: call(n, "Hang") + h2.window_update(n, 0),
    "window-overflow": lambda n: call(n, "Hang") + h2.window_update(n, h2.MAX_WINDOW),
    "data-after-end": lambda n: call(n, "Hang") + h2.data(n, b"x"),
    "headers-after-end": lambda n: call(n, "Hang") + h2.headers(n, FIELDS, end=True),
    "priority-length": lambda n: call(n, "Hang") + h2.frame(Kind.PRIORITY, 0, n, bytes(4)),
    "malformed": lambda n: h2.headers(n, MALFORMED, end=True),
    "malformed-trailers": lambda n: opening(n, "Deaf") + h2.headers(n, FIELDS),
    "content-length": lambda n: call(n, "Echo", extra=[(b"content-length", b"1")]),
}


@pytest.mark.parametrize("name", PROVOKE)
def test_resets_that_the_server_is_made_to_send(probe: ServerProbe, name: str) -> None:
    """Making the server reset its own streams counts like resetting them."""
    peer = probe.peer()
    units = [PROVOKE[name](n) for n in range(1, 20_001, 2)]
    with bounded(12 * MIB):
        for octets in reset_batches(units):
            peer.deliver(octets)
    peer.expect_connection_error(Code.ENHANCE_YOUR_CALM)
    assert len(probe.started) < 2000
    assert len(probe.finished) == len([name for name in probe.started if name in ("Hang", "Deaf")])


def test_flood_of_refused_streams(probe: ServerProbe) -> None:
    """Opening streams above the limit for ever is refused cheaply, and not for ever."""
    peer = probe.peer()
    limit = peer.announced()[Setting.MAX_CONCURRENT_STREAMS]
    peer.send(*(opening(1 + 2 * n, "Deaf") for n in range(limit)))
    with bounded(4 * MIB):
        for octets in reset_batches([opening(1 + 2 * n, "Deaf") for n in range(limit, limit + 10_000)]):
            peer.deliver(octets)
    peer.expect_connection_error(Code.ENHANCE_YOUR_CALM)
    assert len(probe.started) == limit


# Field blocks


@pytest.mark.parametrize("octets", [0, 1, 16_384])
def test_continuation_flood(probe: ServerProbe, octets: int) -> None:
    """A field block without end ends the connection, however small its fragments."""
    peer = probe.peer()
    peer.send(h2.headers(1, FIELDS, end_headers=False))
    fragment = h2.continuation(1, h2.literal(b"x", b"y" * octets)[:octets], end_headers=False)
    with bounded(4 * MIB):
        flood(peer, fragment, 20_000, batch=10)
    peer.expect_connection_error(Code.ENHANCE_YOUR_CALM)


def test_hpack_bomb(probe: ServerProbe) -> None:
    """A few octets that expand to megabytes of fields end the connection before they do."""
    peer = probe.peer()
    peer.send(h2.headers(1, FIELDS + h2.literal(b"x", b"b" * 4000, first=0x40), end=True))
    with bounded(2 * MIB):
        peer.send(h2.headers(3, FIELDS + h2.indexed(62) * 16_000, end=True))
    peer.expect_connection_error(Code.ENHANCE_YOUR_CALM, Code.COMPRESSION_ERROR)


def test_hpack_bomb_of_many_small_fields(probe: ServerProbe) -> None:
    """The overhead of each field counts, so that tiny ones cannot pile up."""
    peer = probe.peer()
    with bounded(4 * MIB):
        peer.send(h2.headers(1, FIELDS + h2.indexed(2) * 16_000, end=True))
    assert peer.closed or not peer.body(1)


@pytest.mark.parametrize("end", [True, False])
def test_header_list_somewhat_too_long(probe: ServerProbe, end: bool) -> None:
    """A header list above the announced limit is answered with 431, and fails its call alone."""
    peer = probe.peer()
    limit = peer.announced()[Setting.MAX_HEADER_LIST_SIZE]
    lines = [(b"x-%d" % n, b"v" * 1000) for n in range(limit // 1000)]
    encoded = h2.block(request_fields(extra=lines))
    pieces = [encoded[at : at + 16_384] for at in range(0, len(encoded), 16_384)]
    peer.send(h2.headers(1, pieces[0], end_headers=False, end=end))
    peer.send(*(h2.continuation(1, piece, end_headers=piece is pieces[-1]) for piece in pieces[1:]))
    peer.expect_alive()
    assert not probe.started
    assert dict(peer.field_sections(1)[0])[b":status"] == b"431"
    assert peer.of(Kind.HEADERS, 1)[0].ends_stream
    assert peer.resets(1) == ([] if end else [Code.NO_ERROR])


@pytest.mark.parametrize("over", [0, 1])
def test_header_list_of_exactly_the_limit(probe: ServerProbe, over: int) -> None:
    """The announced size of a header list, counted as RFC 9113 6.5.2 does, is the last one to be served."""
    peer = probe.peer()
    limit = peer.announced()[Setting.MAX_HEADER_LIST_SIZE]
    fields = request_fields()
    rest = limit - sum(len(n) + len(v) + 32 for n, v in fields) - len(b"x") - 32 + over
    encoded = h2.block((*fields, (b"x", b"v" * rest)))
    pieces = [encoded[at : at + 16_384] for at in range(0, len(encoded), 16_384)]
    peer.send(h2.headers(1, pieces[0], end_headers=False))
    peer.send(*(h2.continuation(1, piece, end_headers=piece is pieces[-1]) for piece in pieces[1:]))
    peer.send(h2.data(1, h2.message(b"x"), end=True))
    assert len(probe.started) == 1 - over
    peer.expect_alive()


def test_trailers_somewhat_too_long(probe: ServerProbe) -> None:
    """Trailers above the limit of a header list end their stream, and the table stays in step."""
    peer = probe.peer()
    peer.send(opening(1, "Deaf"), h2.headers(3, FIELDS + h2.literal(b"x", b"v" * 4000, first=0x40), end=True))
    peer.send(h2.headers(1, h2.indexed(62) * 20, end=True))
    peer.expect_stream_error(1, Code.ENHANCE_YOUR_CALM)
    assert probe.finished == ["Deaf"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b":path", b"/" + b"\xff" * 4000),
        (b":path", PATH + b"\xff" * 4000),
        (b":path", b"/" + b"\xff" * 4000 + b"/Echo"),
        (b"content-type", b"\xff" * 4000),
        (b"content-type", b"application/grpc+" + b"\xff" * 4000),
        (b"grpc-encoding", b"\xff" * 4000),
        (b"grpc-timeout", b"\xff" * 4000),
        (b":method", b"G" * 4000),
        (b"grpc-accept-encoding", b"\xff" * 4000),
    ],
)
def test_answers_repeat_nothing_at_length(probe: ServerProbe, name: bytes, value: bytes) -> None:
    """An answer stays small whatever it is about, or the table would turn every few octets into kilobytes."""
    peer = probe.peer()
    fields = [line for line in request_fields(extra=[(b"grpc-encoding", b"identity")]) if line[0] != name]
    peer.send(
        h2.headers(1, h2.literal(name, value) + h2.block(fields)), h2.data(1, h2.message(b"x"), end=True)
    )
    assert sum(len(f.payload) for f in peer.frames if f.stream == 1) < 2000
    peer.expect_alive()


def test_memory_of_header_blocks_is_bounded(probe: ServerProbe) -> None:
    """Thousands of different field blocks are not all remembered."""
    peer = probe.peer()
    with bounded(16 * MIB):
        for n in range(2000):
            stream = 1 + 2 * n
            peer.deliver(call(stream, extra=[(b"x-%d" % n, b"v" * 900)]))
            peer.frames.clear()
    peer.expect_alive()


def test_dynamic_tables_are_bounded(probe: ServerProbe) -> None:
    """Endless insertions keep the table at its 4,096 octets."""
    peer = probe.peer()
    with bounded(8 * MIB):
        for n in range(1000):
            insert = h2.literal(b"x-%d" % n, b"v" * 1000, first=0x40)
            peer.deliver(
                h2.headers(1 + 2 * n, FIELDS + insert) + h2.data(1 + 2 * n, h2.message(b""), end=True)
            )
            peer.frames.clear()
    peer.expect_alive()


def test_field_block_that_never_finishes(probe: ServerProbe) -> None:
    """A field block which drips in slowly is not waited for without limit."""
    peer = probe.peer()
    peer.send(h2.headers(1, FIELDS[:10], end_headers=False))
    peer.wait(600)
    assert peer.closed


def test_frame_that_never_finishes(probe: ServerProbe) -> None:
    """An octet a second makes no frame in any reasonable time."""
    peer = probe.peer()
    frame = h2.headers(1, FIELDS + h2.literal(b"x", b"v" * 4000))
    for octet in frame[:4000]:
        peer.deliver(bytes([octet]))
        peer.wait(1)
        if peer.closed:
            break
    assert peer.closed


def test_preface_that_never_finishes(probe: ServerProbe) -> None:
    """A connection that does not introduce itself is not kept."""
    silent, half, bare = probe.connect(), probe.connect(), probe.connect()
    half.send(h2.PREFACE[:10])
    bare.send(h2.PREFACE)
    for peer in (silent, half, bare):
        peer.wait(120)
        assert peer.closed


# Not HTTP/2


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", id="http-1.1"),
        pytest.param(b"POST /greeter HTTP/1.0\r\n\r\n", id="http-1.0"),
        pytest.param(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"GET / HTTP/1.1\r\n\r\n", id="http-1.1-behind-preface"
        ),
        pytest.param(bytes(range(256)), id="octets"),
        pytest.param(b"\n", id="newline"),
    ],
)
def test_not_http2(fresh: Peer, octets: bytes) -> None:
    """Whoever does not speak HTTP/2 is hung up on."""
    fresh.send(octets)
    assert fresh.closed


# Messages


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


# Readers that do not read


def test_reader_without_window(probe: ServerProbe) -> None:
    """A stream whose reader grants nothing stops its writer after a few messages."""
    peer = probe.peer((Setting.INITIAL_WINDOW_SIZE, 0))
    with bounded(4 * MIB):
        peer.send(call(1, "Pour", b"100000"))
        peer.wait(10)
    assert probe.poured <= 3


def test_reader_of_one_octet(probe: ServerProbe) -> None:
    """A reader that grants octet by octet keeps no more in memory than one that grants nothing."""
    peer = probe.peer((Setting.INITIAL_WINDOW_SIZE, 0))
    with bounded(4 * MIB):
        peer.send(call(1, "Pour", b"100000"))
        for _ in range(800):
            peer.deliver(h2.window_update(1, 1))
            peer.wait(1)
    assert probe.poured <= 3
    assert len(peer.body(1)) == 800
    assert max(len(f.payload) for f in peer.of(Kind.DATA, 1)) == 1


def test_many_readers_without_window(probe: ServerProbe) -> None:
    """So do many of them, each with its own stream."""
    peer = probe.peer((Setting.INITIAL_WINDOW_SIZE, 0))
    with bounded(16 * MIB):
        for n in range(100):
            peer.deliver(call(1 + 2 * n, "Pour", b"50000"))
    assert probe.poured <= 300


@pytest.mark.parametrize("size", [b"1000", b"10000", b"20000", b"50000"])
def test_transport_that_takes_nothing(probe: ServerProbe, size: bytes) -> None:
    """When the transport's buffer is full the writers stop, whatever the windows, and go on when it has drained."""
    peer = probe.peer((Setting.INITIAL_WINDOW_SIZE, 2**30))
    peer.send(h2.window_update(0, 2**30))
    peer.transport.reads = False
    with bounded(4 * MIB):
        peer.send(call(1, "Pour", size))
    assert probe.poured < 100
    peer.transport.reads = True
    peer.settle()
    assert peer.body(1) == h2.message(bytes(int(size))) * 1000


def test_unary_calls_over_a_transport_that_takes_nothing(probe: ServerProbe) -> None:
    """Answers that cannot be written occupy their streams, so that there is an end to them; none is lost."""
    peer = probe.peer((Setting.INITIAL_WINDOW_SIZE, 2**30))
    peer.send(h2.window_update(0, 2**30))
    limit = peer.announced()[Setting.MAX_CONCURRENT_STREAMS]
    peer.transport.reads = False
    octets = [call(1 + 2 * n, payload=b"%d," % n * 100) for n in range(limit)]
    with bounded(8 * MIB):
        peer.send(*octets)
    peer.transport.reads = True
    peer.settle()
    for n in range(limit):
        assert peer.body(1 + 2 * n) == h2.message(b"%d," % n * 100)
        assert peer.of(Kind.HEADERS, 1 + 2 * n)[-1].ends_stream


def test_answers_of_headers_over_a_transport_that_takes_nothing(probe: ServerProbe) -> None:
    """Refusals, which no window holds back, stop the reading when nobody takes them."""
    peer = probe.peer()
    peer.transport.reads = False
    with bounded(8 * MIB):
        for n in range(100_000):
            if peer.transport.producerState == "paused" or peer.closed:
                break
            peer.deliver(opening(1 + 2 * n, "Nothing", end=True))
    assert peer.transport.producerState == "paused"
    peer.transport.reads = True
    peer.settle()
    assert peer.transport.producerState == "producing"


def test_window_changes_over_and_over(probe: ServerProbe) -> None:
    """Moving the initial window up and down across many streams is noise, and ends as such."""
    peer = probe.peer()
    peer.send(*(call(1 + 2 * n, "Hang") for n in range(500)))
    up_and_down = h2.settings((Setting.INITIAL_WINDOW_SIZE, 0)) + h2.settings(
        (Setting.INITIAL_WINDOW_SIZE, 10)
    )
    with bounded(4 * MIB):
        flood(peer, up_and_down, 5000, batch=50)
    peer.expect_connection_error(Code.ENHANCE_YOUR_CALM)


def test_settings_of_many_values(probe: ServerProbe) -> None:
    """One SETTINGS frame of thousands of window changes across many streams costs little time."""
    peer = probe.peer()
    peer.send(*(call(1 + 2 * n, "Hang") for n in range(900)))
    values = [(Setting.INITIAL_WINDOW_SIZE, n % 100) for n in range(2730)]
    with bounded(8 * MIB, seconds=2.0):
        peer.send(h2.settings(*values))


def test_octet_by_octet(probe: ServerProbe) -> None:
    """A large frame in single octets costs no more than its octets' worth of time."""
    peer = probe.connect()
    whole = Handshake.client() + opening(1, "Collect") + h2.data(1, h2.message(bytes(16_000)), end=True)
    began = time.process_time()
    for octet in whole:
        peer.protocol.dataReceived(bytes([octet]))
    assert time.process_time() - began < 2.0
    peer.settle()
    assert len(peer.body(1)) == 16_005


def test_flags_and_types_of_every_value(probe: ServerProbe) -> None:
    """Every type with every flag on streams old and new is answered, never raised."""
    for kind in range(12):
        for flags in range(256):
            peer = probe.peer()
            peer.send(opening(1, "Deaf"))
            for stream in (0, 1, 2, 3):
                peer.send(h2.frame(kind, flags, stream, bytes(8)))
            assert peer.closed or not peer.goaways()
            if not peer.closed:
                peer.hang_up()


def test_padding_flag_with_every_length(probe: ServerProbe) -> None:
    """Pad lengths around the payload's length are told apart to the octet."""
    for pad in range(12):
        peer = probe.peer()
        peer.send(opening(1, "Deaf"), h2.frame(Kind.DATA, Flag.PADDED, 1, bytes([pad]) + bytes(6)))
        assert peer.closed == (pad > 6)


def test_peer_that_falls_silent(probe: ServerProbe) -> None:
    """A peer that says nothing more is asked with PING, and dropped with its calls when it does not answer."""
    peer = probe.peer()
    peer.send(opening(1, "Deaf"))
    peer.wait(24 * 3600, step=10)
    assert [f for f in peer.of(Kind.PING) if not f.is_ack]
    assert peer.closed
    assert probe.finished == ["Deaf"]


def test_peer_that_answers_pings_is_kept(probe: ServerProbe) -> None:
    """A quiet stream of a living peer is no offence, however long."""
    peer = probe.peer()
    peer.send(opening(1, "Collect"))
    for _ in range(400):
        peer.wait(10, step=5)
        peer.send(*(h2.ping(f.payload, ack=True) for f in peer.of(Kind.PING) if not f.is_ack))
        peer.frames.clear()
    peer.send(h2.data(1, h2.message(b"patience"), end=True))
    assert peer.body(1) == h2.message(b"patience")
