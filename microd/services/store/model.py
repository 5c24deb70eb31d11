"""What the store speaks of. All values are frozen, but for L{Kept}."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Field:
    """A piece of what is said about a record.

    @ivar type: the name of a type, such as C{string}.
    """

    type: str
    value: str


class Record(NamedTuple):
    """A value under a key.

    @ivar expiry: when it ceases to be, in Unix seconds; None: never.
    @ivar version: rises with each write to its place, also over a deletion; a store never gives the same one to two
        contents of a place. Who writes says nothing here.
    """

    key: str
    value: bytes
    expiry: float | None = None
    metadata: Mapping[str, Field] = MappingProxyType({})
    version: int = 0


class Kept:
    """A record which a store remembers until somebody writes to its place.

    @ivar shown: a place for what was made of it for those who ask.
    """

    __slots__ = ("record", "shown")

    def __init__(self, record: Record) -> None:
        self.record = record
        self.shown = b""


@dataclass(frozen=True, slots=True)
class Query:
    """Which keys of a table, in which order. First the order, then C{after}, C{offset} and C{limit}.

    @ivar prefix: how the keys begin; empty: anyhow.
    @ivar suffix: how the keys end; empty: anyhow.
    @ivar descending: reverses the order, which is that of the keys' UTF-8 bytes.
    @ivar limit: no more than so many; 0: all.
    @ivar after: go on after this key, in the query's order; empty: begin at the beginning.
    """

    prefix: str = ""
    suffix: str = ""
    descending: bool = False
    limit: int = 0
    offset: int = 0
    after: str = ""


class Page(NamedTuple):
    """Some of the records which a query chooses, as of one moment.

    @ivar next: there are more; they come with this as the query's C{after}. Empty: there are none.
    @ivar is_full: the bytes or the records of one answer were used up, before the query's limit was.
    """

    records: Sequence[Record]
    next: str = ""
    is_full: bool = False


@dataclass(frozen=True, slots=True)
class Put:
    """An act: write a record.

    @ivar if_version: only if the record has this version now; 0: only if there is none; None: in any case.
    """

    database: str
    table: str
    record: Record
    if_version: int | None = None

    @property
    def key(self) -> str:
        """The record's."""
        return self.record.key


@dataclass(frozen=True, slots=True)
class Drop:
    """An act: take a record out, whether or not the key is there.

    @ivar if_version: as with L{Put}.
    """

    database: str
    table: str
    key: str
    if_version: int | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """An act which changes nothing: it only says which version there must be."""

    database: str
    table: str
    key: str
    if_version: int


#: What can be done together.
Act = Put | Drop | Check


@dataclass(frozen=True, slots=True)
class Limits:
    """How large things may be, in bytes.

    @ivar answer: the keys, values and metadata which one answer carries, and a little for each record; it must fit into
        one message.
    @ivar records: how many records one answer has, at most; to make a message of them keeps all others waiting.
    @ivar acts: how many acts one batch has, at most.
    @ivar waiting: values not yet on disk; who writes faster than the disk is refused beyond it.
    """

    key: int = 4096
    value: int = 16 << 20
    metadata: int = 64 << 10
    answer: int = 28 << 20
    records: int = 10_000
    acts: int = 1000
    waiting: int = 256 << 20
