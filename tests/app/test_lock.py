"""One daemon for each data folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from microd.app.lock import FolderLock, FolderTaken


def test_second_is_refused(tmp_path: Path) -> None:
    """The second lock on a folder is refused, and told the pid of the first."""
    first, second = FolderLock(tmp_path / "data"), FolderLock(tmp_path / "data")
    first.startService()
    with pytest.raises(FolderTaken, match=f"pid {os.getpid()}"):
        second.startService()
    first.stopService()
    second.startService()
    second.stopService()


def test_private(tmp_path: Path) -> None:
    """A data folder that we make is its owner's alone."""
    lock = FolderLock(tmp_path / "data")
    lock.startService()
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    lock.stopService()
