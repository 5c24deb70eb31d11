"""A server that goes away in good order."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from microd.txgrpc import GrpcServer, Method, RpcError, ServerCall, StatusCode
from microd.txgrpc.memory import connect


async def tick(request: bytes, call: ServerCall) -> AsyncIterator[bytes]:
    """Says something once, then nothing for ever."""
    yield b"tick"
    await Deferred[None]()


@pytest.mark.parametrize("endless", [True, False])
def test_endless(endless: bool) -> None:
    """A drain ends calls which have no end of their own, as UNAVAILABLE; for others it waits as long as it may."""
    clock = Clock()
    server = GrpcServer({"/a.A/Tick": Method("unary_stream", tick, endless=endless)}, clock=clock)
    channel = connect(server, clock)
    heard: list[object] = []

    async def listen() -> None:
        try:
            async for reply in channel.unary_stream("/a.A/Tick")(b""):
                heard.append(reply)
        except RpcError as error:
            heard.append(error.code)

    listening = Deferred.fromCoroutine(listen())
    clock.advance(0.1)
    assert heard == [b"tick"]
    drained = Deferred.fromCoroutine(server.drain(20))
    clock.advance(0.1)
    assert drained.called is endless
    assert (heard[1:] == [StatusCode.UNAVAILABLE]) is endless
    clock.pump([1] * 25)
    assert drained.called
    assert listening.called
