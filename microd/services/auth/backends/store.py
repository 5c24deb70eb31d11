"""A vault in a table of a store: by default a SQLite file which only the daemon sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from microd.services.store.interface import IStore
from microd.services.store.model import Drop, Put, Query, Record

DATABASE, TABLE = "micro", "auth"
_PAGE = 500


class StoreVault:
    """Keeps auth's things in a store; L{microd.services.auth.interface.Vault}.

    Never the store that users reach: whoever can write a hash can log in.
    """

    def __init__(self, store: IStore) -> None:
        self._store = store

    async def read(self, key: str) -> bytes | None:
        """The value under C{key}."""
        found = await self._store.read_one(DATABASE, TABLE, key)
        return None if found is None else found.value

    async def apply(self, changes: Mapping[str, bytes | None]) -> None:
        """Keep values, forget keys."""
        await self._store.apply(
            [
                Drop(DATABASE, TABLE, key) if value is None else Put(DATABASE, TABLE, Record(key, value))
                for key, value in changes.items()
            ]
        )

    async def under(self, prefix: str) -> Sequence[tuple[str, bytes]]:
        """Keys with a prefix, and their values; read in pages, since one answer of a store is bounded."""
        found: list[tuple[str, bytes]] = []
        after = ""
        while True:
            page = await self._store.read(DATABASE, TABLE, Query(prefix=prefix, limit=_PAGE, after=after))
            found.extend((record.key, record.value) for record in page)
            if len(page) < _PAGE:
                return found
            after = page[-1].key
