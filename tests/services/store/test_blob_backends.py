"""Every embedded store of blobs keeps the contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from microd.services.store.backends.memory import MemoryStore
from microd.services.store.backends.sqlite import SqliteStore
from microd.services.store.backends.worker import Inline
from microd.services.store.blobs.backends.files import FileBlobs
from microd.services.store.blobs.backends.memory import MemoryBlobs
from microd.testing.blob_contract import LIMITS, BlobContract, Subject
from microd.testing.outcome import done


class TestMemory(BlobContract):
    """The specification."""

    @pytest.fixture
    def contract(self) -> Subject:
        return Subject(MemoryBlobs(now=lambda: 1000.5, limits=LIMITS), lambda: 1000.5, done)


class TestFiles(BlobContract):
    """Files, with an index in memory."""

    @pytest.fixture
    def contract(self, tmp_path: Path) -> Iterator[Subject]:
        store = FileBlobs(tmp_path, MemoryStore(), Inline(), now=lambda: 1000.5, limits=LIMITS)
        store.startService()
        yield Subject(store, store.now, done)
        done(store.stopService())


class TestFilesAndSqlite(BlobContract):
    """The embedded default."""

    @pytest.fixture
    def contract(self, tmp_path: Path) -> Iterator[Subject]:
        clock = Clock()
        index = SqliteStore(tmp_path / "index.db", clock, workers=lambda _, name: Inline(), now=clock.seconds)
        store = FileBlobs(tmp_path, index, Inline(), now=lambda: 1000.5, limits=LIMITS)

        def finish(coroutine: Any) -> Any:
            deferred = Deferred.fromCoroutine(coroutine)
            clock.advance(0)
            return done(deferred)

        index.startService()
        store.startService()
        yield Subject(store, store.now, finish)
        done(store.stopService())
        stopping = index.stopService()
        clock.advance(0)
        done(stopping)
