"""What others may ask of a store, and what every backend promises."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol

from microd.services.store import rules
from microd.services.store.model import Act, Kept, Page, Query, Record


class MustWait(Exception):
    """It cannot be said at once."""


class IStore(Protocol):
    """Keeps records under (database, table, key).

    A coroutine that writes ends only when the write would survive the loss of power. Whoever reads after that sees it.
    Writes take effect in the order in which they were asked for. A write that fails has changed nothing, and no other
    write fails for its sake. An expired record is nowhere to be seen, whether or not it was cleared away yet.

    Names of databases, tables and keys are checked; all methods raise L{microd.kernel.errors.BadRequest} for bad ones.

    Lists and pages of one database do not wait for the end of long ones, be they of another database or of this one; where
    very many of a database wait, more of them are refused with L{microd.kernel.errors.Unavailable}. Who is not interested
    any more cancels.

    A store whose disk or file turned out to be damaged takes no more writes until it is started anew; it goes on to
    answer reads from what was acknowledged, as far as that can be read.

    @ivar failure: why it takes no more writes, in a sentence; empty while all is well.
    """

    failure: str = ""

    async def read_one(self, database: str, table: str, key: str) -> Record | None:
        """The record under exactly this key; None where there is none."""

    def glance(self, database: str, table: str, key: str) -> Kept | None:
        """As C{read_one}, waiting for nothing.

        @raise MustWait: C{read_one} is to be asked.
        """
        raise MustWait

    async def page(self, database: str, table: str, query: Query) -> Page:
        """As many of the records which the query chooses as one answer carries, and where to go on."""
        raise NotImplementedError

    async def read(self, database: str, table: str, query: Query) -> Sequence[Record]:
        """The records which the query chooses, as of one moment.

        @raise TooLarge: they are more than one answer may carry; ask for pages.
        """
        return rules.whole(await self.page(database, table, query))

    async def write(self, database: str, table: str, record: Record, *, if_version: int | None = None) -> int:
        """Put one record; the version which it has now.

        @param if_version: see L{Put}.
        @raise PreconditionFailed: the record has another version; nothing was written.
        @raise TooLarge: the value, or what is said about it, is over the limit.
        @raise Unavailable: more waits for the disk than is allowed, or the store has failed.
        @raise OutOfSpace: the disk is full.
        """

    def begin_write(
        self, database: str, table: str, record: Record, *, if_version: int | None = None
    ) -> Awaitable[int]:
        """As C{write}, for those who count microseconds; what is wrong with the request may be raised at once."""
        return self.write(database, table, record, if_version=if_version)

    async def delete(self, database: str, table: str, key: str, *, if_version: int | None = None) -> None:
        """Take one record out; a key which is not there is no error, unless C{if_version} names a version."""

    async def apply(self, acts: Sequence[Act]) -> Sequence[int]:
        """Do all of it or nothing; the version which each record has now, 0 for what is no L{Put}.

        The conditions of all acts are looked at first; then all is done in this order.
        """

    async def list(self, database: str, table: str, query: Query) -> Sequence[str]:
        """The keys which the query chooses, as of one moment.

        @raise TooLarge: they are more than one answer may carry; ask with a limit.
        """

    async def databases(self) -> Sequence[str]:
        """The databases which hold a record, sorted."""

    async def tables(self, database: str) -> Sequence[str]:
        """The tables of a database which hold a record, sorted."""
