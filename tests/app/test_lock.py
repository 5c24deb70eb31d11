"""One daemon for each data folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from microd.app.lock import FolderLock, FolderTaken, FolderUnusable


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


def test_not_a_folder(tmp_path: Path) -> None:
    """A data folder that cannot be made is named, with the reason and the options that change it."""
    (tmp_path / "data").write_text("a file")
    with pytest.raises(
        FolderUnusable, match=f"{tmp_path / 'data'}: it is not a folder; .*--data or MICRO_HOME"
    ):
        FolderLock(tmp_path / "data").startService()
    with pytest.raises(FolderUnusable, match="Not a directory"):
        FolderLock(tmp_path / "data" / "below").startService()
