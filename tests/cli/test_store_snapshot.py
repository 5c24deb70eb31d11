"""`micro store snapshot` and `micro store restore`."""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from microd.services.store import rpc
from microd.services.store.backends.memory import MemoryStore
from microd.services.store.model import Field, Query, Record
from microd.testing.outcome import done

from .conftest import Daemon, User, serve


class Stored:
    """A store behind the daemon, whose time is the user's."""

    def __init__(self, daemon: Daemon, user: User) -> None:
        self.store = MemoryStore(now=lambda: user.now)
        serve(daemon, rpc.endpoints(self.store, now=lambda: user.now))

    def put(
        self, key: str, value: bytes = b"v", table: str = "micro", database: str = "micro", **more: Any
    ) -> None:
        done(self.store.write(database, table, Record(key, value, **more)))

    def everything(self, database: str = "micro") -> Mapping[tuple[str, str], tuple[Any, ...]]:
        """All that is there, but for versions."""
        return {
            (table, record.key): record[1:4]
            for table in done(self.store.tables(database))
            for record in done(self.store.read(database, table, Query()))
        }


@pytest.fixture
def stored(daemon: Daemon, user: User) -> Stored:
    return Stored(daemon, user)


@pytest.fixture
def full(stored: Stored, user: User) -> Stored:
    """A store with records of every kind."""
    stored.put("k", b"\x00\xff")
    stored.put("ä/ö", b"", table="other")
    stored.put("late", expiry=user.now + 60, metadata={"m": Field("int", "7"), "n": Field("string", "ü")})
    stored.put("foreign", database="acme")
    for number in range(1100):
        stored.put(f"{number:04}", b"x" * number, table="many")
    return stored


def test_round_trip(user: User, daemon: Daemon, full: Stored, tmp_path: Path) -> None:
    """What is restored is what was there: values, tables, metadata, and when a record expires."""
    before = full.everything()
    file = tmp_path / "snapshot"
    got = user.micro("store", "snapshot", f"--destination={file}")
    assert (got.code, got.out, got.err) == (0, "", f"1103 records of micro are in {file}.\n")
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["snapshot"]
    again = Stored(daemon, user)
    for _ in range(2):
        got = user.micro("store", "restore", f"--source={file}")
        assert (got.code, got.err) == (0, "1103 records are in micro.\n")
        assert again.everything() == before
    again.put("k", b"changed")
    again.put("new")
    user.micro("store", "restore", f"--source={file}")
    assert again.everything() == {**before, ("micro", "new"): (b"v", None, {})}


def test_format(user: User, stored: Stored, tmp_path: Path) -> None:
    """A snapshot is JSON lines: what it is, the records, how many."""
    stored.put("k", b"v", expiry=user.now + 60, metadata={"m": Field("string", "x")})
    user.micro("store", "snapshot", f"--destination={tmp_path / 's'}")
    first, record, last = (json.loads(line) for line in (tmp_path / "s").read_text().splitlines())
    assert first == {
        "format": "microd-store-snapshot",
        "version": 1,
        "database": "micro",
        "tables": ["micro"],
        "taken": 1_700_000_000,
    }
    assert record == {
        "table": "micro",
        "key": "k",
        "value": "dg==",
        "expires": 1_700_000_060,
        "metadata": {"m": ["string", "x"]},
    }
    assert last["records"] == 1


def test_expired(user: User, daemon: Daemon, full: Stored, tmp_path: Path) -> None:
    """A record lasts as long as it would have; what has expired since the snapshot is left out."""
    user.micro("store", "snapshot", f"--destination={tmp_path / 's'}")
    user.now += 20
    again = Stored(daemon, user)
    user.micro("store", "restore", f"--source={tmp_path / 's'}")
    assert again.everything()["micro", "late"][1] == 1_700_000_060
    user.now += 40
    again = Stored(daemon, user)
    got = user.micro("store", "restore", f"--source={tmp_path / 's'}")
    assert got.err == "1102 records are in micro; 1 have expired since.\n"
    assert ("micro", "late") not in again.everything()


def test_one_table(user: User, daemon: Daemon, full: Stored, tmp_path: Path) -> None:
    """One table can be copied, and one put back."""
    user.micro("store", "snapshot", "--table=other", f"--destination={tmp_path / 'one'}")
    user.micro("store", "snapshot", f"--destination={tmp_path / 'all'}")
    for name in ("one", "all"):
        again = Stored(daemon, user)
        user.micro("store", "restore", "--table=other", f"--source={tmp_path / name}")
        assert list(again.everything()) == [("other", "ä/ö")]
    got = user.micro("store", "restore", "--table=many", f"--source={tmp_path / 'one'}")
    assert (got.code, got.err) == (1, "The snapshot has no table many. It has other.\n")


def test_other_database(user: User, full: Stored, tmp_path: Path) -> None:
    """Records go to another database only where that is said."""
    file = tmp_path / "s"
    user.micro("store", "snapshot", "-d", "acme", f"--destination={file}")
    got = user.micro("store", "restore", f"--source={file}")
    assert got.code == 1
    assert "The snapshot is of the database acme, and you work in micro. Give --database micro" in got.err
    assert user.micro("store", "restore", "--database=third", f"--source={file}").code == 0
    assert list(full.everything("third")) == [("micro", "foreign")]


def test_streams(user: User, daemon: Daemon, full: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    """One environment's records can be piped into another's, with nothing else on standard output."""
    before = full.everything()
    got = user.micro("store", "snapshot", "--destination=-")
    assert got.err == "1103 records of micro are in the output.\n"
    again = Stored(daemon, user)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Pipe(got.out.encode())))
    assert user.micro("store", "restore", "--source=-").code == 0
    assert again.everything() == before


class Pipe(io.BytesIO):
    """What cannot be read twice."""

    def seekable(self) -> bool:
        return False


SPOIL: Mapping[str, tuple[Callable[[list[bytes]], list[bytes]], str]] = {
    "cut within a line": (lambda lines: [*lines[:5], lines[5][:10]], "cut off after 4 records"),
    "cut between lines": (lambda lines: lines[:6], "cut off after 5 records"),
    "without its end": (lambda lines: lines[:-1], "cut off after 1103 records"),
    "a line is missing": (lambda lines: lines[:3] + lines[4:], "was changed"),
    "a value is another": (
        lambda lines: [*lines[:1], lines[1].replace(b'"value":"', b'"value":"AAAA'), *lines[2:]],
        "was changed",
    ),
    "more follows": (lambda lines: [*lines, lines[1]], "was changed"),
    "a line of something else": (lambda lines: [*lines[:2], b"[]\n", *lines[2:]], "no record"),
    "types are others": (lambda lines: [lines[0], b'{"table":1,"key":"k","value":""}\n'], "no record"),
    "another file": (lambda lines: [b"{}\n"], "not a snapshot"),
    "an empty file": (lambda lines: [], "not a snapshot"),
    "bytes": (lambda lines: [b"\xff" * 100], "not a snapshot"),
    "a later release": (lambda lines: [lines[0].replace(b'"version":1', b'"version":2')], "Upgrade micro"),
}


@pytest.mark.parametrize("name", SPOIL)
def test_damaged(user: User, daemon: Daemon, full: Stored, tmp_path: Path, name: str) -> None:
    """Of a file which is not whole nothing at all is restored."""
    file = tmp_path / "s"
    user.micro("store", "snapshot", f"--destination={file}")
    spoil, said = SPOIL[name]
    file.write_bytes(b"".join(spoil(file.read_bytes().splitlines(keepends=True))))
    again = Stored(daemon, user)
    got = user.micro("store", "restore", f"--source={file}")
    assert got.code == 1
    assert said in got.err
    assert again.everything() == {}


def test_broken_off(user: User, daemon: Daemon, full: Stored, tmp_path: Path, refusal: Any) -> None:
    """A snapshot which does not come to its end leaves the older one, and no other file."""
    file = tmp_path / "s"
    file.write_text("the older one")
    read = daemon.handlers["/store.Store/Read"]

    def sometimes(call: Any) -> Any:
        if len(daemon.asked("/store.Store/Read")) == 3:
            raise refusal(500, "the disk is gone")
        return read(call)

    daemon.handlers["/store.Store/Read"] = sometimes
    assert user.micro("store", "snapshot", f"--destination={file}").code == 1
    assert file.read_text() == "the older one"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["s"]


def test_restore_broken_off(user: User, daemon: Daemon, full: Stored, tmp_path: Path, refusal: Any) -> None:
    """A restore which does not come to its end says how far it came, and what to do."""
    file = tmp_path / "s"
    user.micro("store", "snapshot", f"--destination={file}")
    batch = daemon.handlers["/store.Store/Batch"]

    def once(call: Any) -> Any:
        if len(daemon.asked("/store.Store/Batch")) > 1:
            raise refusal(507, "the disk is full")
        return batch(call)

    daemon.handlers["/store.Store/Batch"] = once
    got = user.micro("store", "restore", f"--source={file}")
    assert (got.code, got.err) == (
        1,
        "The disk is full (after 500 records). Restore again when that is mended.\n",
    )


def test_default_place(user: User, stored: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a name the file is store-snapshot in the temporary folder, or what the environment names."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    stored.put("k")
    assert user.micro("store", "snapshot").code == 0
    assert user.micro("store", "restore").code == 0
    assert (tmp_path / "store-snapshot").exists()
    monkeypatch.setenv("MICRO_SNAPSHOT_DESTINATION", str(tmp_path / "elsewhere"))
    assert user.micro("store", "snapshot").code == 0
    assert (tmp_path / "elsewhere").exists()


def test_not_ours(user: User, stored: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file which somebody else put into the temporary folder is not restored unless it is named."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    stored.put("k")
    user.micro("store", "snapshot")
    os.chown(tmp_path / "store-snapshot", 12345, -1)
    got = user.micro("store", "restore")
    assert got.code == 1
    assert "belongs to somebody else" in got.err


def test_bad_files(user: User, stored: Stored, tmp_path: Path) -> None:
    """What cannot be read or written is named."""
    stored.put("k")
    missing = tmp_path / "no" / "such"
    got = user.micro("store", "restore", f"--source={missing}")
    assert (got.code, got.err) == (1, f"{missing} cannot be read: No such file or directory\n")
    got = user.micro("store", "snapshot", f"--destination={missing}")
    assert (got.code, got.err) == (1, f"{missing} cannot be written: No such file or directory\n")
    got = user.micro("store", "snapshot", f"--destination={tmp_path}")
    assert (got.code, got.err) == (1, f"{tmp_path} is a folder. Give a file, or - for standard output.\n")
    got = user.micro("store", "snapshot", "--destination=/dev/null")
    assert (got.code, got.err) == (1, "/dev/null is a device. Give a file, or - for standard output.\n")
    assert Path("/dev/null").is_char_device()


def test_link(user: User, stored: Stored, tmp_path: Path) -> None:
    """Where the destination is a link, what it leads to is replaced, and the link stays."""
    stored.put("k")
    (tmp_path / "link").symlink_to("file")
    assert user.micro("store", "snapshot", f"--destination={tmp_path / 'link'}").code == 0
    assert (tmp_path / "link").is_symlink()
    assert user.micro("store", "restore", f"--source={tmp_path / 'file'}").code == 0


def test_json(user: User, stored: Stored, tmp_path: Path) -> None:
    """In JSON it is told what was done, but for a snapshot on standard output, which is all that is there."""
    stored.put("k")
    stored.put("late", expiry=user.now + 1)
    file = str(tmp_path / "s")
    told = {"database": "micro", "records": 2, "file": file}
    assert user.micro("store", "snapshot", f"--destination={file}", "--json").json == told
    user.now += 5
    told = {"database": "micro", "records": 1, "expired": 1}
    assert user.micro("store", "restore", f"--source={file}", "--json").json == told
    got = user.micro("store", "snapshot", "--destination=-", "--json").out.splitlines()
    assert json.loads(got[-1])["records"] == 1
