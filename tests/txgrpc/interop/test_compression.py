"""Whether a message travels compressed is seen here by what it is when it arrives; the interop cases cannot tell."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from microd.testing.interop.cases import OUTPUT_CALL, UNARY_CALL
from microd.testing.interop.service import TestService
from microd.testing.outcome import done
from microd.testing.wire import interop_pb2 as pb
from microd.txgrpc import Channel, GrpcServer
from microd.txgrpc.memory import connect
from microd.txgrpc.messages import Unpacked


def came_compressed(message: bytes) -> bool:
    """Reads a reply as nothing but that."""
    return type(message) is Unpacked


@pytest.fixture
def channel() -> Channel:
    """A channel to the interop service."""
    clock = Clock()
    return connect(GrpcServer(TestService(clock).methods(), clock=clock), clock)


@pytest.mark.parametrize("wish", [True, False, None])
def test_unary(channel: Channel, wish: bool | None) -> None:
    """A reply is compressed if the handler wants it, and only then."""
    request = pb.SimpleRequest(response_size=1000)
    if wish is not None:
        request.response_compressed.value = wish
    method = channel.unary_unary(UNARY_CALL.path, pb.SimpleRequest.SerializeToString, came_compressed)
    assert done(method(request)) is bool(wish)


def test_stream(channel: Channel) -> None:
    """Each reply of a stream is compressed, or not, by itself."""
    wishes = [True, False, True]
    request = pb.StreamingOutputCallRequest(
        response_parameters=[
            pb.ResponseParameters(size=1000, compressed=pb.BoolValue(value=wish)) for wish in wishes
        ]
    )
    method = channel.unary_stream(
        OUTPUT_CALL.path, pb.StreamingOutputCallRequest.SerializeToString, came_compressed
    )

    async def replies() -> list[bool]:
        return [reply async for reply in method(request)]

    assert done(replies()) == wishes
