"""The proxy door with one service behind it: python -m benches.proxy_door DATA-FOLDER SERVICE-PORT"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.task import react

from microd.gateways.door import Door
from microd.gateways.gate import Gate
from microd.services.auth import rpc as auth_rpc
from microd.services.auth.backends.memory import MemoryVault
from microd.services.auth.embedded import embedded_auth
from microd.services.network.dialer import Dialer, tcp_endpoint
from microd.services.network.router import Router
from microd.services.registry.model import Node, Service
from microd.services.registry.service import Registry


async def serve(reactor: Any, data: Path, port: int) -> None:
    """Print the door's port and serve until ended."""
    auth = embedded_auth(reactor, MemoryVault(), data)
    await auth.startService()
    registry = Registry(reactor)
    await registry.register("micro", Service("bench", nodes=(Node("one", f"127.0.0.1:{port}"),)), 3600)
    dialer = Dialer(reactor, tcp_endpoint(reactor))
    dialer.startService()
    router = Router(registry, dialer)
    door = Door(auth_rpc.endpoints(auth), Gate(auth), router, dialer, clock=reactor)
    listening = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(door)
    print(listening.getHost().port, flush=True)
    await Deferred()


def main(reactor: Any, data: str, port: str) -> Deferred[None]:
    """Serve."""
    return Deferred.fromCoroutine(serve(reactor, Path(data), int(port)))


if __name__ == "__main__":
    react(main, sys.argv[1:])
