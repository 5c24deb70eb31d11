"""What a group has read ahead of its log: one page, and one read at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from microd.kernel.errors import Internal, MicroError
from microd.services.events.groups.world import Budget
from microd.services.events.log.log import Log
from microd.services.events.model import Event

#: Events of a page, and their bytes, but for the last.
MOST, MOST_BYTES = 256, 256 << 10
#: What an event is counted for besides its payload.
EACH = 256


class Page:
    """Consecutive events of a log, within the budget of its namespace: where that is used up, one event.

    @param ready: called when a page was read; with an error where it could not be.
    """

    log_ = Logger()

    __slots__ = ("_budget", "_events", "_first", "_log", "_reading", "_ready", "_size")

    def __init__(self, log: Log, budget: Budget, ready: Callable[[MicroError | None], None]) -> None:
        self._log = log
        self._budget = budget
        self._ready = ready
        self._events: Sequence[Event] = ()
        self._first = self._size = 0
        self._reading: Deferred[None] | None = None

    @property
    def is_reading(self) -> bool:
        """Whether the log is being read."""
        return self._reading is not None

    def find(self, offset: int) -> Event | None:
        """The event with this offset, if it is here."""
        place = offset - self._first
        return self._events[place] if 0 <= place < len(self._events) else None

    def fetch(self, offset: int) -> Event | None:
        """The event with this offset, or the first one behind it; None: it is being read."""
        place = offset - self._first
        if 0 <= place < len(self._events):
            return self._events[place]
        if self._reading is not None:
            return None
        is_short = self._budget.used >= self._budget.most
        found = self._log.recent(offset, 1 if is_short else MOST)
        if found is None:
            self._turn(())
            reading = Deferred.fromCoroutine(self._read(offset, is_short))
            if not reading.called:
                self._reading = reading
            return self._events[0] if self._events else None
        if not found:
            return None
        self._turn(found)
        return found[0]

    def close(self) -> None:
        """Have nothing here, and read nothing."""
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
        self._turn(())

    def forget(self) -> None:
        """What is here is not what comes next."""
        self._turn(())

    async def _read(self, offset: int, is_short: bool) -> None:
        log = self._log
        error: MicroError | None = None
        most, size = (1, 1) if is_short else (MOST, MOST_BYTES)
        try:
            try:
                found = await log.read(offset, most, size)
            except MicroError:
                # What comes before the damage is not damaged.
                found = await log.read(offset, 1, 1)
            if not found and offset >= log.first:
                error = Internal(f"the events of {log.topic} from {offset} on cannot be read")
            self._turn(found)
        except CancelledError:
            return
        except MicroError as problem:
            error = problem
        except Exception as problem:  # noqa: BLE001 - those who wait are to hear of it
            self.log_.failure("events could not be read")
            error = Internal(f"the events of {log.topic} cannot be read: {problem}")
        self._reading = None
        self._ready(error)

    def _turn(self, events: Sequence[Event]) -> None:
        self._budget.used -= self._size
        size = 0
        for count, event in enumerate(events, 1):
            size += len(event.payload) + EACH
            if size > MOST_BYTES and count < len(events):
                events = events[:count]
                break
        self._events = events
        self._size = size
        self._first = events[0].offset if events else 0
        self._budget.used += size
