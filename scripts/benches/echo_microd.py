"""The echo service and its client on microd.txgrpc: python -m benches.echo_microd server | client PORT SECONDS IN_FLIGHT"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.task import react

from benches.echo import REQUEST, STREAM, STREAM_LENGTH, UNARY, Echo
from microd.txgrpc import Channel, GrpcServer, Method, ServerCall


async def unary(request: Any, call: ServerCall) -> Any:
    """Answer with a message of the same contents."""
    return Echo(text=request.text, n=request.n)


async def stream(request: Any, call: ServerCall) -> AsyncIterator[Any]:
    """The same, many times."""
    for _ in range(STREAM_LENGTH):
        yield Echo(text=request.text, n=request.n)


async def serve(reactor: Any) -> None:
    """Print the port and serve until ended."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    codec = (Echo.FromString, Echo.SerializeToString)
    methods = {UNARY: Method("unary_unary", unary, *codec), STREAM: Method("unary_stream", stream, *codec)}
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(
        GrpcServer(methods, clock=reactor)
    )
    print(port.getHost().port, flush=True)
    await Deferred()


async def call(reactor: Any, port: int, seconds: float, in_flight: int) -> None:
    """Print calls a second, keeping so many in flight on one connection."""
    channel = Channel(TCP4ClientEndpoint(reactor, "127.0.0.1", port), reactor)
    method = channel.unary_unary(UNARY, Echo.SerializeToString, Echo.FromString)
    await method(REQUEST, timeout=10)
    count = 0
    end = time.monotonic() + seconds

    async def caller() -> None:
        nonlocal count
        while time.monotonic() < end:
            await method(REQUEST, timeout=10)
            count += 1

    begun = time.monotonic()
    await gatherResults([Deferred.fromCoroutine(caller()) for _ in range(in_flight)])
    print(count / (time.monotonic() - begun))
    await channel.close(0)


def main(reactor: Any, role: str, *numbers: str) -> Deferred[None]:
    """Be the server or the client."""
    if role == "server":
        return Deferred.fromCoroutine(serve(reactor))
    return Deferred.fromCoroutine(call(reactor, int(numbers[0]), float(numbers[1]), int(numbers[2])))


if __name__ == "__main__":
    react(main, sys.argv[1:])
