"""The SQLite file: how it is made, and opened.

A new file is made beside its place and moved there once it is whole. So a file which is empty, or has no schema, is never
one of ours which was interrupted, and is not taken for a new store.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from microd.services.store.backends import sqlite_rows as rows
from microd.services.store.backends.sqlite_migrate import migrate, settle, without_leftovers


class UnusableFile(Exception):
    """The store's file cannot be worked on; the sentence names it and says why."""


def open_file(path: Path) -> sqlite3.Connection:
    """Make the file if need be, readable by its owner only, and bring the schema about.

    @raise UnusableFile: it may not be written, is no database, is damaged, is of a later release, or its file system
        cannot do write-ahead logging.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
        return _opened(path)
    except OSError as problem:
        raise UnusableFile(f"{path} cannot be opened: {problem.strerror}") from problem
    except sqlite3.DatabaseError as problem:
        raise UnusableFile(f"{path} cannot be used: {problem}; {remedy(problem)}") from problem


def remedy(problem: sqlite3.Error) -> str:
    """What to do about it."""
    if is_full(problem):
        return "make room on the disk and start again"
    return "check the disk, and bring the file back from a backup"


def is_full(error: BaseException) -> bool:
    """Whether the disk had no room: also for the index of the log, which SQLite reports in its own way."""
    return getattr(error, "sqlite_errorcode", 0) in (sqlite3.SQLITE_FULL, _SHM_HAS_NO_ROOM)


_SHM_HAS_NO_ROOM = sqlite3.SQLITE_IOERR_SHMSIZE


def _make(path: Path) -> None:
    if _size(Path(f"{path}-wal")):
        raise UnusableFile(f"{path} is gone, but {path}-wal is there: bring back both, or remove both")
    new = without_leftovers(path)
    os.close(os.open(new, os.O_RDWR | os.O_CREAT, 0o600))
    with closing(connect(new)) as connection:
        _log_ahead(connection, path)
        connection.executescript(f"BEGIN; {rows.SCHEMA} PRAGMA user_version = {rows.SCHEMA_VERSION}; COMMIT;")
    settle(new, path)


def _opened(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR))
    if not _size(path):
        raise UnusableFile(
            f"{path} is empty: bring it back from a backup, or remove it to begin with nothing"
        )
    connection = connect(path)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 1:
        connection.close()
        migrate(path, connect)
        connection = connect(path)
    elif version != rows.SCHEMA_VERSION:
        connection.close()
        if version == 0:
            raise UnusableFile(f"{path} is a database of another program: choose another file")
        raise UnusableFile(
            f"{path} was written by a later release of microd: upgrade, or choose another file"
        )
    _log_ahead(connection, path)
    return connection


def _log_ahead(connection: sqlite3.Connection, path: Path) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        connection.close()
        raise UnusableFile(f"{path}: its file system does not support write-ahead logging")


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Another connection to the file; whatever commits on it is on disk before the commit returns."""
    # An address takes '?' and '#' for its own.
    address = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}"
    connection = sqlite3.connect(
        address, uri=True, timeout=5.0, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA cache_size = -32768")
    # What is deleted is overwritten where its page is written anyway; not with pages of zeros, the size of a large value.
    connection.execute("PRAGMA secure_delete = FAST")
    return connection


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
