"""Which nodes a call goes to, the best first."""

from __future__ import annotations

from collections.abc import Sequence

from microd.services.network.interface import Load, Nodes
from microd.services.registry.model import Node

#: Nodes which are weighed for a call; the others stay behind them, in turn.
_WEIGHED = 8


class Router:
    """Prefers nodes with few calls under way; those which are equal take turns; those out of reach come last."""

    def __init__(self, registry: Nodes, load: Load) -> None:
        self._registry = registry
        self._load = load
        self._turn = 0

    def nodes(self, namespace: str, service: str) -> Sequence[Node]:
        """The nodes of a service, in the order in which they are to be tried. Waits for nothing."""
        found = self._registry.nodes(namespace, service)
        if len(found) < 2:
            return found
        self._turn += 1
        start = self._turn % len(found)
        turned = [*found[start:], *found[:start]]
        load = self._load.load
        best = sorted(turned[:_WEIGHED], key=lambda node: load(node.address))
        return best + turned[_WEIGHED:]
