"""A folder as a tar."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from microd.cli.failure import CommandFailed
from microd.cli.packing import Folder


def names(root: Path) -> list[str]:
    """What is in the tar, folders with a slash."""
    with tarfile.open(fileobj=io.BytesIO(b"".join(Folder(root)))) as tar:
        return [member.name + "/" * member.isdir() for member in tar]


def make(root: Path, *paths: str) -> None:
    """Make empty files."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("")


def test_content(tmp_path: Path) -> None:
    """Every file is in it, whatever its kind, with its content and whether it can be run."""
    make(tmp_path, "main.py", "page.html", "pkg/data.bin")
    (tmp_path / "pkg/data.bin").write_bytes(os.urandom(100_000))
    (tmp_path / "main.py").chmod(0o700)
    with tarfile.open(fileobj=io.BytesIO(b"".join(Folder(tmp_path)))) as tar:
        members = {member.name: member for member in tar}
        data = tar.extractfile("pkg/data.bin")
        assert data is not None
        assert data.read() == (tmp_path / "pkg/data.bin").read_bytes()
    assert list(members) == ["main.py", "page.html", "pkg", "pkg/data.bin"]
    assert (members["main.py"].mode, members["page.html"].mode) == (0o755, 0o644)


def test_same_bytes(tmp_path: Path) -> None:
    """The same files make the same bytes, whoever has them and whenever they were written."""
    for place in ("a", "b"):
        make(tmp_path / place, "x", "y/z", "y/a")
    os.utime(tmp_path / "a/x", (0, 0))
    assert b"".join(Folder(tmp_path / "a")) == b"".join(Folder(tmp_path / "b"))


def test_pieces(tmp_path: Path) -> None:
    """No piece is larger than 64 KiB, however large the file."""
    (tmp_path / "large").write_bytes(b"x" * 1_000_000)
    assert max(map(len, Folder(tmp_path))) <= 65536


def test_never(tmp_path: Path) -> None:
    """Version control, virtual environments and caches stay at home."""
    make(
        tmp_path,
        ".git/config",
        ".venv/bin/python",
        "__pycache__/x.pyc",
        "pkg/__pycache__/y.pyc",
        "z.pyc",
        "main.py",
    )
    assert names(tmp_path) == ["main.py", "pkg/"]


@pytest.mark.parametrize(
    ("ignored", "left"),
    [
        ("*.log", ["a/", "a/b/", "a/b/c.txt", "a/c.txt", "c.txt"]),
        ("/c.txt", ["a/", "a/b/", "a/b/c.txt", "a/c.txt", "a/x.log", "x.log"]),
        ("c.txt", ["a/", "a/b/", "a/x.log", "x.log"]),
        ("a/b/", ["a/", "a/c.txt", "a/x.log", "c.txt", "x.log"]),
        ("b/", ["a/", "a/c.txt", "a/x.log", "c.txt", "x.log"]),
        ("c.txt/", ["a/", "a/b/", "a/b/c.txt", "a/c.txt", "a/x.log", "c.txt", "x.log"]),
        ("**/b", ["a/", "a/c.txt", "a/x.log", "c.txt", "x.log"]),
        ("a/**", ["a/", "c.txt", "x.log"]),
        ("a/*/c.txt", ["a/", "a/b/", "a/c.txt", "a/x.log", "c.txt", "x.log"]),
        ("[xy].log", ["a/", "a/b/", "a/b/c.txt", "a/c.txt", "c.txt"]),
        ("?.txt\n!/c.txt", ["a/", "a/b/", "a/x.log", "c.txt", "x.log"]),
        ("# c.txt\n\n", ["a/", "a/b/", "a/b/c.txt", "a/c.txt", "a/x.log", "c.txt", "x.log"]),
    ],
)
def test_ignored(tmp_path: Path, ignored: Any, left: Any) -> None:
    """What .gitignore names stays at home."""
    make(tmp_path, "c.txt", "x.log", "a/c.txt", "a/x.log", "a/b/c.txt")
    (tmp_path / ".gitignore").write_text(ignored)
    assert names(tmp_path) == [".gitignore", *left]


def test_ignored_below(tmp_path: Path) -> None:
    """A .gitignore speaks for its own folder only."""
    make(tmp_path, "c.txt", "a/c.txt")
    (tmp_path / "a/.gitignore").write_text("/c.txt\n")
    assert names(tmp_path) == ["a/", "a/.gitignore", "c.txt"]


def test_links(tmp_path: Path) -> None:
    """A link within the folder stays a link; a file linked from elsewhere is packed; a folder from elsewhere is refused."""
    root, other = tmp_path / "root", tmp_path / "other"
    make(root, "main.py")
    make(other, "shared.py")
    (root / "inner").symlink_to("main.py")
    (root / "outer").symlink_to(other / "shared.py")
    with tarfile.open(fileobj=io.BytesIO(b"".join(Folder(root)))) as tar:
        kinds = {member.name: (member.issym(), member.isreg()) for member in tar}
    assert (kinds["inner"], kinds["outer"]) == ((True, False), (False, True))
    (root / "tree").symlink_to(other)
    with pytest.raises(CommandFailed, match="is a link to a folder elsewhere"):
        names(root)


def test_long_names(tmp_path: Path) -> None:
    """Names longer than old tars could hold come through."""
    path = "/".join(["x" * 90] * 3) + "/ü.py"
    make(tmp_path, path)
    assert names(tmp_path)[-1] == path
