"""Whether a file is sound: its structure, as SQLite knows it, and each row, by the sum in it.

At the start there are seconds for this, which is enough for some hundred megabytes. What is not finished by then is done
by and by, while the store is at work.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import Any

from microd.services.store.backends import sqlite_rows as rows

#: How many steps of SQLite's machine lie between two looks at the time: some milliseconds.
_STEPS = 200_000
#: How many rows are checked in one go, and how many bytes of values.
ROWS_AT_ONCE, BYTES_AT_ONCE = 500, 4 << 20

_FIRST = f"SELECT space, tbl, {rows.COLUMNS} FROM record ORDER BY space, tbl, key LIMIT ?"
_NEXT = f"""
SELECT space, tbl, {rows.COLUMNS} FROM record WHERE (space, tbl, key) > (?, ?, ?) ORDER BY space, tbl, key LIMIT ?
"""


class Inspection:
    """Goes through a file, from beginning to end.

    @ivar is_complete: it was all looked at, and is sound.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._structure_is_sound = False
        self._last: tuple[Any, ...] | None = None
        self.is_complete = False

    def run(self, seconds: float) -> None:
        """Look at as much as there is time for.

        @raise rows.Damaged: it is not sound.
        @raise sqlite3.DatabaseError: it is not sound, or cannot be read.
        """
        end = time.monotonic() + seconds
        if self.structure(lambda: time.monotonic() > end):
            while time.monotonic() < end and not self.is_complete:
                self.rows()

    def structure(self, stopped: Callable[[], bool]) -> bool:
        """Look at the structure as a whole, unless that was done; whether it is done now."""
        if self._structure_is_sound:
            return True
        self._connection.set_progress_handler(stopped, _STEPS)
        try:
            found = [said for (said,) in self._connection.execute("PRAGMA quick_check(1)")]
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                return False
            raise
        finally:
            self._connection.set_progress_handler(None, 0)
        if found != ["ok"]:
            raise rows.Damaged("; ".join(" ".join(said.split()) for said in found))
        self._structure_is_sound = True
        return True

    def rows(self) -> None:
        """Look at the next few rows."""
        sql, place = (_FIRST, ()) if self._last is None else (_NEXT, self._last)
        left, size = ROWS_AT_ONCE, BYTES_AT_ONCE
        for row in self._connection.execute(sql, (*place, ROWS_AT_ONCE)):
            record = rows.record_from(*row)
            self._last = row[:3]
            left -= 1
            size -= len(record.value)
            if size < 0:
                return
        self.is_complete = left > 0
