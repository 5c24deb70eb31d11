"""What is to run, as it is kept in a store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from microd.services.runtime.interface import Records
from microd.services.runtime.model import Key, Record, Spec
from microd.services.store.interface import IStore
from microd.services.store.model import Query
from microd.services.store.model import Record as Stored

_DATABASE = "system"
_TABLE = "runtime"


class StoredRecords(Records):
    """Records in a table of a store which only the platform itself can read: they hold the services' secrets."""

    def __init__(self, store: IStore) -> None:
        self._store = store

    async def load(self) -> Sequence[Record]:
        found = await self._store.read(_DATABASE, _TABLE, Query())
        return [record_from(stored.value) for stored in found]

    async def save(self, record: Record) -> None:
        await self._store.write(_DATABASE, _TABLE, Stored(_key(record.spec.key), value_of(record)))

    async def remove(self, key: Key) -> None:
        await self._store.delete(_DATABASE, _TABLE, _key(key))


def _key(key: Key) -> str:
    return f"{key.namespace}/{key.name}/{key.version}"


def value_of(record: Record) -> bytes:
    """A record as JSON."""
    return json.dumps(asdict(record), separators=(",", ":")).encode()


def record_from(value: bytes) -> Record:
    """The record which C{value_of} wrote; what an older release did not know gets its default."""
    found = json.loads(value)
    former = found.get("former")
    return Record(_spec_from(found["spec"]), _spec_from(former) if former else None)


def _spec_from(found: dict[str, Any]) -> Spec:
    known = {name: found[name] for name in Spec.__dataclass_fields__ if name in found}
    known["key"] = Key(**found["key"])
    for words in ("command", "args"):
        known[words] = tuple(known.get(words, ()))
    return Spec(**known)
