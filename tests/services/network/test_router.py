"""Which node is tried first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from microd.services.network.router import Router
from microd.services.registry.model import Node

A, B, C = (Node(name, f"10.0.0.{number}:80") for number, name in enumerate("abc", 1))


class Known:
    """A registry with one service in two namespaces, and a load for each address."""

    def __init__(self, *nodes: Node) -> None:
        self.found = nodes
        self.loads: dict[str, int] = {}

    def nodes(self, namespace: str, name: str) -> Sequence[Node]:
        """The living nodes."""
        return self.found if (namespace, name) == ("micro", "greeter") else ()

    def load(self, address: str) -> int:
        """How an address is."""
        return self.loads.get(address, 0)


def firsts(router: Router, calls: int) -> Counter[str]:
    """How often each node came first."""
    return Counter(router.nodes("micro", "greeter")[0].id for _ in range(calls))


def test_turns() -> None:
    """Nodes which are equally busy take turns."""
    known = Known(A, B, C)
    assert firsts(Router(known, known), 30) == {"a": 10, "b": 10, "c": 10}


def test_least_busy() -> None:
    """The node with the fewest calls under way comes first, and the busiest last."""
    known = Known(A, B, C)
    known.loads = {A.address: 5, B.address: 2, C.address: 9}
    router = Router(known, known)
    for _ in range(3):
        assert [node.id for node in router.nodes("micro", "greeter")] == ["b", "a", "c"]


@pytest.mark.parametrize("count", [1, 2, 20])
def test_all_are_offered(count: int) -> None:
    """Every living node is offered once, so that a call can go on to the next."""
    nodes = [Node(str(number), f"10.0.0.{number}:80") for number in range(count)]
    known = Known(*nodes)
    assert sorted(Router(known, known).nodes("micro", "greeter"), key=str) == sorted(nodes, key=str)


def test_unknown() -> None:
    """A service without nodes, or of another namespace, has none."""
    known = Known(A)
    router = Router(known, known)
    assert not router.nodes("micro", "other")
    assert not router.nodes("foo", "greeter")
