"""Real daemons as processes, in folders and on ports of their own, for end-to-end tests of services."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

from microd.framework.blocking import BlockingClient

BIN = Path(sys.executable).parent
LIMIT = 30.0


class Output:
    """What a process prints, line by line, kept and waited for."""

    def __init__(self, stream: IO[str]) -> None:
        self.lines: list[str] = []
        self._fresh: queue.Queue[str | None] = queue.Queue()
        self._thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self.lines.append(line.rstrip("\n"))
            self._fresh.put(line)
        self._fresh.put(None)
        stream.close()

    def wait_for(self, word: str, limit: float = LIMIT) -> str:
        """The first line not looked at yet which has C{word} in it."""
        while True:
            try:
                line = self._fresh.get(timeout=limit)
            except queue.Empty:
                raise AssertionError(f"{word!r} was not printed in {limit} s:\n{self}") from None
            if line is None:
                raise AssertionError(f"the process ended before it printed {word!r}:\n{self}")
            if word in line:
                return line

    def __str__(self) -> str:
        return "\n".join(self.lines[-60:])

    def finish(self) -> None:
        """Wait until all has been read."""
        self._thread.join(LIMIT)


class Process:
    """A child process in a group of its own, and what it prints."""

    def __init__(self, args: list[str], env: dict[str, str], cwd: Path) -> None:
        self.popen = subprocess.Popen(
            args,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert self.popen.stdout is not None
        self.output = Output(self.popen.stdout)

    @property
    def pid(self) -> int:
        return self.popen.pid

    def signal(self, number: int) -> None:
        self.popen.send_signal(number)

    def wait(self, limit: float = LIMIT) -> int:
        try:
            status = self.popen.wait(limit)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {limit} s:\n{self.output}") from None
        self.output.finish()
        return status

    def end(self) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait(LIMIT)
        self.output.finish()


class Platform:
    """One user's machine: a home, a daemon when started, the CLI, services."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.work = home / "work"
        self.work.mkdir(parents=True)
        self.data = home / "server"
        self._processes: list[Process] = []
        self.daemon: Process | None = None
        clean = {name: value for name, value in os.environ.items() if not name.startswith("MICRO_")}
        self.env = {
            **clean,
            "PATH": f"{BIN}{os.pathsep}{clean.get('PATH', '')}",
            "HOME": str(home),
            "MICRO_HOME": str(home),
            "MICRO_API_ADDRESS": "127.0.0.1:0",
            "MICRO_PROXY_ADDRESS": "127.0.0.1:0",
            "MICRO_NETWORK_ADDRESS": "127.0.0.1:0",
            "MICRO_NATS_ADDRESS": "127.0.0.1:0",
            "MICRO_OPS_ADDRESS": "127.0.0.1:0",
            "PYTHONUNBUFFERED": "1",
        }

    def spawn(self, *args: str, **env: str) -> Process:
        """Start a program in the working folder."""
        process = Process(list(args), {**self.env, **env}, self.work)
        self._processes.append(process)
        return process

    def launch(self, *options: str, **env: str) -> Process:
        """Start a daemon, and do not wait for it."""
        return self.spawn(str(BIN / "twistd"), "-n", "micro", *options, **env)

    def start(self, *options: str, **env: str) -> Process:
        """Start the daemon, and wait until it says that it is ready."""
        self.daemon = self.launch(*options, **env)
        self.daemon.output.wait_for(" is ready: ")
        return self.daemon

    def door(self, name: str) -> str:
        """The C{host:port} of one of the running daemon's doors."""
        doors = json.loads((self.data / "daemon.json").read_text())["doors"]
        address = doors[name]
        assert isinstance(address, str)
        return address.removeprefix("http://")

    def micro(self, *args: str, limit: float = LIMIT * 2) -> subprocess.CompletedProcess[str]:
        """Run the CLI to its end."""
        return subprocess.run(
            [str(BIN / "micro"), *args],
            env=self.env,
            cwd=self.work,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )

    def ok(self, *args: str) -> str:
        """Run the CLI, which must succeed; what it printed."""
        done = self.micro(*args)
        assert done.returncode == 0, (
            f"micro {' '.join(args)}: {done.stdout}{done.stderr}\n{self._daemon_log()}"
        )
        return done.stdout

    def client(self) -> BlockingClient:
        """A script's client, with an account which it got by itself."""
        return BlockingClient(environ=self.env)

    def service(self, name: str, text: str) -> Path:
        """Write a service's folder."""
        folder = self.work / name
        folder.mkdir()
        (folder / "main.py").write_text(text)
        return folder

    def _daemon_log(self) -> str:
        return str(self.daemon.output) if self.daemon else ""

    def close(self) -> None:
        """End everything, politely first."""
        if self.daemon is not None and self.daemon.popen.poll() is None:
            self.daemon.signal(signal.SIGTERM)
            with contextlib.suppress(AssertionError):
                self.daemon.wait(15)
        for process in self._processes:
            process.end()
