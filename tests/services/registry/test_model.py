"""The registry beside the shortest thing that could be one: a dictionary of deadlines."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from microd.services.registry.model import Change, Node, Service
from microd.services.registry.service import Registry
from microd.testing.outcome import done

NAMESPACES = st.sampled_from(["micro", "acme"])
NAMES = st.sampled_from(["a", "b"])
VERSIONS = st.sampled_from(["v1", "v2"])
IDS = st.sampled_from(["n1", "n2", "n3"])
OWNERS = st.sampled_from([None, "o1", "o2"])
TTLS = st.sampled_from([0, 5, 30, 90, 10_000])
Place = tuple[str, str, str]


class Life(RuleBasedStateMachine):
    """Registers, renews, takes out and lets expire, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.registry = Registry(self.clock)
        #: (namespace, name, version) -> node id -> (address, end, owner)
        self.expected: dict[Place, dict[str, tuple[str, float, Any]]] = {}
        #: What somebody knows who only ever watched.
        self.watched: dict[Place, Service] = {}
        Deferred.fromCoroutine(self._watch())

    async def _watch(self) -> None:
        async for change in self.registry.watch("*"):
            self._learn(change)

    def _learn(self, change: Change) -> None:
        place = (change.namespace, change.service.name, change.service.version)
        if change.action == "delete":
            del self.watched[place]
        else:
            assert (change.action == "create") == (place not in self.watched)
            self.watched[place] = change.service

    @rule(
        namespace=NAMESPACES,
        name=NAMES,
        version=VERSIONS,
        id=IDS,
        port=st.integers(1, 3),
        ttl=TTLS,
        owner=OWNERS,
    )
    def register(
        self, namespace: str, name: str, version: str, id: str, port: int, ttl: int, owner: str | None
    ) -> None:
        address = f"h:{port}"
        service = Service(name, version, nodes=(Node(id, address),))
        done(self.registry.register(namespace, service, ttl, owner=owner))
        forever = ttl == 0 and owner is not None
        end = float("inf") if forever else self.clock.seconds() + min(ttl or 90, 3600)
        self.expected.setdefault((namespace, name, version), {})[id] = (address, end, owner)

    @rule(namespace=NAMESPACES, name=NAMES, version=VERSIONS, ids=st.sets(IDS))
    def deregister(self, namespace: str, name: str, version: str, ids: set[str]) -> None:
        nodes = tuple(Node(id, "h:1") for id in ids)
        done(self.registry.deregister(namespace, Service(name, version, nodes=nodes)))
        for id in ids:
            self.expected.get((namespace, name, version), {}).pop(id, None)

    @rule(owner=st.sampled_from(["o1", "o2"]))
    def lose(self, owner: str) -> None:
        self.registry.forget_owner(owner)
        for nodes in self.expected.values():
            for id in [id for id, (_, _, whose) in nodes.items() if whose == owner]:
                del nodes[id]

    @rule(seconds=st.sampled_from([0.5, 4, 26, 61, 4000]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @invariant()
    def agrees(self) -> None:
        """Whoever asks, and whoever only watched, knows exactly the nodes that live."""
        now = self.clock.seconds()
        living = {
            place: {id: address for id, (address, end, _) in nodes.items() if end > now}
            for place, nodes in self.expected.items()
        }
        living = {place: nodes for place, nodes in living.items() if nodes}
        assert {place: _nodes(service) for place, service in self.watched.items()} == living
        listed = {
            (service.metadata["domain"], service.name, service.version): _nodes(service)
            for service in done(self.registry.list("*"))
        }
        assert listed == living
        for namespace in ("micro", "acme"):
            for name in ("a", "b"):
                count = sum(len(nodes) for place, nodes in living.items() if place[:2] == (namespace, name))
                assert len(self.registry.nodes(namespace, name)) == count


def _nodes(service: Service) -> dict[str, str]:
    return {node.id: node.address for node in service.nodes}


Life.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestLife = Life.TestCase
