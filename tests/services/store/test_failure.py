"""A disk that fails under a running store: what was acknowledged stays, and nothing more is acknowledged."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from microd.kernel.errors import Internal, MicroError
from microd.services.store.backends import sqlite as subject
from microd.services.store.backends.sqlite import SqliteStore
from microd.services.store.backends.worker import Inline
from microd.services.store.errors import OutOfSpace, StoreFailed
from microd.services.store.model import Query, Record
from microd.testing.outcome import done


def error(name: str, text: str = "disk I/O error") -> sqlite3.OperationalError:
    """As SQLite raises it."""
    made = sqlite3.OperationalError(text)
    made.sqlite_errorcode = getattr(sqlite3, name)
    made.sqlite_errorname = name
    return made


class Faulty:
    """A connection some of whose statements fail.

    @ivar fails: what those which begin so raise; a statement outside a transaction begins and commits one itself.
    @ivar heard: all statements.
    """

    def __init__(self, real: sqlite3.Connection) -> None:
        self._real = real
        self.fails: dict[str, Exception] = {}
        self.heard: list[str] = []

    def execute(self, sql: str, *parameters: Any) -> Any:
        self.heard.append(sql)
        alone = sql.lstrip().startswith("INSERT") and not self._real.in_transaction
        for begin, problem in self.fails.items():
            if sql.startswith(begin) or (alone and begin in ("BEGIN", "COMMIT")):
                raise problem
        return self._real.execute(sql, *parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class Machine:
    """A store over a file, and its disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = Clock()
        self.clock.advance(1000)
        self.store = SqliteStore(path, self.clock, workers=lambda _, name: Inline(), now=self.clock.seconds)
        self.store.startService()
        writer: Any = self.store._writing
        self.disk = Faulty(writer._connection)
        writer._connection = self.disk
        writer._log._connection = self.disk

    def do(self, coroutine: Any) -> Any:
        deferred = Deferred.fromCoroutine(coroutine)
        self.clock.advance(0)
        return done(deferred)

    def put(self, key: str, value: bytes = b"v", expiry: float | None = None) -> Any:
        return self.do(self.store.write("micro", "t", Record(key, value, expiry)))

    def value(self, key: str) -> bytes | None:
        record = self.do(self.store.read_one("micro", "t", key))
        return None if record is None else bytes(record.value)

    def all(self) -> list[str]:
        return list(self.do(self.store.list("micro", "t", Query())))

    def refusal(self, key: str = "more") -> MicroError:
        """What a writer hears."""
        with pytest.raises(MicroError) as refused:
            self.put(key)
        return refused.value

    def stop(self) -> None:
        stopping = self.store.stopService()
        self.clock.advance(0)
        done(stopping)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A store with one record."""
    machine = Machine(tmp_path / "store.db")
    machine.put("kept")
    yield machine
    machine.stop()


FATAL = [
    "SQLITE_IOERR_FSYNC",
    "SQLITE_IOERR_WRITE",
    "SQLITE_IOERR",
    "SQLITE_CORRUPT",
    "SQLITE_READONLY",
    "SQLITE_CANTOPEN",
]


@pytest.mark.parametrize("name", FATAL)
def test_failed_commit(machine: Machine, name: str) -> None:
    """After a commit that the disk failed, nothing more is written, whoever asks, and nothing is tried again."""
    machine.disk.fails["COMMIT"] = error(name)
    first = machine.refusal("first")
    assert isinstance(first, StoreFailed)
    assert first.code == 500
    assert "after the next start" in first.detail
    machine.disk.fails.clear()
    heard = len(machine.disk.heard)
    second = machine.refusal("second")
    assert second.code == 503
    for said in (second.detail, machine.store.failure):
        assert str(machine.path) in said
        assert name in said
    assert "restart" in second.detail
    with pytest.raises(StoreFailed):
        machine.do(machine.store.delete("micro", "t", "kept"))
    assert machine.disk.heard[heard:] == []
    assert (
        machine.store.ill()
        == f"{machine.store.failure}; no more writes are taken: check the disk, then restart the daemon"
    )
    failed = next(figure for figure in machine.store.figures() if figure.name == "microd_store_failed")
    assert failed.samples == [({"file": "store.db"}, 1)]


def test_reads_go_on(machine: Machine) -> None:
    """Reads show what was acknowledged before the failure, and nothing else."""
    machine.disk.fails["COMMIT"] = error("SQLITE_IOERR_FSYNC")
    machine.refusal("lost")
    assert machine.value("kept") == b"v"
    assert machine.value("lost") is None
    assert machine.all() == ["kept"]
    assert machine.do(machine.store.tables("micro")) == ["t"]


def test_one_statement(machine: Machine) -> None:
    """Puts which share a commit are one statement; of several to one place the last counts."""
    before = len(machine.disk.heard)
    writing = [
        Deferred.fromCoroutine(machine.store.write("micro", "t", Record(key, b"%d" % number)))
        for number in range(32)
        for key in ("same", f"k{number}")
    ]
    machine.clock.advance(0)
    versions = [done(each) for each in writing]
    assert len(machine.disk.heard) == before + 1
    assert versions == sorted(set(versions))
    assert machine.value("same") == b"31"
    assert machine.value("k7") == b"7"


def test_those_who_wait(machine: Machine) -> None:
    """Who waits behind a commit that fails is refused as well; each is told by an error of its own."""
    machine.disk.fails["COMMIT"] = error("SQLITE_IOERR_FSYNC")
    writing = [
        Deferred.fromCoroutine(machine.store.write("micro", "t", Record(f"k{number}", b"")))
        for number in range(5000)
    ]
    machine.clock.advance(0)
    refusals = set()
    codes = set()
    for each in writing:
        with pytest.raises(StoreFailed) as refused:
            done(each)
        refusals.add(id(refused.value))
        codes.add(refused.value.code)
    assert len(refusals) == 5000
    assert codes == {500, 503}


def test_failed_checkpoint(machine: Machine) -> None:
    """When the log cannot be moved into the file, the write before it stands, and no other is taken."""
    machine.disk.fails["PRAGMA wal_checkpoint"] = error("SQLITE_IOERR_FSYNC")
    machine.put("large", b"v" * (5 << 20))
    assert machine.value("large") == b"v" * (5 << 20)
    assert "SQLITE_IOERR_FSYNC" in machine.store.failure
    assert machine.refusal().code == 503


def test_full_checkpoint(machine: Machine) -> None:
    """Where the file has no room for what is in the log, that waits in the log, and writes go on."""
    machine.disk.fails["PRAGMA wal_checkpoint"] = error("SQLITE_FULL", "database or disk is full")
    machine.put("large", b"v" * (5 << 20))
    machine.put("small")
    machine.disk.fails.clear()
    machine.put("large again", b"v" * (5 << 20))
    assert machine.store.failure == ""
    assert machine.all() == ["kept", "large", "large again", "small"]


def test_no_checkpoint_after_a_failure(tmp_path: Path) -> None:
    """A store which failed leaves file and log as they are when it stops; the next start has all that was acknowledged."""
    path = tmp_path / "store.db"
    machine = Machine(path)
    for number in range(10):
        machine.put(f"k{number}")
    machine.disk.fails["COMMIT"] = error("SQLITE_IOERR_FSYNC")
    machine.refusal()
    before = [each.read_bytes() for each in (path, Path(f"{path}-wal"))]
    machine.stop()
    assert [each.read_bytes() for each in (path, Path(f"{path}-wal"))] == before
    again = Machine(path)
    assert [key for key in again.all() if key.startswith("k")] == [f"k{number}" for number in range(10)]
    again.put("more")
    again.stop()
    assert not Path(f"{path}-wal").exists()


@pytest.mark.parametrize("name", ["SQLITE_FULL", "SQLITE_IOERR_SHMSIZE"])
def test_full(machine: Machine, name: str) -> None:
    """A full disk refuses the write, changes nothing, and is no failure: the next write finds room."""
    machine.disk.fails["COMMIT"] = error(name, "database or disk is full")
    refused = machine.refusal()
    assert isinstance(refused, OutOfSpace)
    assert refused.code == 507
    assert machine.store.failure == ""
    machine.disk.fails.clear()
    assert machine.all() == ["kept"]
    machine.put("more")


def test_room_is_left(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the disk is full to the brim, writes are refused; deletions still have room, and make it."""
    log = machine.store._writing._log
    free = 1 << 20
    monkeypatch.setattr(log, "look", lambda: setattr(log, "_free", free))
    machine.put("small", b"v" * 1000)
    free = 100_000
    assert isinstance(machine.refusal(), OutOfSpace)
    assert machine.store.ill() == f"{machine.path}: the disk is full, and writes are refused; make room"
    machine.do(machine.store.delete("micro", "t", "small"))
    assert machine.all() == ["kept"]
    free = 1 << 30
    machine.put("more")
    assert machine.store.ill() is None


def test_large_writes_refused(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store which refused a write for want of room is ill until such a write has room, whatever else is written."""
    log = machine.store._writing._log
    free = 1 << 20
    monkeypatch.setattr(log, "look", lambda: setattr(log, "_free", free))
    assert machine.store.ill() is None
    with pytest.raises(OutOfSpace):
        machine.put("large", b"v" * 600_000)
    said = machine.store.ill()
    assert said is not None
    assert "the disk is full" in said
    machine.put("small")
    with pytest.raises(OutOfSpace):
        machine.put("less", b"v" * 500_000)
    free = int(1.2 * (1 << 20))
    assert machine.store.ill() == said
    free = 2 << 20
    assert machine.store.ill() is None
    free = 1 << 20
    assert machine.store.ill() is None, "what had room meanwhile is still missed"
    free = 2 << 20
    machine.put("large", b"v" * 600_000)
    assert machine.store.ill() is None


def test_full_is_said_once(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """That the disk is full is logged once, however many writes are refused, and that it has room again."""
    log = machine.store._writing._log
    free = 100_000
    monkeypatch.setattr(log, "look", lambda: setattr(log, "_free", free))
    with capturedLogs() as events:
        for _ in range(5):
            machine.refusal()
        machine.do(machine.store.delete("micro", "t", "kept"))
        machine.refusal()
        free = 1 << 30
        machine.put("more")
        machine.put("more")
    said = [formatEvent(event) for event in events]
    assert said == [
        f"{machine.path}: the disk is full, and writes are refused; make room",
        f"{machine.path}: the disk has room again",
    ]


def test_another_program(machine: Machine) -> None:
    """While another program keeps the file locked, writes are refused and nothing has failed."""
    machine.disk.fails["BEGIN"] = error("SQLITE_BUSY", "database is locked")
    assert "another program" in machine.refusal().detail
    machine.disk.fails.clear()
    machine.put("more")


def _damage(machine: Machine) -> None:
    machine.disk._real.execute("UPDATE record SET value = 'other' WHERE key = 'worse'")


@pytest.mark.parametrize("way", ["read_one", "read", "page"])
def test_damaged_value(machine: Machine, way: str) -> None:
    """A value which is not what was written is not shown: the read fails and names the file, and writes are refused."""
    machine.put("worse")
    _damage(machine)
    if way == "read_one":
        reading: Any = machine.store.read_one("micro", "t", "worse")
    else:
        reading = getattr(machine.store, way)("micro", "t", Query())
    with pytest.raises(Internal, match=f"{machine.path}.*checksum.*backup"):
        machine.do(reading)
    assert "checksum" in machine.store.failure
    assert machine.refusal().code == 503
    assert machine.value("kept") == b"v"


def test_seen_by_and_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What there was no time to look at when the store started is looked at afterwards."""
    path = tmp_path / "store.db"
    before = Machine(path)
    for number in range(3000):
        before.do(before.store.write("micro", "t", Record(f"k{number:04}", b"v")))
    before.put("worse")
    _damage(before)
    before.stop()
    monkeypatch.setattr(subject, "CHECK_SECONDS", 0.0)
    after = Machine(path)
    assert after.store.failure == ""
    after.clock.pump([0.0] * 20)
    assert "'worse'" in after.store.failure
    after.stop()


def test_stopped_while_looking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store may be stopped before it has looked at everything."""
    path = tmp_path / "store.db"
    before = Machine(path)
    before.put("k")
    before.stop()
    monkeypatch.setattr(subject, "CHECK_SECONDS", 0.0)
    after = Machine(path)
    after.stop()


def test_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all is well the look ends, and nothing is said."""
    path = tmp_path / "store.db"
    before = Machine(path)
    before.put("k")
    before.stop()
    monkeypatch.setattr(subject, "CHECK_SECONDS", 0.0)
    after = Machine(path)
    after.clock.pump([0.0] * 5)
    assert after.store._inspecting.called
    assert after.store.failure == ""
    after.stop()


def test_sweep_after_a_failure(machine: Machine) -> None:
    """Expired records stay where they are once writing is over, without a word for each look."""
    machine.put("old", expiry=1005)
    machine.disk.fails["COMMIT"] = error("SQLITE_IOERR_FSYNC")
    machine.refusal()
    machine.clock.pump([subject.SWEEP_EVERY] * 3)
    assert machine.value("old") is None


def test_copy_of_a_failed_store(machine: Machine, tmp_path: Path) -> None:
    """What is on disk at the moment of the failure is all that is needed to go on elsewhere."""
    machine.disk.fails["COMMIT"] = error("SQLITE_IOERR_FSYNC")
    machine.refusal()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(f"{machine.path}{suffix}", elsewhere)
    other = Machine(elsewhere / "store.db")
    assert other.value("kept") == b"v"
    other.stop()
