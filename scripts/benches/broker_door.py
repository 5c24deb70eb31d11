"""The NATS door with accounts and the broker behind it: python -m benches.broker_door DATA-FOLDER"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.task import react

from microd.gateways.nats.door import NatsDoor
from microd.services.auth.backends.memory import MemoryVault
from microd.services.auth.embedded import embedded_auth
from microd.services.broker.service import Broker


async def serve(reactor: Any, data: Path) -> None:
    """Print the door's port and serve until ended."""
    auth = embedded_auth(reactor, MemoryVault(), data)
    await auth.startService()
    door = NatsDoor(auth, Broker(), reactor)
    listening = await TCP4ServerEndpoint(reactor, 0, backlog=1024, interface="127.0.0.1").listen(door)
    print(listening.getHost().port, flush=True)
    await Deferred()


def main(reactor: Any, data: str) -> Deferred[None]:
    """Serve."""
    return Deferred.fromCoroutine(serve(reactor, Path(data)))


if __name__ == "__main__":
    react(main, sys.argv[1:])
