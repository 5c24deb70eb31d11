"""`micro new`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .conftest import User


def test_files(user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder has a service, its test, and what belongs to it; the next steps are told."""
    monkeypatch.chdir(tmp_path)
    got = user.micro("new", "foo-bar")
    assert got.code == 0
    assert got.out == (
        "Creating service foo-bar\n\n.\n├── main.py\n├── test_foo_bar.py\n├── README.md\n└── .gitignore\n\n"
        "Run it, and call it:\n\n    micro run foo-bar\n    micro foo-bar hello --name=Ada\n"
    )
    assert sorted(each.name for each in (tmp_path / "foo-bar").iterdir()) == [
        ".gitignore",
        "README.md",
        "main.py",
        "test_foo_bar.py",
    ]


def test_main(user: User, tmp_path: Path) -> None:
    """The service's name is the folder's, in lower case, and its program is Python."""
    user.micro("new", str(tmp_path / "deep" / "Greeter"))
    text = (tmp_path / "deep" / "Greeter" / "main.py").read_text()
    assert 'Service("greeter")' in text
    compile(text, "main.py", "exec")


def test_own_test(user: User, tmp_path: Path) -> None:
    """The new service passes its own test."""
    user.micro("new", str(tmp_path / "greeter"))
    command = [sys.executable, "-P", "-m", "unittest"]
    done = subprocess.run(command, cwd=tmp_path / "greeter", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Ran 1 test" in done.stderr


@pytest.mark.parametrize("name", ["1x", "a b", "-", "a--b", "ä", "store"])
def test_bad_name(user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: Any) -> None:
    """What cannot name a service makes no folder."""
    monkeypatch.chdir(tmp_path)
    assert user.micro("new", "--", name).code == 1
    assert [each.name for each in tmp_path.iterdir()] == []


def test_existing(user: User, tmp_path: Path) -> None:
    """A folder that is there is not touched."""
    (tmp_path / "greeter").mkdir()
    got = user.micro("new", str(tmp_path / "greeter"))
    assert (got.code, got.err) == (1, f"The folder {tmp_path / 'greeter'} already exists\n")


def test_nameless(user: User) -> None:
    """Without a name, an example is given."""
    got = user.micro("new")
    assert (got.code, got.err) == (1, "Specify service name, as in `micro new greeter`\n")
