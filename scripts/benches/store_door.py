"""A gRPC door with the store behind it: python -m benches.store_door DATA-FOLDER"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.task import react

from microd.gateways.door import Door
from microd.gateways.gate import Gate
from microd.services.auth.backends.memory import MemoryVault
from microd.services.auth.embedded import embedded_auth
from microd.services.network.dialer import Dialer, tcp_endpoint
from microd.services.network.router import Router
from microd.services.registry.service import Registry
from microd.services.store import rpc
from microd.services.store.backends.sqlite import SqliteStore


async def serve(reactor: Any, data: Path) -> None:
    """Print the door's port and serve until ended."""
    auth = embedded_auth(reactor, MemoryVault(), data)
    await auth.startService()
    store = SqliteStore(data / "store.db", reactor)
    store.startService()
    reactor.addSystemEventTrigger("before", "shutdown", store.stopService)
    dialer = Dialer(reactor, tcp_endpoint(reactor))
    router = Router(Registry(reactor), dialer)
    door = Door(rpc.endpoints(store), Gate(auth), router, dialer, clock=reactor)
    listening = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(door)
    print(listening.getHost().port, flush=True)
    await Deferred()


def main(reactor: Any, data: str) -> Deferred[None]:
    """Serve."""
    return Deferred.fromCoroutine(serve(reactor, Path(data)))


if __name__ == "__main__":
    react(main, sys.argv[1:])
