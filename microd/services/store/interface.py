"""What others may ask of a store, and what every backend promises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from microd.services.store.model import Drop, Kept, Put, Query, Record


class MustWait(Exception):
    """It cannot be said at once."""


class IStore(Protocol):
    """Keeps records under (database, table, key).

    A coroutine that writes ends only when the write would survive the loss of power. Whoever reads after that sees it.
    Writes take effect in the order in which they were asked for. A write that fails has changed nothing, and no other
    write fails for its sake. An expired record is nowhere to be seen, whether or not it was cleared away yet.

    Names of databases, tables and keys are checked; all methods raise L{microd.kernel.errors.BadRequest} for bad ones.
    """

    async def read_one(self, database: str, table: str, key: str) -> Record | None:
        """The record under exactly this key; None where there is none."""

    def glance(self, database: str, table: str, key: str) -> Kept | None:
        """As C{read_one}, waiting for nothing.

        @raise MustWait: C{read_one} is to be asked.
        """
        raise MustWait

    async def read(self, database: str, table: str, query: Query) -> Sequence[Record]:
        """The records which the query chooses, as of one moment.

        @raise TooLarge: they are more than one answer may carry; ask with a limit.
        """

    async def write(self, database: str, table: str, record: Record) -> None:
        """Put one record.

        @raise TooLarge: the value, or what is said about it, is over the limit.
        @raise Unavailable: more waits for the disk than is allowed.
        @raise OutOfSpace: the disk is full.
        """

    async def delete(self, database: str, table: str, key: str) -> None:
        """Take one record out; a key which is not there is no error."""

    async def apply(self, acts: Sequence[Put | Drop]) -> None:
        """Do all of it or nothing, in this order."""

    async def list(self, database: str, table: str, query: Query) -> Sequence[str]:
        """The keys which the query chooses, as of one moment.

        @raise TooLarge: they are more than one answer may carry; ask with a limit.
        """

    async def databases(self) -> Sequence[str]:
        """The databases which hold a record, sorted."""

    async def tables(self, database: str) -> Sequence[str]:
        """The tables of a database which hold a record, sorted."""
