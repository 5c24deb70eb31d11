"""The network as one daemon sees it: its own name, and a route for each node in its registry."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Callable, Sequence

from twisted.application.service import Service as TwistedService
from twisted.internet.defer import Deferred

from microd.kernel.caller import Account
from microd.kernel.errors import Unavailable
from microd.services.network import rules
from microd.services.network.dialer import DOWN
from microd.services.network.interface import INetwork, Load
from microd.services.network.model import ANY, Daemon, Event, Query, Route
from microd.services.registry.interface import IRegistry
from microd.services.registry.model import EVERYWHERE, Change
from microd.services.store.interface import IStore
from microd.services.store.model import Record

#: Where the daemon's id is kept, in the store that no user reaches.
DATABASE, TABLE, KEY = "micro", "network", "id"

#: A version, by namespace, name and version; and its routes, each by what makes it the same.
_Place = tuple[str, str, str]
_Routes = dict[tuple[str, ...], Route]


class Network(TwistedService, INetwork):
    """Answers for this daemon, which knows no other yet.

    @param store: keeps the daemon's id.
    @param address: where services and other daemons reach us, once the doors are open.
    """

    def __init__(self, store: IStore, registry: IRegistry, load: Load, address: Callable[[], str]) -> None:
        self._store = store
        self._registry = registry
        self._load = load
        self._address = address
        self._id = ""

    def startService(self) -> Deferred[None]:
        """Learn who we are: as before, or somebody new."""
        super().startService()
        return Deferred.fromCoroutine(self._identify())

    @property
    def daemon(self) -> Daemon:
        if not self._id:
            raise Unavailable("the daemon is starting")
        return Daemon(self._id, self._address())

    async def routes(self, query: Query) -> Sequence[Route]:
        network = EVERYWHERE if query.network == ANY else query.network
        if query.service != ANY and network != EVERYWHERE:
            found = await self._registry.get(network, query.service)
        else:
            found = await self._registry.list(network)
        router = self.daemon.id
        return rules.chosen(query, (route for each in found for route in rules.routes_of(each, router)))

    async def services(self) -> Sequence[str]:
        return sorted({service.name for service in await self._registry.list(EVERYWHERE)})

    async def watch(self, namespace: str, reader: Account | None = None) -> AsyncGenerator[Event, None]:
        router = self.daemon.id
        watch = self._registry.watch(namespace, present=True, reader=reader)
        known: dict[_Place, _Routes] = {
            (service.metadata.get("domain", ""), service.name, service.version): {
                rules.key(route): route for route in rules.routes_of(service, router)
            }
            for service in watch.present
        }
        watch.present = ()
        try:
            async for change in watch:
                for event in _events(change, known, router):
                    yield event
        finally:
            watch.close()

    async def unreachable(self) -> Sequence[Route]:
        load = self._load.load
        return [route for route in await self.routes(Query()) if load(route.address) >= DOWN]

    async def _identify(self) -> None:
        found = await self._store.read_one(DATABASE, TABLE, KEY)
        if found is None:
            found = Record(KEY, str(uuid.uuid4()).encode())
            await self._store.write(DATABASE, TABLE, found)
        self._id = found.value.decode()


def _events(change: Change, known: dict[_Place, _Routes], router: str) -> list[Event]:
    """What a change of a version means for its routes; C{known} is brought up to date."""
    place = change.namespace, change.service.name, change.service.version
    before: _Routes = known.pop(place, {})
    after: _Routes = {}
    if change.action != "delete":
        after = {rules.key(route): route for route in rules.routes_of(change.service, router)}
        known[place] = after
    events = [Event("delete", route, change.at) for key, route in before.items() if key not in after]
    for key, route in after.items():
        if key not in before:
            events.append(Event("create", route, change.at))
        elif before[key] != route:
            events.append(Event("update", route, change.at))
    return events
