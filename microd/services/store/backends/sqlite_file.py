"""The SQLite file: its schema, its connections, and the statements."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from microd.services.store.model import Drop, Field, Put, Query, Record

#: A statement and its parameters.
Statement = tuple[str, tuple[Any, ...]]

#: Rises with the schema; a file from a later release is refused.
SCHEMA_VERSION = 1

SCHEMA = """
CREATE TABLE IF NOT EXISTS record (
    space TEXT NOT NULL,
    tbl TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    expires REAL,
    metadata BLOB,
    PRIMARY KEY (space, tbl, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS expiring ON record (expires) WHERE expires IS NOT NULL;
"""

PUT = """
INSERT INTO record (space, tbl, key, value, expires, metadata) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET value = excluded.value, expires = excluded.expires, metadata = excluded.metadata
"""
DROP = "DELETE FROM record WHERE space = ? AND tbl = ? AND key = ?"
POINT = "SELECT value, expires, metadata FROM record WHERE space = ? AND tbl = ? AND key = ?"
SWEEP = """
DELETE FROM record WHERE (space, tbl, key) IN (
    SELECT space, tbl, key FROM record WHERE expires IS NOT NULL AND expires <= ? ORDER BY expires LIMIT ?
)
"""
FIRST_EXPIRY = "SELECT expires FROM record WHERE expires IS NOT NULL ORDER BY expires LIMIT 1"
ALIVE = "(expires IS NULL OR expires > :now)"

# Each step looks for the next name beyond the last one in the primary key, so that a table of a million records
# costs as much as one of a single record, as long as few are expired.
DATABASES = f"""
WITH RECURSIVE found(name) AS (
    SELECT (SELECT min(space) FROM record)
    UNION ALL SELECT (SELECT min(space) FROM record WHERE space > found.name) FROM found WHERE name IS NOT NULL
)
SELECT name FROM found WHERE name IS NOT NULL AND EXISTS (SELECT 1 FROM record WHERE space = name AND {ALIVE})
"""
TABLES = f"""
WITH RECURSIVE found(name) AS (
    SELECT (SELECT min(tbl) FROM record WHERE space = :space)
    UNION ALL SELECT (SELECT min(tbl) FROM record WHERE space = :space AND tbl > found.name)
    FROM found WHERE name IS NOT NULL
)
SELECT name FROM found
WHERE name IS NOT NULL AND EXISTS (SELECT 1 FROM record WHERE space = :space AND tbl = name AND {ALIVE})
"""

_MOST = 2**63 - 1


class UnusableFile(Exception):
    """The store's file cannot be worked on; the sentence names it and says why."""


def open_file(path: Path) -> sqlite3.Connection:
    """Make the file if need be, readable by its owner only, and bring the schema about.

    @raise UnusableFile: it may not be written, is no database, is of a later release, or its file system cannot do
        write-ahead logging.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        return _opened(path)
    except OSError as problem:
        raise UnusableFile(f"{path} cannot be opened: {problem.strerror}") from problem
    except sqlite3.DatabaseError as problem:
        raise UnusableFile(f"{path} cannot be used: {problem}; bring it back from a backup") from problem


def _opened(path: Path) -> sqlite3.Connection:
    connection = connect(path)
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        connection.close()
        raise UnusableFile(f"{path}: its file system does not support write-ahead logging")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        connection.close()
        raise UnusableFile(
            f"{path} was written by a later release of microd: upgrade, or choose another file"
        )
    connection.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
    return connection


def connect(path: Path) -> sqlite3.Connection:
    """Another connection to the file; whatever commits on it is on disk before the commit returns."""
    connection = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA cache_size = -32768")
    return connection


def statement_of(act: Put | Drop) -> Statement:
    """The statement which does it."""
    if isinstance(act, Drop):
        return DROP, (act.database, act.table, act.key)
    return put(act.database, act.table, act.record)


def put(database: str, table: str, record: Record) -> Statement:
    """The statement which writes a record."""
    key, value, expiry, said = record
    metadata = (
        orjson.dumps({name: (field.type, field.value) for name, field in said.items()}) if said else None
    )
    return PUT, (database, table, key, value, expiry, metadata)


def record_from(key: str, value: bytes, expires: float | None, metadata: bytes | None) -> Record:
    """A row's meaning."""
    if metadata is None:
        return Record(key, value, expires)
    return Record(key, value, expires, {name: Field(*said) for name, said in orjson.loads(metadata).items()})


def selection(
    columns: str, database: str, table: str, query: Query, now: float
) -> tuple[str, dict[str, Any]]:
    """The statement, and its parameters, for the rows which a query chooses."""
    clauses = ["space = :space", "tbl = :tbl", ALIVE]
    values: dict[str, Any] = {"space": database, "tbl": table, "now": now}
    if query.prefix:
        # No byte of UTF-8 is 0xff, so this lies just beyond all keys that begin with the prefix.
        clauses.append("key >= :prefix AND key < CAST(:beyond AS TEXT)")
        values |= {"prefix": query.prefix, "beyond": query.prefix.encode() + b"\xff"}
    if query.suffix:
        clauses.append("substr(key, -:length) = :suffix")
        values |= {"suffix": query.suffix, "length": len(query.suffix)}
    if query.after:
        clauses.append("key < :after" if query.descending else "key > :after")
        values["after"] = query.after
    values |= {"limit": min(query.limit, _MOST) or -1, "offset": min(query.offset, _MOST)}
    order = "DESC" if query.descending else "ASC"
    where = " AND ".join(clauses)
    return (
        f"SELECT {columns} FROM record WHERE {where} ORDER BY key {order} LIMIT :limit OFFSET :offset",
        values,
    )


def perform(connection: sqlite3.Connection, statements: Iterable[Statement]) -> None:
    """Do all of it in one transaction, on disk before this returns; or nothing of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        sql: str = ""
        rows: list[tuple[Any, ...]] = []
        for each, parameters in statements:
            if each is not sql:
                if rows:
                    connection.executemany(sql, rows)
                sql, rows = each, []
            rows.append(parameters)
        if rows:
            connection.executemany(sql, rows)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
