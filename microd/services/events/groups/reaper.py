"""Groups which nobody uses."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from microd.kernel.errors import MicroError
from microd.services.events.groups import state
from microd.services.events.groups.places import Places
from microd.services.events.groups.world import World
from microd.services.events.log.log import Log
from microd.services.events.log.meta import GROUPS
from microd.services.events.logs import Logs
from microd.services.store.model import Query

#: Seconds between two looks.
EVERY = 3600.0


class Reaper:
    """Forgets groups which nobody has consumed for, or acknowledged to, for longer than C{ttl} seconds; 0: none."""

    log = Logger()

    def __init__(self, logs: Logs, places: Places, world: World, ttl: int) -> None:
        self._logs = logs
        self._store = logs.store
        self._places = places
        self._world = world
        self._ttl = ttl
        self._timer: IDelayedCall | None = None
        self._task: Deferred[None] | None = None

    def start(self) -> None:
        """Look from time to time."""
        if self._ttl > 0 and self._timer is None:
            self._timer = self._world.clock.callLater(EVERY, self._soon)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is not None:
            self._task.cancel()

    def _soon(self) -> None:
        self._timer = self._world.clock.callLater(EVERY, self._soon)
        if self._task is None:
            task = Deferred.fromCoroutine(self._look())
            if not task.called:
                self._task = task

    async def _look(self) -> None:
        try:
            for namespace in await self._store.databases():
                for log in list(self._logs.of(namespace).values()):
                    await self._look_at(log)
        except CancelledError:
            return
        except MicroError as problem:
            self.log.warn("groups which nobody uses stay for now: {error}", error=problem.detail)
        finally:
            self._task = None

    async def _look_at(self, log: Log) -> None:
        table, after = GROUPS + log.topic, ""
        while not log.gone:
            page = await self._store.page(log.space.name, table, Query(after=after, limit=100))
            for record in page.records:
                if not record.key.startswith("$"):
                    await self._judge(log, record.key, record.value)
            after = page.next
            if not after:
                return

    async def _judge(self, log: Log, name: str, kept: bytes) -> None:
        try:
            idle = self._world.clock.seconds() - state.decode(kept).used
        except state.Damaged:
            return
        place = self._places.known(log)
        running = place.groups.get(name) if place is not None else None
        if running is not None and running.consumers:
            if idle > self._ttl / 8:
                # Who consumes uses it, also where nothing comes.
                running.changed()
            return
        if idle <= self._ttl or log.gone:
            return
        place = await self._places.at(log.space.name, log.topic)
        async with place:
            running = place.groups.get(name)
            if running is not None and not running.is_idle:
                return
            self.log.info(
                "the group {group} of {topic} in {namespace} is forgotten: nobody has used it for {days} days "
                "(events.group_ttl)",
                group=name,
                topic=log.topic,
                namespace=log.space.name,
                days=int(idle // 86400),
            )
            await self._places.delete(place, name, running)
