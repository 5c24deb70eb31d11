"""The write-ahead log and the reader in the reactor's thread: who may hold what, and when the log is emptied.

To begin and end a read costs as much as the read itself. So the reader keeps one open from commit to commit: nobody
else writes to the file, hence nothing that it shows can be out of date. But while a read is open the log cannot be
emptied past it; so SQLite's own checkpoints, at the end of a commit, are off, and ours run between commits, while
the reader keeps nothing open.

Emptied, the log keeps its blocks: to write over blocks and sync them takes half as long as to make a file longer. Only
where the disk is nearly full they are given back.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from microd.services.store.backends import sqlite_rows as rows

#: The log is emptied into the file when it has this many bytes.
LOG_BYTES = 4 << 20
#: So much is left free on the disk, for deletions.
RESERVE = 128 << 10
#: With less free space than this many bytes it is looked at closely: the log is kept short, its blocks are given back, and
#: a write has to have room. It is more than any commit takes.
TIGHT = 256 << 20

#: How long, in milliseconds, a write waits for another program which has the file.
BUSY_MS = 5000

_PAGE, _FRAME = 4096, 4096 + 24
#: What a write may add to the log besides its value: leaves that split, and the pages above them.
_AROUND = 3 * _FRAME


class PointReader:
    """Reads single records, in the reactor's thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._open = False
        self._holds = True
        # As long as it has the file open, nobody who closes it takes himself for the last and empties the log.
        self.first_expiry()

    def read(self, place: tuple[str, str, str]) -> tuple[Any, ...] | None:
        """The row under (database, table, key), as of the last commit."""
        if self._holds and not self._open:
            self._connection.execute("BEGIN")
            self._open = True
        found: tuple[Any, ...] | None = self._cursor.execute(rows.POINT, place).fetchone()
        return found

    def first_expiry(self) -> float | None:
        """When the first of all records expires, or expired."""
        row = self._connection.execute(rows.FIRST_EXPIRY).fetchone()
        return None if row is None else row[0]

    def renew(self) -> None:
        """Something was committed."""
        if self._open:
            self._open = False
            try:
                self._connection.execute("COMMIT")
            except sqlite3.Error:
                # A read that failed takes what it was in with it; who reads next is told himself.
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")

    def hold(self, holds: bool) -> None:
        """Whether a read may stay open."""
        self._holds = holds
        self.renew()

    def close(self) -> None:
        """Read no more."""
        self.hold(False)
        self._connection.close()


class Log:
    """The file beside the file, and the disk which both are on; in the writer's thread."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._folder = path.parent
        self._connection = connection
        self._last = self._free = self._spare = 0
        self._most = LOG_BYTES
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
        # There is a log, and its index, once somebody has read.
        connection.execute(rows.FIRST_EXPIRY).fetchone()
        # Closed only when nobody has the index open any more: closing it gives up the locks of the whole process.
        self._index = os.open(f"{path}-shm", os.O_RDONLY)

    @property
    def size(self) -> int:
        """The bytes which have been logged since it was emptied and begun anew."""
        # "mxFrame" of the index's header: https://www.sqlite.org/walformat.html#the_wal_index_header
        return int.from_bytes(os.pread(self._index, 4, 16), sys.byteorder) * _FRAME

    @property
    def is_large(self) -> bool:
        """Whether it is time to empty it."""
        size = self.size
        if size < self._last:
            self._most = LOG_BYTES
        self._last = size
        return size >= self._most or (self.is_tight and size >= self._free // 4)

    def look(self) -> None:
        """See how much room the disk has."""
        found = os.statvfs(self._folder)
        # Some file systems do not say.
        self._free = found.f_bavail * found.f_frsize if found.f_blocks else 1 << 62

    @property
    def is_tight(self) -> bool:
        """Whether there was little room when somebody looked."""
        return self._free < TIGHT

    def look_closely(self) -> None:
        """See how many pages of the file are to be used again; only in the writer's thread."""
        (pages,) = self._connection.execute("PRAGMA freelist_count").fetchone()
        self._spare = pages * _PAGE

    def has_room(self, count: int, size: int) -> bool:
        """Whether C{count} writes of C{size} bytes together have room: once in the log, once in the file.

        So must what the log holds now, and the next deletion.
        """
        need = size + size // 64 + count * _AROUND
        return self._free >= need + max(0, self.size + need - self._spare) + RESERVE

    def empty(self) -> None:
        """Move what it holds into the file. A long scan may keep some of it; then there is a next time."""
        # Who waits for readers holds up all writers.
        self._connection.execute("PRAGMA busy_timeout = 0")
        try:
            how = "TRUNCATE" if self.is_tight else "PASSIVE"
            self._connection.execute(f"PRAGMA wal_checkpoint({how})").fetchone()
        finally:
            self._connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        self._most = self.size + LOG_BYTES

    def close(self) -> None:
        """Look no more; all connections are closed."""
        os.close(self._index)
