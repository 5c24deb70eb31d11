"""The registry's memory: leases by namespace, name, version and node. Pure: C{now} is an argument."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import replace
from heapq import heapify, heappop, heappush

from microd.kernel.errors import BadRequest
from microd.services.registry.model import EVERYWHERE, Change, Limits, Node, Service

#: namespace, name, version, node id
_Key = tuple[str, str, str, str]

_FOREVER = float("inf")


class _Lease:
    """C{queued} is the time of the queue's entry which counts; entries of other times are left to fall out."""

    __slots__ = ("expires", "node", "owner", "queued")

    def __init__(self, node: Node, expires: float, owner: Hashable | None) -> None:
        self.node = node
        self.expires = expires
        self.owner = owner
        self.queued = _FOREVER


class _Version:
    """C{says} is the registration without its nodes; C{leases} has the nodes, by their ids."""

    __slots__ = ("leases", "says")

    def __init__(self, says: Service) -> None:
        self.says = says
        self.leases: dict[str, _Lease] = {}

    def whole(self) -> Service:
        return replace(self.says, nodes=tuple(lease.node for lease in self.leases.values()))


class Catalogue:
    """Keeps leases, and says of every act what it changed. A renewal that says nothing new changes nothing."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._namespaces: dict[str, dict[str, dict[str, _Version]]] = {}
        self._owned: dict[Hashable, set[_Key]] = {}
        self._queue: list[tuple[float, _Key]] = []
        self._count = 0
        self._leases = 0

    def register(
        self, namespace: str, service: Service, expires: float, owner: Hashable | None
    ) -> list[Change]:
        """Add nodes or renew them. C{service} has passed the rules.

        @raise BadRequest: there would be more versions, or more nodes of this one, than the limits allow.
        """
        says = replace(service, nodes=())
        version = self._find(namespace, service.name, service.version)
        if version is None:
            if self._count >= self._limits.versions:
                raise BadRequest(f"the registry is full: it holds {self._count} versions of services")
            version = self._add(namespace, says)
            changed = "create"
        else:
            newcomers = sum(node.id not in version.leases for node in service.nodes)
            if newcomers and len(version.leases) + newcomers > self._limits.nodes:
                raise BadRequest(f"a version may have at most {self._limits.nodes} nodes")
            changed = "" if version.says == says else "update"
            version.says = says
        for node in service.nodes:
            key = (namespace, service.name, service.version, node.id)
            if self._lease(key, version, node, expires, owner):
                changed = changed or "update"
        return [Change(changed, version.whole(), namespace)] if changed else []  # type: ignore[arg-type]

    def remove(self, namespace: str, name: str, version: str, ids: Iterable[str]) -> list[Change]:
        """Take nodes out of a version; unknown ones change nothing."""
        return self._drop((namespace, name, version, id) for id in ids)

    def forget_owner(self, owner: Hashable) -> list[Change]:
        """Take out the nodes whose last registration was under C{owner}."""
        return self._drop(self._owned.get(owner, set()).copy())

    def forget_process(self, namespace: str, name: str, version: str, process: str) -> list[Change]:
        """Take out the nodes of a version which ran in C{process}, by their metadata."""
        found = self._find(namespace, name, version)
        if found is None:
            return []
        there = [id for id, held in found.leases.items() if held.node.metadata.get("process") == process]
        return self.remove(namespace, name, version, there)

    def expire(self, now: float) -> list[Change]:
        """Take out the nodes whose leases have run out at C{now}."""
        late: list[_Key] = []
        while self._queue and self._queue[0][0] <= now:
            due, key = heappop(self._queue)
            lease = self._held(key)
            if lease is None or lease.queued != due:
                continue
            lease.queued = _FOREVER
            if lease.expires <= now:
                late.append(key)
            else:
                self._enqueue(key, lease)
        return self._drop(late)

    def next_expiry(self) -> float | None:
        """No lease runs out earlier than this; None when none ever will."""
        return self._queue[0][0] if self._queue else None

    def versions(self, namespace: str, name: str) -> list[Service]:
        """All versions of a service, the earliest registered first."""
        return [version.whole() for version in self._namespaces.get(namespace, {}).get(name, {}).values()]

    def everything(self, namespace: str) -> Iterator[Service]:
        """All versions of all services of a namespace, or of every one."""
        chosen = list(self._namespaces) if namespace == EVERYWHERE else [namespace]
        for space in chosen:
            for versions in self._namespaces.get(space, {}).values():
                for version in versions.values():
                    yield version.whole()

    def _find(self, namespace: str, name: str, version: str) -> _Version | None:
        return self._namespaces.get(namespace, {}).get(name, {}).get(version)

    def _held(self, key: _Key) -> _Lease | None:
        version = self._find(*key[:3])
        return version.leases.get(key[3]) if version is not None else None

    def _add(self, namespace: str, says: Service) -> _Version:
        version = _Version(says)
        self._namespaces.setdefault(namespace, {}).setdefault(says.name, {})[says.version] = version
        self._count += 1
        return version

    def _lease(
        self, key: _Key, version: _Version, node: Node, expires: float, owner: Hashable | None
    ) -> bool:
        """Grant or renew one lease; whether what is known of the node became different."""
        held = version.leases.get(node.id)
        lease = _Lease(node, expires, owner) if held is None else held
        if held is None:
            version.leases[node.id] = lease
            self._leases += 1
        if held is None or held.owner != owner:
            self._disown(lease.owner, key)
            if owner is not None:
                self._owned.setdefault(owner, set()).add(key)
        lease.owner, lease.expires = owner, expires
        self._enqueue(key, lease)
        if held is not None and held.node == node:
            return False
        lease.node = node
        return True

    def _enqueue(self, key: _Key, lease: _Lease) -> None:
        """See to it that the queue looks at a lease no later than it ends: renewing one is free until the old end."""
        if lease.expires < lease.queued:
            lease.queued = lease.expires
            heappush(self._queue, (lease.expires, key))
            if len(self._queue) > 2 * self._leases + 64:
                self._tidy()

    def _tidy(self) -> None:
        """Throw out the queue's entries which do not count."""
        self._queue = [
            (due, key)
            for due, key in self._queue
            if (lease := self._held(key)) is not None and lease.queued == due
        ]
        heapify(self._queue)

    def _disown(self, owner: Hashable | None, key: _Key) -> None:
        keys = self._owned.get(owner)
        if keys is not None:
            keys.discard(key)
            if not keys:
                del self._owned[owner]

    def _drop(self, keys: Iterable[_Key]) -> list[Change]:
        touched: dict[tuple[str, str, str], Service] = {}
        for key in keys:
            version = self._find(*key[:3])
            if version is None or key[3] not in version.leases:
                continue
            if key[:3] not in touched:
                touched[key[:3]] = version.whole()
            self._disown(version.leases.pop(key[3]).owner, key)
            self._leases -= 1
        return [self._after(place, before) for place, before in touched.items()]

    def _after(self, place: tuple[str, str, str], before: Service) -> Change:
        namespace, name, number = place
        services = self._namespaces[namespace]
        version = services[name][number]
        if version.leases:
            return Change("update", version.whole(), namespace)
        del services[name][number]
        self._count -= 1
        if not services[name]:
            del services[name]
        if not services:
            del self._namespaces[namespace]
        return Change("delete", before, namespace)
