"""A store in a dictionary: what L{microd.services.store.interface} means, in the shortest way to say it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from time import time

from microd.services.store import rules
from microd.services.store.interface import IStore
from microd.services.store.model import Drop, Limits, Put, Query, Record


class MemoryStore(IStore):
    """Keeps records for as long as the process lives; durable it is not."""

    def __init__(self, *, now: Callable[[], float] = time, limits: Limits | None = None) -> None:
        self._now = now
        self._limits = limits or Limits()
        self._records: dict[tuple[str, str], dict[str, Record]] = {}

    async def read_one(self, database: str, table: str, key: str) -> Record | None:
        rules.check_place(database, table)
        rules.check_key(key, self._limits)
        record = self._records.get((database, table), {}).get(key)
        return record if record is not None and self._alive(record) else None

    async def read(self, database: str, table: str, query: Query) -> Sequence[Record]:
        budget = rules.Budget(self._limits.answer)
        found = self._chosen(database, table, query)
        for record in found:
            budget.spend(rules.check_record(record, self._limits))
        return found

    async def write(self, database: str, table: str, record: Record) -> None:
        await self.apply([Put(database, table, record)])

    async def delete(self, database: str, table: str, key: str) -> None:
        await self.apply([Drop(database, table, key)])

    async def apply(self, acts: Sequence[Put | Drop]) -> None:
        for act in acts:
            rules.check_act(act, self._limits)
        for act in acts:
            records = self._records.setdefault((act.database, act.table), {})
            if isinstance(act, Put):
                records[act.record.key] = act.record
            else:
                records.pop(act.key, None)

    async def list(self, database: str, table: str, query: Query) -> Sequence[str]:
        budget = rules.Budget(self._limits.answer)
        keys = [record.key for record in self._chosen(database, table, query)]
        for key in keys:
            budget.spend(len(key))
        return keys

    async def databases(self) -> Sequence[str]:
        return sorted({database for database, _ in self._inhabited()})

    async def tables(self, database: str) -> Sequence[str]:
        rules.check_place(database, "any")
        return sorted(table for owner, table in self._inhabited() if owner == database)

    def _inhabited(self) -> Iterator[tuple[str, str]]:
        for place, records in self._records.items():
            if any(map(self._alive, records.values())):
                yield place

    def _chosen(self, database: str, table: str, query: Query) -> Sequence[Record]:
        rules.check_place(database, table)
        records = self._records.get((database, table), {})
        keys = sorted(records, key=str.encode, reverse=query.descending)
        found = [
            records[key]
            for key in keys
            if key.startswith(query.prefix)
            and key.endswith(query.suffix)
            and self._alive(records[key])
            and _beyond(key, query)
        ]
        stop = query.offset + query.limit if query.limit else None
        return found[query.offset : stop]

    def _alive(self, record: Record) -> bool:
        return record.expiry is None or record.expiry > self._now()


def _beyond(key: str, query: Query) -> bool:
    if not query.after:
        return True
    ours, theirs = key.encode(), query.after.encode()
    return ours < theirs if query.descending else ours > theirs
