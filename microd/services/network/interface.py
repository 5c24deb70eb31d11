"""What routing asks of others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from microd.services.registry.model import Node


class Nodes(Protocol):
    """The part of the registry which routing reads."""

    def nodes(self, namespace: str, name: str) -> Sequence[Node]:
        """The living nodes of a service; C{*} stands for every namespace."""


class Load(Protocol):
    """How a node is, as far as we can tell from here."""

    def load(self, address: str) -> int:
        """Calls under way to C{address}; a very large number when it cannot be reached at the moment."""
