"""Records which were read lately, so that the next read need not go to the file."""

from __future__ import annotations

from microd.services.store.model import Record

#: Bytes of values kept altogether, and of a single one.
MOST, LARGEST = 32 << 20, 64 << 10
#: What a record costs besides its value, roughly.
_OVERHEAD = 500

Place = tuple[str, str, str]


class Recent:
    """A bounded memory; whoever writes to a place must have it forgotten. The oldest go first."""

    __slots__ = ("_records", "_size", "get")

    def __init__(self) -> None:
        self._records: dict[Place, Record] = {}
        self._size = 0
        #: The record at a place, or None where it is not remembered.
        self.get = self._records.get

    def keep(self, place: Place, record: Record) -> None:
        """Remember a record that was just read."""
        if len(record.value) > LARGEST or record.metadata or place in self._records:
            return
        self._records[place] = record
        self._size += len(record.value) + _OVERHEAD
        while self._size > MOST:
            self.forget(next(iter(self._records)))

    def forget(self, place: Place) -> None:
        """Remember it no longer."""
        record = self._records.pop(place, None)
        if record is not None:
            self._size -= len(record.value) + _OVERHEAD
