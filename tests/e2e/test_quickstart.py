"""What the README promises to a newcomer, run as it stands there."""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import shlex
import socket
import struct
import subprocess
from pathlib import Path

import pytest

from microd.testing.platform import LIMIT, Platform

pytestmark = pytest.mark.e2e

REPO = Path(__file__).parents[2]
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_SIOCSIFFLAGS, _UP_AND_RUNNING = 0x8914, 0x41


def into_own_network() -> None:
    """Leave the machine's network for one with nothing but loopback, where every default port is free."""
    libc = ctypes.CDLL(None, use_errno=True)
    flags = _CLONE_NEWNET if os.geteuid() == 0 else _CLONE_NEWNET | _CLONE_NEWUSER
    if libc.unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _UP_AND_RUNNING))


def by_hand() -> str:
    """The README's commands for a second terminal."""
    (block,) = re.findall(r"```sh\n(micro new greeter[^`]*)```", (REPO / "README.md").read_text())
    assert isinstance(block, str)
    return block


def defaults(platform: Platform) -> dict[str, str]:
    """The environment of somebody who has set nothing."""
    return {name: value for name, value in platform.env.items() if not name.endswith("_ADDRESS")}


def test_once(platform: Platform) -> None:
    """scripts/quickstart --once makes a service, calls it three ways, and exits 0."""
    done = subprocess.run(
        [str(REPO / "scripts/quickstart"), "--once"],
        env=defaults(platform),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT * 4,
        check=False,
        preexec_fn=into_own_network,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("Hello Ada") == 3, done.stdout


def test_by_hand(platform: Platform) -> None:
    """With the quickstart up, the README's commands work as they stand there; Ctrl-C ends it all."""
    quickstart, log = (
        shlex.quote(str(REPO / "scripts/quickstart")),
        shlex.quote(f"{platform.work}/quickstart.log"),
    )
    script = f"""
set -eu
{quickstart} >{log} 2>&1 &
up=$!
trap 'kill -TERM $up 2>/dev/null; wait $up' EXIT
tail --pid=$up -n +1 -F {log} 2>/dev/null | grep -m1 'The platform is up'
{by_hand()}
kill -TERM $up
wait $up || [ $? = 143 ]
trap - EXIT
"""
    done = subprocess.run(
        ["bash", "-c", script],
        env=defaults(platform),
        cwd=platform.work,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT * 4,
        check=False,
        preexec_fn=into_own_network,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("Hello Ada") == 2, done.stdout
    assert "running" in done.stdout
