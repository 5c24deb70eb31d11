"""Files of earlier releases. C{schema-1.db} was written by the release before versions."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from microd.services.store.backends import sqlite_migrate
from microd.services.store.backends.sqlite import SqliteStore
from microd.services.store.backends.sqlite_file import UnusableFile
from microd.services.store.backends.worker import Inline
from microd.services.store.model import Field, Query, Record
from microd.testing.outcome import done

OLD = Path(__file__).with_name("schema-1.db")
EXPECTED = [
    ("acme", "t", Record("large", b"v" * 5000, version=1)),
    ("acme", "t", Record("\u00e9\U0001f600", b"", version=1)),
    ("micro", "t", Record("k00", b"value 0", version=1)),
    ("micro", "t", Record("k19", b"value 19", version=1)),
    ("micro", "t", Record("expires", b"v", 4102444800.0, version=1)),
    (
        "micro",
        "other/table",
        Record("said", b"\x00\xff", None, {"a": Field("int", "7"), "b": Field("string", "\u00e9")}, 1),
    ),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file as the earlier release left it."""
    path = tmp_path / "store.db"
    shutil.copy(OLD, path)
    path.chmod(0o600)
    return path


def _started(path: Path) -> tuple[SqliteStore, Clock]:
    clock = Clock()
    store = SqliteStore(path, clock, workers=lambda _, name: Inline(), now=lambda: 2000.0)
    store.startService()
    return store, clock


def _check(path: Path) -> None:
    store, clock = _started(path)
    for database, table, record in EXPECTED:
        assert done(store.read_one(database, table, record.key)) == record
    assert len(done(store.list("micro", "t", Query()))) == 21
    writing = Deferred.fromCoroutine(store.write("micro", "t", Record("k00", b"new"), if_version=1))
    clock.advance(0)
    assert done(writing) > 1
    back = Deferred.fromCoroutine(store.delete("micro", "t", "k00"))
    clock.advance(0)
    done(back)
    _stop(store, clock)


def _stop(store: SqliteStore, clock: Clock) -> None:
    stopping = store.stopService()
    clock.advance(0)
    done(stopping)


def test_migrated(path: Path) -> None:
    """All records of the old file are there, with a version; the file is the owner's only."""
    _check(path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_copy_made(path: Path) -> None:
    """The old file stays beside the new one, byte for byte, and can be gone back to."""
    before = path.read_bytes()
    _check(path)
    kept = path.with_name("store.db.schema-1")
    assert kept.read_bytes() == before
    os.replace(kept, path)
    _check(path)


def test_no_hard_links(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file system has no hard links, the copy is made byte by byte."""

    def refuse(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    before = path.read_bytes()
    _check(path)
    assert path.with_name("store.db.schema-1").read_bytes() == before


def test_log_of_the_old_release(tmp_path: Path) -> None:
    """What the earlier release had committed to its log only, before it was killed, is there."""
    path = tmp_path / "store.db"
    shutil.copy(OLD, path)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("INSERT INTO record VALUES ('micro', 't', 'late', x'01', NULL, NULL)")
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for each in ("store.db", "store.db-wal"):
        shutil.copy(tmp_path / each, crashed / each)
    connection.close()
    store, clock = _started(crashed / "store.db")
    assert done(store.read_one("micro", "t", "late")) == Record("late", b"\x01", version=1)
    _stop(store, clock)


def test_interrupted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt which was cut short leaves the old file in its place; the next one succeeds."""

    def cut(*_: object) -> None:
        raise OSError(5, "cut short")

    with monkeypatch.context() as patch:
        patch.setattr(sqlite_migrate, "settle", cut)
        with pytest.raises(UnusableFile, match="cut short"):
            _started(path)
    assert path.with_name("store.db.new").exists()
    _check(path)
    assert not path.with_name("store.db.new").exists()


@pytest.mark.parametrize("version", [3, 99])
def test_later_schema(path: Path, version: int) -> None:
    """A file of a later release is refused, and left as it is."""
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(UnusableFile, match="later release"):
        _started(path)
    assert path.read_bytes() == before


def test_foreign(tmp_path: Path) -> None:
    """Another program's database is left alone."""
    path = tmp_path / "store.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE record (a, b)")
    connection.close()
    with pytest.raises(UnusableFile, match="another program"):
        _started(path)


def test_truncated_to_nothing(tmp_path: Path) -> None:
    """An empty file is not a new store: somebody lost something."""
    path = tmp_path / "store.db"
    path.touch()
    with pytest.raises(UnusableFile, match=r"cut off, it has 0 bytes: .* backup"):
        _started(path)


def test_log_without_file(tmp_path: Path) -> None:
    """Nor is a log whose file is gone."""
    path = tmp_path / "store.db"
    Path(f"{path}-wal").write_bytes(b"something")
    with pytest.raises(UnusableFile, match=r"is gone, but .*-wal is there"):
        _started(path)
    assert not path.exists()


@pytest.mark.parametrize("name", ["a b.db", "what?.db", "50%23#.db", "\u00e9.db"])
def test_names(tmp_path: Path, name: str) -> None:
    """A file may be named anything."""
    path = tmp_path / name
    store, clock = _started(path)
    _stop(store, clock)
    assert [each.name for each in tmp_path.iterdir()] == [name]
