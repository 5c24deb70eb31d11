"""The registry's memory: leases by namespace, name, version and node. Pure: C{now} is an argument."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator
from dataclasses import replace
from heapq import heapify, heappop, heappush

from microd.kernel.errors import BadRequest, Conflict
from microd.services.registry.model import EVERYWHERE, Change, Limits, Node, Service
from microd.services.registry.places import Places, place_of
from microd.services.registry.rules import weight_of_node, weight_of_version

#: namespace, name, version, node id
_Key = tuple[str, str, str, str]

_FOREVER = float("inf")


class _Lease:
    """C{queued} is the time of the queue's entry which counts; entries of other times are left to fall out.

    C{place} is where the node is, C{near} whether it was registered from that host (L{Places}).
    """

    __slots__ = ("expires", "near", "node", "owners", "place", "queued", "weight")

    def __init__(self, node: Node, expires: float) -> None:
        self.node = node
        self.expires = expires
        self.owners: tuple[Hashable, ...] = ()
        self.queued = _FOREVER
        self.weight = 0
        self.place = ""
        self.near = False


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
        self._places: Places[_Key] = Places()
        self.leases = 0

    def register(
        self,
        namespace: str,
        service: Service,
        expires: float,
        owners: tuple[Hashable, ...] = (),
        host: str | None = None,
        doors: Collection[str] = (),
    ) -> list[Change]:
        """Add nodes or renew them. C{service} has passed the rules.

        @param owners: with the first of whom to be forgotten the nodes go.
        @param host: where it comes from (L{microd.services.registry.places.host_of}); None: from the platform itself,
            which may list a node anywhere.
        @param doors: places where the daemon itself listens.
        @raise BadRequest: there would be more versions, more nodes of this one, or more to remember, than the limits
            allow.
        @raise Conflict: one of the places is a door, or another namespace has a node there. One that was registered from elsewhere
            gives way, though, to whoever is on that host.
        """
        says = replace(service, nodes=())
        version = self._find(namespace, service.name, service.version)
        self._require_room(namespace, service, says, version)
        places = [self._place(version, node) for node in service.nodes]
        changes = []
        if host is not None:
            _require_no_door(service.nodes, places, doors)
            changes = self._drop(self._displaced(namespace, service.nodes, places, host))
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
        for node, place in zip(service.nodes, places, strict=True):
            key = (namespace, service.name, service.version, node.id)
            lease, is_new = self._lease(key, version, node, expires, owners)
            self._settle(key, lease, place, host is None or _is_on(place, host))
            if is_new:
                changed = changed or "update"
        if changed:
            changes.append(Change(changed, version.whole(), namespace))  # type: ignore[arg-type]
        return changes

    def _place(self, version: _Version | None, node: Node) -> str:
        held = version.leases.get(node.id) if version is not None else None
        return (
            held.place if held is not None and held.node.address == node.address else place_of(node.address)
        )

    def _displaced(
        self, namespace: str, nodes: Iterable[Node], places: Iterable[str], host: str
    ) -> list[_Key]:
        found: list[_Key] = []
        for node, place in zip(nodes, places, strict=True):
            is_held, weaker = self._places.others(place, namespace, _is_on(place, host))
            if is_held:
                raise Conflict(
                    f"the address {node.address} is held by a node of another namespace: listen on another one "
                    "(MICRO_SERVICE_ADDRESS), or register again once that node is gone or its lease has run out"
                )
            found += weaker
        return found

    def _settle(self, key: _Key, lease: _Lease, place: str, near: bool) -> None:
        """Note where a node is."""
        if (lease.place, lease.near) == (place, near):
            return
        if lease.place:
            self._places.discard(lease.place, key[0], key, lease.near)
        lease.place, lease.near = place, near
        self._places.add(place, key[0], key, near)

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
        """Take out the nodes whose last registration had C{owner} among its owners."""
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
        self, key: _Key, version: _Version, node: Node, expires: float, owners: tuple[Hashable, ...]
    ) -> tuple[_Lease, bool]:
        """Grant or renew one lease; and whether what is known of the node became different."""
        held = version.leases.get(node.id)
        lease = _Lease(node, expires) if held is None else held
        if held is None:
            version.leases[node.id] = lease
            self.leases += 1
        if lease.owners != owners:
            self._disown(lease.owners, key)
            for owner in owners:
                self._owned.setdefault(owner, set()).add(key)
        lease.owners, lease.expires = owners, expires
        self._enqueue(key, lease)
        if held is not None and held.node == node:
            return lease, False
        lease.node = node
        space = self._spaces[key[0]]
        space.weight -= lease.weight
        lease.weight = weight_of_node(node)
        space.weight += lease.weight
        return lease, True

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

    def _disown(self, owners: Iterable[Hashable], key: _Key) -> None:
        for owner in owners:
            keys = self._owned[owner]
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
            self._disown(lease.owners, key)
            self._places.discard(lease.place, key[0], key, lease.near)
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


def _require_no_door(nodes: Iterable[Node], places: Iterable[str], doors: Collection[str]) -> None:
    for node, place in zip(nodes, places, strict=True):
        if place in doors:
            raise Conflict(
                f"the address {node.address} is a door of this daemon, where calls come from: "
                "register the one which the service itself listens on"
            )


def _is_on(place: str, host: str) -> bool:
    return place.rpartition(":")[0] == host
