"""What the writer does to the file: all writes of one commit, or none of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Protocol

from microd.kernel.errors import MicroError, PreconditionFailed
from microd.services.store import rules
from microd.services.store.backends import sqlite_rows as rows
from microd.services.store.backends.sqlite_rows import Statement

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


def perform(
    connection: sqlite3.Connection, writes: Sequence[Write], now: float, reserve: int | None
) -> Sequence[MicroError | None]:
    """Do the writes in one transaction, which is on disk before this returns; nothing is done where it raises.

    A write whose conditions do not hold is left out.

    @param reserve: versions up to this one will have been given.
    @return: for each write, why it was left out, or None.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        if reserve is not None:
            connection.execute(rows.KEEP_FACT, ("versions", reserve))
        refusals = _do(connection, writes, now)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return refusals


def _do(connection: sqlite3.Connection, writes: Sequence[Write], now: float) -> Sequence[MicroError | None]:
    """Statements that follow each other and differ in their parameters only are done in one go."""
    refusals: list[MicroError | None] = [None] * len(writes)
    sql = ""
    waiting: list[tuple[Any, ...]] = []
    for number, write in enumerate(writes):
        if write.conditions:
            if waiting:
                connection.executemany(sql, waiting)
                waiting = []
            refusals[number] = unmet = _unmet(connection, write.conditions, now)
            if unmet is not None:
                continue
        for each, parameters in write.statements:
            if each is not sql:
                if waiting:
                    connection.executemany(sql, waiting)
                sql, waiting = each, []
            waiting.append(parameters)
    if waiting:
        connection.executemany(sql, waiting)
    return refusals


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
