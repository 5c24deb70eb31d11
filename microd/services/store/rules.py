"""Which names and sizes the store takes. Pure."""

from __future__ import annotations

from functools import lru_cache

from microd.kernel.errors import BadRequest, TooLarge
from microd.kernel.names import require_name, require_text
from microd.services.store.model import Drop, Limits, Put, Record


@lru_cache(maxsize=4096)
def check_place(database: str, table: str) -> None:
    """Let a database and a table pass. A table's name is free, but for control characters and parts named C{..}.

    @raise BadRequest: one of them is no name.
    """
    require_name("the database's name", database)
    require_text("the table's name", table, 128)
    if ".." in table.split("/"):
        raise BadRequest("the table's name has '..' in it")


def check_key(key: str, limits: Limits) -> None:
    """Let a key pass: not empty, not too long, no control characters."""
    require_text("the key", key, limits.key)


def check_record(record: Record, limits: Limits) -> int:
    """Let a record pass, and say how many bytes it has.

    @raise TooLarge: its value or its metadata is over the limit.
    """
    check_key(record.key, limits)
    if len(record.value) > limits.value:
        raise TooLarge(f"a value may have at most {limits.value} bytes")
    size = len(record.value) + len(record.key)
    if record.metadata:
        said = sum(len(name) + len(field.type) + len(field.value) for name, field in record.metadata.items())
        if said > limits.metadata:
            raise TooLarge(f"a record's metadata may have at most {limits.metadata} characters")
        size += said
    return size


def check_act(act: Put | Drop, limits: Limits) -> int:
    """Let one act pass, and say how many bytes it has."""
    check_place(act.database, act.table)
    if isinstance(act, Put):
        return check_record(act.record, limits)
    check_key(act.key, limits)
    return len(act.key)


class Budget:
    """Counts what an answer carries, and stops it before it is too large for a message."""

    __slots__ = ("_left", "_limit")

    def __init__(self, limit: int) -> None:
        self._left = self._limit = limit

    def spend(self, size: int) -> None:
        """Make room for C{size} bytes more, or raise L{TooLarge}."""
        self._left -= size
        if self._left < 0:
            raise TooLarge(f"the answer is larger than {self._limit} bytes: ask with a limit and an offset")
