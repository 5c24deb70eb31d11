"""`micro logs`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from microd.wire import runtime_pb2 as pb

from .conftest import Daemon, User

LOGS = "/runtime.Runtime/Logs"


@pytest.fixture
def lines(daemon: Daemon) -> None:
    """A service that has written two lines."""
    written = [pb.LogRecord(message="one"), pb.LogRecord(message="two", metadata={"stream": "stderr"})]
    daemon.answers(LOGS, written)


def request(daemon: Daemon) -> pb.LogsRequest:
    """What the runtime was asked last."""
    return pb.LogsRequest.FromString(daemon.asked(LOGS)[-1].body)


def test_lines(user: User, daemon: Daemon, lines: None) -> None:
    """The newest fifteen lines of the latest version are printed."""
    assert user.micro("logs", "greeter").out == "one\ntwo\n"
    asked = request(daemon)
    assert (asked.service, asked.version, asked.count, asked.stream, asked.options.namespace) == (
        "greeter",
        "latest",
        15,
        False,
        "micro",
    )


def test_flags(user: User, daemon: Daemon, lines: None) -> None:
    """Flags may stand behind the name; a version is told with @ or by its flag."""
    user.micro("logs", "greeter@v2", "-n", "3", "-f", "--since=1m")
    asked = request(daemon)
    assert (asked.version, asked.count, asked.stream, asked.since) == ("v2", 3, True, int(user.now) - 60)
    user.micro("logs", "greeter", "--version=v3", "--since=2023-01-01T00:00:00Z")
    assert (request(daemon).version, request(daemon).since) == ("v3", 1672531200)


@pytest.mark.parametrize("flags", [("-o", "json"), ("--json",)])
def test_json(user: User, lines: None, flags: Any) -> None:
    """In JSON each line is an object of its own."""
    found = [json.loads(line) for line in user.micro("logs", "greeter", *flags).out.splitlines()]
    assert found == [{"Message": "one", "Metadata": {}}, {"Message": "two", "Metadata": {"stream": "stderr"}}]


def test_unknown(user: User, daemon: Daemon) -> None:
    """A service that never ran is told with exit code 1."""
    daemon.refuses(LOGS, 404, "Logs not found for service nope")
    got = user.micro("logs", "nope")
    assert (got.code, got.err) == (1, "Service not found. See `micro status`.\n")


def test_bad_moment(user: User) -> None:
    """What is no moment is named."""
    got = user.micro("logs", "greeter", "--since=yesterday")
    assert got.err.startswith("--since wants a duration or a moment")


def test_alone(user: User) -> None:
    """Without a name there is help."""
    assert user.micro("logs").out.startswith("micro logs - ")
