"""The way of a scan through the file, in steps that are short whatever the query is: so it can be interrupted."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

from microd.services.store import rules
from microd.services.store.backends import sqlite_rows as rows
from microd.services.store.model import Query

#: So many rows are passed by in one step, where a query does not want them.
STRIDE = 10_000
#: So many rows are taken in one step.
HANDFUL = 64

_Row = tuple[Any, ...]
T = TypeVar("T")


class Taken(NamedTuple):
    """What was found; whether there is more; whether the bytes of an answer were used up."""

    found: list[Any]
    is_cut: bool = False
    is_full: bool = False


def take(
    walk: Iterable[_Row | None], make: Callable[[_Row], T], most: int, budget: rules.Budget
) -> Generator[None, None, Taken]:
    """As many rows as are wanted and fit into an answer, at least one; interrupted every now and then.

    @param make: what to make of a row.
    @param most: how many are wanted; 0: all.
    """
    found: list[T] = []
    for number, row in enumerate(walk, 1):
        if row is None:
            yield
            continue
        if most and len(found) == most:
            return Taken(found, is_cut=True)
        if not budget.has_room(sum(map(_size, row))) and found:
            return Taken(found, is_cut=True, is_full=True)
        found.append(make(row))
        if not number % HANDFUL:
            yield
    return Taken(found)


def choose(
    connection: sqlite3.Connection, columns: str, database: str, table: str, query: Query, now: float
) -> Iterator[_Row | None]:
    """The rows which a query chooses, but for its limit; None after each step in which there was none."""
    given: dict[str, Any] = {"space": database, "tbl": table, "now": now, "stride": STRIDE}
    chosen = rows.ALIVE
    if query.suffix:
        chosen += " AND substr(key, -:length) = :suffix"
        given |= {"suffix": query.suffix, "length": len(query.suffix)}
    order = "DESC" if query.descending else "ASC"
    at, offset = query.after, query.offset
    while query.suffix or offset:
        where, bounds = _between(query, at)
        sql = f"SELECT key FROM record WHERE {where} ORDER BY key {order} LIMIT 1 OFFSET :stride"
        (last,) = connection.execute(sql, given | bounds).fetchone() or ("",)
        where, bounds = _between(query, at, last)
        bounds |= given
        count = 0
        if offset:
            sql = f"SELECT count(*) FROM record WHERE {where} AND {chosen}"
            (count,) = connection.execute(sql, bounds).fetchone()
        if count > offset or not offset:
            bounds["offset"] = offset
            sql = f"SELECT {columns} FROM record WHERE {where} AND {chosen} ORDER BY key {order} LIMIT -1 OFFSET :offset"
            yield from connection.execute(sql, bounds)
            offset = 0
        else:
            offset -= count
        if not last:
            return
        at = last
        yield None
    where, bounds = _between(query, at)
    sql = f"SELECT {columns}, {chosen} FROM record WHERE {where} ORDER BY key {order}"
    for row in connection.execute(sql, given | bounds):
        yield row[:-1] if row[-1] else None


def _between(query: Query, after: str, last: str = "") -> tuple[str, dict[str, Any]]:
    """The condition for the keys beyond C{after} up to C{last}; empty: as far as the query goes.

    There is never more than one bound to a side, since SQLite begins at one of them and would pass all rows up to the other.
    """
    # No byte of UTF-8 is 0xff, so this lies just beyond all keys that begin with the prefix.
    prefix, beyond = query.prefix.encode(), query.prefix.encode() + b"\xff"
    begin = "key >= :prefix" if prefix else ""
    end = "key < CAST(:beyond AS TEXT)" if prefix else ""
    if query.descending:
        if after and (not prefix or after.encode() < beyond):
            end = "key < :after"
        if last:
            begin = "key >= :last"
    else:
        if after and after.encode() >= prefix:
            begin = "key > :after"
        if last:
            end = "key <= :last"
    where = " AND ".join(filter(None, ("space = :space", "tbl = :tbl", begin, end)))
    return where, {"prefix": query.prefix, "beyond": beyond, "after": after, "last": last}


def _size(cell: object) -> int:
    if isinstance(cell, str) and not cell.isascii():
        return len(cell.encode())
    return len(cell) if isinstance(cell, str | bytes) else 0
