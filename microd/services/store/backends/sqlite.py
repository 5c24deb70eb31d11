"""The embedded store: one SQLite file.

Connections of their own, so that nobody waits for another: a thread writes, with many writes to a commit; a second thread
scans, a little for everybody in turn; and the reactor's own thread reads single records, which is quicker than asking a
thread to.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path
from time import time
from typing import Any, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from microd.kernel.errors import Internal, MicroError, TooLarge, Unavailable
from microd.kernel.health import Figure, counter, gauge
from microd.services.store import rules
from microd.services.store.backends import sqlite_errors as errors
from microd.services.store.backends import sqlite_file as file
from microd.services.store.backends import sqlite_rows as rows
from microd.services.store.backends.group_commit import GroupCommit
from microd.services.store.backends.recent import Recent
from microd.services.store.backends.scans import Scans, Work
from microd.services.store.backends.sqlite_check import Inspection
from microd.services.store.backends.sqlite_log import PointReader
from microd.services.store.backends.sqlite_walk import Taken, choose, take
from microd.services.store.backends.sqlite_writes import Condition, Write, Writer, refused
from microd.services.store.backends.versions import Versions
from microd.services.store.backends.worker import IWorker, Thread
from microd.services.store.errors import OutOfSpace
from microd.services.store.interface import IStore
from microd.services.store.model import Act, Drop, Kept, Limits, Page, Put, Query, Record

#: Seconds between two looks for expired records, and how many are cleared away in one transaction.
SWEEP_EVERY = 10.0
SWEEP_AT_ONCE = 500
SWEEP_BYTES = 4 << 20

#: How long the start may take for seeing whether the file is sound; what is left is seen to afterwards.
CHECK_SECONDS = 2.0

#: What each connection that scans may keep of the file in memory, in KiB.
SCAN_CACHE = 8192

T = TypeVar("T")


class SqliteStore(Service, IStore):
    """Keeps records in one file; acknowledges a write when it is on disk.

    @param reactor: its time (C{IReactorTime}), and its way back from threads (C{IReactorFromThreads}).
    @param workers: makes a worker of a given name; a thread of its own unless tests say otherwise.
    """

    log = Logger()

    def __init__(
        self,
        path: Path,
        reactor: Any,
        *,
        workers: Callable[[Any, str], IWorker] = Thread,
        now: Callable[[], float] = time,
        limits: Limits | None = None,
    ) -> None:
        self._path = path
        self._reactor = reactor
        self._workers = workers
        self._now = now
        self._limits = limits or Limits()
        self._writer = workers(reactor, f"{path.name}-writer")
        self._scanner = workers(reactor, f"{path.name}-scanner")
        self._scans = Scans(self._scanner, reactor.seconds)
        self._commits = GroupCommit(
            reactor, self._writer, self._perform, self._committed, self._limits.waiting
        )
        self._sweeping = LoopingCall(self._sweep)
        self._sweeping.clock = reactor
        self._write: Writer | None = None
        self._sweep_on: sqlite3.Connection | None = None
        self._point: PointReader | None = None
        self._recent = Recent()
        self._versions = Versions(0, 0)
        self._inspecting: Deferred[None] = succeed(None)
        self._refuses = False
        self.failure = ""

    def startService(self) -> None:
        """Open the file, which brings back everything that was acknowledged before."""
        writing, is_sound = file.open_file(self._path, CHECK_SECONDS)
        reserved = writing.execute(rows.FACT, ("versions",)).fetchone()
        self._versions = Versions(rules.first_version(self._now(), *reserved or ()), 0)
        self._point = PointReader(file.connect(self._path, read_only=True))
        self._sweep_on = self._scanner_connection()
        self._write = Writer(self._path, writing, self._versions, file.boot())
        self._writer.start()
        self._scanner.start()
        self._scans.start(self._scanner_connection)
        super().startService()
        self._sweeping.start(SWEEP_EVERY, now=False)
        if not is_sound:
            self._inspecting = Deferred.fromCoroutine(self._inspect())
            self._inspecting.addErrback(lambda ended: ended.trap(CancelledError))

    def stopService(self) -> Deferred[None]:
        """Take no more writes, finish those under way, close the file."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._point is None or self._write is None or self._sweep_on is None:
            return
        point, self._point = self._point, None
        self._sweeping.stop()
        self._inspecting.cancel()
        await self._commits.drain()
        await self._scans.stop()
        self._writer.stop()
        self._scanner.stop()
        self._sweep_on.close()
        if self.failure:
            # Who closes last empties the log into the file; a reader cannot.
            self._write.close()
            point.close()
        else:
            point.close()
            self._write.close()

    def ill(self) -> str | None:
        """Why no writes are taken (a L{microd.kernel.health.Reason})."""
        if self.failure:
            return f"{self.failure}; no more writes are taken: check the disk, then restart the daemon"
        if self._write is not None and self._point is not None and self._write.is_full:
            return f"{self._path}: the disk is full, and writes are refused; make room"
        return None

    def figures(self) -> Iterable[Figure]:
        """What has been done (L{microd.kernel.health.Figures})."""
        file = self._path.name
        commits = self._commits
        yield counter("microd_store_commits_total", "Commits to disk.", commits.commits, file=file)
        yield counter("microd_store_writes_total", "Writes in all commits.", commits.writes, file=file)
        yield Figure(
            "microd_store_commit_duration_seconds",
            "What a commit took, with the wait for the disk.",
            "histogram",
            [({"file": file}, commits.spread)],
        )
        yield gauge(
            "microd_store_waiting_bytes", "Values that are not on disk yet.", commits.waiting, file=file
        )
        yield gauge(
            "microd_store_failed", "1 once no more writes are taken.", int(bool(self.failure)), file=file
        )

    async def read_one(self, database: str, table: str, key: str) -> Record | None:
        kept = self.glance(database, table, key)
        return None if kept is None else kept.record

    def glance(self, database: str, table: str, key: str) -> Kept | None:
        if self._point is None:
            raise Unavailable("the store is not running")
        place = (database, table, key)
        kept = self._recent.get(place)
        if kept is None:
            try:
                row = self._point.read(place)
                if row is None:
                    # What was found has proper names: they were looked at when it was written.
                    rules.check_place(database, table)
                    rules.check_key(key, self._limits)
                    return None
                kept = self._recent.keep(place, rows.record_from(*place, *row))
            except (sqlite3.Error, rows.Damaged) as error:
                raise self._unreadable(error) from error
        expiry = kept.record.expiry
        if expiry is not None and expiry <= self._now():
            return None
        return kept

    async def page(self, database: str, table: str, query: Query) -> Page:
        rules.check_place(database, table)

        def make(row: tuple[Any, ...]) -> Record:
            return rows.record_from(database, table, *row)

        allowed = self._limits.records
        most = min(query.limit or allowed, allowed)
        taken = await self._chosen(rows.COLUMNS, database, table, query, make, most)
        is_full = taken.is_full or (taken.is_cut and most != query.limit)
        return Page(taken.found, taken.found[-1].key if taken.is_cut else "", is_full)

    async def write(self, database: str, table: str, record: Record, *, if_version: int | None = None) -> int:
        return await self.begin_write(database, table, record, if_version=if_version)

    def begin_write(
        self, database: str, table: str, record: Record, *, if_version: int | None = None
    ) -> Deferred[int]:
        rules.check_place(database, table)
        size = rules.check_record(record, self._limits)
        if self._point is None:
            raise Unavailable("the store is not running")
        version = self._versions.next()
        conditions = () if if_version is None else (((database, table, record.key), if_version),)
        put = (rows.put(database, table, record, version),)
        return self._commits.submit(put, size, conditions, version)

    async def delete(self, database: str, table: str, key: str, *, if_version: int | None = None) -> None:
        await self.apply((Drop(database, table, key, if_version),))

    async def apply(self, acts: Sequence[Act]) -> Sequence[int]:
        size = rules.check_acts(acts, self._limits)
        if self._point is None:
            raise Unavailable("the store is not running")
        statements: list[rows.Statement] = []
        conditions: list[Condition] = []
        versions: list[int] = []
        for act in acts:
            if act.if_version is not None:
                conditions.append(((act.database, act.table, act.key), act.if_version))
            version = 0
            if isinstance(act, Put):
                version = self._versions.next()
                statements.append(rows.put(act.database, act.table, act.record, version))
            elif isinstance(act, Drop):
                statements.append(rows.drop(act))
            versions.append(version)
        if acts:
            await self._commits.submit(statements, size, conditions)
        return versions

    async def list(self, database: str, table: str, query: Query) -> Sequence[str]:
        rules.check_place(database, table)
        taken = await self._chosen("key", database, table, query, itemgetter(0), query.limit)
        if taken.is_full:
            raise TooLarge(rules.TOO_LARGE)
        return taken.found

    async def databases(self) -> Sequence[str]:
        return await self._names("", rows.DATABASES, {"now": self._now()})

    async def tables(self, database: str) -> Sequence[str]:
        rules.check_place(database, "any")
        return await self._names(database, rows.TABLES, {"now": self._now(), "space": database})

    async def _chosen(
        self,
        columns: str,
        database: str,
        table: str,
        query: Query,
        make: Callable[[tuple[Any, ...]], T],
        most: int,
    ) -> Taken:
        now = self._now()

        def work(connection: sqlite3.Connection) -> Work[Taken]:
            found = choose(connection, columns, database, table, query, now)
            return take(found, make, most, rules.Budget(self._limits.answer))

        return await self._scan(database, work)

    async def _names(self, database: str, sql: str, values: dict[str, Any]) -> Sequence[str]:
        def work(connection: sqlite3.Connection) -> Work[Taken]:
            return take(connection.execute(sql, values), itemgetter(0), 0, rules.Budget(self._limits.answer))

        return (await self._scan(database, work)).found

    async def _scan(self, database: str, work: Callable[[sqlite3.Connection], Work[T]]) -> T:
        if self._point is None:
            raise Unavailable("the store is not running")
        try:
            return await self._scans.run(database, work)
        except (sqlite3.Error, rows.Damaged) as error:
            raise self._unreadable(error) from error

    def _scanner_connection(self) -> sqlite3.Connection:
        connection = file.connect(self._path, read_only=True)
        connection.execute(f"PRAGMA cache_size = -{SCAN_CACHE}")
        return connection

    @property
    def _writing(self) -> Writer:
        assert self._write is not None
        return self._write

    def _perform(self, writes: Sequence[Write]) -> Sequence[MicroError | None]:
        """In the writer."""
        return self._writing.perform(writes, self._now())

    def _committed(self, writes: Sequence[Write]) -> None:
        """Whoever reads from now on sees what was committed; before the next commit, the log may be emptied."""
        forget = self._recent.forget
        for write in writes:
            for _, values in write.statements:
                forget(values[:3])
        self._notice()
        if self._point is not None:
            self._point.renew()
            if self._writing.log_is_large and not self.failure:
                self._point.hold(False)
                self._writer.run(self._writing.empty_log).addErrback(self._not_emptied).addBoth(self._emptied)

    def _not_emptied(self, failure: Failure) -> None:
        self._notice()
        if not self.failure:
            self.log.warn("the log of {path} stays: {error}", path=str(self._path), error=failure.value)

    def _emptied(self, _: object) -> None:
        if self._point is not None:
            self._point.hold(True)

    # -- when the disk fails

    async def _inspect(self) -> None:
        """Look at what there was no time for at the start, a little at a time."""
        self.log.info("{path} is large: whether it is sound is seen by and by", path=str(self._path))
        checker = self._workers(self._reactor, f"{self._path.name}-checker")
        checker.start()
        stopped = False
        connection = file.connect(self._path, read_only=True)
        try:
            inspection = Inspection(connection)
            await checker.run(inspection.structure, lambda: stopped)
            while not inspection.is_complete and not self.failure:
                begun = self._reactor.seconds()
                await checker.run(inspection.rows)
                # Four times as long for others.
                await deferLater(self._reactor, 4 * (self._reactor.seconds() - begun), lambda: None)
            self.log.info("{path} is sound", path=str(self._path))
        except (sqlite3.Error, rows.Damaged) as error:
            self._unreadable(error)
        finally:
            stopped = True
            checker.stop()
            connection.close()

    def _notice(self) -> None:
        """Whether the writer found that the disk failed, or is full: that is said once, and not to the log for each write."""
        if self._writing.failure:
            self._fail(self._writing.failure)
        elif self._writing.refuses is not self._refuses:
            self._refuses = self._writing.refuses
            if self._refuses:
                self.log.warn(
                    "{path}: the disk is full, and writes are refused; make room", path=str(self._path)
                )
            else:
                self.log.info("{path}: the disk has room again", path=str(self._path))

    def _fail(self, failure: str) -> None:
        """Take no more writes; reads go on."""
        if not self.failure:
            self.failure = failure
            self.log.critical(
                "no more writes are taken: {failure}; check the disk, then restart the daemon",
                failure=failure,
            )
            self._writer.run(self._writing.stop, failure)
            self._commits.refuse(partial(refused, failure))

    def _unreadable(self, error: sqlite3.Error | rows.Damaged) -> MicroError:
        """What a reader hears. A file that is damaged is not written to any more."""
        said = f"{self._path}: {errors.named(error)}"
        if errors.is_bad(error):
            self._fail(said)
            return Internal(
                f"the store could not read what is damaged: {said}; bring the file back from a backup"
            )
        return Internal(f"the store could not read: {said}")

    async def _sweep(self) -> None:
        """Clear expired records away, a few in each commit, among the writes of others."""
        while self._point is not None and not self.failure:
            now = self._now()
            try:
                first = self._point.first_expiry()
                if first is None or first > now:
                    return
                await self._commits.submit(await self._scanner.run(self._expired, now), 0)
            except sqlite3.Error as error:
                self._unreadable(error)
                return
            except OutOfSpace:
                return
            except MicroError as error:
                self.log.warn("expired records stay in {path}: {error}", path=str(self._path), error=error)
                return

    def _expired(self, now: float) -> Sequence[rows.Statement]:
        """In the scanner, between slices of scans: what clears a few expired records away, at least one, and not too many bytes of them."""
        statements: list[rows.Statement] = []
        left = SWEEP_BYTES
        assert self._sweep_on is not None
        for *place, size in self._sweep_on.execute(rows.EXPIRED, (now, SWEEP_AT_ONCE)):
            statements.append((rows.CLEAR, (*place, now)))
            left -= size
            if left < 0:
                break
        return statements
