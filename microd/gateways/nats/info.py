"""What the door tells of itself, in INFO."""

from __future__ import annotations

import base64
import json
import os
from typing import Any

#: Clients go by it to know what they can ask for: the release of nats-server that ours is compared with.
VERSION = "2.9.10"


class Info:
    """The facts which are the same for all clients.

    @param tls: C{""}: there is none; C{"required"}; C{"available"}: for who wants it.
    @param verify: clients are to show a certificate.
    """

    def __init__(self, max_payload: int, *, tls: str = "", verify: bool = False) -> None:
        self._facts: dict[str, Any] = {
            "server_id": server_id(),
            "server_name": "microd",
            "version": VERSION,
            "proto": 1,
            "headers": True,
            "auth_required": True,
            "max_payload": max_payload,
        }
        if tls:
            self._facts[f"tls_{tls}"] = True
        if tls and verify:
            self._facts["tls_verify"] = True

    def text(self, client: int, ip: str, at: tuple[str, int], *, leaving: bool) -> bytes:
        """As JSON.

        @param client: the number of the connection.
        @param ip: where it comes from; C{at} is where it came to.
        @param leaving: the door is about to close, and clients shall look for another.
        """
        facts = {**self._facts, "host": at[0], "port": at[1], "client_id": client}
        if ip:
            facts["client_ip"] = ip
        if leaving:
            facts["ldm"] = True
        return json.dumps(facts, separators=(",", ":")).encode()


def server_id() -> str:
    """A name which no other server has, in the form of a public key of NATS."""
    return "N" + base64.b32encode(os.urandom(35)).decode()[:55]
