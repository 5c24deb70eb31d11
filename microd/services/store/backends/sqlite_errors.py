"""What SQLite's errors mean to us.

::

    the disk is full           nothing was written, and the next write may find room
    the disk or file is bad    nothing may be believed of what was last written: the store stops writing
    anything else              fails what asked for it

After a sync that failed, the kernel may have let go of what it could not write, and may say of the next sync that all is
well. So nobody may sync again and believe it (P. Alvaro and others call it "fsyncgate", 2018).
"""

from __future__ import annotations

import sqlite3

from microd.services.store.backends.sqlite_rows import Damaged

_BAD = {
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
}


def is_full(error: BaseException) -> bool:
    """Whether the disk had no room: also for the index of the log, which SQLite reports in its own way."""
    return _code(error) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)


def is_busy(error: BaseException) -> bool:
    """Whether another program had the file."""
    return _code(error) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_bad(error: BaseException) -> bool:
    """Whether the disk failed, or the file is damaged."""
    if isinstance(error, Damaged):
        return True
    if not isinstance(error, sqlite3.Error) or is_full(error):
        return False
    code = _code(error)
    if not code:
        # The only error without a number that tells of the file's content: a text which is none.
        return "decode" in str(error)
    return code & 0xFF in _BAD and code != sqlite3.SQLITE_IOERR_NOMEM


def named(error: BaseException) -> str:
    """The error in words, with SQLite's own name for it."""
    name = getattr(error, "sqlite_errorname", "")
    if is_full(error):
        return f"the disk is full ({name})"
    return f"{error} ({name})" if name else str(error)


def _code(error: BaseException) -> int:
    found: int = getattr(error, "sqlite_errorcode", 0)
    return found
