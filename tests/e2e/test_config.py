"""Configuration from end to end: set on the command line, read and watched by a service, kept through a restart."""

from __future__ import annotations

import json
import signal
import sys

import pytest

from microd.testing.platform import Platform

pytestmark = pytest.mark.e2e

SERVICE = """
from dataclasses import dataclass

from microd.framework import Service, Sources

service = Service("greeter", config=Sources(defaults={"greeting": {"text": "Hello"}}, prefix="GREETER"))


@dataclass
class Greeting:
    text: str
    mark: str = "."


@service.config.watch("greeting", type=Greeting, secret=True)
def greet_with(greeting: Greeting) -> None:
    print("greeting", greeting.text + greeting.mark, flush=True)


@dataclass
class Nothing:
    pass


@service.endpoint
async def hello(request: Nothing) -> Greeting:
    return await service.config.get("greeting", Greeting("-"), secret=True)


service.run()
"""


def test_config(platform: Platform) -> None:
    """A service hears of each change, through a restart of the daemon too; nothing that was set is lost."""
    daemon = platform.start()
    greeter = platform.spawn(
        sys.executable, str(platform.service("greeter", SERVICE) / "main.py"), GREETER_GREETING_MARK="!"
    )
    greeter.output.wait_for("greeting Hello!")
    greeter.output.wait_for("greeter latest is running")
    assert platform.ok("config", "set", "greeting.text", "Hi") == ""
    greeter.output.wait_for("greeting Hi!")
    platform.ok("config", "set", "--secret", "greeting.text", "s3cret")
    greeter.output.wait_for("greeting s3cret!")
    assert platform.ok("config", "get", "greeting") == '{"text":"[secret]"}\n'
    assert platform.ok("config", "get", "greeting.text", "--secret") == "s3cret\n"
    assert json.loads(platform.ok("call", "greeter", "Greeter.Hello", "{}"))["text"] == "s3cret"

    daemon.signal(signal.SIGKILL)
    daemon.wait()
    daemon = platform.start()
    platform.ok("config", "rollback", "1")
    greeter.output.wait_for("greeting Hi!")
    assert platform.ok("config", "watch", "greeting.text", "-n", "1") == "Hi\n"
    platform.ok("config", "del", "greeting.text")
    greeter.output.wait_for("greeting Hello!")
    missing = platform.micro("config", "get", "greeting.text")
    assert (missing.returncode, missing.stderr) == (1, "Not found\n")

    history = json.loads(platform.ok("config", "history", "--json"))
    assert [each["action"] for each in history] == ["delete", "rollback", "set", "set"]
    assert [line for line in greeter.output.lines if line.startswith("greeting ")] == [
        "greeting Hello!",
        "greeting Hi!",
        "greeting s3cret!",
        "greeting Hi!",
        "greeting Hello!",
    ]
    everything = str(daemon.output) + "".join(
        path.read_text(errors="replace") for path in platform.data.glob("system.db*")
    )
    assert "s3cret" not in everything
