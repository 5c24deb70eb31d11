"""What the daemon keeps is nobody else's to read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

import pytest

from microd.testing.platform import Platform


@pytest.fixture(autouse=True)
def _careless() -> Iterator[None]:
    """An operator whose umask hides nothing."""
    former = os.umask(0)
    yield
    os.umask(former)


def test_private(platform: Platform) -> None:
    """Everything in the data folder is its owner's alone: files, and folders with all that is below them."""
    (platform.data / "blobs").mkdir(mode=0o755, parents=True)  # as an earlier release made it
    platform.start()
    platform.ok("new", "quiet")
    platform.ok("run", "quiet")
    platform.ok("store", "write", "key", "value")
    platform.ok("config", "set", "key", "value", "--secret")
    open_to_others = {
        path.name: oct(stat.S_IMODE(path.stat().st_mode))
        for path in platform.data.iterdir()
        if path.stat().st_mode & 0o077
    }
    assert open_to_others == {}
    there = {path.name for path in platform.data.iterdir()}
    assert there >= {
        "blobs",
        "sources",
        "logs",
        "venvs",
        "system.db-wal",
        "daemon.json",
        "admin-secret",
        "id_rsa",
    }
