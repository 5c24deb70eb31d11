"""Every service is a command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import Daemon, Refusal, User

HELLO = "/greeter.Greeter/Hello"
COUNT = "/greeter.Greeter/CountUp"


def test_call(user: User, daemon: Daemon, greeter: Any) -> None:
    """Words and flags become a JSON call of the endpoint, whose reply is laid out with tabs."""
    daemon.answers(HELLO, b'{"msg":"Hello Ada"}')
    got = user.micro("greeter", "hello", "--name=Ada", "--address-city=Rome")
    assert (got.code, got.out) == (0, '{\n\t"msg": "Hello Ada"\n}\n')
    (call,) = daemon.asked(HELLO)
    assert json.loads(call.body) == {"name": "Ada", "address": {"city": "Rome"}}
    assert call.content_type == "application/grpc+json"
    assert call.metadata["micro-namespace"] == "micro"


def test_fallback_namespace(user: User, daemon: Daemon, greeter: Any) -> None:
    """A service that is not in one's own namespace is found in the platform's, and called there."""
    daemon.answers(HELLO, b"{}")
    assert user.micro("--namespace=foo", "greeter", "hello", "--name=Ada").code == 0
    assert daemon.asked(HELLO)[0].metadata["micro-namespace"] == "micro"


def test_flags_mean_call(user: User, daemon: Daemon, greeter: Any) -> None:
    """With flags and no endpoint, the endpoint is the service's Call."""
    entry = greeter.endpoints.add(name="Greeter.Call")
    entry.request.CopyFrom(greeter.endpoints[0].request)
    daemon.answers("/greeter.Greeter/Call", b"{}")
    assert user.micro("greeter", "--name=Ada").code == 0
    assert json.loads(daemon.asked("/greeter.Greeter/Call")[0].body) == {"name": "Ada"}


@pytest.mark.parametrize("words", [("greeter",), ("greeter", "--help")])
def test_service_help(user: User, greeter: Any, words: Any) -> None:
    """A service alone, or with --help, shows its commands with their authors' words and their flags, on stdout."""
    got = user.micro(*words)
    assert (got.code, got.err) == (0, "")
    assert got.out == (
        "NAME:\n\tmicro greeter\n\nVERSION:\n\tlatest\n\nUSAGE:\n\tmicro greeter [command] [flags]\n\n"
        "COMMANDS:\n\tcountUp\n\thello     Greet somebody by name.\n\t\t--name string\n\t\t--address_city string\n"
    )


def test_endpoint_help(user: User, greeter: Any) -> None:
    """An endpoint's help shows its text, and a flag with its type for each field."""
    got = user.micro("greeter", "hello", "--help")
    assert (got.code, got.err) == (0, "")
    assert got.out == (
        "NAME:\n\tmicro greeter hello - Greet somebody by name.\n\nDESCRIPTION:\n\tAt length.\n\n"
        "USAGE:\n\tmicro greeter hello [flags]\n\nFLAGS:\n\t--name string\n\t--address_city string\n"
    )


def test_no_call_for_help(user: User, daemon: Daemon, greeter: Any) -> None:
    """Help calls nothing."""
    user.micro("greeter", "hello", "--help")
    assert daemon.asked(HELLO) == []


def test_stream(user: User, daemon: Daemon, greeter: Any) -> None:
    """A streaming endpoint's replies are printed one after the other."""
    daemon.answers(COUNT, [b'{"n":1}', b'{"n":2}'])
    got = user.micro("greeter", "count-up", "--to=2")
    assert got.out == '{\n\t"n": 1\n}\n{\n\t"n": 2\n}\n'
    assert json.loads(daemon.asked(COUNT)[0].body) == {"to": 2}
    for words in (
        ("--json", "greeter", "count-up"),
        ("greeter", "--json", "count-up"),
        ("greeter", "count-up", "--json"),
    ):
        assert user.micro(*words).out == '{"n":1}\n{"n":2}\n'


def test_unknown_endpoint(user: User, greeter: Any) -> None:
    """An endpoint that is not there is named, with exit code 128."""
    got = user.micro("greeter", "helo", "--name=Ada")
    assert got.code == 128
    assert got.err == "Endpoint Greeter.Helo not found for service greeter. See `micro greeter --help`.\n"


def test_unknown_flag(user: User, daemon: Daemon, greeter: Any) -> None:
    """A flag without a field is named, and nothing is called."""
    got = user.micro("greeter", "hello", "--nmae=Ada")
    assert (got.code, got.err) == (128, "Unknown flag: nmae. Did you mean --name?\n")
    assert daemon.asked(HELLO) == []


def test_too_many_words(user: User, greeter: Any) -> None:
    """More words than service, struct and method are refused."""
    got = user.micro("greeter", "a", "b", "c")
    assert got.code == 128
    assert got.err.startswith("Incorrect number of arguments")


def test_refused(user: User, daemon: Daemon, greeter: Any, refusal: Refusal) -> None:
    """A service's own error is its detail, once, with exit code 127; a 401 of its own is not called twice."""
    daemon.refuses(HELLO, 409, "taken")
    got = user.micro("greeter", "hello", "--name=Ada")
    assert (got.code, got.err) == (127, "Taken\n")
    user.has_a_daemon()
    daemon.refuses(HELLO, 401, "not you")
    assert user.micro("greeter", "hello", "--name=Ada").code == 2
    assert len(daemon.asked(HELLO)) == 2


def test_global_flag_behind(user: User, greeter: Any) -> None:
    """A flag that belongs before the service's name is sent there."""
    got = user.micro("greeter", "hello", "--namespace=foo")
    assert got.err == "Unknown flag: namespace. Give --namespace before the service's name.\n"


def test_help_word(user: User, greeter: Any) -> None:
    """`micro help greeter hello` is `micro greeter hello --help`."""
    assert user.micro("help", "greeter", "hello").out == user.micro("greeter", "hello", "--help").out


def test_program(user: User, tmp_path: Path) -> None:
    """A program micro-X on the path is the command X."""
    program = tmp_path / "micro-thing"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    user.environ["PATH"] = str(tmp_path)
    assert user.micro("thing", "a", "--b").code == 0
    assert user.executed == [[str(program), str(program), "a", "--b"]]
