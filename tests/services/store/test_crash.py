"""A writer killed at work: whatever it acknowledged is there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from microd.services.store.backends.sqlite import SqliteStore
from microd.services.store.backends.worker import Inline
from microd.testing.outcome import done

WRITER = """
import os, sys
from pathlib import Path
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from microd.services.store.backends.sqlite import SqliteStore
from microd.services.store.model import Record

store = SqliteStore(Path(sys.argv[1]), reactor)

async def write(lane):
    number = 0
    while True:
        key = f"{lane}-{number}"
        await store.write("micro", "t", Record(key, key.encode() * 20))
        os.write(1, key.encode() + b"\\n")
        number += 1

def begin():
    store.startService()
    for lane in range(32):
        Deferred.fromCoroutine(write(lane))

reactor.callWhenRunning(begin)
reactor.run()
"""


@pytest.mark.parametrize("after", [1, 500, 3000])
def test_killed(tmp_path: Path, after: int) -> None:
    """Every write acknowledged before C{kill -9} is read back whole by the next process."""
    path = tmp_path / "store.db"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
    ) as writer:
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline() for _ in range(after)]
        os.kill(writer.pid, signal.SIGKILL)
        acknowledged += [
            line for line in writer.stdout.read().splitlines(keepends=True) if line.endswith(b"\n")
        ]
    store = SqliteStore(path, Clock(), workers=lambda _, name: Inline())
    store.startService()
    for line in acknowledged:
        key = line.decode().strip()
        record = done(store.read_one("micro", "t", key))
        assert record is not None, f"{key} is lost"
        assert record.value == key.encode() * 20
    done(store.stopService())
