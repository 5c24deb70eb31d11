"""The records of a model in a store: for coroutines, and for scripts and threads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Generic, TypeVar

from microd.framework.model.asking import Asking, Conditions, walk, walk_blocking
from microd.framework.model.pages import Page
from microd.framework.store import BlockingStore, Store

T = TypeVar("T")

#: How many records a page has where nobody says otherwise; and how many an iteration asks for at once.
PAGE = 100


class Records(Generic[T]):
    """The records of one model.

    Conditions are fields with the values wanted, one of which may be a range; they are given by name, or, where a field is
    called as an option is, as a dict before the options. An index answers them, or they are refused: nothing is ever found by
    going over all records.

    What is read, created, saved or updated carries its version, by which L{update} notices that somebody else was quicker.

    @param store: where they are kept; C{asking} makes the steps for it.
    """

    def __init__(self, store: Callable[[], Store], asking: Callable[[], Asking[T]]) -> None:
        self._store = store
        self._asking = asking

    async def create(self, record: T) -> T:
        """Keep a new record.

        @raise Conflict: there is one with its id, or with a value that only one may have.
        """
        return await walk(self._asking().create(record), self._store().ask)

    async def save(self, record: T) -> T:
        """Keep a record, whether or not there is one with its id, and whatever that holds.

        @raise Conflict: there is another one with a value that only one may have.
        """
        return await walk(self._asking().save(record), self._store().ask)

    async def update(self, record: T) -> T:
        """Keep a record that was read before, and changed since.

        @raise Conflict: somebody else changed it meanwhile; or there is another one with a value that only one may have.
        @raise NotFound: somebody else deleted it.
        """
        return await walk(self._asking().update(record), self._store().ask)

    async def change(self, id: object, how: Callable[[T], T | None]) -> T:
        """Read a record, have a function change it, or make another of it, and keep that; over again, if somebody else was quicker.

        @raise NotFound: there is none.
        """
        return await walk(self._asking().change(id, how), self._store().ask)

    async def delete(self, id: object) -> None:
        """Forget a record, whether or not it is there."""
        await walk(self._asking().delete(id), self._store().ask)

    async def read(self, id: object) -> T:
        """Get a record.

        @raise NotFound: there is none.
        """
        return await walk(self._asking().read(id), self._store().ask)

    async def read_many(self, ids: Iterable[object]) -> list[T]:
        """Get some records, in the order of the ids; those which are not there are left out."""
        return await walk(self._asking().read_many(ids), self._store().ask)

    async def get(self, conditions: Conditions | None = None, /, **fields: object) -> T:
        """Get the one record that satisfies all conditions.

        @raise NotFound: there is none.
        @raise Conflict: there is more than one.
        """
        return await walk(self._asking().got({**(conditions or {}), **fields}), self._store().ask)

    async def list(
        self,
        conditions: Conditions | None = None,
        /,
        *,
        order: str = "",
        descending: bool | None = None,
        limit: int = PAGE,
        after: str = "",
        **fields: object,
    ) -> Page[T]:
        """Get a page of the records that satisfy all conditions.

        @param order: the field whose order they come in; without it, in that of the index which answers, and without
            conditions in that of the ids. Those which are alike in it come in the order of their ids, the same way.
        @param descending: C{None}: as the index says.
        @param limit: 1 to 1000.
        @param after: L{Page.next} of the page before. What is changed between two pages may be met twice, or not at all;
            what is not changed is met once.
        @raise BadRequest: no index answers this; the error says which one to declare.
        @raise PreconditionFailed: that index is not built; see L{reindex}.
        """
        every = {**(conditions or {}), **fields}
        steps = self._asking().listed(every, order, descending, limit, after)
        return await walk(steps, self._store().ask)

    async def scan(
        self,
        conditions: Conditions | None = None,
        /,
        *,
        order: str = "",
        descending: bool | None = None,
        **fields: object,
    ) -> AsyncIterator[T]:
        """Iterate over all records that satisfy all conditions, a page at a time; see L{list}."""
        after = ""
        while True:
            page = await self.list(
                {**(conditions or {}), **fields}, order=order, descending=descending, after=after
            )
            for record in page:
                yield record
            after = page.next
            if not after:
                return

    async def count(self, conditions: Conditions | None = None, /, **fields: object) -> int:
        """Count the records that satisfy all conditions; it goes over that many keys."""
        return await walk(self._asking().counted({**(conditions or {}), **fields}), self._store().ask)

    async def reindex(self, *, anew: bool = False) -> int:
        """Build the indexes that are declared, and not built yet, while all goes on; drop those which are declared no more.

        It is for the release which is to stay, after indexes were added, changed or removed. Where nothing is to be done,
        nothing is.

        @param anew: build all of them, as when C{__post_init__} makes other values of what is kept.
        @return: how many records it went over.
        @raise Conflict: two records have a value that only one may have; the error names them.
        """
        return await walk(self._asking().reindex(anew), self._store().ask)


class BlockingRecords(Generic[T]):
    """The same as L{Records}, and each call waits."""

    def __init__(self, store: Callable[[], BlockingStore], asking: Callable[[], Asking[T]]) -> None:
        self._store = store
        self._asking = asking

    def create(self, record: T) -> T:
        """Keep a new record; see L{Records.create}."""
        return walk_blocking(self._asking().create(record), self._store().ask)

    def save(self, record: T) -> T:
        """Keep a record, whatever is there; see L{Records.save}."""
        return walk_blocking(self._asking().save(record), self._store().ask)

    def update(self, record: T) -> T:
        """Keep a record that was read before, and changed since; see L{Records.update}."""
        return walk_blocking(self._asking().update(record), self._store().ask)

    def change(self, id: object, how: Callable[[T], T | None]) -> T:
        """Read a record, have a function change it, and keep that; see L{Records.change}."""
        return walk_blocking(self._asking().change(id, how), self._store().ask)

    def delete(self, id: object) -> None:
        """Forget a record, whether or not it is there."""
        walk_blocking(self._asking().delete(id), self._store().ask)

    def read(self, id: object) -> T:
        """Get a record; see L{Records.read}."""
        return walk_blocking(self._asking().read(id), self._store().ask)

    def read_many(self, ids: Iterable[object]) -> list[T]:
        """Get some records; see L{Records.read_many}."""
        return walk_blocking(self._asking().read_many(ids), self._store().ask)

    def get(self, conditions: Conditions | None = None, /, **fields: object) -> T:
        """Get the one record that satisfies all conditions; see L{Records.get}."""
        return walk_blocking(self._asking().got({**(conditions or {}), **fields}), self._store().ask)

    def list(
        self,
        conditions: Conditions | None = None,
        /,
        *,
        order: str = "",
        descending: bool | None = None,
        limit: int = PAGE,
        after: str = "",
        **fields: object,
    ) -> Page[T]:
        """Get a page of the records that satisfy all conditions; see L{Records.list}."""
        every = {**(conditions or {}), **fields}
        steps = self._asking().listed(every, order, descending, limit, after)
        return walk_blocking(steps, self._store().ask)

    def scan(
        self,
        conditions: Conditions | None = None,
        /,
        *,
        order: str = "",
        descending: bool | None = None,
        **fields: object,
    ) -> Iterator[T]:
        """Iterate over all records that satisfy all conditions, a page at a time."""
        after = ""
        while True:
            page = self.list(
                {**(conditions or {}), **fields}, order=order, descending=descending, after=after
            )
            yield from page
            after = page.next
            if not after:
                return

    def count(self, conditions: Conditions | None = None, /, **fields: object) -> int:
        """Count the records that satisfy all conditions; see L{Records.count}."""
        return walk_blocking(self._asking().counted({**(conditions or {}), **fields}), self._store().ask)

    def reindex(self, *, anew: bool = False) -> int:
        """Build the indexes that are declared; see L{Records.reindex}."""
        return walk_blocking(self._asking().reindex(anew), self._store().ask)
