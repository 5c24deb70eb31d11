"""Records which were read lately, so that the next read need not go to the file."""

from __future__ import annotations

from collections import OrderedDict

from microd.services.store.model import Kept, Record

#: Bytes of values kept altogether, with what is shown of them, and of a single value.
MOST, LARGEST = 32 << 20, 64 << 10
#: What a record costs besides its value, roughly.
_OVERHEAD = 600

Place = tuple[str, str, str]


class Recent:
    """A bounded memory; whoever writes to a place must have it forgotten. The oldest go first."""

    __slots__ = ("_records", "_size", "get")

    def __init__(self) -> None:
        # A plain dictionary from which many were taken at its beginning takes ever longer to find its first one.
        self._records: OrderedDict[Place, Kept] = OrderedDict()
        self._size = 0
        #: The record at a place, or None where it is not remembered.
        self.get = self._records.get

    def keep(self, place: Place, record: Record) -> Kept:
        """Remember a record that was just read, unless it is large."""
        kept = Kept(record)
        if len(record.value) > LARGEST or record.metadata or place in self._records:
            return kept
        self._records[place] = kept
        self._size += _cost(record)
        while self._size > MOST:
            _, oldest = self._records.popitem(last=False)
            self._size -= _cost(oldest.record)
        return kept

    def forget(self, place: Place) -> None:
        """Remember it no longer."""
        if self._records:
            kept = self._records.pop(place, None)
            if kept is not None:
                self._size -= _cost(kept.record)


def _cost(record: Record) -> int:
    return 2 * len(record.value) + _OVERHEAD
