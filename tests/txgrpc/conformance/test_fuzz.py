"""Random traffic: nothing is ever raised, splits change nothing, and `h2` and `hpack` decide as we do.

Hypothesis runs derandomized, so that every run tries the same examples.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.events
import hpack
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from microd.testing import http2_frames as wire
from microd.testing.http2_frames import Fields, Flag, Kind, Setting
from microd.testing.http2_peer import FrameReader, Handshake
from microd.testing.http2_probe import (
    RESPONSE,
    TRAILERS,
    ClientProbe,
    ServerProbe,
    call,
    opening,
    request_fields,
)
from microd.txgrpc import RpcError
from microd.txgrpc.connection import Http2Connection
from microd.txgrpc.frames import ProtocolFault
from microd.txgrpc.headerblock import HeaderDecoder, encode_fields
from microd.txgrpc.limits import Limits
from microd.txgrpc.stream import Stream


def examples(many: int) -> Callable[..., Any]:
    return settings(
        max_examples=many,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def cut(octets: bytes, points: list[int]) -> list[bytes]:
    """The octets in pieces, cut at these points (modulo their number)."""
    places = sorted({point % (len(octets) + 1) for point in points} | {0, len(octets)})
    return [octets[a:b] for a, b in itertools.pairwise(places)]


# What a legal peer may send


names = st.text("abz09_.-", min_size=1, max_size=9).map(lambda s: b"x-" + s.encode())
values = st.binary(max_size=40).map(lambda v: bytes(32 + c % 95 for c in v).strip())
extra_fields = st.lists(st.tuples(names, values), max_size=4)
cuts = st.lists(st.integers(0, 10_000), max_size=6)


@dataclass(frozen=True)
class Shape:
    """How a field block or message is put into frames."""

    huffman: bool
    pad: int | None
    weighted: bool
    cuts: tuple[int, ...]

    def header_frames(self, stream: int, block: bytes, *, end: bool) -> bytes:
        first, *rest = cut(block, list(self.cuts)) or [b""]
        flags = (Flag.END_STREAM if end else 0) | (0 if rest else Flag.END_HEADERS)
        if self.weighted:
            first = b"\0\0\0\0\x0f" + first
            flags |= Flag.PRIORITY
        if self.pad is not None:
            first = wire.padded(first, self.pad)
            flags |= Flag.PADDED
        out = wire.frame(Kind.HEADERS, flags, stream, first)
        for piece in rest:
            out += wire.continuation(stream, piece, end_headers=piece is rest[-1])
        return out

    def data_frames(self, stream: int, octets: bytes, *, end: bool) -> bytes:
        pieces = cut(octets, list(self.cuts)) or [b""]
        return b"".join(
            wire.data(stream, piece, end=end and n == len(pieces) - 1, pad=self.pad)
            for n, piece in enumerate(pieces)
        )


shapes = st.builds(
    Shape,
    huffman=st.booleans(),
    pad=st.none() | st.integers(0, 255),
    weighted=st.booleans(),
    cuts=st.lists(st.integers(0, 10_000), max_size=4).map(tuple),
)
connection_frames = st.one_of(
    st.binary(min_size=8, max_size=8).map(wire.ping),
    st.lists(
        st.one_of(
            st.tuples(st.just(int(Setting.INITIAL_WINDOW_SIZE)), st.integers(0, 2**20)),
            st.tuples(st.just(int(Setting.MAX_FRAME_SIZE)), st.integers(2**14, 2**24 - 1)),
            st.tuples(st.just(int(Setting.HEADER_TABLE_SIZE)), st.integers(0, 8192)),
            st.tuples(st.just(0xBEEF), st.integers(0, 2**32 - 1)),
        ),
        max_size=3,
    ).map(lambda pairs: wire.settings(*pairs)),
    st.integers(1, 1000).map(lambda n: wire.window_update(0, n)),
    st.tuples(st.integers(0x10, 0xFF), st.integers(0, 0xFF), st.binary(max_size=30)).map(
        lambda t: wire.frame(t[0], t[1], 0, t[2])
    ),
)


@dataclass(frozen=True)
class Exchange:
    """One direction of one stream: its header section, its messages, how it ends."""

    fields: tuple[tuple[bytes, bytes], ...]
    messages: tuple[bytes, ...]
    trailers: tuple[tuple[bytes, bytes], ...]
    ending: str
    shape: Shape
    noise: tuple[str, ...]


exchanges = st.builds(
    Exchange,
    fields=extra_fields.map(tuple),
    messages=st.lists(st.binary(max_size=300), max_size=3).map(tuple),
    trailers=extra_fields.map(tuple),
    ending=st.sampled_from(["data", "trailers", "reset", "open", "headers"]),
    shape=shapes,
    noise=st.lists(st.sampled_from(["priority", "window", "unknown", "empty"]), max_size=2).map(tuple),
)


def stream_noise(stream: int, name: str) -> bytes:
    return {
        "priority": wire.priority(stream),
        "window": wire.window_update(stream, 10),
        "unknown": wire.frame(0x77, 0xFF, stream, b"?"),
        "empty": wire.data(stream),
    }[name]


@st.composite
def client_traffic(draw: st.DrawFn) -> bytes:
    """What a legal client sends: streams interleaved, with everything legal in between."""
    encoder = hpack.Encoder()
    stream, steps = 1, []
    for exchange in draw(st.lists(exchanges, min_size=1, max_size=5)):
        steps.append(request_steps(stream, exchange))
        stream += 2 * draw(st.integers(1, 3))
    return Handshake.client() + weave(draw, encoder, steps)


Step = Callable[[hpack.Encoder], bytes]


def request_steps(stream: int, e: Exchange) -> list[Step]:
    """The frames of a request, made when it is their turn, as the encoder's state demands."""
    fields = request_fields("Fuzz", e.fields)
    if e.ending == "headers":
        return [headers_step(stream, fields, e.shape, end=True)]
    return [headers_step(stream, fields, e.shape), *body_steps(stream, e)]


def response_steps(stream: int, e: Exchange) -> list[Step]:
    """The frames of a response."""
    if e.ending == "headers":
        return [headers_step(stream, (*RESPONSE, *TRAILERS, *e.fields), e.shape, end=True)]
    interim = [headers_step(stream, ((b":status", b"103"), *e.fields), e.shape)] if len(e.noise) == 2 else []
    return [*interim, headers_step(stream, (*RESPONSE, *e.fields), e.shape), *body_steps(stream, e, TRAILERS)]


def body_steps(stream: int, e: Exchange, status: Fields = ()) -> list[Step]:
    octets = b"".join(wire.message(m) for m in e.messages)
    by_data = e.ending == "data"
    steps: list[Step] = [octets_step(stream_noise(stream, name)) for name in e.noise]
    steps.append(octets_step(e.shape.data_frames(stream, octets, end=by_data) if octets or by_data else b""))
    if e.ending == "trailers":
        steps.append(headers_step(stream, (*status, *e.trailers, (b"x-end", b"1")), e.shape, end=True))
    elif e.ending == "reset":
        steps.append(octets_step(wire.rst_stream(stream)))
    return steps


def octets_step(octets: bytes) -> Step:
    return lambda encoder: octets


def headers_step(stream: int, fields: Fields, shape: Shape, *, end: bool = False) -> Step:
    return lambda encoder: shape.header_frames(stream, encoder.encode(fields, huffman=shape.huffman), end=end)


def weave(draw: Callable[..., Any], encoder: hpack.Encoder, streams: list[list[Step]]) -> bytes:
    """The steps of all streams in some order that keeps each stream's, and streams opened in theirs."""
    out, begun = b"", 0
    while streams:
        if draw(st.integers(0, 4)) == 0:
            out += draw(connection_frames)
        pick = draw(st.integers(0, min(begun, len(streams) - 1)))
        if pick == begun:
            begun += 1
        out += streams[pick].pop(0)(encoder)
        if not streams[pick]:
            del streams[pick]
            begun -= 1
    return out


# What each side makes of it


@dataclass
class Heard:
    """What a connection told of one stream."""

    sections: list[Fields] = field(default_factory=list)
    octets: bytes = b""
    ended: bool = False
    reset: int | None = None


class Recorder(Stream):
    """A stream of ours that writes down what it is told."""

    __slots__ = ("headed", "heard")

    def __init__(self, connection: Http2Connection, heard: Heard) -> None:
        super().__init__(connection)
        self.heard = heard
        self.headed = False

    def head_received(self, head: Any) -> None:
        self.heard.sections.append(tuple(head.fields))

    def message_received(self, message: bytes, last: bool) -> None:
        self.heard.octets += wire.message(message)
        self.heard.ended = self.heard.ended or last
        self.consumed(len(message))

    def half_closed(self) -> None:
        self.heard.ended = True

    def trailers_received(self, head: Any) -> None:
        self.heard.sections.append(tuple(head.fields))
        self.heard.ended = True

    def message_refused(self, code: int, text: str) -> None:
        raise AssertionError(text)

    def was_reset(self, error: int, text: str, delivered: bool) -> None:
        self.heard.reset = error


class Ours:
    """Our connection, with a recorder for each stream."""

    def __init__(self, *, client_side: bool, limits: Limits | None = None) -> None:
        self.heard: dict[int, Heard] = {}
        self.connection = Http2Connection(client_side, limits or Limits(), accept=self._accept)
        self.connection.start()
        self.written = b""

    def _accept(self, connection: Http2Connection, head: Any) -> Stream:
        heard = self.heard[connection.last_peer_id] = Heard([tuple(head.fields)])
        return Recorder(connection, heard)

    def open(self, block: bytes, octets: bytes = b"", *, end: bool) -> int:
        heard = Heard()
        stream = Recorder(self.connection, heard)
        self.connection.open(stream, block, octets, end=end)
        self.heard[stream.id] = heard
        return stream.id

    def take(self, octets: bytes) -> None:
        self.connection.receive(octets)
        self.written += self.connection.data_to_send()


class Oracle:
    """The `h2` package on the same octets."""

    def __init__(self, *, client_side: bool) -> None:
        config = h2.config.H2Configuration(client_side=client_side, header_encoding=None)
        self.connection = h2.connection.H2Connection(config)
        self.connection.initiate_connection()
        self.heard: dict[int, Heard] = {}
        self.pings: list[bytes] = []

    def take(self, octets: bytes) -> None:
        for event in self.connection.receive_data(octets):
            self._note(event)

    def _note(self, event: Any) -> None:
        match event:
            case h2.events.RequestReceived() | h2.events.ResponseReceived() | h2.events.TrailersReceived():
                lines = tuple((bytes(n), bytes(v)) for n, v in event.headers)
                self.heard.setdefault(event.stream_id, Heard()).sections.append(lines)
            case h2.events.DataReceived():
                self.heard[event.stream_id].octets += event.data
                if event.flow_controlled_length:
                    self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.StreamEnded():
                self.heard[event.stream_id].ended = True
            case h2.events.StreamReset():
                self.heard[event.stream_id].reset = event.error_code
            case h2.events.PingReceived():
                self.pings.append(event.ping_data)
            case _:
                pass


def pongs(octets: bytes) -> list[bytes]:
    return [f.payload for f in FrameReader().feed(octets) if f.kind == Kind.PING and f.is_ack]


def settings_acks(octets: bytes) -> int:
    return len([f for f in FrameReader().feed(octets) if f.kind == Kind.SETTINGS and f.is_ack])


# The properties


def without_trailers(heard: Heard) -> tuple[Fields, bytes, bool, int | None]:
    """A server tells its calls nothing of the trailers of a request, which mean nothing to gRPC."""
    return heard.sections[0], heard.octets, heard.ended, heard.reset


@examples(120)
@given(client_traffic(), cuts)
def test_server_decides_as_h2_does(octets: bytes, points: list[int]) -> None:
    """Of any legal client's traffic we make the same requests, data, ends, resets and answers as `h2`."""
    ours, oracle = Ours(client_side=False), Oracle(client_side=False)
    oracle.take(octets)
    for piece in cut(octets, points):
        ours.take(piece)
    assert ours.connection.failed is None, ours.connection.reason
    expected = {stream: without_trailers(heard) for stream, heard in oracle.heard.items()}
    assert {stream: without_trailers(heard) for stream, heard in ours.heard.items()} == expected
    assert pongs(ours.written) == oracle.pings
    assert settings_acks(ours.written) == settings_acks(oracle.connection.data_to_send())


@examples(150)
@given(st.lists(exchanges, min_size=1, max_size=4), st.data(), cuts)
def test_client_decides_as_h2_does(responses: list[Exchange], data: st.DataObject, points: list[int]) -> None:
    """Of any legal server's traffic we make the same responses, data, trailers and resets as `h2`."""
    ours, oracle = Ours(client_side=True), Oracle(client_side=True)
    steps = []
    for n, exchange in enumerate(responses):
        stream = ours.open(encode_fields(list(request_fields())), end=False)
        assert stream == 1 + 2 * n
        oracle.connection.send_headers(stream, list(request_fields()), end_stream=False)
        steps.append(response_steps(stream, exchange))
    octets = Handshake.server() + weave(data.draw, hpack.Encoder(), steps)
    oracle.take(octets)
    for piece in cut(octets, points):
        ours.take(piece)
    assert ours.connection.failed is None, ours.connection.reason
    assert {s: h for s, h in ours.heard.items() if h.sections or h.reset is not None} == oracle.heard
    assert pongs(ours.written) == oracle.pings


@examples(100)
@given(st.lists(exchanges, min_size=1, max_size=5))
def test_h2_accepts_what_our_client_sends(requests: list[Exchange]) -> None:
    """Whatever we send as a client, `h2` reads as what was meant."""
    ours, oracle = Ours(client_side=True), Oracle(client_side=False)
    expected = {}
    for e in requests:
        fields = request_fields("Fuzz", e.fields)
        octets = b"".join(wire.message(m) for m in e.messages)
        ended = e.ending != "open"
        stream = ours.open(encode_fields(list(fields)), octets, end=ended)
        expected[stream] = Heard([fields], octets, ended)
    oracle.take(ours.connection.data_to_send())
    assert oracle.heard == expected


@examples(100)
@given(st.lists(exchanges, min_size=1, max_size=5))
def test_h2_accepts_what_our_server_sends(responses: list[Exchange]) -> None:
    """Whatever we send as a server, `h2` reads as what was meant."""
    ours, oracle = Ours(client_side=False), Oracle(client_side=True)
    for n, _ in enumerate(responses):
        oracle.connection.send_headers(1 + 2 * n, list(request_fields()), end_stream=True)
    ours.take(oracle.connection.data_to_send())
    expected = {}
    for stream, e in zip(list(ours.connection.streams), responses, strict=True):
        expected[stream] = answer(ours.connection, stream, e)
    oracle.take(ours.written + ours.connection.data_to_send())
    assert oracle.heard == expected


def answer(connection: Http2Connection, stream_id: int, e: Exchange) -> Heard:
    """Send a response of ours; what was meant by it."""
    stream = connection.streams[stream_id]
    head, tail = (*RESPONSE, *e.fields), (*TRAILERS, *e.trailers)
    if e.ending == "headers":
        connection.send_headers(stream, encode_fields(list(head)), end=True)
        return Heard([head], b"", True)
    connection.send_headers(stream, encode_fields(list(head)))
    for message in e.messages:
        connection.send_data(stream, wire.message(message))
    octets = b"".join(wire.message(m) for m in e.messages)
    if e.ending == "open":
        return Heard([head], octets)
    if e.ending == "reset":
        connection.reset(stream, 8)
        return Heard([head], octets, False, 8)
    connection.send_trailers(stream, encode_fields(list(tail)))
    return Heard([head, tail], octets, True)


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


@st.composite
def calls(draw: st.DrawFn) -> bytes:
    """Calls of the probe's methods, as a legal client makes them."""
    out = Handshake.client()
    stream = 1
    for method in draw(
        st.lists(st.sampled_from(["Echo", "Collect", "Chat", "Early", "Field", "Nothing"]), max_size=6)
    ):
        extra = draw(extra_fields)
        body = b"".join(
            wire.message(m) for m in draw(st.lists(st.binary(max_size=50), min_size=1, max_size=3))
        )
        if method in ("Echo", "Field"):
            out += call(stream, method, draw(st.binary(max_size=50)), extra)
        else:
            out += opening(stream, method, extra) + draw(shapes).data_frames(stream, body, end=True)
        if draw(st.booleans()):
            out += draw(connection_frames)
        stream += 2
    return out


@examples(100)
@given(calls(), cuts)
def test_splits_change_nothing(octets: bytes, points: list[int]) -> None:
    """However traffic is cut into pieces, handlers get the same and each stream is answered with the same octets."""
    with ServerProbe() as whole, ServerProbe() as pieces:
        one, many = whole.connect(), pieces.connect()
        one.deliver(octets)
        many.send(*cut(octets, points))
        # Which of several handlers is woken first may depend on what came together.
        assert sorted(pieces.messages) == sorted(whole.messages)
        assert many.closed == one.closed
    for stream in {f.stream for f in one.frames + many.frames} - {0}:
        assert many.field_sections(stream) == one.field_sections(stream)
        assert many.body(stream) == one.body(stream)
        assert many.resets(stream) == one.resets(stream)
    assert [f.payload for f in many.of(Kind.PING)] == [f.payload for f in one.of(Kind.PING)]


@dataclass(frozen=True)
class Mutation:
    """A change somewhere in the octets."""

    what: str
    at: int
    octets: bytes

    def apply(self, traffic: bytes) -> bytes:
        at = len(wire.PREFACE) + self.at % max(1, len(traffic) - len(wire.PREFACE))
        size = len(self.octets)
        if self.what == "replace":
            return traffic[:at] + self.octets + traffic[at + size :]
        if self.what == "insert":
            return traffic[:at] + self.octets + traffic[at:]
        if self.what == "delete":
            return traffic[:at] + traffic[at + size :]
        return traffic[:at] + traffic[at : at + 40] + traffic[at:]


mutations = st.lists(
    st.builds(
        Mutation,
        what=st.sampled_from(["replace", "insert", "delete", "repeat"]),
        at=st.integers(0, 10_000),
        octets=st.binary(min_size=1, max_size=6),
    ),
    min_size=1,
    max_size=4,
)


@examples(300)
@given(calls(), mutations, cuts)
def test_mutations_are_never_raised(octets: bytes, changes: list[Mutation], points: list[int]) -> None:
    """Whatever becomes of valid traffic, nothing is raised, what we say stays HTTP/2, and a GOAWAY ends it."""
    for change in changes:
        octets = change.apply(octets)
    with ServerProbe() as probe:
        peer = probe.connect()
        peer.send(*cut(octets, points))
        assert peer.closed == bool(peer.goaways())
        assert len(peer.goaways()) <= 1
        peer.wait(1)


@examples(150)
@given(st.lists(exchanges, min_size=1, max_size=3), st.data(), mutations, cuts)
def test_mutations_are_never_raised_by_a_client(
    responses: list[Exchange], data: st.DataObject, changes: list[Mutation], points: list[int]
) -> None:
    """The same of a server's traffic: the connection fails or goes on, and every stream has at most one end."""
    ours = Ours(client_side=True)
    steps = []
    for exchange in responses:
        stream = ours.open(encode_fields(list(request_fields())), end=False)
        steps.append(response_steps(stream, exchange))
    octets = Handshake.server() + weave(data.draw, hpack.Encoder(), steps)
    for change in changes:
        octets = change.apply(octets)
    try:
        for piece in cut(octets, points):
            ours.take(piece)
    except AssertionError as error:
        assert "message" in str(error)  # noqa: PT017 - the recorder refuses broken messages
    FrameReader().feed(ours.written)


@examples(200)
@given(st.lists(exchanges, min_size=1, max_size=4), st.data(), mutations | st.just([]), cuts)
def test_every_call_of_a_channel_ends(
    responses: list[Exchange], data: st.DataObject, changes: list[Mutation], points: list[int]
) -> None:
    """Whatever a server answers, nothing is raised, and every call ends, at the latest with its connection."""
    with ClientProbe() as client:
        outcomes = [client.call() for _ in responses]
        stream = client.channel.unary_stream("/conformance.Probe/Pour")(b"1")
        received: list[bytes] = []

        async def read() -> None:
            async for message in stream:
                received.append(message)

        reading = Deferred.fromCoroutine(read())
        reading.addErrback(lambda failure: failure.trap(RpcError))
        streams = [response_steps(1 + 2 * n, exchange) for n, exchange in enumerate(responses)]
        last = data.draw(exchanges)
        streams.append(response_steps(1 + 2 * len(responses), last))
        octets = weave(data.draw, hpack.Encoder(), streams)
        for change in changes:
            octets = change.apply(wire.PREFACE + octets)[len(wire.PREFACE) :]
        client.peer.send(Handshake.server(), *cut(octets, points))
        if not changes and last.ending == "trailers":
            assert received == list(last.messages)
        if not client.peer.closed:
            client.peer.hang_up()
        assert reading.called
        assert not any(outcome.pending for outcome in outcomes)


@examples(200)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 255), st.integers(0, 5), st.binary(max_size=40)))
)
def test_random_frames_are_never_raised(frames: list[tuple[int, int, int, bytes]]) -> None:
    """Frames of any type, flags and stream with random payloads."""
    with ServerProbe() as probe:
        peer = probe.peer()
        peer.send(opening(1, "Chat"))
        peer.send(*(wire.frame(kind, flags, stream, payload) for kind, flags, stream, payload in frames))
        assert peer.closed == bool(peer.goaways())


@examples(100)
@given(st.binary(max_size=400), st.booleans())
def test_random_octets_are_never_raised(octets: bytes, introduced: bool) -> None:
    """Octets of no sense at all, with a preface before them or without."""
    with ServerProbe() as probe:
        peer = probe.connect()
        peer.send(Handshake.client() if introduced else b"", octets)
        assert not introduced or peer.closed == bool(peer.goaways())


# HPACK against `hpack`


@st.composite
def field_lines(draw: st.DrawFn) -> bytes:
    """A field line in one of its six forms; its index may or may not exist."""
    name, value = draw(names), draw(values)
    form = draw(st.sampled_from(["indexed", "static", "new", "named", "never", "huffman"]))
    if form == "indexed":
        return wire.indexed(draw(st.integers(1, 70)))
    if form == "static":
        return wire.indexed(draw(st.integers(1, 61)))
    if form == "named":
        return wire.integer(draw(st.integers(1, 64)), 6, 0x40) + wire.string(value)
    if form == "huffman":
        coded: bytes = hpack.Encoder().encode([(name, value)], huffman=True)
        return coded
    return wire.literal(name, value, first=0x10 if form == "never" else draw(st.sampled_from([0x00, 0x40])))


blocks = st.tuples(
    st.lists(st.integers(0, 4200).map(wire.table_size), max_size=2).map(b"".join),
    st.lists(field_lines(), max_size=6).map(b"".join),
).map(b"".join)


def decode_with_hpack(decoder: hpack.Decoder, block: bytes) -> list[tuple[bytes, bytes]] | None:
    try:
        return [(bytes(n), bytes(v)) for n, v in decoder.decode(block, raw=True)]
    except hpack.HPACKError:
        return None


def decode(decoder: HeaderDecoder, block: bytes) -> list[tuple[bytes, bytes]] | None:
    try:
        return list(decoder.decode(block))
    except ProtocolFault:
        return None


@examples(200)
@given(st.lists(blocks, min_size=1, max_size=6))
def test_blocks_are_decoded_as_hpack_does(sequence: list[bytes]) -> None:
    """Block after block through one table, we read what `hpack` reads and refuse what it refuses."""
    ours, oracle = HeaderDecoder(2**16), hpack.Decoder()
    for block in sequence:
        expected = decode_with_hpack(oracle, block)
        assert decode(ours, block) == expected
        if expected is None:
            break


@examples(200)
@given(st.lists(blocks, min_size=1, max_size=2).map(b"".join), mutations)
def test_broken_blocks_are_read_no_wider_than_hpack_does(block: bytes, changes: list[Mutation]) -> None:
    """Of a mutated block we never make something that `hpack` does not make of it."""
    padded = bytes(len(wire.PREFACE)) + block
    for change in changes:
        padded = change.apply(padded)
    block = padded[len(wire.PREFACE) :]
    got = decode(HeaderDecoder(2**16), block)
    if got is not None:
        assert got == decode_with_hpack(hpack.Decoder(), block)
