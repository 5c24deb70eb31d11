"""What is SQLite's own: group commit, durability, clearing away, full disks."""

from __future__ import annotations

import shutil
import sqlite3
import stat
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from microd.kernel.errors import PreconditionFailed, Unavailable
from microd.kernel.health import Spread
from microd.services.store.backends import sqlite as subject
from microd.services.store.backends.sqlite import SqliteStore
from microd.services.store.backends.sqlite_file import UnusableFile
from microd.services.store.backends.worker import IWorker
from microd.services.store.errors import OutOfSpace
from microd.services.store.model import Limits, Query, Record
from microd.testing.outcome import StillWaitingError, done


class Held(IWorker):
    """A worker that does what it was asked when the test says so; by itself where C{held} is not set."""

    def __init__(self) -> None:
        self.held = False
        self.asked: list[Callable[[], None]] = []

    def start(self) -> None:
        pass

    def run(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        outcome: Deferred[Any] = Deferred()

        def work() -> None:
            Deferred.fromCoroutine(self._call(function, arguments)).chainDeferred(outcome)

        self.asked.append(work)
        if not self.held:
            self.release()
        return outcome

    async def _call(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        return function(*arguments)

    def release(self) -> None:
        asked, self.asked = self.asked, []
        for work in asked:
            work()

    def stop(self) -> None:
        pass


class Bench:
    """A store over a file, its clock and its writer."""

    def __init__(self, path: Path, limits: Limits | None = None, *, time: float = 1000) -> None:
        self.clock = Clock()
        self.clock.advance(time)
        self.workers: dict[str, Held] = {}
        self.store = SqliteStore(
            path, self.clock, workers=self._worker, now=self.clock.seconds, limits=limits
        )
        self.store.startService()
        self.writer = self.workers[f"{path.name}-writer"]
        self.commits = 0
        self.takes = 0.0
        perform = self.store._commits._perform

        def counted(writes: Any) -> Any:
            self.commits += 1
            self.clock.rightNow += self.takes
            return perform(writes)

        self.store._commits._perform = counted

    def _worker(self, _: object, name: str) -> Held:
        return self.workers.setdefault(name, Held())

    @property
    def writing(self) -> sqlite3.Connection:
        return self.store._writing._connection

    @property
    def scanning(self) -> sqlite3.Connection:
        connection = self.store._sweep_on
        assert connection is not None
        return connection

    def begin(self, coroutine: Coroutine[Any, Any, Any]) -> Deferred[Any]:
        return Deferred.fromCoroutine(coroutine)

    def do(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        deferred = self.begin(coroutine)
        self.clock.advance(0)
        return done(deferred)

    def put(self, key: str, value: bytes = b"v", expiry: float | None = None) -> Deferred[None]:
        return self.begin(self.store.write("micro", "t", Record(key, value, expiry)))

    def stop(self) -> None:
        self.writer.held = False
        self.writer.release()
        stopping = self.store.stopService()
        for _ in range(3):
            self.clock.advance(0)
        done(stopping)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "store.db")
    yield bench
    bench.stop()


def test_not_before_durable(bench: Bench) -> None:
    """A write is not acknowledged, nor read back, before its commit has returned."""
    bench.writer.held = True
    writing = bench.put("k")
    bench.clock.advance(0)
    with pytest.raises(StillWaitingError):
        done(writing)
    assert bench.do(bench.store.read_one("micro", "t", "k")) is None
    bench.writer.release()
    assert bench.do(bench.store.read_one("micro", "t", "k")).value == b"v"


def test_synced(bench: Bench) -> None:
    """The connection that writes waits for the disk at each commit, and logs ahead."""
    connection = bench.writing
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_group_commit(bench: Bench) -> None:
    """Writes of one turn share a commit, and so do all that come while one is under way."""
    first = [bench.put(f"a{number}") for number in range(50)]
    bench.writer.held = True
    bench.clock.advance(0)
    second = [bench.put(f"b{number}") for number in range(50)]
    bench.clock.advance(0)
    bench.writer.release()
    bench.clock.advance(0)
    bench.writer.release()
    for writing in [*first, *second]:
        done(writing)
    assert bench.commits == 2


def _slow_commit(bench: Bench) -> None:
    """One write is on its way to a slow disk, another waits behind it; then the first arrives."""
    bench.writer.held = True
    bench.takes = 0.01
    bench.put("a")
    bench.clock.advance(0)
    bench.put("b")
    bench.clock.advance(0)
    bench.writer.held = False
    bench.writer.release()


def test_waits_for_company(bench: Bench) -> None:
    """On a slow disk a commit waits for a writer who was just answered, and begins once that one is back."""
    _slow_commit(bench)
    assert bench.commits == 1
    again = bench.put("c")
    bench.clock.advance(0)
    done(again)
    assert bench.commits == 2
    assert list(bench.do(bench.store.list("micro", "t", Query()))) == ["a", "b", "c"]


def test_waits_in_vain(bench: Bench) -> None:
    """A writer who does not come back is waited for only half as long as a commit takes, and then not for a while."""
    _slow_commit(bench)
    bench.clock.advance(0.004)
    assert bench.commits == 1
    bench.clock.advance(0.002)
    assert bench.commits == 2
    _slow_commit(bench)
    assert bench.commits == 4


def test_order(bench: Bench) -> None:
    """Writes and deletions of one key take effect in the order in which they were asked for."""
    bench.put("k", b"1")
    bench.begin(bench.store.delete("micro", "t", "k"))
    bench.put("k", b"2")
    bench.put("j", b"1")
    bench.begin(bench.store.delete("micro", "t", "j"))
    bench.clock.advance(0)
    assert bench.commits == 1
    assert bench.do(bench.store.read_one("micro", "t", "k")).value == b"2"
    assert bench.do(bench.store.read_one("micro", "t", "j")) is None


def test_reads_renewed(bench: Bench) -> None:
    """A read sees every commit before it, also right after a read of the same key."""
    for number in range(5):
        value = b"%d" % number
        bench.do(bench.store.write("micro", "t", Record("k", value)))
        for _ in range(2):
            assert bench.do(bench.store.read_one("micro", "t", "k")).value == value


def test_log_is_emptied(bench: Bench, tmp_path: Path) -> None:
    """The log beside the file stays small under writes and reads without a pause, and nothing of it is lost."""
    log = tmp_path / "store.db-wal"
    largest = 0
    for number in range(60):
        bench.do(bench.store.write("micro", "t", Record(f"k{number}", b"v" * 1_000_000)))
        assert bench.do(bench.store.read_one("micro", "t", f"k{number}")) is not None
        largest = max(largest, log.stat().st_size)
    assert largest < 8 << 20
    assert len(bench.do(bench.store.list("micro", "t", Query()))) == 60


def test_log_outlasts_a_scan(bench: Bench, tmp_path: Path) -> None:
    """While a long scan is under way the log grows, without an attempt at each commit; afterwards it shrinks."""
    log = tmp_path / "store.db-wal"
    bench.do(bench.store.write("micro", "t", Record("first", b"v")))
    scan = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    scan.execute("BEGIN")
    scan.execute("SELECT * FROM record").fetchall()
    for number in range(20):
        bench.do(bench.store.write("micro", "t", Record(f"k{number}", b"v" * 1_000_000)))
    assert log.stat().st_size > 16 << 20
    scan.execute("COMMIT")
    scan.close()
    for number in range(10):
        bench.do(bench.store.write("micro", "t", Record(f"more{number}", b"v" * 1_000_000)))
    assert log.stat().st_size < 10 << 20


def test_survives(tmp_path: Path) -> None:
    """What was written is there after a stop and a start, even if it was still waiting when the stop came."""
    path = tmp_path / "store.db"
    before = Bench(path)
    writing = before.put("k")
    before.stop()
    done(writing)
    after = Bench(path)
    assert after.do(after.store.read_one("micro", "t", "k")).value == b"v"
    after.stop()


def test_stopped(tmp_path: Path) -> None:
    """A stopped store refuses, and says so."""
    bench = Bench(tmp_path / "store.db")
    bench.stop()
    with pytest.raises(Unavailable):
        bench.do(bench.store.read_one("micro", "t", "k"))
    with pytest.raises(Unavailable):
        bench.do(bench.store.read("micro", "t", Query()))
    with pytest.raises(Unavailable):
        bench.do(bench.store.write("micro", "t", Record("k", b"")))


def test_private(tmp_path: Path) -> None:
    """The file, and the log beside it, are nobody else's to read."""
    bench = Bench(tmp_path / "new" / "store.db")
    bench.do(bench.store.write("micro", "t", Record("k", b"")))
    modes = {stat.S_IMODE(each.stat().st_mode) for each in (tmp_path / "new").iterdir()}
    assert modes == {0o600}
    bench.stop()


def test_full(bench: Bench) -> None:
    """A full disk fails the write which does not fit, with words for it, and none of those beside it."""
    connection = bench.writing
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + 4}")
    small, large, other = bench.put("small"), bench.put("large", b"v" * 1_000_000), bench.put("other")
    bench.clock.advance(0)
    done(small)
    done(other)
    with pytest.raises(OutOfSpace, match="disk is full"):
        done(large)
    assert list(bench.do(bench.store.list("micro", "t", Query()))) == ["other", "small"]
    connection.execute("PRAGMA max_page_count = 1000000")
    bench.do(bench.store.write("micro", "t", Record("large", b"v" * 1_000_000)))


def test_failed_commit(bench: Bench) -> None:
    """A commit that fails fails its own writes, and not those of the next one."""

    def broken(writes: Any) -> Any:
        raise sqlite3.OperationalError("disk I/O error")

    perform = bench.store._commits._perform
    bench.store._commits._perform = broken
    first = bench.put("a")
    bench.clock.advance(0)
    with pytest.raises(Exception, match="disk I/O error"):
        done(first)
    bench.store._commits._perform = perform
    second = bench.put("b")
    bench.clock.advance(0)
    done(second)
    assert list(bench.do(bench.store.list("micro", "t", Query()))) == ["b"]


def test_backlog(tmp_path: Path) -> None:
    """Who writes faster than the disk is refused before memory runs out, and served again afterwards."""
    bench = Bench(tmp_path / "store.db", Limits(waiting=1000))
    bench.writer.held = True
    first = bench.put("a", b"v" * 900)
    bench.clock.advance(0)
    with pytest.raises(Unavailable, match="as fast"):
        done(bench.put("b", b"v" * 900))
    bench.writer.release()
    done(first)
    bench.writer.held = False
    bench.clock.advance(0)
    bench.do(bench.store.write("micro", "t", Record("b", b"v" * 900)))
    bench.stop()


def test_versions_survive(tmp_path: Path) -> None:
    """After a crash no version is given again, not even where the clock was set back, nor those of lost writes."""
    last = 0
    for number, now in enumerate((5000.0, 4000.0, 6000.0)):
        path = tmp_path / str(number) / "store.db"
        bench = Bench(path, time=now)
        for _ in range(3):
            version = bench.do(bench.store.write("micro", "t", Record("k", b"v")))
            assert version > last
            last = version
        bench.do(bench.store.delete("micro", "t", "k"))
        shutil.copytree(path.parent, tmp_path / str(number + 1))
        bench.stop()


def test_versions_beyond_the_block(bench: Bench) -> None:
    """What was reserved is reserved again before it is used up."""
    versions = bench.store._versions
    for _ in range(3):
        bench.do(bench.store.write("micro", "t", Record("k", b"v")))
        assert versions.last < versions.reserved
        versions.last = versions.reserved
    (said,) = bench.scanning.execute("SELECT said FROM fact WHERE name = 'versions'").fetchone()
    assert said == versions.reserved


def test_conditions_in_a_commit(bench: Bench) -> None:
    """In one commit, each condition sees the writes before it, and who is refused stops nobody else."""
    outcomes = [
        bench.begin(bench.store.write("micro", "t", Record("k", value), if_version=0))
        for value in (b"first", b"second")
    ]
    other = bench.put("other")
    bench.clock.advance(0)
    assert bench.commits == 1
    done(outcomes[0])
    with pytest.raises(PreconditionFailed):
        done(outcomes[1])
    done(other)
    assert bench.do(bench.store.read_one("micro", "t", "k")).value == b"first"


def test_damaged_value(bench: Bench) -> None:
    """A value that the disk changed is not shown: neither by key nor among others."""
    bench.do(bench.store.write("micro", "t", Record("k", b"value")))
    bench.writing.execute("UPDATE record SET value = 'valve'")
    for reading in (
        bench.store.read_one("micro", "t", "k"),
        bench.store.read("micro", "t", Query()),
    ):
        with pytest.raises(Exception, match="checksum"):
            bench.do(reading)


def test_sweep(bench: Bench) -> None:
    """Expired records are cleared away, a few in each commit, and none that lives."""
    for number in range(1200):
        bench.put(f"k{number}", expiry=bench.clock.seconds() + 5)
    bench.put("stays")
    bench.put("later", expiry=bench.clock.seconds() + 500)
    bench.clock.advance(0)
    bench.commits = 0
    for _ in range(10):
        bench.clock.advance(subject.SWEEP_EVERY / 2)
    rows = bench.scanning.execute("SELECT key FROM record").fetchall()
    assert rows == [("later",), ("stays",)]
    assert bench.commits == 3


MANY = """
WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 1000000)
INSERT INTO record SELECT 'micro', 't', printf('k%07d', n), 1, 500.0, 0, NULL, x'76' FROM number
"""


def test_a_million_expired(bench: Bench) -> None:
    """However many records expired at once, each commit clears a few of them, and who writes meanwhile waits for one such."""
    bench.writing.execute(MANY)
    bench.writer.held = True
    bench.clock.advance(subject.SWEEP_EVERY)
    commits: list[float] = []
    for number in range(100):
        writing = bench.put(f"other{number}")
        for _ in range(2):
            bench.clock.advance(0)
            begun = time.perf_counter()
            bench.writer.release()
            commits.append(time.perf_counter() - begun)
        done(writing)
    assert max(commits) < 0.5
    (left,) = bench.scanning.execute("SELECT count(*) FROM record WHERE key < 'l'").fetchone()
    assert 1_000_000 - 200 * subject.SWEEP_AT_ONCE <= left < 1_000_000 - 40 * subject.SWEEP_AT_ONCE


def test_sweep_of_large_values(bench: Bench) -> None:
    """Of large values fewer are cleared away at once."""
    for number in range(12):
        bench.do(bench.store.write("micro", "t", Record(f"k{number}", b"v" * (1 << 20), 1005)))
    bench.commits = 0
    bench.clock.advance(subject.SWEEP_EVERY)
    bench.clock.pump([0.0] * 20)
    assert bench.scanning.execute("SELECT count(*) FROM record").fetchone() == (0,)
    assert bench.commits == 3


def test_sweep_spares_what_was_written_again(bench: Bench) -> None:
    """A record that is written anew between the look and the sweep stays."""
    bench.do(bench.store.write("micro", "t", Record("k", b"old", 1005)))
    bench.clock.advance(6)
    found = bench.store._expired(bench.clock.seconds())
    assert len(found) == 1
    bench.do(bench.store.write("micro", "t", Record("k", b"new", 5000)))
    clearing = bench.store._commits.submit(found, 0)
    bench.clock.advance(0)
    done(clearing)
    assert bench.do(bench.store.read_one("micro", "t", "k")).value == b"new"


def test_cancelled(bench: Bench) -> None:
    """A writer who went away does not disturb those who wait with it."""
    gone, other = bench.put("gone"), bench.put("other")
    gone.addErrback(lambda failure: None)
    gone.cancel()
    bench.clock.advance(0)
    done(other)
    assert list(bench.do(bench.store.list("micro", "t", Query()))) == ["gone", "other"]


def test_later_release(tmp_path: Path) -> None:
    """A file of a later release is refused, not misread."""
    path = tmp_path / "store.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    store = SqliteStore(path, Clock(), workers=lambda _, name: Held())
    with pytest.raises(UnusableFile, match="later release"):
        store.startService()


def test_no_database(tmp_path: Path) -> None:
    """A file that is no database is named in one sentence, and left as it is."""
    path = tmp_path / "store.db"
    path.write_bytes(b"something else entirely\n" * 500)
    store = SqliteStore(path, Clock(), workers=lambda _, name: Held())
    with pytest.raises(UnusableFile, match=f"{path} cannot be used: file is not a database"):
        store.startService()
    assert path.read_bytes() == b"something else entirely\n" * 500


def test_commit_times(bench: Bench) -> None:
    """Operators see what commits take."""
    _slow_commit(bench)
    (spread,) = [
        value for figure in bench.store.figures() for _, value in figure.samples if isinstance(value, Spread)
    ]
    assert (sum(spread.counts), round(spread.total, 6)) == (1, 0.01)
    bench.clock.advance(1)
    assert sum(spread.counts) == 2
