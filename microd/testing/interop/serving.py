"""The test service as a process: python -m microd.testing.interop.serving prints its port and serves until it is ended."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from microd.testing.interop.service import TestService
from microd.txgrpc import GrpcServer
from microd.txgrpc.endpoints import server_endpoint


async def serve(reactor: Any) -> None:
    """Serve on a free port."""
    server = GrpcServer(TestService(reactor).methods(), clock=reactor)
    port: Any = await server_endpoint(reactor, "tcp:0:interface=127.0.0.1").listen(server)
    print(port.getHost().port, flush=True)
    await Deferred()


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(serve(reactor)))
