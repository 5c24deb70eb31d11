"""The daemon as a process: how it starts, what stops it, and what it says."""

from __future__ import annotations

import json
import signal
import socket

import pytest

from microd.testing.platform import Platform, Process

pytestmark = pytest.mark.e2e


def test_ready(platform: Platform) -> None:
    """When it is ready it says so in one line: version, data folder, each door's address, how to log in."""
    daemon = platform.start()
    (line,) = [line for line in daemon.output.lines if " is ready: " in line]
    doors = json.loads((platform.data / "daemon.json").read_text())["doors"]
    assert set(doors) == {"api", "proxy", "network", "nats", "ops"}
    for word in ("microd 0.", str(platform.data), *doors.values(), "micro login"):
        assert word in line
    assert (platform.data / "daemon.json").stat().st_mode & 0o077 == 0


def test_secret(platform: Platform) -> None:
    """The first start makes an admin secret for its owner's eyes only, and never prints it."""
    daemon = platform.start()
    path = platform.data / "admin-secret"
    assert path.stat().st_mode & 0o777 == 0o600
    secret = path.read_text().strip()
    assert len(secret) >= 20
    assert secret not in str(daemon.output)
    assert str(path) in str(daemon.output)


@pytest.mark.parametrize("door", ["api", "proxy", "network", "nats", "ops"])
def test_taken_port(platform: Platform, door: str) -> None:
    """A taken port ends the process, non-zero, naming the listener, the address and the option."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        daemon = platform.launch(f"--{door}-address", address)
        assert daemon.wait(10) == 1
    said = str(daemon.output)
    for word in (
        f"{door} cannot listen on {address}",
        "in use",
        f"--{door}-address",
        f"MICRO_{door.upper()}_ADDRESS",
    ):
        assert word in said
    assert "Traceback" not in said
    assert " is ready: " not in said


def test_second_daemon(platform: Platform) -> None:
    """A second daemon on the data folder is refused with the first one's pid; the first is not disturbed."""
    first = platform.start()
    second = platform.launch()
    assert second.wait(10) == 1
    assert f"pid {first.pid}" in str(second.output)
    assert "Traceback" not in str(second.output)
    assert platform.ok("services") is not None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[api]\nadress = ':1'\n", ("api.adress", "did you mean api.address?")),
        ("[daemon]\ndrain = 'soon'\n", ("daemon.drain", "duration")),
    ],
)
def test_bad_conf(platform: Platform, text: str, words: tuple[str, ...]) -> None:
    """A bad settings file ends the start with the file, the key and the nearest known one."""
    conf = platform.work / "my.toml"
    conf.write_text(text)
    daemon = platform.launch("--conf", str(conf))
    assert daemon.wait(10) == 1
    for word in (str(conf), *words):
        assert word in str(daemon.output)
    assert "Traceback" not in str(daemon.output)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--data", "/dev/null"), "nothing can be kept in the data folder /dev/null"),
        (
            ("--api-address", "ssl:0:privateKey=/none.pem"),
            "/none.pem: No such file or directory; choose another",
        ),
        (("--proxy-address", "tls:0:privateKey=/none.pem"), "/none.pem"),
        (("--access-log",), "microd: command line: --access-log wants true or false"),
        (("--auth-admin-secret-file", "/none"), "auth.admin_secret_file: /none: No such file"),
    ],
)
def test_what_the_operator_can_mend(platform: Platform, words: tuple[str, ...], said: str) -> None:
    """What the operator can mend ends the start with one sentence, non-zero, and no traceback."""
    daemon = platform.launch(*words)
    assert daemon.wait(10) == 1
    assert said in str(daemon.output)
    assert "Traceback" not in str(daemon.output)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop(platform: Platform, number: signal.Signals) -> None:
    """SIGTERM and Ctrl-C stop the daemon with status 0, and its file of doors is gone."""
    daemon = platform.start()
    daemon.signal(number)
    assert daemon.wait(10) == 0
    assert not (platform.data / "daemon.json").exists()


SLOW = """
from dataclasses import dataclass
from twisted.internet import reactor
from twisted.internet.task import deferLater
from microd.framework import Service

@dataclass
class Nap:
    seconds: float

@dataclass
class Rested:
    well: bool

service = Service("sleeper")

@service.endpoint
async def sleep(request: Nap) -> Rested:
    print("asleep", flush=True)
    await deferLater(reactor, request.seconds, lambda: None)
    return Rested(well=True)

service.run()
"""


def in_flight(platform: Platform, seconds: float) -> tuple[Process, Process]:
    """A daemon with a service, and a call that is being worked on."""
    daemon = platform.start()
    platform.service("sleeper", SLOW)
    platform.ok("run", "sleeper")
    follow = platform.spawn("micro", "logs", "-f", "sleeper")
    call = platform.spawn("micro", "sleeper", "sleep", f"--seconds={seconds}")
    follow.output.wait_for("asleep")
    return daemon, call


def test_drain(platform: Platform) -> None:
    """A call in flight when SIGTERM comes is finished, and its caller gets the answer."""
    daemon, call = in_flight(platform, 1.5)
    daemon.signal(signal.SIGTERM)
    assert call.wait() == 0, str(call.output)
    assert "true" in str(call.output)
    assert daemon.wait() == 0


def test_second_interrupt(platform: Platform) -> None:
    """A second Ctrl-C stops at once, whatever is in flight."""
    daemon, _ = in_flight(platform, 60)
    daemon.signal(signal.SIGINT)
    daemon.output.wait_for("draining")
    daemon.signal(signal.SIGINT)
    assert daemon.wait(5) == 128 + signal.SIGINT
