"""Processes that serve something for a test: they print their port once they listen."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence


class PortPrinting:
    """A process whose first line of output is the port on which it listens.

    @ivar port: that port.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.strip().isdigit():
            self.end()
            raise RuntimeError(f"{' '.join(command)} did not print a port but {line!r}")
        self.port = int(line)

    def end(self) -> None:
        """End the process and wait for it."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
