"""The SQLite file: how it is made, and opened.

A new file is made beside its place and moved there once it is whole. So a file which is empty, or has no schema, is never
one of ours which was interrupted, and is not taken for a new store.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from twisted.logger import Logger

from microd.kernel.private import make_private
from microd.services.store.backends import sqlite_errors as errors
from microd.services.store.backends import sqlite_rows as rows
from microd.services.store.backends import sqlite_wal
from microd.services.store.backends.sqlite_check import Inspection
from microd.services.store.backends.sqlite_log import BUSY_MS
from microd.services.store.backends.sqlite_migrate import migrate, settle, without_leftovers

#: With fewer bytes SQLite would take it for a file that is still to be filled.
_LEAST = 512

_log = Logger()


class UnusableFile(Exception):
    """The store's file cannot be worked on; the sentence names it and says why."""


def open_file(path: Path, check_for: float = 0.0) -> tuple[sqlite3.Connection, bool]:
    """Make the file if need be, readable by its owner only, see that it is sound, and bring the schema about.

    @param check_for: no more seconds are spent on seeing whether it is sound.
    @return: the connection that writes, and whether all was looked at.
    @raise UnusableFile: it may not be written, is no database, is damaged, is of a later release, or its file system
        cannot do write-ahead logging. What is there is left as it is.
    """
    try:
        make_private(path.parent)
        if not path.exists():
            _make(path)
        return _opened(path, check_for)
    except OSError as problem:
        raise UnusableFile(f"{path} cannot be opened: {problem.strerror}") from problem
    except (sqlite3.DatabaseError, rows.Damaged) as problem:
        raise UnusableFile(f"{path} cannot be used: {errors.named(problem)}; {remedy(problem)}") from problem


def remedy(problem: Exception) -> str:
    """What to do about it."""
    if errors.is_full(problem):
        return "make room on the disk and start again"
    return "check the disk, and bring the file back from a backup"


def _make(path: Path) -> None:
    if _size(Path(f"{path}-wal")):
        raise UnusableFile(f"{path} is gone, but {path}-wal is there: bring back both, or remove both")
    new = without_leftovers(path)
    os.close(os.open(new, os.O_RDWR | os.O_CREAT, 0o600))
    with closing(connect(new)) as connection:
        _log_ahead(connection, path)
        connection.executescript(f"BEGIN; {rows.SCHEMA} PRAGMA user_version = {rows.SCHEMA_VERSION}; COMMIT;")
    settle(new, path)


def _opened(path: Path, check_for: float) -> tuple[sqlite3.Connection, bool]:
    os.close(os.open(path, os.O_RDWR))
    if (size := _size(path)) < _LEAST:
        raise UnusableFile(
            f"{path} was cut off, it has {size} bytes: bring it back from a backup, or remove it to begin with nothing"
        )
    _believe_log(path)
    # A reader changes nothing, not even when it is the last to close the file.
    with closing(connect(path, read_only=True)) as reading:
        version = _schema(reading, path)
        inspection = Inspection(reading)
        if version == 1:
            inspection.structure(lambda: False)
        else:
            inspection.run(check_for)
    if version == 1:
        migrate(path, connect)
    connection = connect(path)
    _log_ahead(connection, path)
    return connection, inspection.is_complete or version == 1


def _schema(connection: sqlite3.Connection, path: Path) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        raise UnusableFile(f"{path} is a database of another program: choose another file")
    if version > rows.SCHEMA_VERSION:
        raise UnusableFile(
            f"{path} was written by a later release of microd: upgrade, or choose another file"
        )
    return int(version)


def _believe_log(path: Path) -> None:
    """See that a log which a crash left has all in it that was acknowledged, and that it is on disk."""
    log = sqlite_wal.examine(path)
    if log.is_damaged or (log.is_doubtful and _written_since_boot(path)):
        raise UnusableFile(
            f"{path}-wal is damaged: {log.lost} transactions behind byte {log.end} cannot be read; check the disk, and "
            f"bring {path} and {path}-wal back from a backup, or give the transactions up: truncate -s {log.end} {path}-wal"
        )
    if log.is_doubtful:
        _log.warn(
            "{path}-wal: its last transaction is not whole, and is left out: the power failed before it was acknowledged",
            path=str(path),
        )
    sqlite_wal.renew(path, log.end)


def _written_since_boot(path: Path) -> bool:
    """Whether the file was written to since the machine was started; so that no power failure explains anything."""
    with closing(connect(path, read_only=True)) as connection:
        if _schema(connection, path) == 1:
            return False
        found = connection.execute(rows.FACT, ("boot",)).fetchone()
    return found is not None and found[0] == boot()


def boot() -> str:
    """Which start of the machine this is; empty where it does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


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
        address, uri=True, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA cache_size = -32768")
    # What is deleted is overwritten where its page is written anyway; not with pages of zeros, the size of a large value.
    connection.execute("PRAGMA secure_delete = FAST")
    return connection


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
