"""The platform's store, for services and scripts."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from microd.kernel.errors import BadRequest, NotFound
from microd.wire import store_pb2 as wire

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Record:
    """Something kept under a key.

    @ivar expiry: seconds until it is gone; C{None}: it stays.
    """

    key: str
    value: bytes
    expiry: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The value, read as UTF-8."""
        return self.value.decode()

    def json(self) -> Any:
        """The value, read as JSON."""
        return json.loads(self.value)


@dataclass(frozen=True, slots=True)
class Ask(Generic[T]):
    """One question to the store.

    @ivar answer: makes what the author gets of the messages that came; there is one, unless C{stream}.
    """

    path: str
    request: Message
    reply: type[Message]
    answer: Callable[[Sequence[Any]], T]
    stream: bool = False


class Questions:
    """Makes the questions about one table of one database.

    @ivar database: a namespace.
    """

    def __init__(self, database: str, table: str) -> None:
        self.database = database
        self.table = table

    def read(self, key: str) -> Ask[Record]:
        """One record."""
        request = wire.ReadRequest(key=key)
        self._place(request.options)
        return Ask("/store.Store/Read", request, wire.ReadResponse, _first(key))

    def find(self, prefix: str, suffix: str, limit: int, offset: int, descending: bool) -> Ask[list[Record]]:
        """The records whose keys begin or end with something."""
        if prefix and suffix:
            raise BadRequest("the store finds by a prefix or by a suffix, not by both", "micro.client")
        request = wire.ReadRequest(key=prefix or suffix)
        self._place(request.options)
        request.options.prefix = not suffix
        request.options.suffix = bool(suffix)
        request.options.limit = limit
        request.options.offset = offset
        request.options.order = "desc" if descending else "asc"
        return Ask("/store.Store/Read", request, wire.ReadResponse, _all)

    def write(
        self, key: str, value: object, expiry: float | None, metadata: Mapping[str, str] | None
    ) -> Ask[None]:
        """Keep a value."""
        record = wire.Record(key=key, value=_bytes(value))
        if expiry is not None:
            if expiry <= 0:
                raise BadRequest("an expiry is a number of seconds from now, more than 0", "micro.client")
            record.expiry = max(1, round(expiry))
        for name, text in (metadata or {}).items():
            record.metadata[name].type = "string"
            record.metadata[name].value = text
        request = wire.WriteRequest(record=record)
        request.options.database, request.options.table = self.database, self.table
        return Ask("/store.Store/Write", request, wire.WriteResponse, _nothing)

    def delete(self, key: str) -> Ask[None]:
        """Forget a key."""
        request = wire.DeleteRequest(key=key)
        request.options.database, request.options.table = self.database, self.table
        return Ask("/store.Store/Delete", request, wire.DeleteResponse, _nothing)

    def list(self, prefix: str, suffix: str, limit: int, offset: int, descending: bool) -> Ask[list[str]]:
        """Keys."""
        request = wire.ListRequest()
        options = request.options
        options.database, options.table = self.database, self.table
        options.prefix, options.suffix, options.limit, options.offset = prefix, suffix, limit, offset
        options.order = "desc" if descending else "asc"
        return Ask("/store.Store/List", request, wire.ListResponse, _keys, stream=True)

    def _place(self, options: wire.ReadOptions) -> None:
        options.database, options.table = self.database, self.table


class Store:
    """The store, for handlers and other coroutines. All of it is in one namespace; each service has a table by default."""

    def __init__(self, ask: Callable[[Ask[Any]], Awaitable[Any]], database: str, table: str) -> None:
        self._ask = ask
        self._questions = Questions(database, table)

    def table(self, name: str) -> Store:
        """Another table."""
        return Store(self._ask, self._questions.database, name)

    def read(self, key: str) -> Awaitable[Record]:
        """Get a record.

        @raise NotFound: there is none.
        """
        return self._ask(self._questions.read(key))

    def find(
        self, prefix: str = "", *, suffix: str = "", limit: int = 0, offset: int = 0, descending: bool = False
    ) -> Awaitable[Sequence[Record]]:
        """Get the records whose keys begin with C{prefix}, or end with C{suffix}, in the order of the keys; 0: all."""
        return self._ask(self._questions.find(prefix, suffix, limit, offset, descending))

    def write(
        self,
        key: str,
        value: object,
        *,
        expiry: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Awaitable[None]:
        """Keep bytes or text as they are, anything else as JSON; it is durable when this returns.

        @param expiry: seconds after which it is gone.
        """
        return self._ask(self._questions.write(key, value, expiry, metadata))

    def delete(self, key: str) -> Awaitable[None]:
        """Forget a key, whether or not it is there."""
        return self._ask(self._questions.delete(key))

    def list(
        self, prefix: str = "", *, suffix: str = "", limit: int = 0, offset: int = 0, descending: bool = False
    ) -> Awaitable[Sequence[str]]:
        """Get keys, in their order."""
        return self._ask(self._questions.list(prefix, suffix, limit, offset, descending))


class BlockingStore:
    """The store, for scripts: the same, and each call waits."""

    def __init__(self, ask: Callable[[Ask[Any]], Any], database: str, table: str) -> None:
        self._ask = ask
        self._questions = Questions(database, table)

    def table(self, name: str) -> BlockingStore:
        """Another table."""
        return BlockingStore(self._ask, self._questions.database, name)

    def read(self, key: str) -> Record:
        """Get a record.

        @raise NotFound: there is none.
        """
        found: Record = self._ask(self._questions.read(key))
        return found

    def find(
        self, prefix: str = "", *, suffix: str = "", limit: int = 0, offset: int = 0, descending: bool = False
    ) -> Sequence[Record]:
        """Get the records whose keys begin with C{prefix}, or end with C{suffix}, in the order of the keys; 0: all."""
        found: list[Record] = self._ask(self._questions.find(prefix, suffix, limit, offset, descending))
        return found

    def write(
        self,
        key: str,
        value: object,
        *,
        expiry: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Keep bytes or text as they are, anything else as JSON; it is durable when this returns."""
        self._ask(self._questions.write(key, value, expiry, metadata))

    def delete(self, key: str) -> None:
        """Forget a key, whether or not it is there."""
        self._ask(self._questions.delete(key))

    def list(
        self, prefix: str = "", *, suffix: str = "", limit: int = 0, offset: int = 0, descending: bool = False
    ) -> Sequence[str]:
        """Get keys, in their order."""
        found: Sequence[str] = self._ask(self._questions.list(prefix, suffix, limit, offset, descending))
        return found


def _bytes(value: object) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, str):
        return value.encode()
    try:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    except (TypeError, ValueError) as problem:
        raise BadRequest(
            f"a value is bytes, text, or something with a form in JSON: {problem}", "micro.client"
        ) from None


def _record_from(message: wire.Record) -> Record:
    metadata = {name: found.value for name, found in message.metadata.items()}
    return Record(message.key, message.value, message.expiry or None, metadata)


def _first(key: str) -> Callable[[Sequence[wire.ReadResponse]], Record]:
    def answer(replies: Sequence[wire.ReadResponse]) -> Record:
        if not replies[0].records:
            raise NotFound(f"no record {key}", "store.Store.Read")
        return _record_from(replies[0].records[0])

    return answer


def _all(replies: Sequence[wire.ReadResponse]) -> list[Record]:
    return [_record_from(record) for record in replies[0].records]


def _nothing(_: Sequence[Message]) -> None:
    return None


def _keys(replies: Sequence[wire.ListResponse]) -> list[str]:
    return [key for reply in replies for key in reply.keys]
