"""Every embedded backend keeps the contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from microd.services.store.backends import scans, sqlite_walk
from microd.services.store.backends.memory import MemoryStore
from microd.services.store.backends.sqlite import SqliteStore
from microd.services.store.backends.worker import Inline
from microd.testing.outcome import done
from microd.testing.store_contract import LIMITS, StoreContract, Subject


class TestMemory(StoreContract):
    """The specification."""

    @pytest.fixture
    def contract(self) -> Subject:
        clock = Clock()
        clock.advance(1000)
        return Subject(MemoryStore(now=clock.seconds, limits=LIMITS), clock.advance, clock.seconds, done)


class TestSqlite(StoreContract):
    """The embedded default."""

    @pytest.fixture
    def contract(self, tmp_path: Path) -> Iterator[Subject]:
        clock = Clock()
        clock.advance(1000)
        store = SqliteStore(
            tmp_path / "store.db", clock, workers=lambda _, name: Inline(), now=clock.seconds, limits=LIMITS
        )
        store.startService()

        def finish(coroutine: Any) -> Any:
            deferred = Deferred.fromCoroutine(coroutine)
            clock.advance(0)
            return done(deferred)

        yield Subject(store, clock.advance, clock.seconds, finish)
        stopping = store.stopService()
        clock.advance(0)
        done(stopping)


class TestSqliteInSlices(TestSqlite):
    """However short the slices are in which it scans."""

    @pytest.fixture(autouse=True)
    def short(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for module, name, value in (
            (scans, "FIRST", 0),
            (scans, "SLICE", 0),
            (sqlite_walk, "STRIDE", 2),
            (sqlite_walk, "HANDFUL", 1),
        ):
            monkeypatch.setattr(module, name, value)
