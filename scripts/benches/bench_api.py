"""The HTTP gateway beside a bare uvicorn: POST with JSON, wrk -t1 -c16.

Ours is the whole of it: the daemon as operators start it, and a service as authors write it, in a process of its own;
each request goes over HTTP to the daemon, over gRPC to the service, and back. uvicorn (with httptools and uvloop) says
hello by itself.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benches.alternation import Report, alternate, pairs_from, ratio
from benches.contender import needed

OURS, THEIRS = "microd", "uvicorn"
SECONDS = 3
BODY = '{"name":"Ada"}'
REPLY = {"msg": "Hello Ada"}
SCRIPT = f"""
wrk.method = "POST"
wrk.body = '{BODY}'
wrk.headers["content-type"] = "application/json"
"""


@contextmanager
def running(command: Sequence[str], env: Mapping[str, str] | None = None) -> Iterator[None]:
    """Run a process meanwhile."""
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


@contextmanager
def uvicorn() -> Iterator[str]:
    """Run uvicorn; the URL that says hello."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "benches.hello_asgi:app", "--port", str(port)]
    command += ["--http", "httptools", "--loop", "uvloop", "--no-access-log", "--log-level", "error"]
    with running(command):
        yield f"http://127.0.0.1:{port}/greeter/hello"


@contextmanager
def microd(home: Path) -> Iterator[str]:
    """Run the daemon and the service; the URL that says hello."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("MICRO_")}
    env |= {"MICRO_HOME": str(home)}
    for door in ("API", "PROXY", "NETWORK", "OPS"):
        env[f"MICRO_{door}_ADDRESS"] = "127.0.0.1:0"
    twistd = Path(sys.executable).with_name("twistd")
    note = home / "server" / "daemon.json"
    with running([str(twistd), "-n", "--pidfile=", "micro"], env):
        for _ in range(200):
            if note.exists():
                break
            time.sleep(0.05)
        door = json.loads(note.read_text())["doors"]["api"]
        with running([sys.executable, str(Path(__file__).with_name("greeter.py"))], env):
            yield f"http://{door}/greeter/hello"


def check_one_call(url: str) -> None:
    """Call until it works, so that what is counted afterwards is known to."""
    request = urllib.request.Request(url, BODY.encode(), {"content-type": "application/json"})
    for attempt in range(100):
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                assert json.load(answer) == REPLY
                return
        except (urllib.error.URLError, ConnectionError):
            if attempt == 99:
                raise
            time.sleep(0.1)


def requests(url: str, script: Path) -> float:
    """Requests a second that wrk got answered well."""
    command = [needed("wrk", "wrk"), "-t1", "-c16", f"-d{SECONDS}s", "-s", str(script), url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    if rate is None or "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise RuntimeError(f"wrk of {url} failed:\n{done.stdout}{done.stderr}")
    return float(rate[1])


def main() -> None:
    """Measure, compare, report."""
    pairs = pairs_from(sys.argv[1:])
    report = Report("api")
    with tempfile.TemporaryDirectory() as name, microd(Path(name)) as ours, uvicorn() as theirs:
        script = Path(name) / "post.lua"
        script.write_text(SCRIPT)
        urls = {OURS: ours, THEIRS: theirs}
        for url in urls.values():
            check_one_call(url)
        rounds = alternate(pairs, {who: partial(requests, url, script) for who, url in urls.items()})
        report.figures("requests_per_s", rounds)
        report.at_least("api", ratio(rounds, OURS, THEIRS), 0.6)
    report.finish()


if __name__ == "__main__":
    main()
