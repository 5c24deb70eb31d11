"""Blobs and snapshots in a real daemon, as the command line sees them."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from microd.testing.platform import BIN, LIMIT, Platform

pytestmark = pytest.mark.e2e

#: A blob, and how much more memory the daemon may take to move it, both ways.
SIZE, MEMORY = 200 << 20, 24 << 20


def peak(pid: int) -> int:
    """The most memory which a process has held so far, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    raise AssertionError("the process is gone")


def test_far_larger_than_memory(platform: Platform) -> None:
    """A blob goes in and comes out whole, and the daemon never holds more than a little of it."""
    daemon = platform.start()
    big, back = platform.work / "big", platform.work / "back"
    with big.open("wb") as file:
        for _ in range(SIZE >> 20):
            file.write(os.urandom(1 << 20))
    platform.ok("store", "blob", "write", "small", str(platform.data / "daemon.json"))
    before = peak(daemon.pid)
    platform.ok("store", "blob", "write", "big", str(big))
    platform.ok("store", "blob", "read", "big", str(back))
    assert peak(daemon.pid) - before < MEMORY
    assert subprocess.run(["cmp", str(big), str(back)], check=False).returncode == 0


def test_killed(platform: Platform) -> None:
    """What was acknowledged outlives C{kill -9} of the daemon; what was not is gone, with the room that it took."""
    daemon = platform.start()
    folder = platform.data / "blobs"
    source = platform.work / "source"
    source.write_bytes(os.urandom(1 << 20))
    platform.ok("store", "blob", "write", "kept", str(source))
    writer = subprocess.Popen(
        [str(BIN / "micro"), "store", "blob", "write", "unfinished"],
        env=platform.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with writer:
        assert writer.stdin is not None
        writer.stdin.write(bytes(4 << 20))
        writer.stdin.flush()
        deadline = time.monotonic() + LIMIT
        while len(blob_files(folder)) < 2 and time.monotonic() < deadline:
            threading.Event().wait(0.02)
        assert len(blob_files(folder)) == 2
        daemon.signal(signal.SIGKILL)
        daemon.wait()
        assert writer.stdin is not None
        writer.stdin.close()
        assert writer.wait(LIMIT) != 0
    platform.start()
    assert platform.ok("store", "blob", "list").split() == ["kept"]
    deadline = time.monotonic() + LIMIT
    while len(blob_files(folder)) > 1 and time.monotonic() < deadline:
        threading.Event().wait(0.02)
    assert len(blob_files(folder)) == 1
    platform.ok("store", "blob", "read", "kept", str(platform.work / "back"))
    assert (platform.work / "back").read_bytes() == source.read_bytes()


def blob_files(folder: Path) -> list[str]:
    """The files of blobs, finished or not."""
    return [path.name for path in folder.iterdir() if not path.name.startswith("index.db")]


def test_backup(platform: Platform) -> None:
    """Records which were lost come back from a snapshot, into another daemon too."""
    platform.start()
    for number in range(5):
        platform.ok("store", "write", f"k{number}", f"v{number}", "--expiry=1h")
    platform.ok("store", "write", "other", "x", "--table=t")
    snapshot = str(platform.work / "snapshot")
    platform.ok("store", "snapshot", f"--destination={snapshot}")
    platform.ok("store", "delete", "k3")
    platform.ok("store", "write", "k4", "changed")
    platform.ok("store", "restore", f"--source={snapshot}")
    assert platform.ok("store", "read", "--prefix", "k").split() == [f"v{number}" for number in range(5)]
    assert platform.ok("store", "read", "other", "--table=t") == "x\n"
    assert "59m" in platform.ok("store", "read", "k0", "-v") or "1h" in platform.ok(
        "store", "read", "k0", "-v"
    )
