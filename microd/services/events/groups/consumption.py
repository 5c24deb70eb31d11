"""The groups of all topics: who consumes, what is loaded, and what is forgotten."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence

from twisted.internet.interfaces import IReactorTime

from microd.kernel.caller import Account
from microd.kernel.errors import BadRequest, Conflict, NotFound, TooLarge, Unauthorized, Unavailable
from microd.kernel.health import Figure, counter, gauge
from microd.services.events import rules
from microd.services.events.groups.admission import Admission
from microd.services.events.groups.consumer import Consumer
from microd.services.events.groups.letters import Letters
from microd.services.events.groups.places import DamagedGroup, Place, Places
from microd.services.events.groups.reaper import Reaper
from microd.services.events.groups.rules import check_ack, check_position, check_terms
from microd.services.events.groups.running import Running
from microd.services.events.groups.world import World
from microd.services.events.log.meta import GROUPS
from microd.services.events.logs import Logs
from microd.services.events.model import Ack, DeadLetter, GroupFacts, Limits, Position, Terms
from microd.services.store.model import Query


class Consumption:
    """Runs groups, and remembers them.

    @param random: gives numbers from 0 to 1.
    """

    def __init__(self, logs: Logs, clock: IReactorTime, limits: Limits, random: Callable[[], float]) -> None:
        self._logs = logs
        self._store = logs.store
        self._clock = clock
        self._limits = limits
        self._world = World(self._store, clock, random, limits.in_flight)
        self._places = Places(logs, self._world, limits)
        self._admission = Admission(limits.consumers)
        self._letters = Letters(logs)
        self._reaper = Reaper(logs, self._places, self._world, limits.group_ttl)
        self._readers: dict[Consumer, Account | None] = {}

    # -- start and stop

    def start(self) -> None:
        """Look, from time to time, for groups which nobody uses."""
        self._reaper.start()

    async def stop(self) -> None:
        """End all consumers, and keep how far each group is."""
        self._world.is_stopping = True
        self._reaper.stop()
        everything = [each for place in self._places for each in (*place.groups.values(), *place.privates)]
        for running in everything:
            running.end(Unavailable("the daemon stops: consume again"))
        for running in everything:
            await running.finish()
        await self._world.keeper.stop(each for each in everything if each.name and not each.is_over)
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
        self._require_running()
        leave = self._admission.enter(namespace, connection)
        try:
            place = await self._places.at(namespace, topic, create=True)
            running = await self._group(place, terms)
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
        if not running.name:
            place.privates.add(running)
        return consumer

    async def _group(self, place: Place, terms: Terms) -> Running:
        while True:
            if terms.group:
                running = await self._places.named(place, terms.group, terms.start)
            else:
                running = await self._places.private(place, terms.start)
            self._require_running()
            place.require_there()
            # Else it was deleted just now.
            if not running.is_over:
                return running

    def revoked(self, namespace: str, id: str) -> None:
        """End the consumers of an account."""
        for consumer, reader in list(self._readers.items()):
            if reader is not None and (reader.issuer, reader.id) == (namespace, id):
                consumer.end(Unauthorized(f"the account {id} was revoked: log in again"))

    def _require_running(self) -> None:
        if self._world.is_stopping:
            raise Unavailable("the daemon stops: consume again")

    # -- what is asked about groups

    async def ack(self, namespace: str, topic: str, group: str, acks: Sequence[Ack]) -> int:
        """As L{microd.services.events.interface.IEvents.ack}."""
        if len(acks) > self._limits.page:
            raise BadRequest(f"acks may have at most {self._limits.page} of them")
        for ack in acks:
            check_ack(ack)
        self._require_running()
        place = await self._places.at(namespace, topic)
        running = await self._places.found(place, group)
        if running.is_over:
            raise place.missing(group)
        count = running.told(acks)
        await self._world.keeper.written(running)
        return count

    async def lag(self, namespace: str, topic: str = "") -> Sequence[GroupFacts]:
        """As L{microd.services.events.interface.IEvents.lag}; groups sorted by name, private ones first."""
        facts: list[GroupFacts] = []
        if topic:
            await self._describe(await self._places.at(namespace, topic), facts)
            return facts
        tables = set(await self._store.tables(namespace))
        for name, log in sorted(self._logs.of(namespace).items()):
            place = self._places.known(log)
            if GROUPS + name in tables or (place is not None and place.privates):
                try:
                    await self._describe(await self._places.at(namespace, name), facts)
                except NotFound:
                    continue
        return facts

    async def _describe(self, place: Place, facts: list[GroupFacts]) -> None:
        names = await self._store.list(*place.table, Query())
        facts += [await self._facts(running) for running in list(place.privates)]
        for name in names:
            running_or_none = (
                None
                if name.startswith("$")
                else place.groups.get(name) or await self._places.load(place, name)
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
        place = await self._places.at(namespace, topic)
        cursor = await place.cursor(position)
        try:
            running = await self._places.found(place, group)
            running.seek(cursor)
        except DamagedGroup:
            running = await self._places.anew(place, group, position)
        # Whoever consumes may be done with the first ones by the time that this is on disk: what was asked for is answered.
        facts = await self._facts(running)
        await self._world.keeper.written(running)
        return facts

    async def delete_group(self, namespace: str, topic: str, group: str) -> None:
        """As L{microd.services.events.interface.IEvents.delete_group}."""
        rules.require_group(group, self._limits)
        place = await self._places.at(namespace, topic)
        async with place:
            running = place.groups.get(group)
            if running is None:
                if await self._store.read_one(*place.table, group) is None:
                    raise place.missing(group)
            elif running.consumers:
                raise Conflict(
                    f"{running.consumers} consume for the group {group} of {topic}: it can be deleted when nobody does"
                )
            await self._places.delete(place, group, running)

    async def forget(self, namespace: str, topic: str) -> None:
        """A topic was deleted: end its consumers, and write nothing more about its groups."""
        for place in self._places.forget():
            error = NotFound(f"the topic {place.log.topic} was deleted")
            for running in (*place.groups.values(), *place.privates):
                running.stop(error)
                self._world.keeper.forget(running)
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

    # -- figures

    def figures(self) -> Iterator[Figure]:
        """What was done (L{microd.kernel.health.Figures}); totals, since groups have names that strangers chose."""
        world = self._world
        groups = [each for place in self._places for each in place.groups.values()]
        private = sum([len(place.privates) for place in self._places])
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
