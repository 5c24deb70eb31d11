"""The client's configuration."""

from __future__ import annotations

import json
import multiprocessing
import stat
from pathlib import Path

import pytest

from microd.cli.config import Config
from microd.cli.failure import CommandFailed


def test_absent(tmp_path: Path) -> None:
    """Where there is no file, the environment is local and nothing else is set."""
    config = Config(tmp_path / "config.json")
    assert (config.get("env"), config.get("a.b")) == ("local", "")


def test_nested(tmp_path: Path) -> None:
    """A dotted path is a path into the JSON object, and a value at it leaves its siblings."""
    config = Config(tmp_path / "config.json")
    config.set("namespaces.local.current", "foo")
    config.set("namespaces.local.all", "foo,bar")
    assert json.loads((tmp_path / "config.json").read_text())["namespaces"] == {
        "local": {"current": "foo", "all": "foo,bar"}
    }
    assert Config(tmp_path / "config.json").get("namespaces.local.current") == "foo"


def test_private(tmp_path: Path) -> None:
    """The file is for its owner only, and so is the folder made for it."""
    Config(tmp_path / "home" / "config.json").set("a", "b")
    assert stat.S_IMODE((tmp_path / "home" / "config.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "home").stat().st_mode) == 0o700


def test_damaged(tmp_path: Path) -> None:
    """A file that is no JSON is named, and not overwritten."""
    path = tmp_path / "config.json"
    path.write_text("{")
    with pytest.raises(CommandFailed, match=r"config\.json is not valid JSON"):
        Config(path).set("a", "b")
    assert path.read_text() == "{"


def _write(path: Path, name: str) -> None:
    for number in range(20):
        Config(path).set(f"{name}.{number}", "x")


def test_at_once(tmp_path: Path) -> None:
    """Of two that write at once, neither loses what the other has written."""
    path = tmp_path / "config.json"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(path, name)) for name in ("a", "b")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    content = json.loads(path.read_text())
    assert (len(content["a"]), len(content["b"])) == (20, 20)


def test_nothing_left(tmp_path: Path) -> None:
    """A failed write leaves the file as it was, and nothing beside it."""
    path = tmp_path / "config.json"
    path.mkdir()
    with pytest.raises(CommandFailed, match=r"config\.json"):
        Config(path).set("a", "b")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["config.json", "config.json.lock"]


def test_unreadable(tmp_path: Path) -> None:
    """A file that cannot be read is told in the operating system's words, without its numbers."""
    (tmp_path / "config.json").mkdir()
    with pytest.raises(CommandFailed) as caught:
        Config(tmp_path / "config.json").get("env")
    assert caught.value.text == f"{tmp_path / 'config.json'} cannot be read: Is a directory"
