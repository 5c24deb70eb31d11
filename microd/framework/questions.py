"""What can be asked of the platform's store, whoever asks: coroutines, threads or scripts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
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
    @ivar version: what a later write can be made to depend on; no two contents of a key ever have the same one.
    """

    key: str
    value: bytes
    expiry: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    version: int = field(default=0, compare=False)

    @property
    def text(self) -> str:
        """The value, read as UTF-8."""
        return self.value.decode()

    def json(self) -> Any:
        """The value, read as JSON."""
        return json.loads(self.value)


@dataclass(frozen=True, slots=True)
class Put:
    """In a batch: keep a value, as L{Store.write} does.

    @ivar if_version: only if the record has this version now; 0: only if there is none; C{None}: in any case.
    @ivar table: another than the store's own.
    """

    key: str
    value: object
    if_version: int | None = None
    expiry: float | None = None
    metadata: Mapping[str, str] | None = None
    table: str = ""


class Drop(Exception):
    """What is to be gone.

    In a batch: forget a key, as L{Store.delete} does; the rest is as with L{Put}.

    Raised by a function that is subscribed to events, C{raise Drop("no such customer")}: this event shall not come again, but go
    to the dead letters of its topic at once, with these words.

    @ivar key: the key, or the words.
    """

    def __init__(self, key: str = "", if_version: int | None = None, table: str = "") -> None:
        super().__init__(key)
        self.key = key
        self.if_version = if_version
        self.table = table


@dataclass(frozen=True, slots=True)
class Check:
    """In a batch: change nothing, but let nothing be changed unless the record has this version; 0: unless there is none."""

    key: str
    if_version: int
    table: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """Some of the records that were asked for.

    @ivar next: there are more, after this key; empty: there are none.
    """

    records: Sequence[Record]
    next: str


@dataclass(frozen=True, slots=True)
class Ask(Generic[T]):
    """One question to the store.

    @ivar answer: makes what the author gets of the messages that came; there is one, unless C{stream}.
    @ivar metadata: what is said beside the question.
    """

    path: str
    request: Message
    reply: type[Message]
    answer: Callable[[Sequence[Any]], T]
    stream: bool = False
    metadata: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """Which keys, in which order; first the order, then C{after}, C{offset} and C{limit}.

    @ivar limit: no more than so many; 0: all.
    """

    prefix: str = ""
    suffix: str = ""
    limit: int = 0
    offset: int = 0
    descending: bool = False
    after: str = ""

    def __post_init__(self) -> None:
        if self.limit < 0 or self.offset < 0:
            raise BadRequest("a limit and an offset are 0 or more", "micro.client")


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
        request.options.database, request.options.table = self.database, self.table
        return Ask("/store.Store/Read", request, wire.ReadResponse, _first(key))

    def read_many(self, keys: Iterable[str]) -> Ask[Found]:
        """The records of some keys, without those which are not there; as many as one answer carries."""
        request = wire.ReadRequest()
        request.options.database, request.options.table = self.database, self.table
        request.options.keys.extend(keys)
        request.options.partial = True
        return Ask("/store.Store/Read", request, wire.ReadResponse, _found)

    def find(self, span: Span) -> Ask[Sequence[Record]]:
        """Records by how their keys begin and end, all of them in one answer."""
        return Ask("/store.Store/Read", self._spanning(span), wire.ReadResponse, _all)

    def page(self, span: Span) -> Ask[Found]:
        """The same, as many as one answer carries."""
        request = self._spanning(span)
        request.options.partial = True
        return Ask("/store.Store/Read", request, wire.ReadResponse, _found)

    def write(
        self,
        key: str,
        value: object,
        expiry: float | None,
        metadata: Mapping[str, str] | None,
        if_version: int | None,
    ) -> Ask[int]:
        """Keep a value; the answer is its version."""
        request = wire.WriteRequest(record=_message(key, value, expiry, metadata))
        request.options.database, request.options.table = self.database, self.table
        if if_version is not None:
            request.options.if_version = _version(if_version)
        return Ask("/store.Store/Write", request, wire.WriteResponse, _written)

    def delete(self, key: str, if_version: int | None) -> Ask[None]:
        """Forget a key."""
        request = wire.DeleteRequest(key=key)
        request.options.database, request.options.table = self.database, self.table
        if if_version is not None:
            request.options.if_version = _version(if_version)
        return Ask("/store.Store/Delete", request, wire.DeleteResponse, _nothing)

    def batch(self, acts: Iterable[Put | Drop | Check]) -> Ask[Sequence[int]]:
        """All of it or nothing; the answer has a version for each act, 0 for what is no L{Put}."""
        request = wire.BatchRequest()
        request.options.database, request.options.table = self.database, self.table
        for act in acts:
            message = request.acts.add(table=act.table)
            match act:
                case Put(key, value, _, expiry, metadata):
                    message.put.CopyFrom(_message(key, value, expiry, metadata))
                case Drop():
                    message.drop = act.key
                case Check(key):
                    message.check = key
            if act.if_version is not None:
                message.if_version = _version(act.if_version)
        return Ask("/store.Store/Batch", request, wire.BatchResponse, _versions)

    def list(self, span: Span) -> Ask[Sequence[str]]:
        """Keys."""
        request = wire.ListRequest()
        options = request.options
        options.database, options.table = self.database, self.table
        options.prefix, options.suffix, options.after = span.prefix, span.suffix, span.after
        options.limit, options.offset = span.limit, span.offset
        options.order = "desc" if span.descending else "asc"
        return Ask("/store.Store/List", request, wire.ListResponse, _keys, stream=True)

    def _spanning(self, span: Span) -> wire.ReadRequest:
        request = wire.ReadRequest()
        options = request.options
        options.database, options.table = self.database, self.table
        options.prefix, options.suffix = True, bool(span.suffix)
        options.key_prefix, options.key_suffix, options.after = span.prefix, span.suffix, span.after
        options.limit, options.offset = span.limit, span.offset
        options.order = "desc" if span.descending else "asc"
        return request


def _version(number: int) -> int:
    if number < 0:
        raise BadRequest("a version is that of a record that was read, or 0 for none", "micro.client")
    return number


def _message(
    key: str, value: object, expiry: float | None, metadata: Mapping[str, str] | None
) -> wire.Record:
    record = wire.Record(key=key, value=_bytes(value))
    if expiry is not None:
        if expiry <= 0:
            raise BadRequest("an expiry is a number of seconds from now, more than 0", "micro.client")
        record.expiry = max(1, round(expiry))
    for name, text in (metadata or {}).items():
        record.metadata[name].type = "string"
        record.metadata[name].value = text
    return record


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
    return Record(message.key, message.value, message.expiry or None, metadata, message.version)


def _first(key: str) -> Callable[[Sequence[wire.ReadResponse]], Record]:
    def answer(replies: Sequence[wire.ReadResponse]) -> Record:
        if not replies[0].records:
            raise NotFound(f"no record {key}", "store.Store.Read")
        return _record_from(replies[0].records[0])

    return answer


def _all(replies: Sequence[wire.ReadResponse]) -> Sequence[Record]:
    return [_record_from(record) for record in replies[0].records]


def _found(replies: Sequence[wire.ReadResponse]) -> Found:
    return Found(_all(replies), replies[0].next)


def _written(replies: Sequence[wire.WriteResponse]) -> int:
    return replies[0].version


def _nothing(_: Sequence[Message]) -> None:
    return None


def _versions(replies: Sequence[wire.BatchResponse]) -> Sequence[int]:
    return list(replies[0].versions)


def _keys(replies: Sequence[wire.ListResponse]) -> Sequence[str]:
    return [key for reply in replies for key in reply.keys]
