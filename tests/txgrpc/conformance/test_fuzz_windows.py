"""Random windows, random sizes: everything arrives, and nothing is overdrawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from microd.testing import http2_frames as wire
from microd.testing.http2_frames import Kind, Setting
from microd.testing.http2_heard import Ours
from microd.testing.http2_probe import (
    RESPONSE,
    TRAILERS,
    ServerProbe,
    call,
    request_fields,
)
from microd.testing.http2_traffic import (
    examples,
)
from microd.txgrpc.headerblock import encode_fields
from microd.txgrpc.limits import Limits


def shuttle(client: Ours, server: Ours, draw: Callable[..., Any]) -> None:
    """Carry octets both ways in random pieces until neither side has any more to say."""
    toward_server, toward_client = b"", b""
    while True:
        toward_server += client.written + client.connection.data_to_send()
        toward_client += server.written + server.connection.data_to_send()
        client.written = server.written = b""
        if not toward_server and not toward_client:
            return
        take = draw(st.integers(1, 40_000))
        server.take(toward_server[:take])
        toward_server = toward_server[take:]
        take = draw(st.integers(1, 40_000))
        client.take(toward_client[:take])
        toward_client = toward_client[take:]


@examples(40)
@given(
    st.integers(1, 70_000),
    st.integers(1, 70_000),
    st.lists(st.lists(st.integers(0, 60_000), min_size=1, max_size=4), min_size=1, max_size=4),
    st.data(),
)
def test_everything_arrives_through_any_windows(
    client_window: int, server_window: int, sizes: list[list[int]], data: st.DataObject
) -> None:
    """Messages of any size pass both ways through windows of any size, and nobody waits for ever."""
    client = Ours(client_side=True, limits=Limits(stream_window=client_window))
    server = Ours(client_side=False, limits=Limits(stream_window=server_window))
    expected = {}
    block = encode_fields(list(request_fields()))
    for each in sizes:
        bodies = [bytes([n % 251]) * size for n, size in enumerate(each)]
        octets = b"".join(wire.message(body) for body in bodies)
        expected[client.open(block, octets, end=True)] = octets
    shuttle(client, server, data.draw)
    for stream in list(server.connection.streams.values()):
        server.connection.send_headers(stream, encode_fields(list(RESPONSE)))
        server.connection.send_data(stream, expected[stream.id])
        server.connection.send_trailers(stream, encode_fields(list(TRAILERS)))
    shuttle(client, server, data.draw)
    assert client.connection.failed is None
    assert server.connection.failed is None
    assert {stream: heard.octets for stream, heard in server.heard.items()} == expected
    assert {stream: heard.octets for stream, heard in client.heard.items()} == expected
    assert all(heard.ended for heard in (*server.heard.values(), *client.heard.values()))
    assert not client.connection.streams
    assert not server.connection.streams
    assert client.connection.buffered == server.connection.buffered == 0


class Ledger:
    """The windows as a strict client keeps them, which no octet of DATA may overdraw."""

    def __init__(self) -> None:
        self.initial = self.connection = wire.DEFAULT_WINDOW
        self.streams: dict[int, int] = {}

    def debit(self, frames: list[wire.Frame]) -> None:
        for f in frames:
            if f.kind == Kind.DATA and f.payload:
                self.connection -= len(f.payload)
                self.streams[f.stream] -= len(f.payload)
                assert self.connection >= 0
                assert self.streams[f.stream] >= 0

    def resize(self, initial: int) -> None:
        for stream in self.streams:
            self.streams[stream] += initial - self.initial
        self.initial = initial


steps = st.one_of(
    st.tuples(st.just("call"), st.integers(0, 30_000)),
    st.tuples(st.just("initial"), st.integers(0, 100_000)),
    st.tuples(st.just("connection"), st.integers(1, 100_000)),
    st.tuples(st.just("stream"), st.integers(1, 50_000)),
    st.tuples(st.just("reset"), st.integers(0, 5)),
)


@examples(80)
@given(st.lists(steps, max_size=25))
def test_windows_are_never_overdrawn(moves: list[tuple[str, int]]) -> None:
    """Whatever grants and changes of windows come, we send no octet beyond them, and all that they allow."""
    ledger = Ledger()
    with ServerProbe() as probe:
        peer = probe.peer()
        for move, number in moves:
            said = len(peer.frames)
            streams = list(ledger.streams)
            stream = streams[number % len(streams)] if streams else 0
            if move == "call":
                stream = 1 + 2 * len(streams)
                ledger.streams[stream] = ledger.initial
                peer.send(call(stream, "Pour", b"%d" % number))
            elif move == "initial":
                ledger.resize(number)
                peer.send(wire.settings((Setting.INITIAL_WINDOW_SIZE, number)))
            elif move == "connection":
                ledger.connection += number
                peer.send(wire.window_update(0, number))
            elif stream and move == "stream":
                ledger.streams[stream] += number
                peer.send(wire.window_update(stream, number))
            elif stream and not peer.resets(stream):
                peer.send(wire.rst_stream(stream))
            ledger.debit(peer.frames[said:])
        open_streams = peer.protocol.connection.streams  # type: ignore[attr-defined]
        assert ledger.connection == 0 or all(ledger.streams[stream] <= 0 for stream in open_streams)
        assert not peer.closed
