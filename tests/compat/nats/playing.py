"""Plays the clients' scripts of C{tests/peers} against a server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Protocol

from tests.compat.nats.peers import Credentials
from tests.conftest import PEERS

#: The clients, and how their scripts are run.
CLIENTS = {
    "nats-py": [sys.executable, str(PEERS / "nats_client.py")],
    "nats.js": ["node", str(PEERS / "nats_client.js")],
}


class Server(Protocol):
    """Speaks NATS."""

    credentials: Credentials

    @property
    def address(self) -> str:
        """C{host:port}."""

    def restart(self) -> None:
        """Stop it and start it again; the address stays."""

    def duck(self) -> None:
        """Have it say that it goes."""


def play(client: str, server: Server, bad: Sequence[Credentials]) -> dict[str, Any]:
    """What a client saw, step by step."""
    wanted = {
        "address": server.address,
        "options": server.credentials.options,
        "bad": [each.options for each in bad],
    }
    with subprocess.Popen(
        [*CLIENTS[client], json.dumps(wanted)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for line in process.stdout:
            said = json.loads(line)
            if "transcript" in said:
                transcript: dict[str, Any] = said["transcript"]
                return transcript
            getattr(server, said["do"])()
            process.stdin.write("done\n")
            process.stdin.flush()
    raise AssertionError(f"{client} ended before its script did")
