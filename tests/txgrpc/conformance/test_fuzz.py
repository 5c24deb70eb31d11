"""Random traffic, cut and mutated: nothing is ever raised, and splits change nothing.

Hypothesis runs derandomized, so that every run tries the same examples.
"""

from __future__ import annotations

import hpack
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from microd.testing import http2_frames as wire
from microd.testing.http2_frames import Kind
from microd.testing.http2_heard import Ours
from microd.testing.http2_peer import FrameReader, Handshake
from microd.testing.http2_probe import (
    ClientProbe,
    ServerProbe,
    call,
    opening,
    request_fields,
)
from microd.testing.http2_traffic import (
    Exchange,
    Mutation,
    connection_frames,
    cut,
    cuts,
    examples,
    exchanges,
    extra_fields,
    mutations,
    response_steps,
    shapes,
    weave,
)
from microd.txgrpc import RpcError
from microd.txgrpc.headerblock import encode_fields


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
