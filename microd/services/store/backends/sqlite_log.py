"""The write-ahead log and the reader in the reactor's thread: who may hold what, and when the log is emptied.

To begin and end a read costs as much as the read itself. So the reader keeps one open from commit to commit: nobody
else writes to the file, hence nothing that it shows can be out of date. But while a read is open the log cannot be
emptied past it; so SQLite's own checkpoints, at the end of a commit, are off, and ours run between commits, while
the reader keeps nothing open.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

from microd.services.store.backends import sqlite_rows as rows

#: The log is emptied into the file when it has this many bytes.
LOG_BYTES = 4 << 20


class PointReader:
    """Reads single records, in the reactor's thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._open = False
        self._holds = True

    def read(self, place: tuple[str, str, str]) -> tuple[Any, ...] | None:
        """The row under (database, table, key), as of the last commit."""
        connection = self._connection
        if self._holds and not self._open:
            connection.execute("BEGIN")
            self._open = True
        found: tuple[Any, ...] | None = connection.execute(rows.POINT, place).fetchone()
        return found

    def first_expiry(self) -> float | None:
        """When the first of all records expires, or expired."""
        row = self._connection.execute(rows.FIRST_EXPIRY).fetchone()
        return None if row is None else row[0]

    def renew(self) -> None:
        """Something was committed."""
        if self._open:
            self._open = False
            self._connection.execute("COMMIT")

    def hold(self, holds: bool) -> None:
        """Whether a read may stay open."""
        self._holds = holds
        self.renew()

    def close(self) -> None:
        """Read no more."""
        self.hold(False)
        self._connection.close()


class Log:
    """The file beside the file, as the writer sees it."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = f"{path}-wal"
        self._connection = connection
        self._most = LOG_BYTES
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        # Emptied, it is cut; so that its size tells what is in it.
        connection.execute("PRAGMA journal_size_limit = 0")

    @property
    def is_large(self) -> bool:
        """Whether it is time to empty it."""
        try:
            return os.stat(self._path).st_size >= self._most
        except OSError:
            return False

    def empty(self) -> None:
        """Move what it holds into the file. A long scan may keep some of it; then there is a next time."""
        busy, pages, moved = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        kept = busy or moved < pages
        self._most = os.stat(self._path).st_size + LOG_BYTES if kept else LOG_BYTES
