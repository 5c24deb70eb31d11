"""What the writer does to the file: all writes of one commit, or none of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol

from microd.kernel.errors import Internal, MicroError, PreconditionFailed, Unavailable
from microd.services.store import rules
from microd.services.store.backends import sqlite_errors as errors
from microd.services.store.backends import sqlite_rows as rows
from microd.services.store.backends.sqlite_log import Log
from microd.services.store.backends.sqlite_rows import Statement
from microd.services.store.backends.versions import Versions
from microd.services.store.errors import OutOfSpace, StoreFailed

#: A place, and the version of the record which must be there; 0: there must be none.
Condition = tuple[tuple[str, str, str], int]


class Write(Protocol):
    """What is done together, if its conditions hold."""

    @property
    def statements(self) -> Sequence[Statement]:
        """What is to be done."""

    @property
    def conditions(self) -> Sequence[Condition]:
        """What is to be so before it."""

    @property
    def size(self) -> int:
        """The bytes of all values in it."""


class Writer:
    """The one connection that writes, in the writer's thread. Once the disk failed it never writes again.

    @ivar failure: what failed, in a sentence; empty while all is well.
    @ivar log_is_large: as of the last commit.
    @ivar refuses: a write was refused for want of room, and there has been none for it since.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, versions: Versions, boot: str) -> None:
        self._path = path
        self._connection = connection
        self._versions = versions
        self._boot = boot
        self._log = Log(path, connection)
        self._wanted = _SOME
        self.failure = ""
        self.log_is_large = self.refuses = False

    def perform(self, writes: Sequence[Write], now: float) -> Sequence[MicroError | None]:
        """Do the writes in one transaction, which is on disk before this returns; nothing is done where it raises.

        A write whose conditions do not hold is left out.

        @return: for each write, why it was left out, or None.
        @raise OutOfSpace: there is no room for all of it together.
        @raise StoreFailed: the disk failed; the transaction may be there after the next start, as it was not told to be.
        """
        if self.failure:
            raise refused(self.failure)
        self._log.look()
        if self._log.is_tight and not self._has_room(writes):
            self._refused(writes)
            self.log_is_large = self._log.size > 0
            raise OutOfSpace(FULL)
        try:
            refusals = self._transaction(writes, now)
        except sqlite3.Error as error:
            if errors.is_full(error):
                self._refused(writes)
            raise self._meaning(error) from error
        if self.refuses and not self.is_full:
            self.refuses = False
        # Before somebody is refused, what the log holds is moved to free pages of the file.
        log = self._log
        self.log_is_large = log.is_large or (log.is_tight and log.size > 0 and self.is_full)
        return refusals

    @property
    def is_full(self) -> bool:
        """Whether there is no room for a record of some size, or for the largest write that was refused; in any thread."""
        self._log.look()
        wanted = self._wanted
        if self._log.is_tight and not self._log.has_room(*wanted):
            return True
        if self._wanted is wanted:
            self._wanted = _SOME
        return False

    def empty_log(self) -> None:
        """Move what the log holds into the file.

        @raise MicroError: that was not possible; all is where it was.
        """
        if self.failure:
            return
        try:
            self._log.empty()
        except sqlite3.Error as error:
            raise self._meaning(error) from error

    def stop(self, failure: str) -> None:
        """Write no more, because of something that others found."""
        if not self.failure:
            self.failure = failure
            self._connection.close()

    def close(self) -> None:
        """Come to an end; readers with the file still open keep the log from being emptied into it."""
        self._connection.close()
        self._log.close()

    def _transaction(self, writes: Sequence[Write], now: float) -> Sequence[MicroError | None]:
        connection = self._connection
        reserve = self._versions.to_reserve()
        if reserve is None and (puts := _just_puts(writes)) is not None:
            # One statement is a transaction by itself. To begin and to commit one are statements, too, and after each this
            # thread waits for its turn beside the reactor's: a third of what a commit takes.
            connection.execute(rows.puts(len(puts)), tuple(chain.from_iterable(puts)))
            return [None] * len(writes)
        connection.execute("BEGIN IMMEDIATE")
        try:
            if reserve is not None:
                connection.execute(rows.KEEP_FACT, ("versions", reserve))
                connection.execute(rows.KEEP_FACT, ("boot", self._boot))
            refusals = _do(connection, writes, now)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
            raise
        if reserve is not None:
            self._versions.reserved = reserve
        return refusals

    def _has_room(self, writes: Sequence[Write]) -> bool:
        self._log.look_closely()
        puts = [write for write in writes if any(sql is rows.PUT for sql, _ in write.statements)]
        return not puts or self._log.has_room(*_measure(puts))

    def _refused(self, writes: Sequence[Write]) -> None:
        """Remember how much room there is not; of several writes each is going to be tried by itself."""
        if len(writes) == 1:
            self.refuses = True
            self._wanted = max(self._wanted, _measure(writes), key=itemgetter(1))

    def _meaning(self, error: sqlite3.Error) -> MicroError:
        if errors.is_full(error):
            return OutOfSpace(FULL)
        if errors.is_busy(error):
            return Unavailable(f"another program keeps {self._path} locked: nothing was written; try again")
        if errors.is_bad(error):
            self.stop(f"{self._path}: {errors.named(error)}")
            return StoreFailed(
                f"the store's disk failed: {self.failure}; whether this write was kept shows after the next start",
                code=500,
            )
        return Internal(f"the store could not write: {errors.named(error)}")


#: How many writes, and how many bytes of them, there is room for unless the disk is called full.
_SOME = (1, 32 << 10)
FULL = "the store's disk is full: nothing was written; make room and try again"


def _measure(writes: Sequence[Write]) -> tuple[int, int]:
    """How many statements they have, and how many bytes."""
    return sum(len(write.statements) for write in writes), sum(write.size for write in writes)


def refused(failure: str) -> StoreFailed:
    """What writers hear after a failure."""
    return StoreFailed(
        f"the store takes no more writes, since its disk failed: {failure}; check the disk, then restart the daemon"
    )


def _just_puts(writes: Sequence[Write]) -> Sequence[tuple[Any, ...]] | None:
    """The parameters of all statements, where one statement can do them all; else None."""
    if len(writes) > rows.MOST_PUTS:
        return None
    puts: list[tuple[Any, ...]] = []
    for write in writes:
        if write.conditions:
            return None
        for sql, parameters in write.statements:
            if sql is not rows.PUT:
                return None
            puts.append(parameters)
    return puts if 0 < len(puts) <= rows.MOST_PUTS else None


def _do(connection: sqlite3.Connection, writes: Sequence[Write], now: float) -> Sequence[MicroError | None]:
    """Statements that follow each other and differ in their parameters only are done in one go."""
    refusals: list[MicroError | None] = [None] * len(writes)
    sql = ""
    waiting: list[tuple[Any, ...]] = []
    for number, write in enumerate(writes):
        if write.conditions:
            if waiting:
                _run(connection, sql, waiting)
                waiting = []
            refusals[number] = unmet = _unmet(connection, write.conditions, now)
            if unmet is not None:
                continue
        for each, parameters in write.statements:
            if each is not sql:
                if waiting:
                    _run(connection, sql, waiting)
                sql, waiting = each, []
            waiting.append(parameters)
    if waiting:
        _run(connection, sql, waiting)
    return refusals


def _run(connection: sqlite3.Connection, sql: str, parameters: Sequence[tuple[Any, ...]]) -> None:
    if sql is not rows.PUT:
        connection.executemany(sql, parameters)
        return
    for start in range(0, len(parameters), rows.MOST_PUTS):
        several = parameters[start : start + rows.MOST_PUTS]
        connection.execute(rows.puts(len(several)), tuple(chain.from_iterable(several)))


def _unmet(
    connection: sqlite3.Connection, conditions: Sequence[Condition], now: float
) -> PreconditionFailed | None:
    for place, wanted in conditions:
        row = connection.execute(rows.VERSION, (*place, now)).fetchone()
        try:
            rules.check_version(place[2], row[0] if row else 0, wanted)
        except PreconditionFailed as problem:
            return problem
    return None
