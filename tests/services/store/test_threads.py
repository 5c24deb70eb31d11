"""The store with its threads, on the reactor that the daemon has."""

from __future__ import annotations

from pathlib import Path

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from microd.services.store.backends.sqlite import SqliteStore
from microd.services.store.model import Query, Record


async def _write(store: SqliteStore, lane: int) -> None:
    for number in range(50):
        key = f"{lane}/{number}"
        await store.write("micro", "t", Record(key, b"1"))
        await store.write("micro", "t", Record(key, b"2"))
        found = await store.read_one("micro", "t", key)
        assert found is not None
        assert found.value == b"2", "an acknowledged write is not seen"


async def _scan(store: SqliteStore) -> None:
    seen = 0
    while seen < 1000:
        keys = await store.list("micro", "t", Query())
        assert len(keys) >= seen, "what was there is gone"
        assert list(keys) == sorted(keys)
        seen = len(keys)


@pytest_twisted.ensureDeferred
async def test_together(tmp_path: Path) -> None:
    """Writers, readers and scans at work at once see what was acknowledged, and nothing is lost over a restart."""
    path = tmp_path / "store.db"
    store = SqliteStore(path, reactor)
    store.startService()
    work = [Deferred.fromCoroutine(_write(store, lane)) for lane in range(20)]
    await gatherResults([*work, Deferred.fromCoroutine(_scan(store))], consumeErrors=True)
    await store.stopService()
    again = SqliteStore(path, reactor)
    again.startService()
    records = await again.read("micro", "t", Query())
    assert len(records) == 1000
    assert {record.value for record in records} == {b"2"}
    await again.stopService()


@pytest_twisted.ensureDeferred
async def test_stopped_at_work(tmp_path: Path) -> None:
    """A store that is stopped at once finishes what was asked of it before."""
    store = SqliteStore(tmp_path / "store.db", reactor)
    store.startService()
    writing = [
        Deferred.fromCoroutine(store.write("micro", "t", Record(f"k{number}", b""))) for number in range(500)
    ]
    stopping = store.stopService()
    await gatherResults(writing)
    await stopping
