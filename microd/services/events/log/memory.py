"""What is kept in memory of logs, bounded over all of them together."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

from microd.services.events.codec import Block

#: What a block, and an event of it, takes in memory besides its bytes.
_BLOCK, _EVENT = 600, 260

T = TypeVar("T")


class Tail:
    """The newest blocks, those of the longest ago going first, whichever log they are of.

    @ivar bytes: what they take.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._all: deque[tuple[deque[Block], Block, int]] = deque()
        self.bytes = 0

    def add(self, blocks: deque[Block], block: Block) -> None:
        """Keep the newest block of a log, whose newest ones are C{blocks}."""
        weight = block.size + _BLOCK + _EVENT * len(block.payloads)
        blocks.append(block)
        self._all.append((blocks, block, weight))
        self.bytes += weight
        while self.bytes > self._limit:
            kept, oldest, weight = self._all.popleft()
            self.bytes -= weight
            # A log may have forgotten it before.
            if kept and kept[0] is oldest:
                kept.popleft()


class Leftovers(Generic[T]):
    """What was read from disk and not asked for yet, under the place at which the next reader is going to ask.

    What nobody came back for goes first.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[Hashable, tuple[Sequence[T], int]] = OrderedDict()
        self.bytes = 0

    def put(self, place: Hashable, what: Sequence[T], size: int) -> None:
        """Keep something of so many bytes."""
        self.take(place)
        self._kept[place] = (what, size)
        self.bytes += size
        while self.bytes > self._limit:
            _, (_, size) = self._kept.popitem(last=False)
            self.bytes -= size

    def take(self, place: Hashable) -> Sequence[T]:
        """What was kept for it, which is kept no longer."""
        found = self._kept.pop(place, None)
        if found is None:
            return ()
        self.bytes -= found[1]
        return found[0]
