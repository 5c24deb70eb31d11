"""What the daemon of the same user on the same host leaves in its data folder for us."""

from __future__ import annotations

import json
import os
from pathlib import Path

from microd.cli.address import Address, address_from
from microd.cli.failure import CommandFailed


class LocalDaemon:
    """Reads C{daemon.json} and C{admin-secret}."""

    def __init__(self, data: Path) -> None:
        self._data = data

    def doors(self) -> dict[str, Address]:
        """The doors of the running daemon, by name; empty where none is running."""
        try:
            told = json.loads((self._data / "daemon.json").read_bytes())
            os.kill(int(told["pid"]), 0)
            doors = dict(told["doors"])
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return {str(name): found for name, text in doors.items() if (found := _door(str(text)))}

    def admin_secret(self, address: Address) -> str:
        """The admin's secret, if C{address} is a door of the running daemon; else nothing.

        While the daemon is down anybody on this host could listen in its place: the secret is meant for the process
        that C{daemon.json} names, and is shown to nobody else.
        """
        if address not in self.doors().values():
            return ""
        try:
            return (self._data / "admin-secret").read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return ""


def _door(text: str) -> Address | None:
    """A door's address; None for one that is no host and port, such as a socket file."""
    try:
        return address_from(text)
    except CommandFailed:
        return None
