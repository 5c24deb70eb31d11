"""Scans take turns, whatever each of them costs."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from microd.kernel.errors import Unavailable
from microd.services.store.backends import scans as subject
from microd.services.store.backends import sqlite as store_module
from microd.services.store.backends import sqlite_walk
from microd.services.store.backends.scans import Scans, Work
from microd.services.store.backends.sqlite import SqliteStore
from microd.services.store.backends.worker import IWorker
from microd.services.store.model import Query, Record
from microd.testing.outcome import done


class Steps(IWorker):
    """A worker that does one thing at each step."""

    def __init__(self) -> None:
        self.asked: list[Callable[[], object]] = []

    def start(self) -> None:
        pass

    def run(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        outcome: Deferred[Any] = Deferred()

        async def call() -> Any:
            return function(*arguments)

        self.asked.append(lambda: Deferred.fromCoroutine(call()).chainDeferred(outcome))
        return outcome

    def step(self) -> None:
        self.asked.pop(0)()

    def finish(self) -> None:
        while self.asked:
            self.step()

    def stop(self) -> None:
        pass


class Bench:
    """Scans of things which take a given number of slices."""

    def __init__(self) -> None:
        self.worker = Steps()
        self.now = 0.0
        self.scans = Scans(self.worker, lambda: self.now)
        self.connections: list[sqlite3.Connection] = []
        self.scans.start(self._connect)
        self.said: list[str] = []

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connections.append(connection)
        return connection

    def scan(self, name: str, slices: int, database: str = "micro") -> Deferred[str]:
        def work(connection: sqlite3.Connection) -> Work[str]:
            assert connection.in_transaction
            for _ in range(slices - 1):
                self.now += 1
                yield
            return name

        scanning = self.scans.run(database, work)
        scanning.addCallback(self.said.append)
        return scanning

    def check_idle(self) -> None:
        """Nothing is under way, and nothing was forgotten."""
        assert len(self.scans._free) == subject.CONNECTIONS
        assert not any(connection.in_transaction for connection in self.connections)
        assert not self.worker.asked


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    for connection in bench.connections:
        connection.close()


@pytest.mark.parametrize("database", ["acme", "micro"])
def test_short_beside_long(bench: Bench, database: str) -> None:
    """A short scan does not wait for the end of a long one, of another database or of its own."""
    bench.scan("long", 100)
    bench.worker.step()
    bench.scan("short", 1, database)
    bench.worker.step()
    bench.worker.step()
    assert bench.said == ["short"]
    bench.worker.finish()
    assert bench.said == ["short", "long"]
    bench.check_idle()


def test_beside_many(bench: Bench) -> None:
    """However many scans one database waits for, another one waits for a few slices only."""
    for number in range(30):
        bench.scan(f"long {number}", 20)
    bench.worker.step()
    bench.scan("short", 1, "acme")
    bench.scan("not so short", 3, "acme")
    for _ in range(15):
        bench.worker.step()
    assert bench.said == ["short", "not so short"]
    bench.worker.finish()
    assert len(bench.said) == 32
    bench.check_idle()


def test_all_long(bench: Bench) -> None:
    """Long scans of more databases than there are connections come to their ends, and short ones pass between them."""
    for number in range(9):
        bench.scan(f"long {number}", 30, f"db{number}")
    for _ in range(20):
        bench.worker.step()
    bench.scan("short", 1, "acme")
    for _ in range(2):
        bench.worker.step()
    assert bench.said == ["short"]
    bench.worker.finish()
    assert len(bench.said) == 10
    bench.check_idle()


@pytest.mark.parametrize("steps", [0, 1, 2, 5])
def test_dropped(bench: Bench, steps: int) -> None:
    """A scan whose caller has gone is not gone on with, wherever it is."""
    scanning = [bench.scan(f"long {number}", 10_000) for number in range(3)]
    for _ in range(steps):
        bench.worker.step()
    for each in scanning:
        each.cancel()
        with pytest.raises(CancelledError):
            done(each)
    bench.scan("short", 1)
    bench.worker.finish()
    assert bench.said == ["short"]
    assert bench.now < 10
    bench.check_idle()


def test_dropped_at_work(bench: Bench) -> None:
    """A caller who goes while the worker is at his scan ends it at the next chance."""

    def work(_: sqlite3.Connection) -> Work[None]:
        while True:
            yield
            if bench.now == 0:
                scanning.cancel()
            assert bench.now < 1e-3
            bench.now += 1e-4

    scanning: Deferred[None] = bench.scans.run("micro", work)
    bench.worker.finish()
    with pytest.raises(CancelledError):
        done(scanning)
    bench.check_idle()


def test_failed(bench: Bench) -> None:
    """A scan that fails, at once or later, is told so, and others go on."""

    def work(connection: sqlite3.Connection) -> Work[None]:
        for _ in range(3):
            bench.now += 1
            yield
        raise sqlite3.OperationalError("disk I/O error")

    scanning: Deferred[None] = bench.scans.run("micro", work)
    bench.scan("short", 1)
    bench.worker.finish()
    with pytest.raises(sqlite3.OperationalError):
        done(scanning)
    assert bench.said == ["short"]
    bench.check_idle()


def test_too_many(bench: Bench) -> None:
    """More scans of a database than may wait are refused, which others do not notice."""
    for _ in range(subject.MOST_WAITING + 1):
        bench.scan("short", 1)
    with pytest.raises(Unavailable, match=f"{subject.MOST_WAITING} .* the database micro .* try again"):
        bench.scan("refused", 1)
    bench.scan("other", 1, "acme")
    bench.worker.finish()
    assert len(bench.said) == subject.MOST_WAITING + 2
    bench.scan("again", 1)
    bench.worker.finish()


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_stopped(bench: Bench, steps: int) -> None:
    """Scans which are not over when the store stops are told so."""
    scanning = [bench.scan(f"long {number}", 10, f"db{number % 2}") for number in range(5)]
    for _ in range(steps):
        bench.worker.step()
    stopping = Deferred.fromCoroutine(bench.scans.stop())
    bench.worker.finish()
    done(stopping)
    for each in scanning:
        with pytest.raises(Unavailable, match="stopping"):
            done(each)


class Store:
    """A store whose scanner does a step at a time, each as short as can be."""

    def __init__(self, path: Path) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.scanner = Steps()
        self.writer = Steps()
        self.store = SqliteStore(path, self.clock, workers=self._worker, now=self.clock.seconds)
        self.store.startService()

    def _worker(self, _: object, name: str) -> Steps:
        return self.scanner if name.endswith("scanner") else self.writer

    def put(self, key: str, expiry: float | None = None) -> None:
        writing = Deferred.fromCoroutine(self.store.write("micro", "t", Record(key, b"v", expiry)))
        self.commit()
        done(writing)

    def commit(self) -> None:
        self.clock.advance(0)
        self.writer.finish()
        self.clock.advance(0)

    def stop(self) -> None:
        stopping = self.store.stopService()
        self.commit()
        self.scanner.finish()
        done(stopping)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    for name in ("FIRST", "SLICE"):
        monkeypatch.setattr(subject, name, 0.0)
    monkeypatch.setattr(sqlite_walk, "STRIDE", 2)
    monkeypatch.setattr(sqlite_walk, "HANDFUL", 1)
    store = Store(tmp_path / "store.db")
    yield store
    store.stop()


@pytest.mark.parametrize(
    "query", [Query(suffix="0"), Query(offset=1), Query(), Query(suffix="0", descending=True)]
)
def test_one_moment(store: Store, query: Query) -> None:
    """A list that takes many slices is as of one moment, though others write meanwhile."""
    for number in range(20):
        store.put(f"{number:02}0")
    want = [f"{number:02}0" for number in range(query.offset, 20)]
    listing = Deferred.fromCoroutine(store.store.list("micro", "t", query))
    slices = 0
    while store.scanner.asked:
        store.scanner.step()
        slices += 1
        store.put(f"{slices:02}5 0")
    assert slices >= 10
    assert done(listing) == sorted(want, reverse=query.descending)
    again = Deferred.fromCoroutine(store.store.list("micro", "t", Query()))
    store.scanner.finish()
    assert len(done(again)) == 20 + slices


def test_sweep_beside_scans(store: Store) -> None:
    """Expired records are cleared away while scans wait, and those which began before go on to see their moment."""
    for number in range(20):
        store.put(f"k{number}", expiry=1002)
    listing = [Deferred.fromCoroutine(store.store.list("micro", "t", Query(suffix="1"))) for _ in range(5)]
    for _ in range(3):
        store.scanner.step()
    store.clock.advance(store_module.SWEEP_EVERY)
    for _ in range(3):
        store.scanner.step()
        store.commit()
    assert not listing[0].called
    store.writer.finish()
    assert store.store._sweep_on is not None
    assert store.store._sweep_on.execute("SELECT count(*) FROM record").fetchone() == (0,)
    store.scanner.finish()
    assert done(listing[0]) == ["k1", "k11"]
