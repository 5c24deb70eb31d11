"""Telling the world that the daemon is up: one line for people, a file for the CLI, a message for systemd."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path

from twisted.application.service import Service
from twisted.logger import Logger

from microd import __version__


def sentence(data: Path, doors: Mapping[str, str], login: str) -> str:
    """The one line: version, data folder, each door's address, how to log in."""
    where = ", ".join(f"{name} {address}" for name, address in sorted(doors.items()))
    return f"microd {__version__} is ready: data {data}; {where}; {login}"


class Announcement(Service):
    """Keeps C{daemon.json} in the data folder while the daemon is up, so that its owner's tools find the doors."""

    log = Logger()

    def __init__(self, data: Path) -> None:
        self._path = data / "daemon.json"

    def publish(self, doors: Mapping[str, str]) -> None:
        """Write the file in one step, readable to its owner only."""
        made = self._path.with_suffix(".new")
        handle = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump({"pid": os.getpid(), "version": __version__, "doors": dict(doors)}, file)
        made.rename(self._path)

    def stopService(self) -> None:
        """Take the file away."""
        super().stopService()
        self._path.unlink(missing_ok=True)


def notify_systemd(message: str, environ: Mapping[str, str]) -> None:
    """Tell systemd, where it asked to be told (sd_notify(3)); twistd has no such thing."""
    path = environ.get("NOTIFY_SOCKET")
    if not path:
        return
    if path.startswith("@"):
        path = "\0" + path[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.connect(path)
        channel.sendall(message.encode())
