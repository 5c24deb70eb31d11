"""What the store speaks of. All values are frozen, but for L{Kept}."""

from __future__ import annotations

from collections.abc import Mapping
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
    """

    key: str
    value: bytes
    expiry: float | None = None
    metadata: Mapping[str, Field] = MappingProxyType({})


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


@dataclass(frozen=True, slots=True)
class Put:
    """An act: write a record, whether or not the key is there."""

    database: str
    table: str
    record: Record


@dataclass(frozen=True, slots=True)
class Drop:
    """An act: take a record out, whether or not the key is there."""

    database: str
    table: str
    key: str


@dataclass(frozen=True, slots=True)
class Limits:
    """How large things may be, in bytes.

    @ivar answer: the keys, values and metadata which one answer carries; it must fit into one message.
    @ivar waiting: values not yet on disk; who writes faster than the disk is refused beyond it.
    """

    key: int = 4096
    value: int = 16 << 20
    metadata: int = 64 << 10
    answer: int = 28 << 20
    waiting: int = 256 << 20
