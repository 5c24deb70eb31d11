"""Traffic of legal HTTP/2 peers, and what may become of it: strategies for hypothesis."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import hpack
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from microd.testing import http2_frames as wire
from microd.testing.http2_frames import Fields, Flag, Kind, Setting
from microd.testing.http2_peer import Handshake
from microd.testing.http2_probe import (
    RESPONSE,
    TRAILERS,
    request_fields,
)


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
