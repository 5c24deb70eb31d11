"""On random legal traffic `h2` decides as we do, in both roles, and reads what we send as it was meant."""

from __future__ import annotations

from typing import Any

import h2.config
import h2.connection
import h2.events
import hpack
from hypothesis import given
from hypothesis import strategies as st

from microd.testing import http2_frames as wire
from microd.testing.http2_frames import Fields, Kind
from microd.testing.http2_heard import Heard, Ours
from microd.testing.http2_peer import FrameReader, Handshake
from microd.testing.http2_probe import (
    RESPONSE,
    TRAILERS,
    request_fields,
)
from microd.testing.http2_traffic import (
    Exchange,
    client_traffic,
    cut,
    cuts,
    examples,
    exchanges,
    response_steps,
    weave,
)
from microd.txgrpc.connection import Http2Connection
from microd.txgrpc.headerblock import encode_fields


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
