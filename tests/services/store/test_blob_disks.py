"""Blobs on disks that end, fill up and fail: real ones, in processes of their own."""

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
from microd.services.store.blobs.backends.files import FileBlobs
from microd.testing.blob_contract import Subject
from microd.testing.outcome import done

ROOT = Path(__file__).parents[3]

#: A store of blobs in the folder of the first argument; C{main} runs in the reactor.
PROGRAM = """
import hashlib, os, sys
from pathlib import Path
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from microd.kernel.errors import MicroError
from microd.services.store.backends.memory import MemoryStore
from microd.services.store.backends.sqlite import SqliteStore
from microd.services.store.backends.worker import Thread
from microd.services.store.blobs.backends.files import FileBlobs
from microd.services.store.blobs.backends.pool import Pool
from microd.services.store.blobs.model import About

folder = Path(sys.argv[1])
def say(*words): os.write(1, (" ".join(map(str, words)) + "\\n").encode())

async def put(key, content):
    draft = await blobs.write("micro", key, About())
    try:
        await draft.add(content)
        await draft.keep()
    finally:
        draft.drop()

async def get(key):
    reading = await blobs.read("micro", key)
    try:
        return b"".join([piece async for piece in reading])
    finally:
        reading.close()

async def refused(work):
    try:
        await work
    except MicroError as error:
        say(error.code, error.detail)
    else:
        say("done")

async def stop():
    await blobs.stopService()
    if index.__class__ is SqliteStore: await index.stopService()
    reactor.stop()

def begin():
    if index.__class__ is SqliteStore: index.startService()
    blobs.startService()
    Deferred.fromCoroutine(main()).addErrback(lambda failure: (say(failure.getTraceback()), os._exit(1)))
"""
SQLITE = "index, pool = SqliteStore(folder / 'index.db', reactor), Pool(reactor, 'blobs')\n"
#: One thread, since strace counts the calls of each.
MEMORY = "index, pool = MemoryStore(), Thread(reactor, 'blobs')\n"
END = "\nblobs = FileBlobs(folder, index, pool)\nreactor.callWhenRunning(begin)\nreactor.run()\n"

KILLED = """
def content(key): return key.encode() * (10 if key.endswith("s") else 30_000)

async def write(lane):
    number = 0
    while True:
        kind = "s" if number % 2 else "l"
        await put(f"{lane}", content(f"{lane}-{number}-{kind}"))
        say(lane, f"{lane}-{number}-{kind}")
        number += 1

async def main():
    # Where no blob at all has a file, files are left alone.
    await put("9", content("9-0-l"))
    say("9", "9-0-l")
    for lane in range(8):
        Deferred.fromCoroutine(write(lane))
"""


@pytest.mark.parametrize("after", [1, 50, 300])
def test_killed(tmp_path: Path, after: int) -> None:
    """After C{kill -9} each key has the blob acknowledged last, or a later one, whole; and nothing else lies about."""
    program = [sys.executable, "-c", PROGRAM + SQLITE + KILLED + END, str(tmp_path)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, cwd=ROOT) as writer:
        assert writer.stdout is not None
        said = [writer.stdout.readline() for _ in range(after)]
        os.kill(writer.pid, signal.SIGKILL)
        said += [line for line in writer.stdout.read().splitlines(keepends=True) if line.endswith(b"\n")]
    last = {line.split()[0].decode(): int(line.split(b"-")[1]) for line in said}
    index = SqliteStore(tmp_path / "index.db", Clock(), workers=lambda _, name: Inline())
    index.startService()
    blobs = FileBlobs(tmp_path, index, Inline())
    blobs.startService()
    subject = Subject(blobs, blobs.now, done)
    keys = subject.keys()
    large = 0
    for key in keys:
        content = subject.get(key)
        lane, number, kind = content[: content.find(b"-", 3) + 2].decode().split("-")
        assert lane == key
        assert int(number) >= last.get(key, 0)
        assert content == f"{lane}-{number}-{kind}".encode() * (10 if kind == "s" else 30_000)
        large += kind == "l"
    assert set(last) <= set(keys)
    names = [path.name for path in tmp_path.iterdir() if not path.name.startswith("index.db")]
    assert len(names) == large
    done(blobs.stopService())
    done(index.stopService())


FULL = """
async def main():
    old = os.urandom(300_000)
    await put("old", old)
    await refused(put("large", bytes(4 << 20)))
    await blobs.chores.ended()
    say("files", len([name for name in os.listdir(folder) if not name.startswith("index")]))
    say("old", await get("old") == old)
    say("failure", repr(blobs.failure))
    await refused(put("next", bytes(200_000)))
    say("next", await get("next") == bytes(200_000))
    await stop()
"""


def test_full(tmp_path: Path) -> None:
    """On a full disk a write is refused with 507 and leaves nothing; what was there stays, and smaller writes go on."""
    script = tmp_path / "program.py"
    script.write_text(PROGRAM + SQLITE + FULL + END)
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = f"mount -t tmpfs -o size=2m none {disk} && exec {sys.executable} {script} {disk}"
    command = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["-r"]), "sh", "-c", mounted]
    found = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert found.stdout.splitlines() == [
        "507 the disk for blobs is full: nothing was kept; make room and try again",
        "files 1",
        "old True",
        "failure ''",
        "done",
        "next True",
    ], found.stderr


FAILING = """
async def main():
    await put("old", bytes(300_000))
    await refused(put("old", bytes(400_000)))
    await refused(put("other", bytes(400_000)))
    await refused(put("small", b"x"))
    await refused(blobs.delete("micro", "old"))
    say("old", await get("old") == bytes(300_000))
    say(blobs.failure)
    await stop()
"""


@pytest.mark.parametrize("call", ["fdatasync", "fsync"])
def test_failing(tmp_path: Path, call: str) -> None:
    """Once the disk says that bytes may be lost, nothing more is acknowledged, whatever it says later; reads go on."""
    program = [sys.executable, "-c", PROGRAM + MEMORY + FAILING + END, str(tmp_path)]
    fault = [
        "strace",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        f"trace={call}",
        "-e",
        f"inject={call}:error=EIO:when=2",
    ]
    found = subprocess.run([*fault, *program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    failure = "blobs cannot be written: Input/output error"
    refusal = f"503 the store takes no more blobs: {failure}; check the disk, then restart the daemon"
    assert found.stdout.splitlines() == [f"500 {failure}", refusal, refusal, refusal, "old True", failure], (
        found.stderr
    )
