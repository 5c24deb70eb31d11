"""What is measured runs in a process of its own, and is hit by a load generator in another."""

from __future__ import annotations

import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self


class Contender:
    """A process which prints its port, as a line of its own, once it listens; a context manager that ends it."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        self._command = command
        self._env = env
        self.port = 0

    @classmethod
    def module(cls, name: str, *arguments: str) -> Contender:
        """Run a module of ours by name."""
        return cls([sys.executable, "-m", name, *arguments])

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, env=self._env, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.strip().isdigit():
            self.__exit__()
            raise RuntimeError(f"{' '.join(self._command)} did not print a port but {line!r}")
        self.port = int(line)
        return self

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def resident_kib(self) -> int:
        """The memory that is resident now, from C{/proc}."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
        assert found is not None
        return int(found[1])

    def __exit__(self, *exc_info: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def wait_for(port: int) -> None:
    """Wait until somebody listens there, for ten seconds at most."""
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on port {port}")


def needed(tool: str, package: str) -> str:
    """The path of a load generator; without it the bench ends, telling which Debian package has it."""
    path = shutil.which(tool)
    if path is None:
        sys.exit(f"{tool} is missing: apt-get install {package}")
    return path


def framed(message: bytes) -> bytes:
    """One gRPC message as it stands in a request body."""
    return b"\x00" + struct.pack(">I", len(message)) + message


def h2load(
    port: int,
    path: str,
    message: bytes,
    *,
    seconds: int = 2,
    clients: int = 8,
    in_flight: int = 8,
    headers: Mapping[str, str] | None = None,
    messages_per_reply: int = 1,
) -> float:
    """Calls a second that C{h2load} got answered, times C{messages_per_reply} for a server-streaming call.

    A failed stream is an error, but a gRPC status is not seen by h2load: check one call beforehand.
    """
    with tempfile.NamedTemporaryFile() as body:
        body.write(framed(message))
        body.flush()
        command = [needed("h2load", "nghttp2-client"), f"-c{clients}", f"-m{in_flight}", f"-D{seconds}"]
        command += ["--warm-up-time=500ms", f"-d{body.name}"]
        for name, value in {"content-type": "application/grpc", "te": "trailers", **(headers or {})}.items():
            command += ["-H", f"{name}: {value}"]
        done = subprocess.run(
            [*command, f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True, check=True
        )
    requests = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", done.stdout)
    rate = re.search(r"finished in [\d.]+\w+, ([\d.]+) req/s", done.stdout)
    if requests is None or rate is None or int(requests[2]) or int(requests[3]) or not int(requests[1]):
        raise RuntimeError(f"h2load of {path} on port {port} failed:\n{done.stdout}{done.stderr}")
    return float(rate[1]) * messages_per_reply
