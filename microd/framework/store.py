"""The platform's store, for services and scripts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

from microd.framework.questions import Ask, Check, Drop, Put, Questions, Record, Span

__all__ = ["Ask", "BlockingStore", "Check", "Drop", "Put", "Questions", "Record", "Store"]

#: How many records a scan asks for at once.
PAGE = 500


class Store:
    """The store, for handlers and other coroutines. All of it is in one namespace; each service has a table by default.

    Every record has a version. A write that is made C{if_version} of the record that was read cannot undo what somebody else
    wrote meanwhile: it is refused with L{microd.kernel.errors.PreconditionFailed}.

    @ivar ask: puts a question; C{questions} makes them.
    """

    def __init__(self, ask: Callable[[Ask[Any]], Awaitable[Any]], database: str, table: str) -> None:
        self.ask = ask
        self.questions = Questions(database, table)

    def table(self, name: str) -> Store:
        """Another table."""
        return Store(self.ask, self.questions.database, name)

    def read(self, key: str) -> Awaitable[Record]:
        """Get a record.

        @raise NotFound: there is none.
        """
        return self.ask(self.questions.read(key))

    def find(
        self,
        prefix: str = "",
        *,
        suffix: str = "",
        limit: int = 0,
        offset: int = 0,
        descending: bool = False,
        after: str = "",
    ) -> Awaitable[Sequence[Record]]:
        """Get the records whose keys begin with C{prefix} and end with C{suffix}, in the order of the keys; 0: all.

        @param after: only what comes after this key, in that order.
        @raise TooLarge: they do not fit into one answer: give a limit, or L{scan}.
        """
        return self.ask(self.questions.find(Span(prefix, suffix, limit, offset, descending, after)))

    async def scan(
        self, prefix: str = "", *, suffix: str = "", descending: bool = False, after: str = ""
    ) -> AsyncIterator[Record]:
        """Iterate over as many records as there are, some at a time; what is written meanwhile may be met or not."""
        while True:
            span = Span(prefix, suffix, PAGE, 0, descending, after)
            found = await self.ask(self.questions.page(span))
            for record in found.records:
                yield record
            after = found.next
            if not after:
                return

    def write(
        self,
        key: str,
        value: object,
        *,
        expiry: float | None = None,
        metadata: Mapping[str, str] | None = None,
        if_version: int | None = None,
    ) -> Awaitable[int]:
        """Keep bytes or text as they are, anything else as JSON; it is durable when this returns its version.

        @param expiry: seconds after which it is gone.
        @param if_version: only if the record still has this version; 0: only if there is none.
        @raise PreconditionFailed: it has another one; nothing was written.
        """
        return self.ask(self.questions.write(key, value, expiry, metadata, if_version))

    def delete(self, key: str, *, if_version: int | None = None) -> Awaitable[None]:
        """Forget a key, whether or not it is there.

        @param if_version: only if the record still has this version.
        @raise PreconditionFailed: it has another one; nothing was deleted.
        """
        return self.ask(self.questions.delete(key, if_version))

    def batch(self, acts: Sequence[Put | Drop | Check]) -> Awaitable[Sequence[int]]:
        """Do all of it or nothing; the version which each record has now, 0 for what was not written.

        The conditions of all acts are looked at first, as of one moment. There may be 1000 acts.

        @raise PreconditionFailed: a record has another version; nothing was done.
        """
        return self.ask(self.questions.batch(acts))

    def list(
        self,
        prefix: str = "",
        *,
        suffix: str = "",
        limit: int = 0,
        offset: int = 0,
        descending: bool = False,
        after: str = "",
    ) -> Awaitable[Sequence[str]]:
        """Get keys, in their order."""
        return self.ask(self.questions.list(Span(prefix, suffix, limit, offset, descending, after)))


class BlockingStore:
    """The store, for scripts and for handlers in threads: the same as L{Store}, and each call waits.

    @ivar ask: puts a question; C{questions} makes them.
    """

    def __init__(self, ask: Callable[[Ask[Any]], Any], database: str, table: str) -> None:
        self.ask = ask
        self.questions = Questions(database, table)

    def table(self, name: str) -> BlockingStore:
        """Another table."""
        return BlockingStore(self.ask, self.questions.database, name)

    def read(self, key: str) -> Record:
        """Get a record.

        @raise NotFound: there is none.
        """
        found: Record = self.ask(self.questions.read(key))
        return found

    def find(
        self,
        prefix: str = "",
        *,
        suffix: str = "",
        limit: int = 0,
        offset: int = 0,
        descending: bool = False,
        after: str = "",
    ) -> Sequence[Record]:
        """Get the records whose keys begin with C{prefix} and end with C{suffix}; see L{Store.find}."""
        found: Sequence[Record] = self.ask(
            self.questions.find(Span(prefix, suffix, limit, offset, descending, after))
        )
        return found

    def scan(
        self, prefix: str = "", *, suffix: str = "", descending: bool = False, after: str = ""
    ) -> Iterator[Record]:
        """Iterate over as many records as there are, some at a time."""
        while True:
            found = self.ask(self.questions.page(Span(prefix, suffix, PAGE, 0, descending, after)))
            yield from found.records
            after = found.next
            if not after:
                return

    def write(
        self,
        key: str,
        value: object,
        *,
        expiry: float | None = None,
        metadata: Mapping[str, str] | None = None,
        if_version: int | None = None,
    ) -> int:
        """Keep bytes or text as they are, anything else as JSON; see L{Store.write}."""
        version: int = self.ask(self.questions.write(key, value, expiry, metadata, if_version))
        return version

    def delete(self, key: str, *, if_version: int | None = None) -> None:
        """Forget a key, whether or not it is there; see L{Store.delete}."""
        self.ask(self.questions.delete(key, if_version))

    def batch(self, acts: Sequence[Put | Drop | Check]) -> Sequence[int]:
        """Do all of it or nothing; see L{Store.batch}."""
        versions: Sequence[int] = self.ask(self.questions.batch(acts))
        return versions

    def list(
        self,
        prefix: str = "",
        *,
        suffix: str = "",
        limit: int = 0,
        offset: int = 0,
        descending: bool = False,
        after: str = "",
    ) -> Sequence[str]:
        """Get keys, in their order."""
        found: Sequence[str] = self.ask(
            self.questions.list(Span(prefix, suffix, limit, offset, descending, after))
        )
        return found
