"""The proxy door beside nghttpx, in front of the same Python service: a call with a token, h2load -c8 -m8."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benches.alternation import Report, alternate, pairs_from, ratio
from benches.contender import Contender, h2load, needed
from benches.echo import REQUEST, TIMEOUT, UNARY, check_one_call
from microd.kernel.caller import Account
from microd.services.auth.keys import load_or_make
from microd.services.auth.tokens import Claims, Mint

OURS, THEIRS = "microd", "nghttpx"


@contextmanager
def nghttpx(service: int) -> Iterator[int]:
    """Run nghttpx before a service; its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    command = [needed("nghttpx", "nghttp2-proxy"), f"-f127.0.0.1,{port};no-tls"]
    command += [
        f"-b127.0.0.1,{service};;proto=h2",
        "--workers=1",
        "--log-level=ERROR",
        "--conf=/dev/null",
        "--accesslog-file=/dev/null",
    ]
    with subprocess.Popen(command) as process:
        try:
            _wait_for(port)
            yield port
        finally:
            process.terminate()


def _wait_for(port: int) -> None:
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on port {port}")


def token(data: Path) -> str:
    """An access token which the door with its key in C{data} takes."""
    account = Account("bench", "user", "micro", "bench")
    return Mint(load_or_make(data)).sign(Claims(account, "access", 0, int(time.time()) + 3600))


def calls(port: int, headers: dict[str, str]) -> float:
    """Calls a second."""
    return h2load(port, UNARY, REQUEST.SerializeToString(), headers={**TIMEOUT, **headers})


def main() -> None:
    """Measure, compare, report."""
    pairs = pairs_from(sys.argv[1:])
    report = Report("proxy")
    with (
        tempfile.TemporaryDirectory() as folder,
        Contender.module("benches.echo_microd", "server") as service,
    ):
        headers = {"authorization": f"Bearer {token(Path(folder))}"}
        door = Contender.module("benches.proxy_door", folder, str(service.port))
        with door, nghttpx(service.port) as theirs:
            ports = {OURS: door.port, THEIRS: theirs}
            for port in ports.values():
                check_one_call(port)
            rounds = alternate(pairs, {who: partial(calls, port, headers) for who, port in ports.items()})
            report.figures("calls_per_s", rounds)
            report.at_least("proxy", ratio(rounds, OURS, THEIRS), 0.3)
    report.finish()


if __name__ == "__main__":
    main()
