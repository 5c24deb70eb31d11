"""Field blocks that expand, go on for ever, or want to be remembered and repeated."""

import pytest

from microd.testing import http2_frames as h2
from microd.testing.bounded import bounded
from microd.testing.http2_frames import Code, Kind, Setting
from microd.testing.http2_probe import PATH, ServerProbe, call, opening, request_fields

MIB = 2**20
FIELDS = h2.block(request_fields())


@pytest.mark.parametrize("octets", [0, 1, 16_384])
def test_continuation_flood(probe: ServerProbe, octets: int) -> None:
    """A field block without end ends the connection, however small its fragments."""
    peer = probe.peer()
    peer.send(h2.headers(1, FIELDS, end_headers=False))
    fragment = h2.continuation(1, h2.literal(b"x", b"y" * octets)[:octets], end_headers=False)
    with bounded(4 * MIB):
        for _ in range(2000):
            peer.deliver(fragment * 10)
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
