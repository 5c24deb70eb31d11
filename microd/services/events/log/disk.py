"""A topic's blocks, as they lie in the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from microd.kernel.errors import Internal
from microd.services.events import codec
from microd.services.events.codec import Block, Damaged
from microd.services.events.log.meta import LOG
from microd.services.store.interface import IStore
from microd.services.store.model import Drop, Query, Record

#: How many bytes a read of several blocks is to have, and how many blocks at most.
_AT_ONCE, _MOST = 1 << 20, 256


class Disk:
    """Reads one topic's blocks, and takes them out."""

    __slots__ = ("_namespace", "_pace", "_store", "_topic")

    def __init__(self, store: IStore, namespace: str, topic: str) -> None:
        self._store = store
        self._namespace = namespace
        self._topic = topic
        self._pace = 4

    @property
    def table(self) -> str:
        """Where they lie."""
        return LOG + self._topic

    async def ends(self) -> tuple[Block, Block] | None:
        """The first block and the last one; None where there is none."""
        page = await self._store.page(self._namespace, self.table, Query(limit=2))
        if not page.records:
            return None
        first = self.block_from(page.records[0])
        last = first if len(page.records) == 1 and not page.next else await self.last()
        return first, last or first

    async def last(self) -> Block | None:
        """The last one."""
        return await self._one(Query(limit=1, descending=True))

    async def at(self, offset: int) -> Block | None:
        """The first block which ends behind C{offset}."""
        return await self._one(Query(limit=1, after=codec.key(offset - 1)))

    async def several(self, offset: int) -> Sequence[Record]:
        """Some blocks from the one on in which C{offset} is; how many is learnt from how large they are."""
        query = Query(limit=self._pace, after=codec.key(offset - 1))
        found = (await self._store.page(self._namespace, self.table, query)).records
        if found:
            each = max(1, sum(len(record.value) for record in found) // len(found))
            self._pace = min(max(2, _AT_ONCE // each), _MOST, 4 * self._pace)
        return found

    async def find(self, low: int, high: int, is_it: Callable[[Block], bool]) -> Block | None:
        """The first block with offsets from C{low}, before C{high}, of which something is true that is true of all later ones; by halving."""
        found: Block | None = None
        while low < high:
            block = await self.at((low + high) // 2)
            if block is None or block.first >= high:
                # What was there has gone meanwhile.
                high = (low + high) // 2
            elif is_it(block):
                found, high = block, block.first
            else:
                low = block.end
        return found

    async def drop(self, before: int, most: int) -> Sequence[Drop]:
        """What takes the oldest blocks out which end before that offset, or at it; no more than so many."""
        keys = await self._store.list(self._namespace, self.table, Query(limit=most))
        last = codec.key(before - 1)
        return [Drop(self._namespace, self.table, key) for key in keys if key <= last]

    def block_from(self, record: Record) -> Block:
        """A record's meaning.

        @raise Internal: it has none.
        """
        try:
            return codec.decode(record.key, record.value)
        except Damaged as problem:
            raise self.damaged(f"the block {record.key}", problem) from problem

    def damaged(self, what: str, problem: Exception) -> Internal:
        """What readers of a damaged topic hear."""
        return Internal(
            f"the topic {self._topic} of {self._namespace} is damaged: {what}: {problem}; "
            "bring the file back from a backup, or delete the topic"
        )

    async def _one(self, query: Query) -> Block | None:
        page = await self._store.page(self._namespace, self.table, query)
        return self.block_from(page.records[0]) if page.records else None
