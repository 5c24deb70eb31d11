"""The proxy door beside nghttpx, in front of the same Python service: a call with a token, h2load -c8 -m8.

Ours is the whole of it: the daemon as operators start it, and a service as authors write it, in a process of its own.
nghttpx knows the service's address and looks at nothing.
"""

from __future__ import annotations

import json
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
from benches.contender import h2load, needed
from microd.testing.platform import Platform
from microd.txgrpc.blocking import BlockingChannel

OURS, THEIRS = "microd", "nghttpx"
PATH = "/greeter.Greeter/Hello"
JSON = "application/grpc+json"
#: C{HelloRequest(name="Ada")}, and the reply to it, in protobuf.
REQUEST, REPLY = b"\n\x03Ada", b"\n\x09Hello Ada"


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
        "--errorlog-file=/dev/null",
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


def token(platform: Platform) -> str:
    """An access token of the admin."""
    secret = (platform.data / "admin-secret").read_text().strip()
    with BlockingChannel(platform.door("proxy")) as channel:
        asked = json.dumps({"id": "admin", "secret": secret, "token_expiry": 3600}).encode()
        reply = channel.unary_unary("/auth.Auth/Token")(asked, content_type=JSON, timeout=10)
    access: str = json.loads(reply)["token"]["access_token"]
    return access


def node(platform: Platform, headers: dict[str, str]) -> int:
    """The port of the service, once it has registered."""
    with BlockingChannel(platform.door("proxy")) as channel:
        for _ in range(100):
            reply = channel.unary_unary("/registry.Registry/ListServices")(
                b"{}", content_type=JSON, timeout=10, metadata=headers
            )
            for service in json.loads(reply)["services"]:
                if service["name"] == "greeter":
                    return int(service["nodes"][0]["address"].rpartition(":")[2])
            time.sleep(0.1)
    raise RuntimeError("the service did not register")


def check_one_call(port: int, headers: dict[str, str]) -> None:
    """Make one call, so that what is counted afterwards is known to work."""
    with BlockingChannel(f"127.0.0.1:{port}") as channel:
        reply = channel.unary_unary(PATH)(REQUEST, timeout=10, metadata=headers)
    assert reply == REPLY, f"a wrong answer from port {port}: {reply!r}"


def calls(port: int, headers: dict[str, str]) -> float:
    """Calls a second."""
    return h2load(port, PATH, REQUEST, headers={"grpc-timeout": "10S", **headers})


def main() -> None:
    """Measure, compare, report."""
    pairs = pairs_from(sys.argv[1:])
    report = Report("proxy")
    with tempfile.TemporaryDirectory() as folder:
        platform = Platform(Path(folder) / "home")
        try:
            platform.start()
            platform.spawn(sys.executable, str(Path(__file__).with_name("greeter.py")))
            headers = {"authorization": f"Bearer {token(platform)}"}
            with nghttpx(node(platform, headers)) as theirs:
                ports = {OURS: int(platform.door("proxy").rpartition(":")[2]), THEIRS: theirs}
                for port in ports.values():
                    check_one_call(port, headers)
                rounds = alternate(pairs, {who: partial(calls, port, headers) for who, port in ports.items()})
        finally:
            platform.close()
    report.figures("calls_per_s", rounds)
    report.at_least("proxy", ratio(rounds, OURS, THEIRS), 0.3)
    report.finish()


if __name__ == "__main__":
    main()
