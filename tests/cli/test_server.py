"""`micro server`."""

from __future__ import annotations

import sys

from .conftest import User


def test_twistd(user: User) -> None:
    """The command becomes twistd with the daemon's options as they were given, in the foreground."""
    user.micro("server", "--data", "/data", "--only=store")
    ((program, *words),) = user.executed
    assert (program, words[0]) == (sys.executable, sys.executable)
    assert words[-6:] == ["--nodaemon", "--pidfile=", "micro", "--data", "/data", "--only=store"]


def test_word(user: User) -> None:
    """A word is not an option."""
    got = user.micro("server", "start")
    assert got.code == 1
    assert got.err == "Micro server takes options only, not start. See `micro server --help`.\n"
    assert user.executed == []
