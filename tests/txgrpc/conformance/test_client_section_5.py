"""RFC 9113 section 5, from the side of a client: streams and windows."""

import random
import struct

import pytest
from twisted.internet.defer import CancelledError, Deferred

from microd.testing import http2_frames as h2
from microd.testing.http2_frames import Code, Kind, Setting
from microd.testing.http2_peer import Handshake
from microd.testing.http2_probe import RESPONSE, TRAILERS, ClientProbe, reply
from microd.txgrpc import RpcError

BLOCK = h2.block(RESPONSE)
END = h2.block(TRAILERS)

# 5.1 Stream states


IDLE = {
    "data": h2.data,
    "headers": lambda stream: h2.headers(stream, BLOCK),
    "rst-stream": h2.rst_stream,
    "window-update": lambda stream: h2.window_update(stream, 1),
    "continuation": lambda stream: h2.continuation(stream, b""),
}


@pytest.mark.parametrize("name", IDLE)
@pytest.mark.parametrize("stream", [2, 3, 4, 99])
def test_5_1_idle(calling: ClientProbe, name: str, stream: int) -> None:
    """Frames on streams that this client never opened are a connection error PROTOCOL_ERROR."""
    calling.peer.send(IDLE[name](stream))
    calling.peer.expect_connection_error(Code.PROTOCOL_ERROR)
    calling.outcomes[0].failed()


@pytest.mark.parametrize("stream", [1, 2, 3, 99])
def test_5_1_priority_anywhere(calling: ClientProbe, stream: int) -> None:
    """PRIORITY of a server is ignored in every state."""
    calling.peer.send(h2.priority(stream), reply(1), h2.priority(stream))
    calling.peer.expect_tolerance(1)


LATE = {
    "data": h2.data(1, b"x"),
    "data-end": h2.data(1, b"x", end=True),
    "headers": h2.headers(1, BLOCK),
    "trailers": h2.headers(1, END, end=True),
    "window-update": h2.window_update(1, 5),
    "rst-stream": h2.rst_stream(1, 0),
    "priority": h2.priority(1),
    "response": reply(1),
}


@pytest.mark.parametrize("name", LATE)
def test_5_1_cancelled_ignores(calling: ClientProbe, name: str) -> None:
    """What crosses our RST_STREAM is dropped, and not answered again."""
    calling.outcomes[0].cancel()
    calling.settle()
    calling.peer.send(LATE[name])
    calling.peer.expect_stream_error(1, Code.CANCEL)


@pytest.mark.parametrize("name", ["data", "data-end", "headers", "trailers", "response"])
def test_5_1_closed(calling: ClientProbe, name: str) -> None:
    """DATA or HEADERS behind a complete response is STREAM_CLOSED."""
    calling.peer.send(reply(1), LATE[name])
    calling.peer.expect_stream_or_connection_error(1, Code.STREAM_CLOSED, Code.PROTOCOL_ERROR)
    assert calling.outcomes[0].reply == b"pong"


@pytest.mark.parametrize("name", ["window-update", "rst-stream", "priority"])
def test_5_1_closed_tolerates(calling: ClientProbe, name: str) -> None:
    """WINDOW_UPDATE, RST_STREAM and PRIORITY behind a complete response are no errors."""
    calling.peer.send(reply(1), LATE[name])
    calling.peer.expect_tolerance(1)


def test_5_1_1_our_streams_are_odd_and_rise(calling: ClientProbe) -> None:
    """The identifiers of our streams are odd and go up."""
    for _ in range(5):
        calling.call()
    assert [f.stream for f in calling.peer.of(Kind.HEADERS)] == [1, 3, 5, 7, 9, 11]


def test_5_1_2_the_servers_limit_of_streams_is_kept(calling: ClientProbe) -> None:
    """No more streams are opened than the server allows; further calls wait for room."""
    peer = calling.peer
    peer.send(h2.settings((Setting.MAX_CONCURRENT_STREAMS, 2)))
    second, third = calling.call(), calling.call()
    assert {f.stream for f in peer.of(Kind.HEADERS)} == {1, 3}
    peer.send(reply(3))
    assert second.reply == b"pong"
    assert 5 in {f.stream for f in peer.of(Kind.HEADERS)}
    peer.send(reply(5))
    assert third.reply == b"pong"


def test_5_1_2_no_stream_at_all(calling: ClientProbe) -> None:
    """A limit of zero stops new calls until it is raised."""
    peer = calling.peer
    peer.send(h2.settings((Setting.MAX_CONCURRENT_STREAMS, 0)))
    second = calling.call()
    assert second.pending
    assert {f.stream for f in peer.of(Kind.HEADERS)} == {1}
    peer.send(h2.settings((Setting.MAX_CONCURRENT_STREAMS, 10)))
    peer.send(reply(3))
    assert second.reply == b"pong"


# 5.2 Flow control


def test_5_2_1_we_keep_the_servers_windows(calling: ClientProbe) -> None:
    """A request larger than the window waits for grants, to the octet."""
    peer = calling.peer
    calling.call(bytes(100_000))
    assert len(peer.body(3)) + len(peer.body(1)) == h2.DEFAULT_WINDOW
    peer.send(h2.window_update(0, 100_000), h2.window_update(3, 1000))
    assert len(peer.body(3)) == h2.DEFAULT_WINDOW + 1000
    assert max(len(f.payload) for f in peer.of(Kind.DATA)) <= h2.DEFAULT_FRAME_SIZE


def test_5_2_1_the_servers_initial_window_is_kept(client: ClientProbe) -> None:
    """A window of nothing in the server's SETTINGS holds for streams opened after it."""
    client.call()
    client.peer.send(Handshake.server((Setting.INITIAL_WINDOW_SIZE, 0)), reply(1))
    client.call(b"held")
    assert not client.peer.body(3)
    client.peer.send(h2.window_update(3, 9))
    assert client.peer.body(3) == h2.message(b"held")


@pytest.mark.parametrize("size", [0, 1, 100, 5000, 8200, 16_000, 16_379, 16_380, 40_000])
@pytest.mark.parametrize("compress", [False, True])
def test_5_2_1_every_message_of_a_stream_counts(calling: ClientProbe, size: int, compress: bool) -> None:
    """A stream of requests is cut at the window's last octet, and goes on where it was cut."""
    peer = calling.peer
    connection = h2.DEFAULT_WINDOW - len(peer.body(1))
    window = 3000 if size < 1000 else 50_000 if size < 10_000 else connection
    peer.send(h2.settings((Setting.INITIAL_WINDOW_SIZE, window)))
    message = random.Random(size).randbytes(size)
    stream = calling.channel.stream_stream("/conformance.Probe/Chat")(compress=compress)

    async def write() -> None:
        for _ in range(2000):
            await stream.write(message)

    writing = Deferred.fromCoroutine(write())
    calling.settle()
    assert len(peer.body(3)) == window
    peer.send(h2.window_update(3, 1234))
    assert len(peer.body(3)) == min(window + 1234, connection)
    peer.send(h2.window_update(0, 1234))
    body = peer.body(3)
    assert len(body) == window + 1234
    flag, length = struct.unpack_from(">BI", body)
    assert flag == compress
    one = body[: 5 + length]
    assert (one * 2000)[: len(body)] == body
    writing.addErrback(lambda failure: failure.trap(RpcError, CancelledError))
    stream.cancel()


def test_6_9_2_overflow_by_settings(calling: ClientProbe) -> None:
    """SETTINGS that lift a window above 2^31-1 are a connection error FLOW_CONTROL_ERROR."""
    calling.peer.send(h2.window_update(1, h2.MAX_WINDOW - h2.DEFAULT_WINDOW))
    calling.peer.send(h2.settings((Setting.INITIAL_WINDOW_SIZE, h2.MAX_WINDOW)))
    calling.peer.expect_connection_error(Code.FLOW_CONTROL_ERROR)
