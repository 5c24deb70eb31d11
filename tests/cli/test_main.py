"""The way in: flags, misspellings, exit codes."""

from __future__ import annotations

from typing import Any

import pytest

from microd import __version__
from microd.wire import registry_pb2

from .conftest import Daemon, User


def test_nothing(user: User) -> None:
    """Without a command, one sentence points at the help, and the exit code is 1."""
    got = user.micro()
    assert (got.code, got.out) == (1, "")
    assert got.err == "No command provided to micro. Please refer to 'micro --help'\n"


def test_unknown_command(user: User, daemon: Daemon) -> None:
    """A word that is neither a command nor a service is told in the reference's text."""
    daemon.refuses("/registry.Registry/GetService", 404, "service not found")
    got = user.micro("asdasd")
    assert (got.code, got.err) == (1, "Unrecognized micro command: asdasd. Please refer to 'micro --help'\n")


@pytest.mark.parametrize("group", ["env", "store", "auth", "user"])
def test_unknown_subcommand(user: User, group: Any) -> None:
    """A group names itself when it does not know its subcommand."""
    got = user.micro(group, "asdasd")
    assert got.code == 1
    assert got.err == (
        f"Unrecognized subcommand for micro {group}: asdasd. Please refer to 'micro {group} --help'\n"
    )


@pytest.mark.parametrize("words", [("get", "asdasd"), ("auth", "list", "asdasd")])
def test_unguarded_subcommand(user: User, words: Any) -> None:
    """Where the reference has no guard, the exit code is 3."""
    got = user.micro(*words)
    assert got.code == 3
    assert got.err.startswith("No help topic for 'asdasd'")


def test_unknown_flag(user: User) -> None:
    """A flag that does not exist is one sentence with the nearest one, and exit code 1."""
    got = user.micro("logs", "greeter", "--folow")
    assert got.code == 1
    assert got.err == (
        "Flag provided but not defined: --folow (did you mean --follow?). See `micro logs --help`.\n"
    )


def test_group_alone(user: User) -> None:
    """A group without a command of its own shows its help on stdout."""
    got = user.micro("store")
    assert (got.code, got.err) == (0, "")
    assert "databases" in got.out


GROUPS = [
    *("env", "get", "config", "network", "broker", "debug", "store", "store blob"),
    *("auth", "auth create", "auth delete", "auth list", "auth update"),
    *("user", "user config", "user namespace", "user set"),
]


@pytest.mark.parametrize("words", [(), *(tuple(group.split()) for group in GROUPS)])
def test_help_of_all(user: User, words: Any) -> None:
    """Every command has help, whose first line is its name and what it does, as the list of its group says."""
    listed = user.micro(*words, "--help").out.split("Commands:\n")[1].split("\n\n")[0]
    for line in listed.splitlines():
        name, does = line.split(maxsplit=1)
        got = user.micro(*words, name, "--help")
        assert got.code == 0, name
        if name != "help":
            assert got.out.startswith(f"{' '.join(['micro', *words, name])} - {does}\n"), name


def test_help_command(user: User) -> None:
    """`micro help X` is `micro X --help`."""
    assert user.micro("help", "logs").out == user.micro("logs", "--help").out


@pytest.mark.parametrize("words", [("--version",), ("-v",), ("version",)])
def test_version(user: User, words: Any) -> None:
    """The version is shown in the reference's form."""
    assert user.micro(*words).out == f"micro version {__version__}\n"


def test_single_dash(user: User) -> None:
    """One dash before a long flag is as good as two."""
    assert "* platform" in user.micro("-env=platform", "env").out
    assert (
        "* platform" in user.micro("-e=platform", "env").out
        or "* platform" in user.micro("-e", "platform", "env").out
    )


def test_json_error(user: User) -> None:
    """With --json an error is one JSON object on stderr."""
    import json

    got = user.micro("env", "set", "nowhere", "--json")
    assert json.loads(got.err) == {
        "error": "Environment 'nowhere' does not exist",
        "help": "See `micro env`.",
        "exit": 128,
    }


def test_full_disk(user: User, daemon: Daemon) -> None:
    """What the operating system refuses is told in its words."""

    def refuse(call: object) -> None:
        raise OSError(28, "No space left on device")

    daemon.handlers["/registry.Registry/ListServices"] = refuse
    got = user.micro("services")
    assert (got.code, got.err) == (1, "No space left on device\n")


def test_defect(user: User, daemon: Daemon) -> None:
    """A defect of ours is one sentence as well, never a traceback."""

    def explode(call: object) -> None:
        raise ZeroDivisionError("oh")

    daemon.handlers["/registry.Registry/ListServices"] = explode
    got = user.micro("services")
    assert got.code == 128
    assert got.err == "Micro has a defect: ZeroDivisionError: oh. Set MICRO_DEBUG=1 to see where.\n"


def test_nobody_reads_on(user: User, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads the answer may stop, as head does: that is no failure."""

    def gone(*args: Any, **kwargs: Any) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    daemon.answers(
        "/registry.Registry/ListServices", registry_pb2.ListResponse(services=[registry_pb2.Service()])
    )
    monkeypatch.setattr("click.echo", gone)
    assert user.micro("services").code == 0
