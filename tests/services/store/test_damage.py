"""Files that are not as they were written: noticed at the start, named, left alone; and never read as if they were right."""

from __future__ import annotations

import random
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from microd.kernel.errors import MicroError
from microd.services.store.backends import sqlite_wal
from microd.services.store.backends.sqlite import SqliteStore
from microd.services.store.backends.sqlite_file import UnusableFile
from microd.services.store.backends.worker import Inline
from microd.services.store.model import Query, Record
from microd.testing.outcome import done

SEED = 20261120


def _opened(path: Path) -> tuple[SqliteStore, Clock]:
    clock = Clock()
    clock.advance(1000)
    store = SqliteStore(path, clock, workers=lambda _, name: Inline(), now=clock.seconds)
    store.startService()
    return store, clock


def _put(store: SqliteStore, clock: Clock, key: str, value: bytes) -> None:
    expiry = 10_000.0 if key.endswith("7") else None
    writing = Deferred.fromCoroutine(store.write("micro", "t", Record(key, value, expiry)))
    clock.advance(0)
    done(writing)


def _stop(store: SqliteStore, clock: Clock) -> None:
    stopping = store.stopService()
    clock.advance(0)
    done(stopping)


def _content(path: Path) -> Mapping[str, bytes]:
    """All that a store shows, by every way to ask.

    @raise UnusableFile: it does not start.
    """
    store, clock = _opened(path)
    try:
        records = done(store.read("micro", "t", Query()))
        keys = done(store.list("micro", "t", Query()))
        assert [record.key for record in records] == list(keys)
        for record in records:
            assert done(store.read_one("micro", "t", record.key)) == record
        return {record.key: record.value for record in records}
    finally:
        _stop(store, clock)


def _tried(path: Path) -> Mapping[str, bytes] | UnusableFile:
    """The same, or why it does not start."""
    try:
        return _content(path)
    except UnusableFile as problem:
        return problem


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """The folder of a store that was stopped, with small and large records."""
    folder = tmp_path / "sound"
    store, clock = _opened(folder / "store.db")
    for number in range(300):
        _put(store, clock, f"k{number:03}", b"value %d" % number)
    for number in range(5):
        _put(store, clock, f"large{number}", b"%d" % number * 10_000)
    _stop(store, clock)
    return folder


@pytest.fixture
def crashed(tmp_path: Path, sound: Path) -> Path:
    """The same, and a log with thirty transactions more, as C{kill -9} leaves it."""
    folder = tmp_path / "crashed"
    store, clock = _opened(sound / "store.db")
    for number in range(30):
        _put(store, clock, f"late{number:02}", b"late %d" % number)
    shutil.copytree(sound, folder)
    (folder / "store.db-shm").unlink()
    _stop(store, clock)
    return folder


def _damaged(folder: Path, name: str, change: bytes, at: int) -> Path:
    """A copy of a folder with some bytes changed in one file."""
    copy = folder.with_name("damaged")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    content = bytearray((copy / name).read_bytes())
    content[at : at + len(change)] = change
    (copy / name).write_bytes(content)
    return copy / "store.db"


def _flipped(folder: Path, name: str, at: int, rng: random.Random) -> Path:
    was = (folder / name).read_bytes()[at]
    return _damaged(folder, name, bytes([was ^ (1 << rng.randrange(8))]), at)


def test_every_bit(sound: Path) -> None:
    """One bit changed anywhere in the file: the start is refused, and names it; or all that was written is read."""
    whole = _content(sound / "store.db")
    assert len(whole) == 305
    size = (sound / "store.db").stat().st_size
    rng = random.Random(SEED)
    refused = 0
    places = [*range(100), *(rng.randrange(size) for _ in range(200))]
    for at in places:
        path = _flipped(sound, "store.db", at, rng)
        before = path.read_bytes()
        found = _tried(path)
        if isinstance(found, UnusableFile):
            assert str(path) in str(found)
            assert path.read_bytes() == before, "what is damaged is to be left as it is"
            refused += 1
        else:
            assert found == whole, f"byte {at} was changed, and something else is read"
    assert refused > 100


@pytest.mark.parametrize("size", [1, 100, 4096, 20_000])
def test_cut_off(sound: Path, size: int) -> None:
    """A file which was cut off is refused, with what to do."""
    path = sound / "store.db"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(UnusableFile, match=rf"{path}.*bring (the file|it) back from a backup"):
        _opened(path)


@pytest.mark.parametrize("length", [16, 100, 5000])
def test_garbage_at_the_beginning(sound: Path, length: int) -> None:
    """So is one whose beginning is something else."""
    path = _damaged(sound, "store.db", random.Random(SEED).randbytes(length), 0)
    with pytest.raises(UnusableFile, match=str(path)):
        _opened(path)


def test_every_bit_of_the_log(crashed: Path) -> None:
    """One bit changed anywhere in the log: the start is refused; or nothing is missing but the very last transaction."""
    whole = dict(_content_of_copy(crashed))
    assert len(whole) == 335
    without_last = {key: value for key, value in whole.items() if key != "late29"}
    size = (crashed / "store.db-wal").stat().st_size
    rng = random.Random(SEED)
    refused = 0
    for at in [*range(32), *(rng.randrange(size) for _ in range(150))]:
        path = _flipped(crashed, "store.db-wal", at, rng)
        found = _tried(path)
        if isinstance(found, UnusableFile):
            assert f"{path}-wal is damaged" in str(found)
            refused += 1
        else:
            assert found in (whole, without_last), f"byte {at} was changed, and acknowledged writes are gone"
    assert refused > 100


def _content_of_copy(folder: Path) -> Mapping[str, bytes]:
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy)
    return _content(copy / "store.db")


def test_remedy_of_the_log(crashed: Path) -> None:
    """The error says how to give up what cannot be read, and that works."""
    path = _flipped(crashed, "store.db-wal", 60_000, random.Random(SEED))
    with pytest.raises(UnusableFile, match=f"truncate -s [0-9]+ {path}-wal") as refused:
        _opened(path)
    size = int(str(refused.value).partition("truncate -s ")[2].split()[0])
    with open(f"{path}-wal", "r+b") as log:
        log.truncate(size)
    found = _content(path)
    assert 305 < len(found) < 335


@pytest.mark.parametrize("cut", [1, 24, 2000, 4119])
def test_torn_log(crashed: Path, cut: int) -> None:
    """A transaction which a crash cut off was not acknowledged: the start leaves it out, and says nothing."""
    log = crashed / "store.db-wal"
    log.write_bytes(log.read_bytes()[:-cut])
    found = _content(crashed / "store.db")
    assert len(found) == 334
    assert "late29" not in found


def test_log_goes_on(crashed: Path) -> None:
    """Behind a torn end the log goes on as if it had not been there, however often that happens."""
    path = crashed / "store.db"
    log = crashed / "store.db-wal"
    for number in range(3):
        log.write_bytes(log.read_bytes()[:-100])
        store, clock = _opened(path)
        _put(store, clock, f"again{number}", b"v")
        _put(store, clock, "torn next time", b"v")
        content = {each: each.read_bytes() for each in (path, log)}
        _stop(store, clock)
        for each, what in content.items():
            each.write_bytes(what)
    found = _content(path)
    assert {"again0", "again1", "again2"} <= set(found)
    assert len(found) == 334 + 4


def test_renewed(crashed: Path) -> None:
    """What is believed of a log is written once more, byte for byte, without what is not believed."""
    path = crashed / "store.db"
    log = crashed / "store.db-wal"
    whole = log.read_bytes()
    log.write_bytes(whole + b"torn" * 50)
    found = sqlite_wal.examine(path)
    assert found == sqlite_wal.Log(end=len(whole))
    sqlite_wal.renew(path, found.end)
    assert log.read_bytes() == whole


def _with_broken(crashed: Path, store_is_of_this_boot: bool) -> Path:
    """The last transaction has several pieces, of which one is broken in the middle."""
    path = crashed / "store.db"
    store, clock = _opened(path)
    if not store_is_of_this_boot:
        store._writing._boot = "an earlier one"
    _put(store, clock, "first of this life", b"v")
    _put(store, clock, "last", b"v" * 50_000)
    folder = crashed.with_name("broken")
    shutil.copytree(crashed, folder)
    _stop(store, clock)
    log = folder / "store.db-wal"
    size = log.stat().st_size
    content = bytearray(log.read_bytes())
    content[size - 5 * 4120] ^= 1
    log.write_bytes(content)
    return folder / "store.db"


def test_broken_since_boot(crashed: Path) -> None:
    """A hole in the last transaction is damage where the machine has not been off since: nothing else makes one."""
    path = _with_broken(crashed, store_is_of_this_boot=True)
    with pytest.raises(UnusableFile, match="-wal is damaged: 1 transaction"):
        _opened(path)


def test_broken_by_a_power_failure(crashed: Path) -> None:
    """Where it was, the power failed before that transaction was acknowledged."""
    path = _with_broken(crashed, store_is_of_this_boot=False)
    found = _content(path)
    assert "first of this life" in found
    assert "last" not in found


def test_damaged_while_running(sound: Path) -> None:
    """What is damaged under a running store is not shown either, and is noticed when it is read."""
    path = sound / "store.db"
    store, clock = _opened(path)
    rng = random.Random(SEED)
    with open(path, "r+b") as file:
        for page in range(1, path.stat().st_size // 4096):
            file.seek(page * 4096 + 200)
            file.write(rng.randbytes(3000))
    refused = 0
    for number in range(300):
        try:
            record = done(store.read_one("micro", "t", f"k{number:03}"))
        except MicroError:
            refused += 1
        else:
            assert record is not None
            assert record.value == b"value %d" % number
    assert refused > 0
    assert str(path) in store.failure
    _stop(store, clock)
