"""Logs in a file: what is on disk is what was acknowledged."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from microd.kernel.errors import Internal
from microd.services.store.backends.sqlite import SqliteStore
from microd.services.store.backends.worker import Inline
from microd.testing.outcome import done

Rest = Any
Told = Any


class Files:
    """Stores in files, which are closed when the test is over."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self._open: list[SqliteStore] = []

    def use(self, path: Path) -> SqliteStore:
        """Go on with the logs of a file."""
        rest = self._rest
        store = SqliteStore(path, rest.clock, workers=lambda *_: Inline(), now=rest.clock.seconds)
        store.startService()
        self._open.append(store)
        rest.store = store
        rest.again()
        return store

    def close(self) -> None:
        """Close all; those which a crash is to have met, too."""
        for store in self._open:
            stopping = store.stopService()
            self._rest.turns()
            done(stopping)
        self._open.clear()


@pytest.fixture
def files(rest: Rest) -> Iterator[Files]:
    """Stores in files."""
    found = Files(rest)
    yield found
    found.close()


def test_stop_and_start(rest: Rest, files: Files, told: Told, tmp_path: Path) -> None:
    """After a stop and a start all events are there, and offsets go on."""
    path = tmp_path / "events.db"
    files.use(path)
    for number in range(300):
        rest.submit(told, b"%d" % number)
        rest.turns(3)
    rest.turns()
    assert told.offsets == list(range(1, 301))
    files.close()
    files.use(path)
    assert rest.payloads(1, 1000) == [b"%d" % number for number in range(300)]
    (event,) = rest.publish(b"next")
    assert event.offset == 301


def test_crash(rest: Rest, files: Files, told: Told, tmp_path: Path) -> None:
    """Whatever was acknowledged when the daemon died is in the file, under the offset which was told."""
    path = tmp_path / "events.db"
    files.use(path)
    for number in range(50):
        rest.submit(told, b"%d" % number, b"x")
        rest.turns(2)
    copy = tmp_path / "copy"
    copy.mkdir()
    acknowledged = list(told.stored_at)
    for name in ("events.db", "events.db-wal"):
        shutil.copy(tmp_path / name, copy / name)
    files.use(copy / "events.db")
    found = {event.offset: event.payload for event in rest.done(rest.log().read(1, 1000))}
    assert acknowledged
    assert all(found[offset] == token for token, _, offset in acknowledged)
    assert sorted(found) == list(range(1, len(found) + 1))
    (event,) = rest.publish(b"next")
    assert event.offset == len(found) + 1


def test_damage(rest: Rest, files: Files, tmp_path: Path) -> None:
    """A block whose checksum is wrong is an error that names the topic's table; other topics can be read."""
    path = tmp_path / "events.db"
    files.use(path)
    for number in range(3):
        rest.publish(b"%d" % number)
    rest.publish(b"fine", topic="bills")
    files.close()
    files.use(path)
    log = rest.log()
    with closing(sqlite3.connect(path)) as connection, connection:
        key = f"{2:016x}"
        connection.execute("UPDATE record SET sum = sum + 1 WHERE tbl = 'log:orders' AND key = ?", (key,))
    with pytest.raises(Internal, match="log:orders"):
        rest.done(log.read(2, 10))
    assert rest.payloads(topic="bills") == [b"fine"]
    assert rest.store.failure


def test_many_topics(rest: Rest, files: Files, told: Told, tmp_path: Path) -> None:
    """Events of many topics which come in one turn are one commit."""
    store = files.use(tmp_path / "events.db")
    for number in range(200):
        rest.submit(told, b"x", topic=f"t{number}")
    rest.turns()
    before = store._commits.commits
    for number in range(200):
        rest.submit(told, b"x", topic=f"t{number}")
    rest.turns()
    assert store._commits.commits == before + 1
    assert len(told.offsets) == 400
    files.use(tmp_path / "events.db")
    assert len(rest.logs.names("acme", "", 1000)[0]) == 200
    assert rest.payloads(topic="t77") == [b"x", b"x"]
