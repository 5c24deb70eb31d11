"""Whose scan is next: one thread for all of them, and nobody waits for a long one of somebody else.

A scan works in slices. In its first one, which comes soon, most scans end. What is not done by then is long:

      asked ──▶ fresh ──first slice──▶ over
                  │
                  │ not done            ┌──────┐ a slice
                  ├──there is room──▶ long ────┘────────▶ over
                  │                     ▲
                  └──there is none──▶ parked, to begin anew

Fresh and long ones take turns, and among either of them the databases do. A long scan sees one moment from its begin to
its end, so it keeps a connection to itself; a database has one long scan under way at a time, and one connection is
always left for who is fresh.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Collection, Generator
from contextlib import suppress
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from microd.kernel.errors import Unavailable
from microd.services.store.backends.worker import IWorker

#: After so many seconds others have their turn: the first time, and later.
FIRST, SLICE = 0.005, 0.01
#: How many scans of a database may wait.
MOST_WAITING = 1000
#: The connections, and how many of them long scans may have.
CONNECTIONS = 4
MOST_LONG = CONNECTIONS - 1

T = TypeVar("T")
#: What a scan does; it yields wherever it may be interrupted, at least every few milliseconds.
Work = Generator[None, None, T]
Begin = Callable[[sqlite3.Connection], Work[T]]


class _Scan(Deferred[Any]):
    """Fires with what its work returned.

    @ivar dropped: nobody waits for it any more.
    """

    def __init__(self, database: str, begin: Begin[Any], dropped: Callable[[_Scan], None]) -> None:
        super().__init__(lambda _: dropped(self))
        self.database = database
        self.begin = begin
        self.work: Work[Any] | None = None
        self.connection: sqlite3.Connection | None = None
        self.dropped = self.is_long = False


class _Turns:
    """Scans which wait, in the order in which they came; the databases take turns."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[_Scan]] = {}

    def add(self, scan: _Scan) -> None:
        self._waiting.setdefault(scan.database, deque()).append(scan)

    def count(self, database: str) -> int:
        return len(self._waiting.get(database, ()))

    def next(self, but: Collection[str] = ()) -> _Scan | None:
        """Take one out, though of none of these databases."""
        for database in self._waiting:
            if database not in but:
                waiting = self._waiting.pop(database)
                scan = waiting.popleft()
                if waiting:
                    self._waiting[database] = waiting
                return scan
        return None

    def remove(self, scan: _Scan) -> None:
        """Take this one out, if it is here."""
        waiting = self._waiting.get(scan.database)
        if waiting is not None and scan in waiting:
            waiting.remove(scan)
            if not waiting:
                del self._waiting[scan.database]


class Scans:
    """Runs scans in a worker.

    @param seconds: the time, in any thread.
    """

    def __init__(self, worker: IWorker, seconds: Callable[[], float]) -> None:
        self._worker = worker
        self._seconds = seconds
        self._fresh = _Turns()
        self._parked = _Turns()
        self._long: deque[_Scan] = deque()
        self._has_long: set[str] = set()
        self._free: list[sqlite3.Connection] = []
        self._running: _Scan | None = None
        self._long_is_next = False
        self._ended: Deferred[None] | None = None

    def start(self, connect: Callable[[], sqlite3.Connection]) -> None:
        """Take scans."""
        self._free = [connect() for _ in range(CONNECTIONS)]

    async def stop(self) -> None:
        """Drop what was not done, and close the connections."""
        while (scan := self._fresh.next() or self._parked.next()) is not None:
            self._refuse(scan)
        while self._long:
            scan = self._long.popleft()
            self._release(scan)
            self._refuse(scan)
        if self._running is not None:
            self._ended = Deferred()
            self._refuse(self._running)
            await self._ended
        for connection in self._free:
            connection.close()

    def run(self, database: str, begin: Begin[T]) -> Deferred[T]:
        """Scan; all of it sees one moment. The Deferred may be cancelled.

        @raise Unavailable: too many scans of this database wait.
        """
        waiting = self._fresh.count(database) + self._parked.count(database)
        if waiting >= MOST_WAITING:
            raise Unavailable(
                f"{waiting} lists and reads of the database {database} wait for their turn already: try again later"
            )
        scan = _Scan(database, begin, self._drop)
        self._fresh.add(scan)
        self._next()
        return scan

    def _drop(self, scan: _Scan) -> None:
        scan.dropped = True
        if scan is self._running:
            return
        if scan.connection is not None:
            self._long.remove(scan)
            self._release(scan)
            self._next()
        else:
            self._fresh.remove(scan)
            self._parked.remove(scan)

    def _refuse(self, scan: _Scan) -> None:
        scan.dropped = True
        scan.errback(Unavailable("the store is stopping"))

    def _next(self) -> None:
        if self._running is not None:
            return
        scan = None
        if not (self._long_is_next and self._long) and (scan := self._fresh.next()) is not None:
            scan.connection = self._free.pop()
        elif self._long:
            scan = self._long.popleft()
        if scan is not None:
            self._running = scan
            self._long_is_next = not scan.is_long
            self._worker.run(self._slice, scan).addBoth(self._sliced, scan)

    def _slice(self, scan: _Scan) -> tuple[bool, Any]:
        """In the worker: go on with it for a while; whether it is done, and what it returned."""
        assert scan.connection is not None
        until = self._seconds() + (SLICE if scan.is_long else FIRST)
        if scan.work is None:
            scan.connection.execute("BEGIN")
            scan.work = scan.begin(scan.connection)
        try:
            next(scan.work)
            while self._seconds() < until and not scan.dropped:
                next(scan.work)
        except StopIteration as end:
            return True, end.value
        return False, None

    def _sliced(self, outcome: tuple[bool, Any] | Failure, scan: _Scan) -> None:
        self._running = None
        if isinstance(outcome, Failure) or outcome[0] or scan.dropped:
            self._release(scan)
        elif scan.is_long or self._has_room(scan.database):
            self._go_on(scan)
        else:
            self._release(scan)
            self._parked.add(scan)
        if self._ended is not None:
            self._ended.callback(None)
            return
        # Who is told may ask for something at once; the others were here before.
        self._next()
        if scan.dropped:
            return
        if isinstance(outcome, Failure):
            scan.errback(outcome)
        elif outcome[0]:
            scan.callback(outcome[1])

    def _has_room(self, database: str) -> bool:
        return len(self._has_long) < MOST_LONG and database not in self._has_long

    def _go_on(self, scan: _Scan) -> None:
        scan.is_long = True
        self._has_long.add(scan.database)
        self._long.append(scan)

    def _release(self, scan: _Scan) -> None:
        """Give its connection to others."""
        connection, work = scan.connection, scan.work
        scan.connection = scan.work = None
        assert connection is not None
        if work is not None:
            work.close()
        # A read that failed may have taken what it was in with it.
        with suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        self._free.append(connection)
        if scan.is_long:
            scan.is_long = False
            self._has_long.discard(scan.database)
            parked = self._parked.next(self._has_long)
            if parked is not None:
                parked.connection = self._free.pop()
                self._go_on(parked)
