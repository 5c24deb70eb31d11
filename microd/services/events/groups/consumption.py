"""The groups of all topics: who consumes, what is loaded, and what is forgotten."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from microd.kernel.caller import Account
from microd.kernel.errors import (
    BadRequest,
    Conflict,
    Internal,
    MicroError,
    NotFound,
    TooLarge,
    Unauthorized,
    Unavailable,
)
from microd.kernel.health import Figure, counter, gauge
from microd.services.events import rules
from microd.services.events.groups import state
from microd.services.events.groups.budget import Budget
from microd.services.events.groups.burial import Burial
from microd.services.events.groups.consumer import Consumer
from microd.services.events.groups.group import Group
from microd.services.events.groups.keeper import Keeper
from microd.services.events.groups.letters import Letters
from microd.services.events.groups.rules import check_ack, check_position, check_terms
from microd.services.events.groups.running import Running, World
from microd.services.events.log.log import Log
from microd.services.events.log.meta import GROUPS
from microd.services.events.logs import Logs
from microd.services.events.model import (
    DEAD,
    Ack,
    DeadLetter,
    GroupFacts,
    Limits,
    Position,
    Start,
    Terms,
)
from microd.services.store.model import Query

#: Consumers over one connection.
MOST_PER_CONNECTION = 512
#: Bytes of events which all groups of a namespace may have read ahead.
AHEAD = 32 << 20
#: Groups which are remembered while nobody consumes for them.
MOST_IDLE = 4096
#: Seconds between two looks for groups which nobody uses.
REAP_EVERY = 3600.0


class DamagedGroup(Internal):
    """What was kept of a group cannot be read."""


class _Place:
    """The groups of one topic.

    @ivar lock: whoever makes or deletes groups holds it.
    @ivar used: the names of those which were in memory before: their marks are of this life of the daemon.
    """

    __slots__ = ("groups", "lock", "log", "privates", "used")

    def __init__(self, log: Log) -> None:
        self.log = log
        self.groups: dict[str, Running] = {}
        self.privates: set[Running] = set()
        self.lock = DeferredLock()
        self.used: set[str] = set()


class _Tenant:
    """What a namespace uses."""

    __slots__ = ("budget", "consumers")

    def __init__(self) -> None:
        self.budget = Budget(AHEAD)
        self.consumers = 0


class Consumption:
    """Runs groups, and remembers them.

    @param random: gives numbers from 0 to 1.
    """

    log = Logger()

    def __init__(self, logs: Logs, clock: IReactorTime, limits: Limits, random: Callable[[], float]) -> None:
        self._logs = logs
        self._store = logs.store
        self._clock = clock
        self._limits = limits
        self._keeper = Keeper(self._store, clock)
        self._world = World(self._store, clock, self._keeper, random, limits.in_flight)
        self._letters = Letters(logs)
        self._places: dict[Log, _Place] = {}
        self._tenants: dict[str, _Tenant] = {}
        self._connections: dict[Hashable, int] = {}
        self._readers: dict[Consumer, Account | None] = {}
        self._loaded: dict[Running, None] = {}
        self._timer: IDelayedCall | None = None
        self._reaping: Deferred[None] | None = None

    # -- start and stop

    def start(self) -> None:
        """Look, from time to time, for groups which nobody uses."""
        if self._limits.group_ttl > 0 and self._timer is None:
            self._timer = self._clock.callLater(REAP_EVERY, self._reap_soon)

    async def stop(self) -> None:
        """End all consumers, and keep how far each group is."""
        self._world.is_stopping = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._reaping is not None:
            self._reaping.cancel()
        everything = [
            each for place in self._places.values() for each in (*place.groups.values(), *place.privates)
        ]
        for running in everything:
            running.end(Unavailable("the daemon stops: consume again"))
        for running in everything:
            await running.finish()
        await self._keeper.stop(each for each in everything if each.name and not each.is_over)
        for running in everything:
            running.stop()

    # -- consuming

    async def consume(
        self,
        namespace: str,
        topic: str,
        terms: Terms,
        *,
        reader: Account | None = None,
        connection: Hashable = None,
    ) -> Consumer:
        """As L{microd.services.events.interface.IEvents.consume}."""
        if terms.group:
            rules.require_group(terms.group, self._limits)
        check_terms(terms, self._limits)
        leave = self._admit(namespace, connection)
        try:
            place = await self._place(namespace, topic, create=True)
            while True:
                running = await (self._named(place, terms) if terms.group else self._private(place, terms))
                self._require_running()
                _require_there(place)
                if not running.is_over:
                    break
        except BaseException:
            leave()
            raise

        def left() -> None:
            leave()
            del self._readers[consumer]
            if not running.name:
                place.privates.discard(running)
                running.stop()

        consumer = running.join(terms, left)
        self._readers[consumer] = reader
        return consumer

    def revoked(self, namespace: str, id: str) -> None:
        """End the consumers of an account."""
        for consumer, reader in list(self._readers.items()):
            if reader is not None and (reader.issuer, reader.id) == (namespace, id):
                consumer.end(Unauthorized(f"the account {id} was revoked: log in again"))

    def _admit(self, namespace: str, connection: Hashable) -> Callable[[], None]:
        self._require_running()
        tenant = self._tenant(namespace)
        if tenant.consumers >= self._limits.consumers:
            raise Unavailable(
                f"the namespace {namespace} has {tenant.consumers} consumers of events, and may have no more"
            )
        used = self._connections.get(connection, 0)
        if connection is not None and used >= MOST_PER_CONNECTION:
            raise Unavailable(f"this connection has {used} consumers of events, and may have no more")
        tenant.consumers += 1
        if connection is not None:
            self._connections[connection] = used + 1

        def leave() -> None:
            tenant.consumers -= 1
            if connection is not None:
                left = self._connections[connection] - 1
                if left:
                    self._connections[connection] = left
                else:
                    del self._connections[connection]

        return leave

    def _require_running(self) -> None:
        if self._world.is_stopping:
            raise Unavailable("the daemon stops: consume again")

    def _tenant(self, namespace: str) -> _Tenant:
        tenant = self._tenants.get(namespace)
        if tenant is None:
            tenant = self._tenants[namespace] = _Tenant()
        return tenant

    async def _place(self, namespace: str, topic: str, *, create: bool = False) -> _Place:
        log = await self._logs.open(namespace, topic, create)
        place = self._places.get(log)
        if place is None:
            place = self._places[log] = _Place(log)
        return place

    # -- groups

    async def _private(self, place: _Place, terms: Terms) -> Running:
        """A group which ends with its consumer."""
        cursor = await _cursor(place.log, terms.start)
        running = self._running(place, "", Group(cursor, self._limits.in_flight))
        place.privates.add(running)
        return running

    async def _named(self, place: _Place, terms: Terms) -> Running:
        """A group which is remembered; a new one is on disk when this returns."""
        name = terms.group
        found = place.groups.get(name)
        if found is not None:
            return found
        async with _Held(place):
            found = place.groups.get(name) or await self._load(place, name)
            if found is None:
                await self._require_room(place)
                found = await self._make(place, name, terms.start)
            self._remember(place, found)
            return found

    async def _make(self, place: _Place, name: str, start: Position) -> Running:
        cursor = await _cursor(place.log, start)
        running = self._running(place, name, Group(cursor, self._limits.in_flight, durable=0))
        try:
            await self._keeper.written(running)
        except BaseException:
            running.stop()
            self._keeper.forget(running)
            raise
        _require_there(place)
        return running

    async def _load(self, place: _Place, name: str) -> Running | None:
        """A group as it was kept; None: there is none."""
        log = place.log
        record = await self._store.read_one(log.space.name, GROUPS + log.topic, name)
        _require_there(place)
        if record is None:
            return None
        try:
            kept = state.decode(record.value)
        except state.Damaged as problem:
            raise DamagedGroup(
                f"what was kept of the group {name} of {log.topic} cannot be read: {problem}. Have it go on somewhere with "
                f"'micro events seek', or delete it"
            ) from problem
        last = log.next if name in place.used else log.began
        group = kept.restored(
            self._clock.seconds(), self._limits.in_flight, log.first, log.next - 1, last - 1
        )
        return self._running(place, name, group)

    def _running(self, place: _Place, name: str, group: Group) -> Running:
        log = place.log
        namespace, topic = log.space.name, log.topic
        burial = None
        if name and not topic.endswith(DEAD):
            burial = Burial(lambda: self._logs.open(namespace, topic + DEAD, create=True))
        return Running(name, group, log, self._tenant(namespace).budget, self._world, burial)

    async def _require_room(self, place: _Place) -> None:
        log = place.log
        most = self._limits.groups
        # One of them may be the platform's own.
        names = await self._store.list(log.space.name, GROUPS + log.topic, Query(limit=most + 1))
        if sum(1 for name in names if not name.startswith("$")) >= most:
            raise Unavailable(f"the topic {log.topic} has {most} groups, and may have no more: delete some")

    def _remember(self, place: _Place, running: Running) -> None:
        _require_there(place)
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

    async def _found(self, place: _Place, name: str) -> Running:
        """A group that there is.

        @raise NotFound: there is none.
        """
        rules.require_group(name, self._limits)
        found = place.groups.get(name)
        if found is None:
            async with _Held(place):
                found = place.groups.get(name) or await self._load(place, name)
                if found is None:
                    raise _no_group(place, name)
                self._remember(place, found)
        return found

    # -- what is asked about groups

    async def ack(self, namespace: str, topic: str, group: str, acks: Sequence[Ack]) -> int:
        """As L{microd.services.events.interface.IEvents.ack}."""
        if len(acks) > self._limits.page:
            raise BadRequest(f"acks may have at most {self._limits.page} of them")
        for ack in acks:
            check_ack(ack)
        self._require_running()
        place = await self._place(namespace, topic)
        running = await self._found(place, group)
        if running.is_over:
            raise _no_group(place, group)
        count = sum([running.heard(ack) for ack in acks])
        await self._keeper.written(running)
        return count

    async def lag(self, namespace: str, topic: str = "") -> Sequence[GroupFacts]:
        """As L{microd.services.events.interface.IEvents.lag}; groups sorted by name, private ones first."""
        facts: list[GroupFacts] = []
        if topic:
            await self._describe(await self._place(namespace, topic), facts)
            return facts
        tables = set(await self._store.tables(namespace))
        for name, log in sorted(self._logs.of(namespace).items()):
            place = self._places.get(log)
            if GROUPS + name in tables or (place is not None and place.privates):
                try:
                    await self._describe(await self._place(namespace, name), facts)
                except NotFound:
                    continue
        return facts

    async def _describe(self, place: _Place, facts: list[GroupFacts]) -> None:
        log = place.log
        names = await self._store.list(log.space.name, GROUPS + log.topic, Query())
        facts += [await self._facts(running) for running in list(place.privates)]
        for name in names:
            running_or_none = (
                None if name.startswith("$") else place.groups.get(name) or await self._load(place, name)
            )
            if running_or_none is not None:
                facts.append(await self._facts(running_or_none))
            if len(facts) > self._limits.page:
                raise TooLarge(f"there are more than {self._limits.page} groups: ask for one topic")

    async def _facts(self, running: Running) -> GroupFacts:
        stamp = running.oldest_stamp
        if not stamp and running.group.lag(running.log.next - 1):
            found = await running.log.read(running.group.floor + 1, 1, 1)
            stamp = found[0].timestamp if found else 0
        return running.facts(max(0.0, self._clock.seconds() - stamp / 1000) if stamp else 0.0)

    async def seek(self, namespace: str, topic: str, group: str, position: Position) -> GroupFacts:
        """As L{microd.services.events.interface.IEvents.seek}; on disk when this returns."""
        check_position(position)
        self._require_running()
        place = await self._place(namespace, topic)
        cursor = await _cursor(place.log, position)
        try:
            running = await self._found(place, group)
            running.seek(cursor)
        except DamagedGroup:
            async with _Held(place):
                running = await self._make(place, group, position)
                self._remember(place, running)
        # Whoever consumes may be done with the first ones by the time that this is on disk: what was asked for is answered.
        facts = await self._facts(running)
        await self._keeper.written(running)
        return facts

    async def delete_group(self, namespace: str, topic: str, group: str) -> None:
        """As L{microd.services.events.interface.IEvents.delete_group}."""
        rules.require_group(group, self._limits)
        place = await self._place(namespace, topic)
        async with _Held(place):
            log = place.log
            running = place.groups.get(group)
            if running is None:
                if await self._store.read_one(log.space.name, GROUPS + log.topic, group) is None:
                    raise _no_group(place, group)
            elif running.consumers:
                raise Conflict(
                    f"{running.consumers} consume for the group {group} of {log.topic}: it can be deleted when nobody does"
                )
            await self._delete(place, group, running)

    async def _delete(self, place: _Place, name: str, running: Running | None) -> None:
        """Forget a group; who comes meanwhile waits for the lock."""
        if running is not None:
            del place.groups[name]
            self._loaded.pop(running, None)
            running.stop()
            self._keeper.forget(running)
        await self._store.delete(place.log.space.name, GROUPS + place.log.topic, name)

    async def forget(self, namespace: str, topic: str) -> None:
        """A topic was deleted: end its consumers, and write nothing more about its groups."""
        for place in [each for each in self._places.values() if each.log.gone]:
            del self._places[place.log]
            error = NotFound(f"the topic {place.log.topic} was deleted")
            for running in (*place.groups.values(), *place.privates):
                running.stop(error)
                self._keeper.forget(running)
                self._loaded.pop(running, None)
            place.groups.clear()

    # -- dead letters

    async def dead_letters(
        self, namespace: str, topic: str, *, group: str = "", after: int = 0, limit: int = 250
    ) -> tuple[Sequence[DeadLetter], int]:
        """As L{microd.services.events.interface.IEvents.dead_letters}."""
        return await self._letters.page(namespace, topic, group, after, limit)

    async def retry(self, namespace: str, topic: str, *, group: str = "", ids: Sequence[str] = ()) -> int:
        """As L{microd.services.events.interface.IEvents.retry}."""
        self._require_running()
        return await self._letters.retry(namespace, topic, group, ids)

    async def drop(self, namespace: str, topic: str, *, group: str = "", ids: Sequence[str] = ()) -> int:
        """As L{microd.services.events.interface.IEvents.drop}."""
        self._require_running()
        return await self._letters.drop(namespace, topic, group, ids)

    # -- groups which nobody uses

    def _reap_soon(self) -> None:
        self._timer = self._clock.callLater(REAP_EVERY, self._reap_soon)
        if self._reaping is None:
            reaping = Deferred.fromCoroutine(self._reap())
            if not reaping.called:
                self._reaping = reaping

    async def _reap(self) -> None:
        try:
            for namespace in await self._store.databases():
                for log in list(self._logs.of(namespace).values()):
                    await self._reap_groups(log)
        except MicroError as problem:
            self.log.warn("groups which nobody uses stay for now: {error}", error=problem.detail)
        finally:
            self._reaping = None

    async def _reap_groups(self, log: Log) -> None:
        table, after = GROUPS + log.topic, ""
        while not log.gone:
            page = await self._store.page(log.space.name, table, Query(after=after, limit=100))
            for record in page.records:
                if not record.key.startswith("$"):
                    await self._look_at(log, record.key, record.value)
            after = page.next
            if not after:
                return

    async def _look_at(self, log: Log, name: str, kept: bytes) -> None:
        ttl = self._limits.group_ttl
        try:
            idle = self._clock.seconds() - state.decode(kept).used
        except state.Damaged:
            return
        place = self._places.get(log)
        running = place.groups.get(name) if place is not None else None
        if running is not None and running.consumers:
            if idle > ttl / 8:
                # Who consumes uses it, also where nothing comes.
                running.changed()
            return
        if idle <= ttl:
            return
        place = await self._place(log.space.name, log.topic)
        async with _Held(place):
            running = place.groups.get(name)
            if running is None or running.is_idle:
                self.log.info(
                    "the group {group} of {topic} in {namespace} is forgotten: nobody has used it for {days} days "
                    "(events.group_ttl)",
                    group=name,
                    topic=log.topic,
                    namespace=log.space.name,
                    days=int(idle // 86400),
                )
                await self._delete(place, name, running)

    # -- figures

    def figures(self) -> Iterator[Figure]:
        """What was done (L{microd.kernel.health.Figures}); totals, since groups have names that strangers chose."""
        world = self._world
        groups = [each for place in self._places.values() for each in place.groups.values()]
        private = sum([len(place.privates) for place in self._places.values()])
        yield gauge("microd_events_groups", "Groups in memory: those used lately.", len(groups) + private)
        yield gauge("microd_events_consumers", "Consumers.", len(self._readers))
        again = "Events given to a group which it may have been given before."
        yield counter("microd_events_redelivered_total", again, world.redelivered)
        yield counter("microd_events_dead_total", "Events which groups gave up.", world.dead)
        lag = sum([each.group.lag(each.log.next - 1) for each in groups])
        yield gauge("microd_events_lag", "Events which groups in memory are not done with, together.", lag)
        now, oldest = self._clock.seconds(), [each.oldest_stamp for each in groups]
        worst = max([now - stamp / 1000 for stamp in oldest if stamp], default=0.0)
        text = "Age of the oldest event in memory that a group is not done with."
        yield gauge("microd_events_oldest_seconds", text, max(0.0, worst))


class _Held:
    """Holds the lock of a topic's groups."""

    __slots__ = ("_place",)

    def __init__(self, place: _Place) -> None:
        self._place = place

    async def __aenter__(self) -> None:
        await self._place.lock.acquire()
        try:
            _require_there(self._place)
        except BaseException:
            self._place.lock.release()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._place.lock.release()


def _require_there(place: _Place) -> None:
    if place.log.gone:
        raise NotFound(f"the topic {place.log.topic} was deleted")


def _no_group(place: _Place, name: str) -> NotFound:
    return NotFound(f"there is no group {name} of the topic {place.log.topic}")


async def _cursor(log: Log, position: Position) -> int:
    """The offset behind which C{position} is."""
    match position.start:
        case Start.EARLIEST:
            return log.first - 1
        case Start.OFFSET:
            return min(max(position.value, log.first), log.next) - 1
        case Start.TIME:
            return await log.offset_at(position.value) - 1
    return log.next - 1
