"""The groups of each topic: those in memory, and how the others get there."""

from __future__ import annotations

from collections.abc import Iterator

from twisted.internet.defer import DeferredLock

from microd.kernel.errors import Internal, NotFound, Unavailable
from microd.services.events import rules
from microd.services.events.groups import state
from microd.services.events.groups.burial import Burial
from microd.services.events.groups.group import Group
from microd.services.events.groups.running import Running
from microd.services.events.groups.world import Budget, Unsent, World
from microd.services.events.log.log import Log
from microd.services.events.log.meta import GROUPS
from microd.services.events.logs import Logs
from microd.services.events.model import DEAD, Limits, Position, Start
from microd.services.store.model import Query

#: Bytes of events which all groups of a namespace may have read ahead.
AHEAD = 32 << 20
#: Bytes of large events which all consumers of a namespace may have been given, and not have sent.
UNSENT = 32 << 20
#: Groups which are remembered while nobody consumes for them.
MOST_IDLE = 4096


class DamagedGroup(Internal):
    """What was kept of a group cannot be read."""


class Place:
    """The groups of one topic, which are in memory.

    @ivar used: the names of those which were in memory before: their marks are of this life of the daemon.
    """

    __slots__ = ("_lock", "groups", "log", "privates", "used")

    def __init__(self, log: Log) -> None:
        self.log = log
        self.groups: dict[str, Running] = {}
        self.privates: set[Running] = set()
        self.used: set[str] = set()
        self._lock = DeferredLock()

    async def __aenter__(self) -> None:
        """Whoever makes or deletes groups has the place for himself."""
        await self._lock.acquire()
        try:
            self.require_there()
        except BaseException:
            self._lock.release()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()

    @property
    def table(self) -> tuple[str, str]:
        """Where the groups are kept: database and table."""
        return self.log.space.name, GROUPS + self.log.topic

    def require_there(self) -> None:
        """@raise NotFound: the topic was deleted."""
        if self.log.gone:
            raise NotFound(f"the topic {self.log.topic} was deleted")

    def missing(self, name: str) -> NotFound:
        """There is no such group."""
        return NotFound(f"there is no group {name} of the topic {self.log.topic}")

    async def cursor(self, position: Position) -> int:
        """The offset behind which a position is."""
        log = self.log
        match position.start:
            case Start.EARLIEST:
                return log.first - 1
            case Start.OFFSET:
                return min(max(position.value, log.first), log.next) - 1
            case Start.TIME:
                return await log.offset_at(position.value) - 1
        return log.next - 1


class Places:
    """Finds groups, loads them, makes them, and lets go of those which nobody uses."""

    def __init__(self, logs: Logs, world: World, limits: Limits) -> None:
        self._logs = logs
        self._store = logs.store
        self._world = world
        self._limits = limits
        self._places: dict[Log, Place] = {}
        self._budgets: dict[str, Budget] = {}
        self._unsent: dict[str, Unsent] = {}
        self._loaded: dict[Running, None] = {}

    def __iter__(self) -> Iterator[Place]:
        return iter(self._places.values())

    async def at(self, namespace: str, topic: str, *, create: bool = False) -> Place:
        """The groups of a topic.

        @raise NotFound: there is no such topic.
        """
        log = await self._logs.open(namespace, topic, create)
        place = self._places.get(log)
        if place is None:
            place = self._places[log] = Place(log)
        return place

    def known(self, log: Log) -> Place | None:
        """The groups of a topic, if any of them were in memory."""
        return self._places.get(log)

    def forget(self) -> list[Place]:
        """Those of topics which were deleted, which are known no longer."""
        gone = [place for place in self._places.values() if place.log.gone]
        for place in gone:
            del self._places[place.log]
            for running in place.groups.values():
                self._loaded.pop(running, None)
        return gone

    async def private(self, place: Place, start: Position) -> Running:
        """A group which ends with its consumer."""
        cursor = await place.cursor(start)
        return self._running(place, "", Group(cursor, self._world.window))

    async def named(self, place: Place, name: str, start: Position) -> Running:
        """A group which is remembered; a new one is on disk when this returns.

        @raise Unavailable: the topic has as many groups as it may have.
        """
        found = place.groups.get(name)
        if found is not None:
            return found
        async with place:
            found = place.groups.get(name) or await self.load(place, name)
            if found is None:
                await self._require_room(place)
                return await self._make(place, name, start)
            self._remember(place, found)
            return found

    async def found(self, place: Place, name: str) -> Running:
        """A group that there is.

        @raise NotFound: there is none.
        """
        rules.require_group(name, self._limits)
        found = place.groups.get(name)
        if found is None:
            async with place:
                found = place.groups.get(name) or await self.load(place, name)
                if found is None:
                    raise place.missing(name)
                self._remember(place, found)
        return found

    async def anew(self, place: Place, name: str, start: Position) -> Running:
        """A group in the place of one that cannot be read."""
        async with place:
            return place.groups.get(name) or await self._make(place, name, start)

    async def load(self, place: Place, name: str) -> Running | None:
        """A group as it was kept; None: there is none. It is not remembered yet."""
        log = place.log
        record = await self._store.read_one(*place.table, name)
        place.require_there()
        if record is None:
            return None
        try:
            kept = state.decode(record.value)
        except state.Damaged as problem:
            raise DamagedGroup(
                f"what was kept of the group {name} of {log.topic} cannot be read: {problem}. Have it go on somewhere with "
                f"'micro events seek', or delete it"
            ) from problem
        before = log.next if name in place.used else log.began
        world = self._world
        group = kept.restored(world.clock.seconds(), world.window, log.first, log.next - 1, before - 1)
        return self._running(place, name, group)

    async def delete(self, place: Place, name: str, running: Running | None) -> None:
        """Forget a group; the caller has the place."""
        if running is not None:
            del place.groups[name]
            self._loaded.pop(running, None)
            running.stop()
            self._world.keeper.forget(running)
        await self._store.delete(*place.table, name)

    async def _make(self, place: Place, name: str, start: Position) -> Running:
        cursor = await place.cursor(start)
        keeper = self._world.keeper
        running = self._running(place, name, Group(cursor, self._world.window, durable=0))
        try:
            await keeper.written(running)
            self._remember(place, running)
        except BaseException:
            running.stop()
            keeper.forget(running)
            raise
        return running

    def _running(self, place: Place, name: str, group: Group) -> Running:
        log = place.log
        namespace, topic = log.space.name, log.topic
        burial = None
        if name and not topic.endswith(DEAD):
            burial = Burial(lambda: self._logs.open(namespace, topic + DEAD, create=True))
        budget = self._budgets.get(namespace)
        if budget is None:
            budget = self._budgets[namespace] = Budget(AHEAD)
        unsent = self._unsent.get(namespace)
        if unsent is None:
            unsent = self._unsent[namespace] = Unsent(UNSENT)
        return Running(name, group, log, budget, unsent, self._world, burial)

    async def _require_room(self, place: Place) -> None:
        most = self._limits.groups
        # One of them may be the platform's own.
        names = await self._store.list(*place.table, Query(limit=most + 1))
        if sum(1 for name in names if not name.startswith("$")) >= most:
            raise Unavailable(
                f"the topic {place.log.topic} has {most} groups, and may have no more: delete some"
            )

    def _remember(self, place: Place, running: Running) -> None:
        place.require_there()
        place.groups[running.name] = running
        place.used.add(running.name)
        self._loaded[running] = None
        for _ in range(8):
            if len(self._loaded) <= MOST_IDLE:
                return
            # The first is the one that was loaded, or found in use, the longest ago.
            other = next(iter(self._loaded))
            del self._loaded[other]
            if other.is_idle and other is not running:
                self._places[other.log].groups.pop(other.name, None)
                other.stop()
            else:
                self._loaded[other] = None
