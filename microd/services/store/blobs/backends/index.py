"""Which blobs there are, and where each lies: records of a store that only the daemon sees.

::

    database of the namespace   table blob   key        -> what is known of the blob, and its id
    database micro              table body   id         -> the bytes of a small blob
    database micro              table file   id         -> nothing: there is a file of this name, and it is needed

All that changes with a blob changes in one step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from microd.services.store.blobs.model import Blob
from microd.services.store.interface import IStore
from microd.services.store.model import Drop, Put, Query, Record

BLOB, BODY, FILE = "blob", "body", "file"
#: Where ids are kept, which are the same for all namespaces.
IDS = "micro"


@dataclass(frozen=True, slots=True)
class Entry:
    """A blob and where it lies.

    @ivar in_file: whether the id names a file; else the bytes are in the index.
    """

    blob: Blob
    id: str
    in_file: bool


class Index:
    """The records."""

    def __init__(self, store: IStore) -> None:
        self._store = store

    @property
    def failure(self) -> str:
        """Why nothing can be written any more; empty: all is well."""
        return getattr(self._store, "failure", "")

    async def find(self, namespace: str, key: str) -> Entry | None:
        """The blob which is there now."""
        found = await self._store.read_one(namespace, BLOB, key)
        return None if found is None else _entry_from(found)

    async def body(self, id: str) -> bytes | None:
        """The bytes of a small blob; None where it is there no more."""
        found = await self._store.read_one(IDS, BODY, id)
        return None if found is None else found.value

    async def knows_files(self) -> bool:
        """Whether there is a blob in a file."""
        return bool(await self._store.list(IDS, FILE, Query(limit=1)))

    async def needs(self, id: str) -> bool:
        """Whether a file is that of a blob."""
        return await self._store.read_one(IDS, FILE, id) is not None

    async def page(self, namespace: str, prefix: str, after: str, limit: int) -> Sequence[Blob]:
        """Blobs in the order of their keys."""
        found = await self._store.read(namespace, BLOB, Query(prefix=prefix, after=after, limit=limit))
        return [_entry_from(record).blob for record in found]

    async def put(self, namespace: str, entry: Entry, body: bytes | None) -> Entry | None:
        """Put a blob in its place; the one which was there. To be called for one key at a time."""
        old = await self.find(namespace, entry.blob.key)
        where = FILE if entry.in_file else BODY
        await self._store.apply(
            [
                Put(namespace, BLOB, Record(entry.blob.key, _value_of(entry))),
                Put(IDS, where, Record(entry.id, body or b"")),
                *_gone(old),
            ]
        )
        return old

    async def drop(self, namespace: str, key: str) -> Entry | None:
        """Take a blob out; the one which was there. To be called for one key at a time."""
        old = await self.find(namespace, key)
        if old is not None:
            await self._store.apply([Drop(namespace, BLOB, key), *_gone(old)])
        return old


def _gone(old: Entry | None) -> list[Drop]:
    return [] if old is None else [Drop(IDS, FILE if old.in_file else BODY, old.id)]


def _value_of(entry: Entry) -> bytes:
    blob = entry.blob
    return orjson.dumps(
        {
            "id": entry.id,
            "file": entry.in_file,
            "size": blob.size,
            "digest": blob.digest,
            "modified": blob.modified,
            "type": blob.content_type,
            "public": blob.public,
        }
    )


def _entry_from(record: Record) -> Entry:
    found: dict[str, Any] = orjson.loads(record.value)
    blob = Blob(record.key, found["size"], found["digest"], found["modified"], found["type"], found["public"])
    return Entry(blob, found["id"], found["file"])
