"""RFC 9113 section 5.1, the states of a stream and what may arrive in each, from the side of a server."""

import pytest

from microd.testing import http2_frames as h2
from microd.testing.http2_frames import Code, Flag, Kind, Setting
from microd.testing.http2_peer import Peer
from microd.testing.http2_probe import TRAILERS, ServerProbe, call, opening, request_fields

BLOCK = h2.block(request_fields())
TRAILER = h2.block(((b"x-end", b"1"),))


def every_frame(stream: int) -> dict[str, bytes]:
    """One well-formed frame of each type that belongs to a stream."""
    return {
        "data": h2.data(stream, b"late"),
        "data-empty": h2.data(stream),
        "data-end": h2.data(stream, b"late", end=True),
        "headers": h2.headers(stream, BLOCK),
        "headers-end": h2.headers(stream, TRAILER, end=True),
        "priority": h2.priority(stream),
        "rst-stream": h2.rst_stream(stream),
        "push-promise": h2.push_promise(stream, 2, BLOCK),
        "window-update": h2.window_update(stream, 1),
        "continuation": h2.continuation(stream, TRAILER),
        "unknown": h2.frame(0xBE, 0xFF, stream, b"extension"),
    }


# idle


@pytest.mark.parametrize(
    "name", ["data", "data-empty", "data-end", "rst-stream", "push-promise", "window-update", "continuation"]
)
@pytest.mark.parametrize("stream", [1, 2, 5])
def test_5_1_idle(peer: Peer, name: str, stream: int) -> None:
    """Any frame but HEADERS and PRIORITY on an idle stream is a connection error PROTOCOL_ERROR."""
    peer.send(every_frame(stream)[name])
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@pytest.mark.parametrize("name", ["data", "rst-stream", "window-update", "continuation"])
def test_5_1_idle_above_an_open_stream(peer: Peer, name: str) -> None:
    """A stream above the highest one is idle however many were opened."""
    peer.send(call(1), opening(3, "Collect"), every_frame(5)[name])
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@pytest.mark.parametrize("name", ["priority", "unknown"])
@pytest.mark.parametrize("stream", [1, 2, 5])
def test_5_1_idle_tolerates(peer: Peer, name: str, stream: int) -> None:
    """PRIORITY and frames of unknown types may come on an idle stream, and leave it idle."""
    peer.send(every_frame(stream)[name])
    peer.expect_tolerance(stream)
    peer.send(call(7))
    assert peer.body(7) == h2.message(b"ping")


# open


@pytest.mark.parametrize("name", ["data-empty", "priority", "window-update", "unknown"])
def test_5_1_open(peer: Peer, name: str) -> None:
    """An open stream takes DATA, PRIORITY, WINDOW_UPDATE and unknown frames, and stays open."""
    peer.send(opening(1, "Collect"), every_frame(1)[name])
    peer.expect_tolerance(1)
    peer.send(h2.data(1, h2.message(b"on"), end=True))
    assert peer.body(1) == h2.message(b"on")


def test_5_1_open_reset(probe: ServerProbe) -> None:
    """RST_STREAM ends an open stream: its handler is cancelled and nothing more is sent on it."""
    peer = probe.peer()
    peer.send(opening(1, "Deaf"), h2.rst_stream(1))
    assert probe.finished == ["Deaf"]
    peer.expect_tolerance(1)
    assert not [f for f in peer.frames if f.stream == 1 and f.kind in (Kind.DATA, Kind.HEADERS)]


# half-closed (remote)


@pytest.mark.parametrize("name", ["data", "data-empty", "data-end", "headers", "headers-end"])
def test_5_1_half_closed_remote(probe: ServerProbe, name: str) -> None:
    """Further DATA or HEADERS after END_STREAM is a stream error STREAM_CLOSED, which ends the call."""
    peer = probe.peer()
    peer.send(call(1, "Hang"), every_frame(1)[name])
    peer.expect_stream_error(1, Code.STREAM_CLOSED)
    assert probe.finished == ["Hang"]


def test_5_1_half_closed_remote_by_headers(peer: Peer) -> None:
    """END_STREAM on HEADERS half-closes as well as on DATA."""
    peer.send(opening(1, "Chat", end=True), opening(3, "Deaf", end=True), h2.data(3, b"late"))
    peer.expect_stream_error(3, Code.STREAM_CLOSED)


def test_5_1_half_closed_remote_by_trailers(peer: Peer) -> None:
    """Trailers half-close the stream."""
    peer.send(opening(1, "Deaf"), h2.headers(1, TRAILER, end=True), h2.data(1, b"late"))
    peer.expect_stream_error(1, Code.STREAM_CLOSED)


@pytest.mark.parametrize("name", ["push-promise", "continuation"])
def test_5_1_half_closed_remote_connection_errors(peer: Peer, name: str) -> None:
    """What no state permits is a connection error here too."""
    peer.send(call(1, "Hang"), every_frame(1)[name])
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@pytest.mark.parametrize("name", ["priority", "window-update", "unknown"])
def test_5_1_half_closed_remote_tolerates(probe: ServerProbe, name: str) -> None:
    """WINDOW_UPDATE, PRIORITY and unknown frames are welcome while the response is under way."""
    peer = probe.peer()
    peer.send(call(1, "Hang"), every_frame(1)[name])
    peer.expect_tolerance(1)
    assert not probe.finished


def test_5_1_half_closed_remote_reset(probe: ServerProbe) -> None:
    """RST_STREAM cancels the handler of a half-closed stream, and is not answered."""
    peer = probe.peer()
    peer.send(call(1, "Hang"), h2.rst_stream(1))
    peer.expect_tolerance(1)
    assert probe.finished == ["Hang"]


# closed


CLOSED_BY = {
    "both-ends": call(1),
    "their-reset": opening(1, "Collect") + h2.rst_stream(1),
}


@pytest.mark.parametrize("how", CLOSED_BY)
@pytest.mark.parametrize("name", ["data", "data-empty", "data-end"])
def test_5_1_closed_data(peer: Peer, how: str, name: str) -> None:
    """DATA on a stream that its peer ended is STREAM_CLOSED, of the stream or of the connection."""
    peer.send(CLOSED_BY[how])
    peer.send(every_frame(1)[name])
    peer.expect_stream_or_connection_error(1, Code.STREAM_CLOSED)


@pytest.mark.parametrize("how", CLOSED_BY)
@pytest.mark.parametrize("name", ["headers", "headers-end"])
def test_5_1_closed_headers(peer: Peer, how: str, name: str) -> None:
    """HEADERS on a stream that its peer ended is STREAM_CLOSED or, as an identifier used twice, PROTOCOL_ERROR."""
    peer.send(CLOSED_BY[how])
    peer.send(every_frame(1)[name])
    peer.expect_stream_or_connection_error(1, Code.STREAM_CLOSED, Code.PROTOCOL_ERROR)


@pytest.mark.parametrize("how", CLOSED_BY)
@pytest.mark.parametrize("name", ["push-promise", "continuation"])
def test_5_1_closed_connection_errors(peer: Peer, how: str, name: str) -> None:
    """What no state permits is a connection error on a closed stream too."""
    peer.send(CLOSED_BY[how])
    peer.send(every_frame(1)[name])
    peer.expect_connection_error(Code.PROTOCOL_ERROR, Code.STREAM_CLOSED)


@pytest.mark.parametrize("name", ["priority", "window-update", "rst-stream", "unknown"])
def test_5_1_closed_tolerates(peer: Peer, name: str) -> None:
    """PRIORITY, and WINDOW_UPDATE and RST_STREAM that crossed our END_STREAM, are no errors."""
    peer.send(call(1))
    peer.send(every_frame(1)[name])
    peer.expect_tolerance(1)


@pytest.mark.parametrize("name", ["priority", "unknown"])
def test_5_1_closed_by_their_reset_tolerates(peer: Peer, name: str) -> None:
    """PRIORITY and unknown frames are permitted in any state."""
    peer.send(CLOSED_BY["their-reset"], every_frame(1)[name])
    peer.expect_tolerance(1)


@pytest.mark.parametrize(
    "name",
    ["data", "data-empty", "data-end", "headers-end", "priority", "rst-stream", "window-update", "unknown"],
)
def test_5_1_closed_by_our_reset_ignores(peer: Peer, name: str) -> None:
    """What crosses our RST_STREAM is processed minimally and dropped, with no second RST_STREAM."""
    peer.send(opening(1, "Collect", [(b"Upper", b"case")]))
    peer.expect_stream_error(1, Code.PROTOCOL_ERROR)
    peer.send(every_frame(1)[name])
    peer.expect_stream_error(1, Code.PROTOCOL_ERROR)


@pytest.mark.parametrize(
    "name", ["data", "data-end", "headers-end", "priority", "rst-stream", "window-update"]
)
def test_5_1_closed_by_an_early_answer_ignores(peer: Peer, name: str) -> None:
    """A call answered before its request ended is reset with NO_ERROR; what was under way is dropped."""
    peer.send(opening(1, "Early"))
    assert peer.resets(1) == [Code.NO_ERROR]
    peer.send(every_frame(1)[name])
    peer.expect_stream_error(1, Code.NO_ERROR)


def test_5_1_data_on_a_stream_that_we_reset_gives_its_window_back(peer: Peer) -> None:
    """DATA on a closed stream counts towards the connection's window, and is granted again."""
    peer.send(opening(1, "Collect", [(b"Upper", b"case")]))
    window = h2.DEFAULT_WINDOW + peer.granted(0)
    sent = 0
    for _ in range(3 * window // 16_000):
        if sent + 16_000 > h2.DEFAULT_WINDOW + peer.granted(0):
            break
        peer.send(h2.data(1, bytes(16_000)))
        sent += 16_000
    assert sent > 2 * window
    peer.expect_alive()


# 5.1.1 Stream identifiers


@pytest.mark.parametrize("stream", [2, 100, 2**31 - 2])
def test_5_1_1_even_identifier_from_a_client(peer: Peer, stream: int) -> None:
    """Streams of a client MUST be odd; an even one is a connection error PROTOCOL_ERROR."""
    peer.send(call(stream))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


def test_5_1_1_identifier_below_an_earlier_one(peer: Peer) -> None:
    """A new stream MUST have a higher identifier than all before; the skipped ones are closed."""
    peer.send(call(5))
    peer.send(call(3))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)
    assert not peer.body(3)


def test_5_1_1_identifier_below_an_open_one(peer: Peer) -> None:
    """The skipped identifiers are closed while the higher one is still open."""
    peer.send(opening(5, "Collect"), opening(3, "Collect"))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


@pytest.mark.parametrize("name", ["data", "data-end"])
def test_5_1_1_skipped_identifiers_are_closed(peer: Peer, name: str) -> None:
    """A skipped identifier is a closed stream, not an idle one: DATA on it is STREAM_CLOSED."""
    peer.send(call(5), every_frame(3)[name])
    peer.expect_stream_or_connection_error(3, Code.STREAM_CLOSED, Code.PROTOCOL_ERROR)


def test_5_1_1_identifiers_may_be_skipped(peer: Peer) -> None:
    """A client may leave out identifiers, up to the very last one."""
    peer.send(call(7), call(1001), call(2**31 - 1))
    assert peer.body(7) == peer.body(1001) == peer.body(2**31 - 1) == h2.message(b"ping")
    peer.expect_tolerance()


def test_5_1_1_identifier_is_not_reused(peer: Peer) -> None:
    """An identifier opens a stream once."""
    peer.send(call(1))
    answered = len(peer.of(Kind.DATA, 1))
    peer.send(call(1))
    assert len(peer.of(Kind.DATA, 1)) == answered
    peer.expect_stream_or_connection_error(1, Code.STREAM_CLOSED, Code.PROTOCOL_ERROR)


def test_5_1_1_stream_zero_is_no_stream(peer: Peer) -> None:
    """The identifier zero cannot open a stream."""
    peer.send(call(0))
    peer.expect_connection_error(Code.PROTOCOL_ERROR)


# 5.1.2 Stream concurrency


def test_5_1_2_concurrency_is_announced_and_kept(probe: ServerProbe) -> None:
    """One stream above SETTINGS_MAX_CONCURRENT_STREAMS is refused, and the others go on."""
    peer = probe.peer()
    limit = peer.announced()[Setting.MAX_CONCURRENT_STREAMS]
    peer.send(*(opening(1 + 2 * n, "Deaf") for n in range(limit + 1)))
    peer.expect_stream_error(1 + 2 * limit, Code.REFUSED_STREAM, Code.PROTOCOL_ERROR)
    assert not peer.resets(1)
    assert len(probe.started) == limit


def test_5_1_2_half_closed_streams_count(probe: ServerProbe) -> None:
    """A stream counts until both sides have ended it."""
    peer = probe.peer()
    limit = peer.announced()[Setting.MAX_CONCURRENT_STREAMS]
    peer.send(*(call(1 + 2 * n, "Hang") for n in range(limit + 1)))
    peer.expect_stream_error(1 + 2 * limit, Code.REFUSED_STREAM, Code.PROTOCOL_ERROR)


def test_5_1_2_closed_streams_do_not_count(probe: ServerProbe) -> None:
    """A stream that ended makes room for another."""
    peer = probe.peer()
    limit = peer.announced()[Setting.MAX_CONCURRENT_STREAMS]
    peer.send(*(opening(1 + 2 * n, "Deaf") for n in range(limit)))
    peer.send(h2.rst_stream(1))
    last = 1 + 2 * limit
    peer.send(call(last))
    assert peer.body(last) == h2.message(b"ping")


def test_5_1_2_refused_blocks_feed_the_table(probe: ServerProbe) -> None:
    """The field block of a refused stream is decoded all the same."""
    peer = probe.peer()
    limit = peer.announced()[Setting.MAX_CONCURRENT_STREAMS]
    peer.send(*(opening(1 + 2 * n, "Deaf") for n in range(limit)))
    refused, served = 1 + 2 * limit, 3 + 2 * limit
    fields = h2.block(request_fields("Field"))
    peer.send(h2.headers(refused, fields + h2.literal(b"x", b"kept", first=0x40), end=True))
    peer.send(h2.rst_stream(1))
    peer.send(h2.headers(served, fields + h2.indexed(62)), h2.data(served, h2.message(b""), end=True))
    assert peer.body(served) == h2.message(b"kept")


def test_5_1_2_what_follows_a_refusal_is_dropped(probe: ServerProbe) -> None:
    """DATA and trailers which the client sent before it learnt of the refusal are ignored."""
    peer = probe.peer()
    limit = peer.announced()[Setting.MAX_CONCURRENT_STREAMS]
    refused = 1 + 2 * limit
    peer.send(*(opening(1 + 2 * n, "Deaf") for n in range(limit + 1)))
    peer.send(h2.data(refused, b"late"), h2.headers(refused, h2.block(TRAILERS), end=True))
    peer.expect_stream_error(refused, Code.REFUSED_STREAM, Code.PROTOCOL_ERROR)


def test_5_1_priority_in_any_state(peer: Peer) -> None:
    """PRIORITY changes nothing, in whatever state its stream is."""
    peer.send(h2.priority(1), opening(1, "Collect"), h2.priority(1), h2.data(1, h2.message(b"on"), end=True))
    peer.send(h2.priority(1), h2.priority(2), h2.priority(2**31 - 1))
    peer.expect_tolerance(1)
    assert peer.of(Kind.HEADERS, 1)[-1].flags & Flag.END_STREAM
