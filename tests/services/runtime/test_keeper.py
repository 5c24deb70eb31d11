"""Real processes: nothing that a service started outlives it, its keeper, or the daemon."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from microd.services.runtime.backends.local import keeper
from microd.services.runtime.backends.local.orphans import end_marked

_PATIENCE = 20.0

#: Starts one child in its own group and one in a session of its own, says all three pids, and waits for ever.
FAMILY = """
import os, signal, sys
def child(alone):
    pid = os.fork()
    if pid == 0:
        if alone:
            os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            signal.pause()
    return pid
print(os.getpid(), child(False), child(True), flush=True)
while True:
    signal.pause()
"""

#: Becomes a daemon's stand-in: spawns a keeper as the runtime does, and passes on what the service says.
DAEMON = """
import os, sys
from twisted.internet import reactor
from microd.services.runtime.backends.local.processes import KeptLauncher
family, mark = sys.argv[1:]
launcher = KeptLauncher(reactor, reactor)
def wrote(stream, data):
    os.write(1, data)
def begin():
    process = launcher.launch([sys.executable, "-c", family], "/", {"MICRO_SERVICE_PROCESS": mark}, wrote)
    os.write(1, b"%d " % process.transport.pid)
reactor.callWhenRunning(begin)
reactor.run()
"""


class Watched:
    """Some process, whosever child it is."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._handle = os.pidfd_open(pid)

    def dies(self) -> bool:
        """Whether it has ended within our patience."""
        poll = select.poll()
        poll.register(self._handle, select.POLLIN)
        return bool(poll.poll(_PATIENCE * 1000))

    def close(self) -> None:
        """Leave nothing behind, whatever the test found."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
        os.close(self._handle)


class Family:
    """A daemon, a keeper, a service, and the service's two children."""

    def __init__(self, tmp_path: Path) -> None:
        self.mark = f"test.{os.getpid()}.{tmp_path.name}"
        self.process = subprocess.Popen(
            [sys.executable, "-c", DAEMON, FAMILY, self.mark], stdout=subprocess.PIPE, bufsize=0
        )
        assert self.process.stdout is not None
        said = b""
        while said.count(b"\n") < 1:
            said += self.process.stdout.read(100)
        self.daemon = Watched(self.process.pid)
        self.keeper, self.service, self.near, self.far = (Watched(int(word)) for word in said.split())

    def close(self) -> None:
        for member in (self.daemon, self.keeper, self.service, self.near, self.far):
            member.close()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Family]:
    made = Family(tmp_path)
    yield made
    made.close()


def test_daemon_killed(family: Family) -> None:
    """A daemon that is killed takes along the service and its children, also one with a session of its own."""
    os.kill(family.daemon.pid, signal.SIGKILL)
    assert all(member.dies() for member in (family.keeper, family.service, family.near, family.far))


def test_service_killed(family: Family) -> None:
    """A service that is killed takes along its children, also one with a session of its own."""
    os.kill(family.service.pid, signal.SIGKILL)
    assert all(member.dies() for member in (family.near, family.far, family.keeper))


def test_keeper_killed(family: Family) -> None:
    """A keeper that is killed takes along the service, and the daemon ends the service's children."""
    os.kill(family.keeper.pid, signal.SIGKILL)
    assert all(member.dies() for member in (family.service, family.near, family.far))


def test_both_killed(family: Family) -> None:
    """What outlives both daemon and keeper is found by its mark, as the next daemon does."""
    os.kill(family.daemon.pid, signal.SIGSTOP)
    os.kill(family.keeper.pid, signal.SIGKILL)
    assert family.service.dies()
    os.kill(family.daemon.pid, signal.SIGKILL)
    assert end_marked(family.mark) == 2
    assert family.near.dies()
    assert family.far.dies()


def test_own_group(family: Family) -> None:
    """A service leads a process group of its own."""
    assert os.getpgid(family.service.pid) == family.service.pid
    assert os.getpgid(family.near.pid) == family.service.pid


def keep(tmp_path: Path, *command: str, parent: int | None = None) -> tuple[int, str, str]:
    """Run a keeper to its end: its exit status, its report, what the program wrote on stderr."""
    reading, writing = os.pipe()
    script = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.execv(sys.argv[2], sys.argv[2:])"
    ended = subprocess.run(
        [
            *(sys.executable, "-c", script, str(writing)),
            *(sys.executable, "-I", "-S", keeper.__file__, str(parent or os.getpid()), str(tmp_path)),
            *command,
        ],
        pass_fds=[writing],
        stderr=subprocess.PIPE,
        timeout=_PATIENCE,
        check=False,
    )
    os.close(writing)
    with os.fdopen(reading) as report:
        return ended.returncode, report.read(), ended.stderr.decode()


def test_reports_code(tmp_path: Path) -> None:
    """The keeper reports the program's pid, then its exit code."""
    _, report, _ = keep(tmp_path, "sh", "-c", "exit 7")
    assert [line.split()[0] for line in report.splitlines()] == ["pid", "exit"]
    assert report.endswith("exit 7\n")


def test_reports_signal(tmp_path: Path) -> None:
    """The keeper reports the signal that the program died of."""
    _, report, _ = keep(tmp_path, "sh", "-c", "kill -11 $$")
    assert report.endswith(f"signal {int(signal.SIGSEGV)}\n")


def test_folder(tmp_path: Path) -> None:
    """The program runs in the folder that was named."""
    _, _, errors = keep(tmp_path, "sh", "-c", "pwd >&2")
    assert errors == f"{tmp_path}\n"


def test_no_program(tmp_path: Path) -> None:
    """A program that cannot be run is named, with the reason, and counts as exit code 127."""
    _, report, errors = keep(tmp_path, "/does/not/exist")
    assert errors == "cannot run /does/not/exist: No such file or directory\n"
    assert report.endswith("exit 127\n")


def test_late(tmp_path: Path) -> None:
    """A keeper whose daemon died before it could look starts nothing."""
    _, report, _ = keep(tmp_path, "sh", "-c", "echo ran >&2", parent=1 if os.getpid() != 1 else 2)
    assert report == ""


def test_default_signals(tmp_path: Path) -> None:
    """The program begins with the usual signals: none blocked, SIGPIPE not ignored."""
    _, _, errors = keep(tmp_path, "sh", "-c", "grep -E 'Sig(Blk|Ign)' /proc/self/status >&2")
    assert [int(line.split()[1], 16) for line in errors.splitlines()] == [0, 0]
