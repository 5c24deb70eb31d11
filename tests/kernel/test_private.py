"""Files and folders which nobody else may read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from microd.kernel.private import make_private, write_private


@pytest.fixture(autouse=True)
def _careless() -> Iterator[None]:
    """Somebody whose umask hides nothing."""
    former = os.umask(0)
    yield
    os.umask(former)


def mode(path: Path) -> int:
    """The permissions."""
    return stat.S_IMODE(path.stat().st_mode)


def test_folders(tmp_path: Path) -> None:
    """All folders which are made are private, those on the way too; those which are there stay as they are."""
    tmp_path.chmod(0o755)
    make_private(tmp_path / "a" / "b")
    assert [mode(tmp_path / path) for path in ("", "a", "a/b")] == [0o755, 0o700, 0o700]
    (tmp_path / "a").chmod(0o750)
    make_private(tmp_path / "a" / "b")
    assert mode(tmp_path / "a") == 0o750


def test_file(tmp_path: Path) -> None:
    """So are a file and the folder that is made for it."""
    path = tmp_path / "a" / "key"
    write_private(path, b"x")
    assert (mode(path), mode(path.parent), path.read_bytes()) == (0o600, 0o700, b"x")
