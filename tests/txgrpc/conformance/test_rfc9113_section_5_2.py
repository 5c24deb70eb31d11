"""RFC 9113 sections 5.2, 6.9.1 and 6.9.2: flow control in both directions, from the side of a server."""

import pytest

from microd.testing import http2_frames as h2
from microd.testing.http2_frames import Code, Kind, Setting
from microd.testing.http2_peer import Peer
from microd.testing.http2_probe import ServerProbe, call, opening
from microd.txgrpc import Limits

CHUNK = 16_000


def messages(octets: int) -> bytes:
    """Whole gRPC messages that take exactly so many octets, or a broken one if those are fewer than five."""
    if octets < 5:
        return bytes(octets)
    many, rest = divmod(octets, 1000)
    if not many:
        return h2.message(bytes(rest - 5))
    return h2.message(bytes(995)) * (many - 1) + h2.message(bytes(995 + rest))


def fill(peer: Peer, stream: int, octets: int, pad: int | None = None) -> int:
    """Send DATA frames whose payloads are so many octets in all, in one piece; returns how many."""
    sizes = [CHUNK] * (octets // CHUNK) + ([octets % CHUNK] if octets % CHUNK else [])
    pads = [None if pad is None else min(pad, size - 1) for size in sizes]
    content = [size if pad is None else size - 1 - pad for size, pad in zip(sizes, pads, strict=True)]
    body, frames = messages(sum(content)), []
    for size, padding in zip(content, pads, strict=True):
        frames.append(h2.data(stream, body[:size], pad=padding))
        body = body[size:]
    peer.deliver(b"".join(frames))
    return octets


def stream_window(peer: Peer, stream: int) -> int:
    return peer.announced().get(Setting.INITIAL_WINDOW_SIZE, h2.DEFAULT_WINDOW) + peer.granted(stream)


def connection_window(peer: Peer) -> int:
    return h2.DEFAULT_WINDOW + peer.granted(0)


# What the peer may send


@pytest.mark.parametrize("pad", [None, 255], ids=["plain", "padded"])
def test_5_2_1_more_than_the_window_of_a_stream(peer: Peer, pad: int | None) -> None:
    """DATA beyond the window that we granted is a FLOW_CONTROL_ERROR; padding and its length count too."""
    peer.send(opening(1, "Deaf"))
    sent = fill(peer, 1, stream_window(peer, 1), pad)
    peer.expect_tolerance(1)
    fill(peer, 1, stream_window(peer, 1) - sent + 1, pad)
    peer.expect_stream_or_connection_error(1, Code.FLOW_CONTROL_ERROR)


def test_5_2_1_a_full_window_is_no_error(peer: Peer) -> None:
    """The last octet of the window may be used."""
    peer.send(opening(1, "Deaf"))
    fill(peer, 1, stream_window(peer, 1))
    peer.expect_tolerance(1)


def test_5_2_1_the_window_of_the_connection_follows_what_arrived(probe: ServerProbe) -> None:
    """The connection's window is granted again as DATA arrives, read or not: no stream can close it for others."""
    peer = probe.peer()
    sent, stream = 0, 1
    while sent < 2 * (h2.DEFAULT_WINDOW + 2**22):
        peer.send(opening(stream, "Deaf"))
        room = min(stream_window(peer, stream), connection_window(peer) - sent)
        assert room > 0, "the connection's window is closed"
        sent += fill(peer, stream, room)
        stream += 2
    peer.expect_tolerance(1)


def test_5_2_1_more_than_a_small_window_of_the_connection() -> None:
    """DATA beyond the connection's window, where that is so small that it shows, is a connection error."""
    with ServerProbe(Limits(connection_window=1000)) as probe:
        peer = probe.peer()
        peer.send(opening(1, "Deaf"))
        fill(peer, 1, h2.DEFAULT_WINDOW)
        peer.expect_tolerance(1)
        fill(peer, 1, connection_window(peer) - h2.DEFAULT_WINDOW + 1)
        peer.expect_connection_error(Code.FLOW_CONTROL_ERROR)


def test_5_2_2_frames_are_read_while_a_stream_is_stuck(probe: ServerProbe) -> None:
    """A handler that does not read stops its own stream only: other calls and PINGs are answered."""
    peer = probe.peer()
    peer.send(opening(1, "Deaf"))
    fill(peer, 1, stream_window(peer, 1))
    peer.send(call(3))
    assert peer.body(3) == h2.message(b"ping")
    peer.expect_tolerance(1, 3)


def test_5_2_2_window_is_granted_again_as_data_is_read(probe: ServerProbe) -> None:
    """A stream much larger than the first window passes, for what the handler has read is granted again."""
    peer = probe.peer()
    peer.send(opening(1, "Collect"))
    total, sent = 10 * stream_window(peer, 1), 0
    while sent < total:
        room = min(stream_window(peer, 1), connection_window(peer)) - sent
        assert room >= 8005, "the window is not granted again"
        batch = min(room // 8005, 200)
        peer.send(*(h2.data(1, h2.message(bytes(8000))) for _ in range(batch)))
        sent += 8005 * batch
    peer.send(h2.data(1, end=True))
    peer.expect_tolerance(1)
    assert len(probe.messages) == sent // 8005


def test_5_2_2_window_of_a_deaf_handler_is_not_granted_again(probe: ServerProbe) -> None:
    """What no handler reads is not granted again: a deaf handler's stream holds a bounded number of octets."""
    peer = probe.peer()
    peer.send(opening(1, "Deaf"))
    first = sent = stream_window(peer, 1)
    fill(peer, 1, first)
    while stream_window(peer, 1) > sent and sent < 10 * first:
        sent += fill(peer, 1, stream_window(peer, 1) - sent)
    assert sent <= 2 * first


# What we may send


def test_5_2_1_we_keep_the_window_of_a_stream(probe: ServerProbe) -> None:
    """Not an octet of DATA is sent beyond the stream's window, and exactly the granted ones after it."""
    peer = probe.peer((Setting.INITIAL_WINDOW_SIZE, 10))
    peer.send(call(1, "Pour", b"100"))
    assert len(peer.body(1)) == 10
    peer.send(h2.window_update(1, 7))
    assert len(peer.body(1)) == 17
    peer.send(h2.window_update(0, 1000))
    assert len(peer.body(1)) == 17


@pytest.mark.parametrize("size", [0, 1, 100, 5000, 8200, 16_000, 16_379, 16_380, 40_000])
@pytest.mark.parametrize("window", [1, 1000, 30_000, 60_000])
@pytest.mark.parametrize("frame_size", [2**14, 2**20])
def test_5_2_1_every_message_counts(probe: ServerProbe, size: int, window: int, frame_size: int) -> None:
    """Messages of any size are cut at the window's last octet, and go on where they were cut."""
    peer = probe.peer((Setting.INITIAL_WINDOW_SIZE, window), (Setting.MAX_FRAME_SIZE, frame_size))
    peer.send(call(1, "Pour", b"%d" % size))
    expected = h2.message(bytes(size)) * 1000
    assert peer.body(1) == expected[:window]
    peer.send(h2.window_update(1, 1234))
    assert peer.body(1) == expected[: window + 1234]


@pytest.mark.parametrize("size", [100, 16_380, 40_000])
@pytest.mark.parametrize("frame_size", [2**14, 2**20])
def test_5_2_1_every_message_counts_for_the_connection(
    probe: ServerProbe, size: int, frame_size: int
) -> None:
    """So they are at the connection's last octet."""
    peer = probe.peer((Setting.INITIAL_WINDOW_SIZE, 2**30), (Setting.MAX_FRAME_SIZE, frame_size))
    peer.send(call(1, "Pour", b"%d" % size))
    expected = h2.message(bytes(size)) * 1000
    assert peer.body(1) == expected[: h2.DEFAULT_WINDOW]
    peer.send(h2.window_update(0, 12_345))
    assert peer.body(1) == expected[: h2.DEFAULT_WINDOW + 12_345]


def test_5_2_1_we_keep_the_window_of_the_connection(probe: ServerProbe) -> None:
    """All streams together stay within the connection's window, and use all of it."""
    peer = probe.peer((Setting.INITIAL_WINDOW_SIZE, 2**20))
    peer.send(call(1, "Pour", b"1000"), call(3, "Pour", b"1000"))
    assert len(peer.body(1) + peer.body(3)) == h2.DEFAULT_WINDOW
    peer.send(h2.window_update(0, 777))
    assert len(peer.body(1) + peer.body(3)) == h2.DEFAULT_WINDOW + 777


def test_5_2_1_default_window(probe: ServerProbe) -> None:
    """Before any word of the peer both windows are 65,535 octets."""
    peer = probe.peer()
    peer.send(call(1, "Pour", b"1000"))
    assert len(peer.body(1)) == h2.DEFAULT_WINDOW


def test_5_2_1_headers_are_not_flow_controlled(probe: ServerProbe) -> None:
    """HEADERS and trailers pass however small the window; so does an empty end."""
    peer = probe.peer((Setting.INITIAL_WINDOW_SIZE, 0))
    peer.send(call(1, "Nothing"))
    assert peer.of(Kind.HEADERS, 1)[-1].ends_stream
    peer.send(call(3))
    assert len(peer.of(Kind.HEADERS, 3)) == 1
    assert not peer.body(3)
    peer.send(h2.window_update(3, 100))
    assert peer.body(3) == h2.message(b"ping")
    assert peer.of(Kind.HEADERS, 3)[-1].ends_stream


def test_6_9_1_one_stuck_stream_does_not_stop_others(probe: ServerProbe) -> None:
    """A stream without window waits alone while the connection has some."""
    peer = probe.peer((Setting.INITIAL_WINDOW_SIZE, 4))
    peer.send(call(1, "Pour", b"1000"), call(3), h2.window_update(3, 100))
    assert peer.body(3) == h2.message(b"ping")
    assert len(peer.body(1)) == 4


# 6.9.2 The initial window


def test_6_9_2_a_larger_initial_window_reaches_open_streams(probe: ServerProbe) -> None:
    """A change of SETTINGS_INITIAL_WINDOW_SIZE moves the windows of open streams by the difference."""
    peer = probe.peer((Setting.INITIAL_WINDOW_SIZE, 10))
    peer.send(call(1, "Pour", b"1000"))
    peer.send(h2.settings((Setting.INITIAL_WINDOW_SIZE, 110)))
    assert len(peer.body(1)) == 110


def test_6_9_2_a_window_may_become_negative(probe: ServerProbe) -> None:
    """A smaller initial window can put an open stream in debt, which grants pay off first."""
    peer = probe.peer((Setting.INITIAL_WINDOW_SIZE, 100))
    peer.send(call(1, "Pour", b"1000"))
    assert len(peer.body(1)) == 100
    peer.send(h2.settings((Setting.INITIAL_WINDOW_SIZE, 40)))
    peer.send(h2.window_update(1, 60))
    assert len(peer.body(1)) == 100
    peer.send(h2.window_update(1, 5))
    assert len(peer.body(1)) == 105


def test_6_9_2_settings_do_not_move_the_connection_window(probe: ServerProbe) -> None:
    """Only WINDOW_UPDATE changes the connection's window."""
    peer = probe.peer((Setting.INITIAL_WINDOW_SIZE, 2**20))
    peer.send(call(1, "Pour", b"1000"), h2.settings((Setting.INITIAL_WINDOW_SIZE, 2**30)))
    assert len(peer.body(1)) == h2.DEFAULT_WINDOW


def test_6_9_2_a_change_that_overflows_a_window(probe: ServerProbe) -> None:
    """A change that lifts an open stream's window above 2^31-1 is a connection error FLOW_CONTROL_ERROR."""
    peer = probe.peer()
    peer.send(call(1, "Hang"), h2.window_update(1, h2.MAX_WINDOW - h2.DEFAULT_WINDOW))
    peer.expect_tolerance(1)
    peer.send(h2.settings((Setting.INITIAL_WINDOW_SIZE, h2.DEFAULT_WINDOW + 1)))
    peer.expect_connection_error(Code.FLOW_CONTROL_ERROR)


def test_6_9_2_values_of_one_frame_are_applied_in_order(probe: ServerProbe) -> None:
    """Of a setting given twice in one frame the last value holds."""
    peer = probe.peer((Setting.INITIAL_WINDOW_SIZE, 5), (Setting.INITIAL_WINDOW_SIZE, 50))
    peer.send(call(1, "Pour", b"1000"))
    assert len(peer.body(1)) == 50


@pytest.mark.parametrize("increment", [1, 2**31 - 1 - 65_535])
def test_6_9_1_the_largest_window_is_legal(peer: Peer, increment: int) -> None:
    """Windows up to 2^31-1 are granted without complaint."""
    peer.send(opening(1, "Collect"), h2.window_update(0, increment), h2.window_update(1, increment))
    peer.expect_tolerance(1)


def test_6_9_3_a_reset_stream_frees_what_waited(probe: ServerProbe) -> None:
    """A stream that waits for window and is reset sends nothing more, and its handler has ended."""
    peer = probe.peer((Setting.INITIAL_WINDOW_SIZE, 10))
    peer.send(call(1, "Pour", b"1000"), h2.rst_stream(1))
    sent = len(peer.frames)
    peer.send(h2.window_update(1, 1000), h2.window_update(0, 1000))
    assert not [f for f in peer.frames[sent:] if f.stream == 1]
    peer.expect_alive()


# 6.9.3 A smaller window of ours


def test_6_9_3_data_sent_before_our_settings_were_acknowledged() -> None:
    """Until the peer acknowledges a window smaller than 65,535 octets it may use all of these."""
    with ServerProbe(Limits(stream_window=1000)) as probe:
        peer = probe.connect()
        peer.send(h2.PREFACE, h2.settings(), opening(1, "Deaf"))
        fill(peer, 1, h2.DEFAULT_WINDOW)
        peer.expect_tolerance(1)


def test_6_9_3_data_sent_after_our_settings_were_acknowledged() -> None:
    """The acknowledgement binds the peer to the smaller window, on streams opened before it and after."""
    with ServerProbe(Limits(stream_window=1000)) as probe:
        peer = probe.connect()
        peer.send(h2.PREFACE, h2.settings(), opening(1, "Deaf"))
        fill(peer, 1, 600)
        peer.send(h2.settings_ack(), opening(3, "Deaf"))
        fill(peer, 1, 400)
        fill(peer, 3, 1000)
        peer.expect_tolerance(1, 3)
        fill(peer, 1, 1)
        peer.expect_stream_error(1, Code.FLOW_CONTROL_ERROR)
        fill(peer, 3, 1)
        assert peer.resets(3) == [Code.FLOW_CONTROL_ERROR]


@pytest.mark.parametrize("window", [1, 2, 7, 100])
def test_6_9_3_messages_larger_than_a_tiny_window_arrive(window: int) -> None:
    """Whatever the window, it is granted again until a message is complete, in increments that are never zero."""
    with ServerProbe(Limits(stream_window=window)) as probe:
        peer = probe.peer()
        peer.send(opening(1, "Collect"))
        body, sent = h2.message(b"x" * 300), 0
        while sent < len(body):
            room = window + peer.granted(1) - sent
            assert room > 0, "the window is not granted again"
            peer.send(h2.data(1, body[sent : sent + room]))
            sent += room
        peer.send(h2.data(1, end=True))
        assert peer.body(1) == body
        assert all(f.increment for f in peer.of(Kind.WINDOW_UPDATE))
