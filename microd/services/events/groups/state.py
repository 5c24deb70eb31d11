"""A group as it lies on disk.

All numbers are variable-length, seven bits a byte, the least first::

    1  used  cursor  mark  missed  count
    count times:  offset less the one before   attempts   failures   partings   wait   length of the error, and 1; 0: none
                  the error, for what is doomed

C{used} is in Unix seconds. C{wait} is in milliseconds from the moment when it was kept: how long the daemon was down plays no part.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from microd.services.events.groups.group import LONGEST_ERROR, Group, Pending

VERSION = 1

#: Numbers are smaller than this.
_MOST = 1 << 63


class Damaged(Exception):
    """What was kept of a group is not what was written; the sentence says why."""


@dataclass(frozen=True, slots=True)
class State:
    """A group as it was kept.

    @ivar used: when, in Unix seconds.
    @ivar mark: nothing beyond it was given to anybody.
    @ivar pending: each beside the seconds before it may come again.
    """

    used: int
    cursor: int
    mark: int
    missed: int = 0
    pending: tuple[tuple[Pending, float], ...] = ()

    def restored(self, now: float, window: int, first: int, last: int, before: int) -> Group:
        """The group, of a topic which keeps the events from C{first} to C{last}.

        @param before: the last event that can have been given to somebody by who kept the state.
        """
        group = Group(self.cursor, window, durable=self.mark, suspect=min(self.mark, before))
        group.missed = self.missed
        for pending, wait in self.pending:
            group.restore(pending, now, wait)
        if group.cursor > last:
            # There was more once: what comes now is new.
            group.seek(last)
            group.suspect = last
        group.retained(first)
        return group


def encode(
    group: Group, now: float, *, mark: int | None = None, without: Collection[int] = ()
) -> tuple[bytes, int]:
    """A group to be kept, and the mark which it has then.

    @param mark: None: ahead of the cursor.
    @param without: offsets which count as done with.
    """
    if mark is None:
        mark = group.mark
    out = bytearray((VERSION,))
    kept = [each for each in group.pending.values() if each.offset not in without]
    for number in (int(now), group.cursor, mark, group.missed, len(kept)):
        _put(out, number)
    before = 0
    for each in kept:
        wait = 0
        if each.member is None and not each.doomed and each.due:
            wait = max(0, round((each.due - now) * 1000))
        for number in (each.offset - before, each.attempts, each.failures, each.partings, wait):
            _put(out, number)
        before = each.offset
        if each.doomed:
            error = each.error.encode("utf-8", "replace")[: 4 * LONGEST_ERROR]
            _put(out, len(error) + 1)
            out += error
        else:
            out.append(0)
    return bytes(out), mark


def decode(data: bytes) -> State:
    """Read what was kept.

    @raise Damaged: it is nothing that L{encode} makes.
    """
    if data[:1] != bytes((VERSION,)):
        raise Damaged("it is of no known format")
    numbers = _Numbers(data)
    used, cursor, mark, missed, count = (numbers.take() for _ in range(5))
    if count > len(data) or mark < cursor:
        raise Damaged("its numbers contradict each other")
    pending = []
    offset = 0
    for _ in range(count):
        step = numbers.take()
        offset += step
        if not step or offset > cursor:
            raise Damaged("its numbers contradict each other")
        each = Pending(offset)
        each.attempts, each.failures, each.partings, wait = (numbers.take() for _ in range(4))
        length = numbers.take()
        if length:
            each.doomed = True
            each.error = numbers.text(length - 1)
        pending.append((each, wait / 1000))
    if numbers.place != len(data):
        raise Damaged("there is more than belongs to it")
    return State(used, cursor, mark, missed, tuple(pending))


def _put(out: bytearray, number: int) -> None:
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)


class _Numbers:
    """Reads one number after the other."""

    __slots__ = ("_data", "place")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.place = 1

    def take(self) -> int:
        number = shift = 0
        while True:
            if self.place >= len(self._data) or shift > 63:
                raise Damaged("it ends too early")
            byte = self._data[self.place]
            self.place += 1
            number |= (byte & 127) << shift
            if byte < 128:
                break
            shift += 7
        if number >= _MOST or (not byte and shift):
            raise Damaged("a number is too large, or too long")
        return number

    def text(self, length: int) -> str:
        begin, self.place = self.place, self.place + length
        if length > 4 * LONGEST_ERROR or self.place > len(self._data):
            raise Damaged("it ends too early")
        return self._data[begin : self.place].decode("utf-8", "replace")
