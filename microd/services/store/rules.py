"""Which names and sizes the store takes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from microd.kernel.errors import BadRequest, PreconditionFailed, TooLarge
from microd.kernel.names import require_name, require_text
from microd.services.store.model import Act, Limits, Page, Put, Record

#: What a record of an answer costs besides its key, value and metadata, in bytes: on the wire, and in memory meanwhile.
EACH = 64

_LIMITS = Limits()
TOO_LARGE = (
    f"an answer carries at most {_LIMITS.records} records, of {_LIMITS.answer} bytes together: "
    "ask with a smaller limit, and go on with 'after'"
)

#: Characters of a key which an error shows.
_SHOWN = 200


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


def check_acts(acts: Sequence[Act], limits: Limits) -> int:
    """Let what is to be done together pass, and say how many bytes it has.

    @raise BadRequest: a name is none, or there are too many acts.
    @raise TooLarge: they have too many bytes.
    """
    if len(acts) > limits.acts:
        raise BadRequest(f"a batch may have at most {limits.acts} acts")
    size = sum(_check_act(act, limits) for act in acts)
    if len(acts) > 1 and size > limits.answer:
        raise TooLarge(f"a batch may have at most {limits.answer} bytes")
    return size


def _check_act(act: Act, limits: Limits) -> int:
    check_place(act.database, act.table)
    if isinstance(act, Put):
        return check_record(act.record, limits)
    check_key(act.key, limits)
    return len(act.key)


def first_version(now: float, reserved: int = 0) -> int:
    """Beyond which versions begin when a store is opened.

    A store brought back from an old copy must not give a version anew which it gave after the copy was made: so they
    begin with the time, in microseconds, and nobody writes a million records a second.

    @param reserved: all versions given before are known to be below.
    """
    return max(reserved, int(now * 1e6))


def check_version(key: str, found: int, wanted: int) -> None:
    """Let a write pass which was made for one version of a record.

    @param found: the version that there is; 0: there is no record.
    @raise PreconditionFailed: it is another one.
    """
    if found == wanted:
        return
    name = key if len(key) <= _SHOWN else key[:_SHOWN] + "\N{HORIZONTAL ELLIPSIS}"
    if not found:
        raise PreconditionFailed(f"there is no record {name}, whose version was to be {wanted}")
    if not wanted:
        raise PreconditionFailed(f"there is a record {name} already, of version {found}")
    raise PreconditionFailed(f"the record {name} has version {found}, not {wanted}: read it again")


class Budget:
    """Counts what an answer carries, so that it does not become too large for a message."""

    __slots__ = ("_left",)

    def __init__(self, limit: int) -> None:
        self._left = limit

    def has_room(self, size: int) -> bool:
        """Take C{size} bytes for one more record, and say whether they were there."""
        self._left -= size + EACH
        return self._left >= 0


def whole(page: Page) -> Sequence[Record]:
    """All records of a page, unless its end is not the query's.

    @raise TooLarge: so it is.
    """
    if page.is_full:
        raise TooLarge(TOO_LARGE)
    return page.records
