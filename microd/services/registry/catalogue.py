"""The registry's memory: leases by namespace, name, version and node. Pure: C{now} is an argument."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import replace
from heapq import heapify, heappop, heappush

from microd.kernel.errors import BadRequest
from microd.services.registry.model import EVERYWHERE, Change, Limits, Node, Service
from microd.services.registry.rules import weight_of_node, weight_of_version

#: namespace, name, version, node id
_Key = tuple[str, str, str, str]

_FOREVER = float("inf")


class _Lease:
    """C{queued} is the time of the queue's entry which counts; entries of other times are left to fall out."""

    __slots__ = ("expires", "node", "owner", "queued", "weight")

    def __init__(self, node: Node, expires: float, owner: Hashable | None) -> None:
        self.node = node
        self.expires = expires
        self.owner = owner
        self.queued = _FOREVER
        self.weight = 0


class _Version:
    """C{says} is the registration without its nodes; C{leases} has the nodes, by their ids."""

    __slots__ = ("leases", "says", "weight")

    def __init__(self, says: Service) -> None:
        self.says = says
        self.leases: dict[str, _Lease] = {}
        self.weight = 0

    def whole(self) -> Service:
        return replace(self.says, nodes=tuple(lease.node for lease in self.leases.values()))


class _Space:
    """One namespace: versions by name and version, how many, and what they take in memory."""

    __slots__ = ("count", "services", "weight")

    def __init__(self) -> None:
        self.services: dict[str, dict[str, _Version]] = {}
        self.count = 0
        self.weight = 0


class Catalogue:
    """Keeps leases, and says of every act what it changed. A renewal that says nothing new changes nothing.

    @ivar leases: how many there are.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._spaces: dict[str, _Space] = {}
        self._owned: dict[Hashable, set[_Key]] = {}
        self._queue: list[tuple[float, _Key]] = []
        self.leases = 0

    def register(
        self, namespace: str, service: Service, expires: float, owner: Hashable | None
    ) -> list[Change]:
        """Add nodes or renew them. C{service} has passed the rules.

        @raise BadRequest: there would be more versions, more nodes of this one, or more to remember, than the limits
            allow.
        """
        says = replace(service, nodes=())
        version = self._find(namespace, service.name, service.version)
        self._require_room(namespace, service, says, version)
        if version is None:
            version = self._add(namespace, says)
            changed = "create"
        else:
            changed = "" if version.says == says else "update"
        space = self._spaces[namespace]
        if changed:
            version.says = says
            space.weight -= version.weight
            version.weight = weight_of_version(says)
            space.weight += version.weight
        for node in service.nodes:
            key = (namespace, service.name, service.version, node.id)
            if self._lease(key, version, node, expires, owner):
                changed = changed or "update"
        return [Change(changed, version.whole(), namespace)] if changed else []  # type: ignore[arg-type]

    def _require_room(
        self, namespace: str, service: Service, says: Service, version: _Version | None
    ) -> None:
        limits = self._limits
        space = self._spaces.get(namespace)
        count, weight = (space.count, space.weight) if space is not None else (0, 0)
        if version is None and count >= limits.versions:
            raise BadRequest(f"the registry is full: {namespace} has {count} versions of services in it")
        there = version.leases if version is not None else {}
        newcomers = sum(node.id not in there for node in service.nodes)
        if newcomers and len(there) + newcomers > limits.nodes:
            raise BadRequest(f"a version may have at most {limits.nodes} nodes")
        if version is None or version.says != says:
            weight += weight_of_version(says) - (version.weight if version is not None else 0)
        for node in service.nodes:
            held = there.get(node.id)
            if held is None or held.node != node:
                weight += weight_of_node(node) - (held.weight if held is not None else 0)
        # What takes less than before is welcome in any case.
        if weight > limits.memory and (space is None or weight > space.weight):
            raise BadRequest(
                f"the registry is full: what {namespace} has in it may take {limits.memory} bytes of memory"
            )

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
        space = self._spaces.get(namespace)
        if space is None:
            return []
        return [version.whole() for version in space.services.get(name, {}).values()]

    def everything(self, namespace: str) -> Iterator[Service]:
        """All versions of all services of a namespace, or of every one."""
        if namespace == EVERYWHERE:
            chosen = list(self._spaces.values())
        else:
            chosen = [self._spaces[namespace]] if namespace in self._spaces else []
        for space in chosen:
            for versions in space.services.values():
                for version in versions.values():
                    yield version.whole()

    def size(self) -> tuple[int, int, int]:
        """How many versions there are, how many nodes, and what they take in memory."""
        spaces = self._spaces.values()
        return sum(space.count for space in spaces), self.leases, sum(space.weight for space in spaces)

    def _find(self, namespace: str, name: str, version: str) -> _Version | None:
        space = self._spaces.get(namespace)
        return None if space is None else space.services.get(name, {}).get(version)

    def _held(self, key: _Key) -> _Lease | None:
        version = self._find(*key[:3])
        return version.leases.get(key[3]) if version is not None else None

    def _add(self, namespace: str, says: Service) -> _Version:
        version = _Version(says)
        space = self._spaces.setdefault(namespace, _Space())
        space.services.setdefault(says.name, {})[says.version] = version
        space.count += 1
        return version

    def _lease(
        self, key: _Key, version: _Version, node: Node, expires: float, owner: Hashable | None
    ) -> bool:
        """Grant or renew one lease; whether what is known of the node became different."""
        held = version.leases.get(node.id)
        lease = _Lease(node, expires, owner) if held is None else held
        if held is None:
            version.leases[node.id] = lease
            self.leases += 1
        if held is None or held.owner != owner:
            self._disown(lease.owner, key)
            if owner is not None:
                self._owned.setdefault(owner, set()).add(key)
        lease.owner, lease.expires = owner, expires
        self._enqueue(key, lease)
        if held is not None and held.node == node:
            return False
        lease.node = node
        space = self._spaces[key[0]]
        space.weight -= lease.weight
        lease.weight = weight_of_node(node)
        space.weight += lease.weight
        return True

    def _enqueue(self, key: _Key, lease: _Lease) -> None:
        """See to it that the queue looks at a lease no later than it ends: renewing one is free until the old end."""
        if lease.expires < lease.queued:
            lease.queued = lease.expires
            heappush(self._queue, (lease.expires, key))
            if len(self._queue) > 2 * self.leases + 64:
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
            lease = version.leases.pop(key[3])
            self._disown(lease.owner, key)
            self.leases -= 1
            self._spaces[key[0]].weight -= lease.weight
        return [self._after(place, before) for place, before in touched.items()]

    def _after(self, place: tuple[str, str, str], before: Service) -> Change:
        namespace, name, number = place
        space = self._spaces[namespace]
        versions = space.services[name]
        version = versions[number]
        if version.leases:
            return Change("update", version.whole(), namespace)
        del versions[number]
        space.count -= 1
        space.weight -= version.weight
        if not versions:
            del space.services[name]
        if not space.services:
            del self._spaces[namespace]
        return Change("delete", before, namespace)
