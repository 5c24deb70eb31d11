"""What the SQLite file holds: its tables, the statements on them, and what a row means.

Each row carries a checksum of all that is in it, since SQLite itself does not notice when a disk changes a value.
"""

from __future__ import annotations

from functools import cache
from struct import pack
from typing import Any
from zlib import crc32

import orjson

from microd.services.store.model import Drop, Field, Record

#: A statement and its parameters; the first three are the place of the record concerned.
Statement = tuple[str, tuple[Any, ...]]

#: Rises with the schema; a file from a later release is refused.
SCHEMA_VERSION = 2

# The value is last, so that a list need not step over it.
SCHEMA = """
CREATE TABLE record (
    space TEXT NOT NULL,
    tbl TEXT NOT NULL,
    key TEXT NOT NULL,
    version INTEGER NOT NULL,
    expires REAL,
    sum INTEGER NOT NULL,
    metadata BLOB,
    value BLOB NOT NULL,
    PRIMARY KEY (space, tbl, key)
) WITHOUT ROWID;
CREATE INDEX expiring ON record (expires) WHERE expires IS NOT NULL;
CREATE TABLE fact (name TEXT PRIMARY KEY, said) WITHOUT ROWID;
"""

_PUT = """
INSERT INTO record (space, tbl, key, version, expires, sum, metadata, value) VALUES {}
ON CONFLICT DO UPDATE SET version = excluded.version, expires = excluded.expires, sum = excluded.sum,
    metadata = excluded.metadata, value = excluded.value
"""
#: The statement which puts a record.
PUT = _PUT.format("(?, ?, ?, ?, ?, ?, ?, ?)")
#: Records that one statement puts at most.
MOST_PUTS = 64


@cache
def puts(count: int) -> str:
    """The statement which puts so many records at once, of which the last counts where two have the same place.

    For each run of a statement the interpreter lets another thread have its turn, and waits for it: so a record alone takes
    twice as long beside a busy reactor.
    """
    return _PUT.format(", ".join(["(?, ?, ?, ?, ?, ?, ?, ?)"] * count))


DROP = "DELETE FROM record WHERE space = ? AND tbl = ? AND key = ?"
POINT = "SELECT version, expires, sum, metadata, value FROM record WHERE space = ? AND tbl = ? AND key = ?"
VERSION = """
SELECT version FROM record WHERE space = ? AND tbl = ? AND key = ? AND (expires IS NULL OR expires > ?)
"""
COLUMNS = "key, version, expires, sum, metadata, value"
FIRST_EXPIRY = "SELECT expires FROM record WHERE expires IS NOT NULL ORDER BY expires LIMIT 1"
EXPIRED = """
SELECT space, tbl, key, length(value) FROM record WHERE expires IS NOT NULL AND expires <= ? ORDER BY expires LIMIT ?
"""
# Somebody may have written to its place since it was found.
CLEAR = "DELETE FROM record WHERE space = ? AND tbl = ? AND key = ? AND expires <= ?"
KEEP_FACT = "INSERT INTO fact (name, said) VALUES (?, ?) ON CONFLICT DO UPDATE SET said = excluded.said"
FACT = "SELECT said FROM fact WHERE name = ?"
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

#: Folds a version into 32 bits, so that each of its bits counts; a prime.
_FOLD = 4294967291


class Damaged(Exception):
    """A row is not what was written; the sentence says which."""


def put(database: str, table: str, record: Record, version: int) -> Statement:
    """The statement which writes a record."""
    key, value, expiry, said, _ = record
    if expiry is not None:
        expiry = float(expiry)
    metadata = (
        orjson.dumps({name: (field.type, field.value) for name, field in said.items()}) if said else None
    )
    sum = checksum(database, table, key, version, expiry, metadata, value)
    return PUT, (database, table, key, version, expiry, sum, metadata, value)


def drop(act: Drop) -> Statement:
    """The statement which takes a record out."""
    return DROP, (act.database, act.table, act.key)


def checksum(
    space: str, tbl: str, key: str, version: int, expires: float | None, metadata: bytes | None, value: bytes
) -> int:
    """Of all that a row holds."""
    sum = crc32(f"{space}\0{tbl}\0{key}".encode(), version % _FOLD)
    if expires is not None:
        sum = crc32(pack("<d", expires), sum)
    if metadata is not None:
        sum = crc32(metadata, ~sum & 0xFFFFFFFF)
    return crc32(value, sum)


def record_from(
    space: str,
    tbl: str,
    key: str,
    version: int,
    expires: float | None,
    sum: int,
    metadata: bytes | None,
    value: bytes,
) -> Record:
    """A row's meaning.

    @raise Damaged: it has none.
    """
    try:
        if checksum(space, tbl, key, version, expires, metadata, value) == sum:
            if metadata is None:
                return Record(key, value, expires, _NOTHING, version)
            fields = {name: Field(*said) for name, said in orjson.loads(metadata).items()}
            return Record(key, value, expires, fields, version)
    except (TypeError, ValueError, AttributeError):
        # Even the types of the cells can be others than were written.
        pass
    raise Damaged(f"the record {key!r} of table {tbl!r} in database {space!r} does not match its checksum")


_NOTHING = Record("", b"").metadata
