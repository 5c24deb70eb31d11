"""Documents in tables of a store: by default a SQLite file which only the daemon sees.

Never the store that users reach: there a document could be changed with no version, and no watcher told.
"""

from __future__ import annotations

from collections.abc import Sequence

from microd.services.config.interface import Commit, Documents
from microd.services.store.interface import IStore
from microd.services.store.model import Drop, Put, Query, Record

_DATABASE, _TABLE, _HISTORY = "micro", "config", "config_history"
_DOCUMENT, _KEY = "document/", "key/"
_PAGE = 500


class StoredDocuments(Documents):
    """Keeps config's things in a store."""

    def __init__(self, store: IStore) -> None:
        self._store = store

    async def load(self, namespace: str) -> bytes | None:
        found = await self._store.read_one(_DATABASE, _TABLE, _DOCUMENT + namespace)
        return None if found is None else found.value

    async def save(self, commit: Commit) -> None:
        namespace = commit.namespace
        acts: list[Put | Drop] = [
            Put(_DATABASE, _TABLE, Record(_DOCUMENT + namespace, commit.document)),
            *(Put(_DATABASE, _TABLE, Record(_KEY + id, b"")) for id in commit.keys),
            *(Drop(_DATABASE, _HISTORY, _place(namespace, number)) for number in commit.forgotten),
        ]
        if commit.version is not None:
            number, version = commit.version
            acts.append(Put(_DATABASE, _HISTORY, Record(_place(namespace, number), version)))
        await self._store.apply(acts)

    async def versions(self, namespace: str, before: int, limit: int) -> Sequence[tuple[int, bytes]]:
        prefix = namespace + "/"
        query = Query(prefix=prefix, descending=True, limit=limit, after=_place(namespace, before))
        found = await self._store.read(_DATABASE, _HISTORY, query)
        return [(int(record.key[len(prefix) :]), record.value) for record in found]

    async def version(self, namespace: str, number: int) -> bytes | None:
        found = await self._store.read_one(_DATABASE, _HISTORY, _place(namespace, number))
        return None if found is None else found.value

    async def keys(self) -> Sequence[str]:
        return await self._under(_KEY)

    async def namespaces(self) -> Sequence[str]:
        return await self._under(_DOCUMENT)

    async def _under(self, prefix: str) -> Sequence[str]:
        """What follows the prefix; read in pages, since one answer of a store is bounded."""
        found: list[str] = []
        after = ""
        while True:
            page = await self._store.list(_DATABASE, _TABLE, Query(prefix=prefix, limit=_PAGE, after=after))
            found.extend(key[len(prefix) :] for key in page)
            if len(page) < _PAGE:
                return found
            after = page[-1]


def _place(namespace: str, number: int) -> str:
    """Where a version is; the keys' order is that of the numbers."""
    return f"{namespace}/{number:020d}"
