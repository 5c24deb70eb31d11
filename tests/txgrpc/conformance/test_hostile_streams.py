"""Calls opened to be thrown away, by the client or by making the server do it."""

from collections.abc import Iterator

import pytest

from microd.testing import http2_frames as h2
from microd.testing.bounded import bounded
from microd.testing.http2_frames import Code, Kind, Setting
from microd.testing.http2_probe import ServerProbe, call, opening, request_fields

MIB = 2**20
FIELDS = h2.block(request_fields())
MALFORMED = h2.block(request_fields(extra=[(b"Upper", b"case")]))


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
