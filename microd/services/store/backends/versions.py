"""The versions which a store gives to records: a counter, of which the file knows only that it was not beyond some point.

So a version costs nothing at a write; after a crash, versions that were not given yet are left out.
"""

from __future__ import annotations

#: So many are reserved at a time.
BLOCK = 1 << 24


class Versions:
    """Gives each version once.

    @ivar last: the last one that was given.
    @ivar reserved: the file says that none beyond it was given. The writer keeps this true: before a commit, whatever it
        holds is reserved in the same commit.
    """

    __slots__ = ("last", "reserved")

    def __init__(self, last: int, reserved: int) -> None:
        self.last = last
        self.reserved = reserved

    def next(self) -> int:
        """Give one."""
        self.last += 1
        return self.last

    def to_reserve(self) -> int | None:
        """What the file is to say from the next commit on; None: what it says is enough."""
        last = self.last
        return None if last <= self.reserved else last + BLOCK
