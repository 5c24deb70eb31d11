"""Telling the world that the daemon is up."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

from microd.app.announce import Announcement, notify_systemd, sentence


def test_sentence() -> None:
    """One line names the version, the data folder, every door and how to log in."""
    line = sentence(
        Path("/data"), {"proxy": "127.0.0.1:8081", "api": "127.0.0.1:8080"}, "log in with `micro login`"
    )
    assert "\n" not in line
    for word in ("microd 0.", "data /data", "api 127.0.0.1:8080", "proxy 127.0.0.1:8081", "micro login"):
        assert word in line


def test_file(tmp_path: Path) -> None:
    """The file of doors is its owner's alone, and goes when the daemon goes."""
    announcement = Announcement(tmp_path)
    announcement.publish({"api": "127.0.0.1:8080"})
    path = tmp_path / "daemon.json"
    assert path.stat().st_mode & 0o777 == 0o600
    told = json.loads(path.read_text())
    assert (told["pid"], told["doors"]) == (os.getpid(), {"api": "127.0.0.1:8080"})
    announcement.stopService()
    assert not path.exists()
    announcement.stopService()


def test_systemd(tmp_path: Path) -> None:
    """systemd is told over the socket which it named; without one nothing happens."""
    notify_systemd("READY=1", {})
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        notify_systemd("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert channel.recv(100) == b"READY=1"
