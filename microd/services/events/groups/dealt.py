"""Which dead letters are dealt with. Pure.

As it lies on disk: JSON, C{{"version": 1, "ranges": [[from, to], ...]}}; both ends belong to a range.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

import orjson

from microd.kernel.errors import TooLarge
from microd.services.events.groups.state import Damaged

#: How many ranges there may be.
MOST = 10_000


class Dealt:
    """Offsets, as ranges."""

    __slots__ = ("_ends", "_starts")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in ranges:
            self._starts.append(start)
            self._ends.append(end)

    def __contains__(self, offset: int) -> bool:
        place = bisect_right(self._starts, offset) - 1
        return place >= 0 and offset <= self._ends[place]

    def add(self, offset: int) -> None:
        """One more.

        @raise TooLarge: there are too many gaps between them.
        """
        place = bisect_right(self._starts, offset)
        starts, ends = self._starts, self._ends
        if place and offset <= ends[place - 1]:
            return
        before = place > 0 and ends[place - 1] == offset - 1
        after = place < len(starts) and starts[place] == offset + 1
        if before and after:
            ends[place - 1] = ends[place]
            del starts[place], ends[place]
        elif before:
            ends[place - 1] = offset
        elif after:
            starts[place] = offset
        else:
            if len(starts) >= MOST:
                raise TooLarge(
                    f"dead letters were dealt with in {MOST} separate places: deal with the oldest ones first"
                )
            starts.insert(place, offset)
            ends.insert(place, offset)

    def forget(self, first: int) -> None:
        """What lies before C{first} is kept no longer: it counts as dealt with, and takes no room."""
        if first <= 1:
            return
        keep = bisect_right(self._ends, first - 1)
        starts, ends = self._starts[keep:], self._ends[keep:]
        if starts and starts[0] <= first:
            starts[0] = 1
        else:
            starts.insert(0, 1)
            ends.insert(0, first - 1)
        self._starts, self._ends = starts, ends

    def behind(self, offset: int) -> int:
        """The first offset from C{offset} on which is not dealt with."""
        place = bisect_right(self._starts, offset) - 1
        if place >= 0 and offset <= self._ends[place]:
            return self._ends[place] + 1
        return offset

    def to_bytes(self) -> bytes:
        """As it lies on disk."""
        return orjson.dumps({"version": 1, "ranges": list(zip(self._starts, self._ends, strict=True))})

    @staticmethod
    def from_bytes(data: bytes) -> Dealt:
        """Read what was kept.

        @raise Damaged: it is nothing that L{to_bytes} makes.
        """
        try:
            found = orjson.loads(data)
            ranges = [(int(start), int(end)) for start, end in found["ranges"]]
        except (ValueError, KeyError, TypeError) as problem:
            raise Damaged("it is no list of ranges") from problem
        before = 0
        for start, end in ranges:
            if not before < start <= end:
                raise Damaged("its ranges are not in order")
            before = end
        if found.get("version") != 1 or len(ranges) > MOST + 1:
            raise Damaged("it is of no known format")
        return Dealt(ranges)
