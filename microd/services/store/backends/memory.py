"""A store in a dictionary: what L{microd.services.store.interface} means, in the shortest way to say it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from time import time

from microd.kernel.errors import TooLarge
from microd.services.store import rules
from microd.services.store.interface import IStore
from microd.services.store.model import Act, Check, Drop, Limits, Page, Put, Query, Record


class MemoryStore(IStore):
    """Keeps records for as long as the process lives; durable it is not."""

    def __init__(self, *, now: Callable[[], float] = time, limits: Limits | None = None) -> None:
        self._now = now
        self._limits = limits or Limits()
        self._records: dict[tuple[str, str], dict[str, Record]] = {}
        self._version = rules.first_version(now())

    async def read_one(self, database: str, table: str, key: str) -> Record | None:
        rules.check_place(database, table)
        rules.check_key(key, self._limits)
        return self._found(database, table, key)

    async def page(self, database: str, table: str, query: Query) -> Page:
        budget = rules.Budget(self._limits.answer)
        chosen = self._chosen(database, table, query)
        most = min(query.limit or self._limits.records, self._limits.records)
        records: list[Record] = []
        for record in chosen:
            if len(records) == most:
                return Page(records, records[-1].key, is_full=most != query.limit)
            if not budget.has_room(rules.check_record(record, self._limits)) and records:
                return Page(records, records[-1].key, is_full=True)
            records.append(record)
        return Page(records)

    async def write(self, database: str, table: str, record: Record, *, if_version: int | None = None) -> int:
        (version,) = await self.apply([Put(database, table, record, if_version)])
        return version

    async def delete(self, database: str, table: str, key: str, *, if_version: int | None = None) -> None:
        await self.apply([Drop(database, table, key, if_version)])

    async def apply(self, acts: Sequence[Act]) -> Sequence[int]:
        rules.check_acts(acts, self._limits)
        for act in acts:
            if act.if_version is not None:
                found = self._found(act.database, act.table, act.key)
                rules.check_version(act.key, found.version if found else 0, act.if_version)
        return [self._do(act) for act in acts]

    def _do(self, act: Act) -> int:
        if isinstance(act, Check):
            return 0
        records = self._records.setdefault((act.database, act.table), {})
        if isinstance(act, Drop):
            records.pop(act.key, None)
            return 0
        self._version += 1
        records[act.key] = act.record._replace(version=self._version)
        return self._version

    async def list(self, database: str, table: str, query: Query) -> Sequence[str]:
        budget = rules.Budget(self._limits.answer)
        keys = [record.key for record in self._chosen(database, table, query)]
        keys = keys[: query.limit or None]
        if not all(budget.has_room(len(key)) for key in keys):
            raise TooLarge(rules.TOO_LARGE)
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

    def _found(self, database: str, table: str, key: str) -> Record | None:
        record = self._records.get((database, table), {}).get(key)
        return record if record is not None and self._alive(record) else None

    def _chosen(self, database: str, table: str, query: Query) -> Sequence[Record]:
        """All of them, whatever the limit."""
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
        return found[query.offset :]

    def _alive(self, record: Record) -> bool:
        return record.expiry is None or record.expiry > self._now()


def _beyond(key: str, query: Query) -> bool:
    if not query.after:
        return True
    ours, theirs = key.encode(), query.after.encode()
    return ours < theirs if query.descending else ours > theirs
