"""Daemons which are started fast, one after the other on the same data, in order to be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from microd.testing.platform import LIMIT, Output, Platform

# A daemon's modules take longer to load than all else it does at its start. So they are loaded once, and each daemon is a
# copy of this process: from there on it is what twistd starts.
_NURSERY = """
import os, sys
import microd.app.assembly, microd.tap, twisted.scripts.twistd
for line in sys.stdin:
    pid = os.fork()
    if not pid:
        os.setsid()
        sys.argv = ["twistd", "-n", "micro", *sys.argv[1:]]
        twisted.scripts.twistd.run()
        os._exit(0)
    print("daemon", pid, flush=True)
    os.waitpid(pid, 0)
    print("over", flush=True)
"""


class Nursery:
    """Has daemons started, one after the other, on the same data."""

    def __init__(self, platform: Platform, *options: str) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-c", _NURSERY, *options],
            env=platform.env,
            cwd=platform.work,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.popen.stdout is not None
        self.output = Output(self.popen.stdout)
        self._daemon = 0

    def start(self) -> int:
        """Start one, and do not wait for it; its process id."""
        assert self.popen.stdin is not None
        self.popen.stdin.write("\n")
        self.popen.stdin.flush()
        self._daemon = int(self.output.wait_for("daemon ").split()[-1])
        return self._daemon

    def ready(self) -> None:
        """Wait until it is ready."""
        self.output.wait_for(" is ready: ")

    def kill(self, pid: int) -> None:
        """Kill it where it stands."""
        os.kill(pid, signal.SIGKILL)
        self.output.wait_for("over")
        self._daemon = 0

    def close(self) -> None:
        """There will be no more; one that is still there is killed."""
        if self._daemon:
            self.kill(self._daemon)
        assert self.popen.stdin is not None
        self.popen.stdin.close()
        self.popen.wait(LIMIT)
        self.output.finish()
