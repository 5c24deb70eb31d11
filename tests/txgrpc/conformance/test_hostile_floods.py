"""Endless frames that bring nothing: ended with ENHANCE_YOUR_CALM, after a bounded cost; a few are everyday life."""

import pytest

from microd.testing import http2_frames as h2
from microd.testing.bounded import bounded
from microd.testing.http2_frames import Code, Setting
from microd.testing.http2_peer import Peer
from microd.testing.http2_probe import ServerProbe, call, opening, request_fields

MIB = 2**20
FIELDS = h2.block(request_fields())
MALFORMED = h2.block(request_fields(extra=[(b"Upper", b"case")]))


def flood(peer: Peer, unit: bytes, most: int, batch: int = 100) -> int:
    """Send the unit until the connection ends, at most so often; returns how often. Answers are read and dropped."""
    sent = 0
    octets = unit * batch
    while sent < most and not peer.closed:
        peer.deliver(octets)
        sent += batch
        del peer.frames[:-10]
    return sent


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


def test_noise_beside_small_messages_is_welcome(probe: ServerProbe) -> None:
    """Who reopens its window message by message may, also where many messages came in one frame."""
    peer = probe.peer()
    peer.send(opening(1, "Chat"))
    for _ in range(200):
        peer.deliver(h2.data(1, h2.message(b"ping") * 64))
        peer.deliver((h2.window_update(1, 9) + h2.window_update(0, 9)) * 64)
        peer.frames.clear()
    peer.expect_alive()


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
