"""Disks that fail, and such that are full, under a daemon of its own. Both are real: the kernel says so."""

from __future__ import annotations

import http.client
import shutil
from pathlib import Path

from microd.testing.platform import BIN, Platform, Process


def readiness(platform: Platform) -> tuple[int, str]:
    """What C{/readyz} answers."""
    host, _, port = platform.door("ops").rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def start_with_failing_sync(platform: Platform, name: str, when: int, *options: str) -> Process:
    """A daemon for which the C{when}th sync of a file's log, and each one after it, fails with EIO."""
    strace = shutil.which("strace")
    assert strace, "this test needs strace: sudo apt-get install strace"
    said = platform.home / "strace.txt"
    daemon = platform.spawn(
        strace,
        # The daemon is our child, not strace; and runs at full speed but for what is traced.
        *("-D", "-f", "--seccomp-bpf", "-qq", "-o", str(said), "-P", str(platform.data / f"{name}-wal")),
        *("-e", "trace=fdatasync,fsync", "-e", f"inject=fdatasync,fsync:error=EIO:when={when}+"),
        *(str(BIN / "twistd"), "-n", "micro", *options),
    )
    platform.daemon = daemon
    daemon.output.wait_for(" is ready: ")
    return daemon


def failed_syncs(platform: Platform) -> int:
    """How often the daemon was told that a sync failed."""
    return (platform.home / "strace.txt").read_text().count("EIO")


def fill(disk: Path) -> Path:
    """Take all that is left on a disk."""
    ballast = disk / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        for size in (4096, 512, 1):
            try:
                while True:
                    file.write(b"b" * size)
            except OSError:
                continue
    return ballast
