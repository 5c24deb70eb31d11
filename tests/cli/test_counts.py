"""Whole numbers on the command line."""

from __future__ import annotations

import pytest

from .conftest import Daemon, User


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("config", "rollback", "x"), "Invalid value for 'VERSION': 'x' is not a whole number."),
        (("config", "rollback", "0"), "Invalid value for 'VERSION': 0 is too small: it must be at least 1."),
        (("config", "history", "-l", "1001"), "'-l': 1001 is too large: it may be at most 1000."),
        (("store", "list", "--limit", "-1"), "'-l': -1 is too small: it must be at least 0."),
        (("store", "list", "--limit", str(1 << 63)), f"it may be at most {(1 << 63) - 1}."),
    ],
)
def test_refused(user: User, daemon: Daemon, words: tuple[str, ...], said: str) -> None:
    """What is no number, or not within its limits, is said, with the limit; nothing is asked."""
    got = user.micro(*words)
    assert got.code == 1
    assert said in got.err
    assert daemon.calls == []


def test_help(user: User) -> None:
    """Limits that nobody meets are in no help."""
    told = user.micro("store", "list", "--help").out
    assert "--limit N" in told
    assert "x" not in told.partition("At most so many.")[2].partition("\n")[0]
