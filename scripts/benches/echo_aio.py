"""The echo service and its client on grpc.aio: python -m benches.echo_aio server | client PORT SECONDS IN_FLIGHT"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio

from benches.echo import REQUEST, STREAM_LENGTH, UNARY, Echo


async def unary(request: Any, context: grpc.aio.ServicerContext) -> Any:
    """Answer with a message of the same contents."""
    return Echo(text=request.text, n=request.n)


async def stream(request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
    """The same, many times."""
    for _ in range(STREAM_LENGTH):
        yield Echo(text=request.text, n=request.n)


async def serve() -> None:
    """Print the port and serve until ended."""
    server = grpc.aio.server()
    codec = (Echo.FromString, Echo.SerializeToString)
    table = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary, *codec),
        "Stream": grpc.unary_stream_rpc_method_handler(stream, *codec),
    }
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("bench.Echo", table)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


async def call(port: int, seconds: float, in_flight: int) -> float:
    """Calls a second, keeping so many in flight on one connection."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
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
        await asyncio.gather(*(caller() for _ in range(in_flight)))
        return count / (time.monotonic() - begun)


if __name__ == "__main__":
    if sys.argv[1] == "server":
        asyncio.run(serve())
    else:
        print(asyncio.run(call(int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))))
