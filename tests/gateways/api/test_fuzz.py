"""Whatever bytes come in, in whatever pieces: nothing is raised, nothing is kept, and the answers stay the same."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from microd.kernel.endpoint import Endpoint
from microd.wire import store_pb2 as pb

VALID = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /favicon.ico HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n",
    b"POST /t HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n" + b'{"key":"k"}',
    b'POST /t HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{"ke\r\n7\r\ny":"k"}\r\n0\r\n\r\n',
    b"GET /t?key=k HTTP/1.1\r\nHost: a\r\nOrigin: http://b\r\n\r\n",
    b"POST /nope HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HEAD /t HTTP/1.1\r\nHost: a\r\n\r\n",
]

_quick = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


async def answer(request: Any, caller: Any) -> Any:
    return pb.ReadResponse(records=[pb.Record(key=request.key)])


def _sent(make: Any, pieces: list[bytes]) -> bytes:
    """What the gateway says to these pieces, but for its ids; whether it has let everything go is checked."""
    house = make([Endpoint("/t.T/Call", pb.ReadRequest, pb.ReadResponse, answer)])
    client = house.client()
    for piece in pieces:
        client.send(piece)
    said: bytes = re.sub(rb"(?<=\r\nX-Request-Id: )[0-9a-f]{32}(?=\r\n)", b"", client.transport.value())
    client.drop()
    assert house.gateway.server.buffered == 0
    assert house.clock.getDelayedCalls() == []
    return said


def _split(data: bytes, cuts: list[int]) -> list[bytes]:
    at = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(at) if end > start]


@_quick
@given(
    requests=st.lists(st.sampled_from(VALID), min_size=1, max_size=6),
    cuts=st.lists(st.integers(0, 10_000), max_size=12),
)
def test_splits(make: Any, requests: list[bytes], cuts: list[int]) -> None:
    """However the bytes are cut, the answers are those to the whole."""
    data = b"".join(requests)
    assert _sent(make, _split(data, cuts)) == _sent(make, [data])


@_quick
@given(
    requests=st.lists(st.sampled_from(VALID), min_size=1, max_size=4),
    changes=st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=4)), min_size=1, max_size=6),
    cuts=st.lists(st.integers(0, 10_000), max_size=6),
)
def test_mutations(
    make: Any, requests: list[bytes], changes: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    """Damaged requests are answered or refused, and raise nothing."""
    data = bytearray(b"".join(requests))
    for at, octets in changes:
        place = at % (len(data) + 1)
        data[place : place + 1] = octets
    _sent(make, _split(bytes(data), cuts))


@_quick
@given(pieces=st.lists(st.binary(max_size=200), max_size=6))
def test_noise(make: Any, pieces: list[bytes]) -> None:
    """Bytes that mean nothing raise nothing."""
    _sent(make, pieces)
