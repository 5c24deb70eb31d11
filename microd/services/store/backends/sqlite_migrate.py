"""Files of earlier releases, and how a file takes its place.

What is brought up to a later schema is written anew beside the old file, which stays as it was, under another name.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from microd.services.store.backends import sqlite_rows as rows

#: The version of all records which were written before there were versions.
UNVERSIONED = 1

_INSERT = """
INSERT INTO record (space, tbl, key, version, expires, sum, metadata, value) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""


def migrate(path: Path, connect: Callable[[Path], sqlite3.Connection]) -> None:
    """Bring a file from schema 1 to the present one; the old file stays beside it as C{PATH.schema-1}."""
    new = without_leftovers(path)
    os.close(os.open(new, os.O_RDWR | os.O_CREAT, 0o600))
    with closing(connect(path)) as old, closing(connect(new)) as made:
        # All of the old one is in its file then, which is to be kept as a whole.
        old.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        made.execute("PRAGMA journal_mode = OFF")
        made.executescript(rows.SCHEMA)
        made.execute("BEGIN")
        made.executemany(_INSERT, _rows(old))
        made.execute(f"PRAGMA user_version = {rows.SCHEMA_VERSION}")
        made.execute("COMMIT")
    kept = Path(f"{path}.schema-1")
    kept.unlink(missing_ok=True)
    try:
        os.link(path, kept)
    except OSError:
        # Not every file system has hard links.
        shutil.copy2(path, kept)
        _sync(kept)
    settle(new, path)


def _rows(old: sqlite3.Connection) -> Iterator[tuple[Any, ...]]:
    found = old.execute(
        "SELECT space, tbl, key, expires, metadata, value FROM record ORDER BY space, tbl, key"
    )
    for space, tbl, key, expires, metadata, value in found:
        sum = rows.checksum(space, tbl, key, UNVERSIONED, expires, metadata, value)
        yield space, tbl, key, UNVERSIONED, expires, sum, metadata, value


def without_leftovers(path: Path) -> Path:
    """Where a file is made before it takes its place; what an interrupted attempt left there is removed."""
    new = path.with_name(path.name + ".new")
    for suffix in ("", "-wal", "-shm", "-journal"):
        with suppress(FileNotFoundError):
            os.unlink(f"{new}{suffix}")
    return new


def settle(new: Path, path: Path) -> None:
    """Put a whole file into its place, on disk before this returns."""
    _sync(new)
    os.replace(new, path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
