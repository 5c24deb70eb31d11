"""What outlives a kill -9, and what must not."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from microd.kernel.errors import MicroError
from microd.testing.platform import LIMIT, Platform, Process

pytestmark = pytest.mark.e2e

GREETER = '''
from dataclasses import dataclass
from microd.framework import Service

@dataclass
class HelloRequest:
    name: str

@dataclass
class HelloReply:
    msg: str

service = Service("greeter")

@service.endpoint
async def hello(request: HelloRequest) -> HelloReply:
    """Greet somebody by name."""
    return HelloReply(msg=f"Hello {request.name}")

service.run()
'''


class Load(threading.Thread):
    """Calls the greeter, one call after the other, and keeps what failed."""

    def __init__(self, platform: Platform) -> None:
        super().__init__(daemon=True)
        self._client = platform.client
        self.answered = 0
        self.failures: list[MicroError] = []
        self.warm = threading.Event()
        self._enough = threading.Event()

    def run(self) -> None:
        with self._client() as client:
            while not self._enough.is_set():
                try:
                    client.call("greeter", "Greeter.Hello", {"name": "Ada"})
                    self.answered += 1
                except MicroError as problem:
                    self.failures.append(problem)
                if self.answered >= 50:
                    self.warm.set()

    def end(self) -> None:
        self._enough.set()
        self.join(LIMIT)
        assert not self.is_alive()


def alive(pid: int) -> bool:
    """Whether the process exists and is more than a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def processes_under(folder: Path) -> set[int]:
    """The processes whose environment says that they belong to this machine."""
    mark = f"HOME={folder}".encode()
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and alive(int(entry.name)):
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.add(int(entry.name))
            except (PermissionError, FileNotFoundError, ProcessLookupError):
                continue
    return found


def standalone(platform: Platform) -> Process:
    """A greeter started by hand, once it has registered."""
    process = platform.spawn("python", str(platform.work / "greeter" / "main.py"))
    process.output.wait_for("registered")
    return process


def test_killed_node(platform: Platform) -> None:
    """kill -9 of one of two nodes fails only the calls in flight on it, each with an unknown outcome, none later."""
    platform.start()
    platform.service("greeter", GREETER)
    first, _second = standalone(platform), standalone(platform)
    callers = [Load(platform) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        assert caller.warm.wait(LIMIT)
    first.signal(signal.SIGKILL)
    first.wait()
    settled = [caller.answered for caller in callers]
    failed = [len(caller.failures) for caller in callers]
    for caller, before in zip(callers, settled, strict=True):
        while caller.answered < before + 200 and caller.is_alive():
            threading.Event().wait(0.01)
    for caller in callers:
        caller.end()
    for caller, before in zip(callers, failed, strict=True):
        assert len(caller.failures) <= 1, caller.failures
        assert len(caller.failures) <= before + 1
        for problem in caller.failures:
            assert "outcome" in problem.detail
            assert "unknown" in problem.detail


def test_killed_daemon(platform: Platform) -> None:
    """kill -9 of the daemon loses nothing acknowledged and leaves no orphan; services run again after the next start."""
    daemon = platform.start()
    platform.service("greeter", GREETER)
    platform.ok("run", "greeter")
    acknowledged: list[str] = []

    def write() -> None:
        with platform.client() as client:
            try:
                for number in range(100_000):
                    client.store.write(f"key-{number}", b"value")
                    acknowledged.append(f"key-{number}")
            except MicroError:
                return

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    deadline = time.monotonic() + LIMIT
    while len(acknowledged) < 200 and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    before = processes_under(platform.home) - {daemon.pid, os.getpid()}
    assert before, "the service runs in a process of its own"
    daemon.signal(signal.SIGKILL)
    daemon.wait()
    writer.join(LIMIT)
    deadline = time.monotonic() + LIMIT
    while any(alive(pid) for pid in before) and time.monotonic() < deadline:
        threading.Event().wait(0.02)
    assert not [pid for pid in before if alive(pid)]

    platform.start()
    kept = set(platform.ok("store", "list", "--table", "script", "--limit", "0").split())
    assert len(acknowledged) >= 200
    assert set(acknowledged) <= kept
    deadline = time.monotonic() + LIMIT
    while "greeter" not in platform.ok("services").split() and time.monotonic() < deadline:
        threading.Event().wait(0.1)
    assert "Hello Ada" in platform.ok("greeter", "hello", "--name=Ada")


def test_crash_at_import(platform: Platform) -> None:
    """`micro run` of a service which crashes at import fails with its last lines, and the status tells why."""
    platform.start()
    platform.service("broken", "print('about to')\nimport no_such_module_anywhere\n")
    done = platform.micro("run", "broken")
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "no_such_module_anywhere" in said
    assert "exit" in said
    status = platform.ok("status")
    assert "error" in status


def test_never_registers(platform: Platform) -> None:
    """`micro run` of a service which never registers says so and fails, once the start timeout has passed."""
    platform.start("--runtime-start-timeout", "1s")
    platform.service("mute", "import time\nprint('I say nothing more')\ntime.sleep(600)\n")
    done = platform.micro("run", "mute")
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "regist" in said
    assert "I say nothing more" in said


def test_kill_takes_children(platform: Platform) -> None:
    """`micro kill` takes the service's own children with it."""
    platform.start()
    platform.service(
        "greeter",
        GREETER.replace(
            "service.run()", "import subprocess\nsubprocess.Popen(['sleep', '600'])\nservice.run()"
        ),
    )
    platform.ok("run", "greeter")
    mine = processes_under(platform.home)
    sleeping = [pid for pid in mine if Path(f"/proc/{pid}/comm").read_text().strip() == "sleep"]
    assert len(sleeping) == 1
    platform.ok("kill", "greeter")
    deadline = time.monotonic() + LIMIT
    while alive(sleeping[0]) and time.monotonic() < deadline:
        threading.Event().wait(0.02)
    assert not alive(sleeping[0])
    assert "greeter" not in platform.ok("services").split()
