"""The registry, running: one timer for all leases, and the watchers."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from twisted.application.service import Service as TwistedService
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from microd.kernel.caller import Account
from microd.kernel.errors import Unauthorized, Unavailable
from microd.kernel.health import Figure, counter, gauge
from microd.services.registry import rules
from microd.services.registry.catalogue import Catalogue
from microd.services.registry.interface import IRegistry
from microd.services.registry.model import (
    EVERYWHERE,
    Change,
    Endpoint,
    Limits,
    Node,
    Registrant,
    Service,
)
from microd.services.registry.places import doors_at, host_of
from microd.services.registry.watch import Watch


class _Owner(NamedTuple):
    """An account, as what nodes live and die with."""

    issuer: str
    id: str


class Registry(TwistedService, IRegistry):
    """Knows the living nodes of every service, in this process's memory.

    @param announce: told of each change, after the watchers; must not raise.
    @param doors: the addresses where the daemon itself listens; those which are not C{host:port} do not matter.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        limits: Limits | None = None,
        announce: Callable[[Change], None] | None = None,
        doors: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self._clock = clock
        self._limits = limits or Limits()
        self._announce = announce
        self._doors = doors
        self._catalogue = Catalogue(self._limits)
        self._watches: set[Watch] = set()
        self._timer: IDelayedCall | None = None
        self._nodes: dict[tuple[str, str], tuple[Node, ...]] = {}
        self._changes = self._expired = self._cut_off = 0
        self._endpoints: dict[tuple[str, str], tuple[Endpoint, ...]] = {}

    def stopService(self) -> None:
        """Forget the timer, and end what watchers read."""
        super().stopService()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for watch in list(self._watches):
            watch.end(Unavailable("the registry is stopping"))
        self._watches.clear()

    async def register(
        self,
        namespace: str,
        service: Service,
        ttl: float,
        *,
        owner: Hashable | None = None,
        by: Registrant | None = None,
    ) -> None:
        service = rules.checked(namespace, service, self._limits)
        expires = rules.lease_end(ttl, owner is not None, self._clock.seconds(), self._limits)
        owners = () if owner is None else (owner,)
        host, doors = None, frozenset[str]()
        if by is not None:
            owners = (*owners, _Owner(by.account.issuer, by.account.id))
            host = host_of(by.peer.rpartition(":")[0])
            doors = doors_at(self._doors())
        self._tell(self._catalogue.register(namespace, service, expires, owners, host, doors))
        self._schedule()

    async def deregister(self, namespace: str, service: Service) -> None:
        rules.check_names(namespace, service)
        ids = [node.id for node in service.nodes]
        self._tell(self._catalogue.remove(namespace, service.name, service.version or "latest", ids))

    async def get(self, namespace: str, name: str) -> Sequence[Service]:
        return self._catalogue.versions(namespace, name)

    async def list(self, namespace: str) -> Sequence[Service]:
        return list(self._catalogue.everything(namespace))

    def watch(
        self, namespace: str, name: str = "", *, present: bool = False, reader: Account | None = None
    ) -> Watch:
        self._watches = {watch for watch in self._watches if watch.watched}
        most = self._limits.watchers
        if sum(each.namespace == namespace for each in self._watches) >= most:
            raise Unavailable(f"there are {most} watchers of {namespace} already")
        found = self._catalogue.everything(namespace) if present else ()
        there = [service for service in found if name in ("", service.name)]
        watch = Watch(namespace, name, self._limits.backlog, there, reader)
        self._watches.add(watch)
        return watch

    def figures(self) -> Iterator[Figure]:
        """What it counted (L{microd.kernel.health.Figures})."""
        versions, nodes, memory = self._catalogue.size()
        yield gauge("microd_registry_versions", "Versions of services that are registered.", versions)
        yield gauge("microd_registry_nodes", "Nodes that are registered.", nodes)
        yield gauge("microd_registry_memory_bytes", "What they take in memory, roughly.", memory)
        yield counter("microd_registry_changes_total", "Changes that were told.", self._changes)
        yield counter("microd_registry_expirations_total", "Leases that ran out.", self._expired)
        watching = sum(watch.watched for watch in self._watches)
        yield gauge("microd_registry_watchers", "Watchers.", watching)
        behind = "Watchers cut off because they fell behind."
        yield counter("microd_registry_watchers_cut_total", behind, self._cut_off)

    def revoked(self, namespace: str, id: str) -> None:
        for watch in list(self._watches):
            reader = watch.reader
            if reader is not None and (reader.issuer, reader.id) == (namespace, id):
                watch.cut(Unauthorized(f"the account {id} was revoked: log in again"))
        self._tell(self._catalogue.forget_owner(_Owner(namespace, id)))

    def nodes(self, namespace: str, name: str) -> tuple[Node, ...]:
        if namespace == EVERYWHERE:
            return tuple(
                node
                for version in self._catalogue.everything(EVERYWHERE)
                if version.name == name
                for node in version.nodes
            )
        found = self._nodes.get((namespace, name))
        if found is None:
            versions = self._catalogue.versions(namespace, name)
            if not versions:
                return ()
            found = tuple(node for version in versions for node in version.nodes)
            self._nodes[namespace, name] = found
        return found

    def endpoints_of(self, namespace: str, name: str) -> tuple[Endpoint, ...]:
        known = self._endpoints.get((namespace, name))
        if known is None:
            versions = self._catalogue.versions(namespace, name)
            if not versions:
                return ()
            found = {each.name: each for version in versions for each in version.endpoints}
            known = self._endpoints[namespace, name] = tuple(found.values())
        return known

    def forget_owner(self, owner: Hashable) -> None:
        self._tell(self._catalogue.forget_owner(owner))

    def forget_process(self, namespace: str, name: str, version: str, process: str) -> None:
        self._tell(self._catalogue.forget_process(namespace, name, version or "latest", process))

    def _tell(self, changes: Sequence[Change]) -> None:
        now = self._clock.seconds()
        for untimed in changes:
            change = replace(untimed, at=now)
            service = change.service
            self._nodes.pop((change.namespace, service.name), None)
            self._endpoints.pop((change.namespace, service.name), None)
            self.log.debug(
                "{action} {name} {version} in {namespace}: {count} nodes",
                action=change.action,
                name=service.name,
                version=service.version,
                namespace=change.namespace,
                count=len(service.nodes),
            )
            self._changes += 1
            for watch in list(self._watches):
                if not watch.offer(change):
                    self._cut_off += 1
            if self._announce is not None:
                self._announce(change)

    def _schedule(self) -> None:
        due = self._catalogue.next_expiry()
        if due is None:
            return
        if self._timer is None:
            self._timer = self._clock.callLater(max(0.0, due - self._clock.seconds()), self._expire)
        elif due < self._timer.getTime():
            self._timer.reset(max(0.0, due - self._clock.seconds()))

    def _expire(self) -> None:
        self._timer = None
        before = self._catalogue.leases
        self._tell(self._catalogue.expire(self._clock.seconds()))
        self._expired += before - self._catalogue.leases
        self._schedule()
