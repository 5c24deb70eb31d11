"""Records as a file: JSON lines, the first of which says what they are, the last how many there were. Pure.

::

    {"format": "microd-store-snapshot", "version": 1, "database": "micro", "tables": ["micro"], "taken": 1700000000}
    {"table": "micro", "key": "k", "value": "dg==", "expires": 1700000060, "metadata": {"m": ["string", "x"]}}
    {"records": 1, "sha256": "..."}

C{taken} and C{expires} are Unix seconds; values are base64; the last line's digest is that of all bytes before it.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from microd.cli.failure import CommandFailed

FORMAT, VERSION = "microd-store-snapshot", 1
#: No line is longer: a value of the largest size that the store takes, in base64, and room for the rest.
LONGEST = 64 << 20


@dataclass(frozen=True, slots=True)
class Row:
    """A record.

    @ivar expires: when it ceases to be, in Unix seconds; 0: never.
    @ivar metadata: names to types and values.
    """

    table: str
    key: str
    value: bytes
    expires: int = 0
    metadata: Mapping[str, tuple[str, str]] = field(default_factory=dict)


class SnapshotWriter:
    """Writes a snapshot.

    @ivar count: the records so far.
    """

    def __init__(self, file: BinaryIO, database: str, tables: list[str], taken: int) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.count = 0
        self._line(
            {"format": FORMAT, "version": VERSION, "database": database, "tables": tables, "taken": taken}
        )

    def add(self, row: Row) -> None:
        """Write a record."""
        line: dict[str, Any] = {"table": row.table, "key": row.key, "value": b64encode(row.value).decode()}
        if row.expires:
            line["expires"] = row.expires
        if row.metadata:
            line["metadata"] = row.metadata
        self._line(line)
        self.count += 1

    def end(self) -> None:
        """Write the last line, without which it is no snapshot."""
        self._line({"records": self.count, "sha256": self._digest.hexdigest()})

    def _line(self, value: object) -> None:
        line = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        self._digest.update(line)
        self._file.write(line)


class Snapshot:
    """A snapshot to be read, from the file's beginning; it can be read again when the file is moved back there.

    @ivar database: whose records they are.
    @ivar tables: the tables that were asked for.
    @raise CommandFailed: it is none, or one of a later release.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        head = _object(self._next())
        if head.get("format") != FORMAT:
            raise CommandFailed(
                "This is not a snapshot of a store", remedy="`micro store snapshot` makes one."
            )
        if head.get("version") != VERSION:
            raise CommandFailed(
                f"The snapshot is of version {head.get('version')}, and this micro reads version {VERSION}",
                remedy="Upgrade micro.",
            )
        self.database = str(head.get("database", ""))
        self.tables = [str(name) for name in head.get("tables", ())]

    def rows(self) -> Iterator[Row]:
        """The records, each checked; and at the end whether they were all, and are unchanged.

        @raise CommandFailed: they are not.
        """
        count = 0
        while True:
            before = self._digest.hexdigest()
            line = self._next()
            if not line.endswith(b"\n"):
                raise CommandFailed(
                    f"The snapshot is cut off after {count} records: nothing of it can be trusted"
                )
            found = _object(line)
            if "records" in found:
                if found["records"] != count or found.get("sha256") != before or self._file.read(1):
                    raise CommandFailed(
                        "The snapshot was changed after it was taken: nothing of it can be trusted"
                    )
                return
            yield _row_from(found)
            count += 1

    def _next(self) -> bytes:
        line = self._file.readline(LONGEST)
        self._digest.update(line)
        return line


def _object(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line) if line else {}
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {}


def _row_from(found: Mapping[str, Any]) -> Row:
    try:
        said = {name: (kind, text) for name, (kind, text) in found.get("metadata", {}).items()}
        row = Row(
            found["table"],
            found["key"],
            b64decode(found["value"], validate=True),
            found.get("expires", 0),
            said,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _no_record() from error
    texts = [row.table, row.key, *said, *(text for pair in said.values() for text in pair)]
    if type(row.expires) is not int or not all(type(text) is str for text in texts):
        raise _no_record()
    return row


def _no_record() -> CommandFailed:
    return CommandFailed("The snapshot has a line which is no record: nothing of it can be trusted")
