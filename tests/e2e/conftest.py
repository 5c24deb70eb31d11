"""A machine for each test, and a disk that is small."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from microd.testing.platform import Platform

#: Set where the test runs in a mount namespace of its own, in which it may mount.
INSIDE = "MICROD_TEST_MAY_MOUNT"


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    """A machine with nothing on it."""
    machine = Platform(tmp_path / "home")
    yield machine
    machine.close()


def namespace() -> Sequence[str] | None:
    """What begins a mount namespace of one's own: what is mounted there is gone with it. None where nobody may."""
    unshare = shutil.which("unshare")
    assert unshare, "this test needs unshare, of Debian's package util-linux"
    for flags in ("-m", "-rm"):
        begin = [unshare, flags]
        if subprocess.run([*begin, "true"], capture_output=True, check=False).returncode == 0:
            return begin
    return None


def move(begin: Sequence[str], request: pytest.FixtureRequest) -> None:
    """Run this very test once more, where one may mount; it must pass."""
    done = subprocess.run(
        [*begin, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", request.node.nodeid],
        env={**os.environ, INSIDE: "1"},
        cwd=request.config.rootpath,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def leave_little(folder: Path) -> None:
    """Take all but 2 MiB of the disk, where it is a small one: containers have 64 MiB of shared memory."""
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    assert free < 1 << 29, (
        "this test needs a small disk: run it as root with CAP_SYS_ADMIN, or allow user namespaces "
        "(sysctl kernel.unprivileged_userns_clone=1; docker run --cap-add SYS_ADMIN)"
    )
    with open(folder / "taken", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, free - (2 << 20))


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path | None]:
    """A disk of 2 MiB; None where the test was run once more, where one may mount, and passed there."""
    if INSIDE in os.environ:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)], check=True)
        yield tmp_path
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)
    elif (begin := namespace()) is None:
        with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
            leave_little(Path(name))
            yield Path(name)
    else:
        move(begin, request)
        yield None
