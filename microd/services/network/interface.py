"""What routing asks of others, and what it promises."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from microd.kernel.caller import Account
from microd.services.network.model import Daemon, Event, Query, Route
from microd.services.registry.model import Node


class Nodes(Protocol):
    """The part of the registry which routing reads."""

    def nodes(self, namespace: str, name: str) -> Sequence[Node]:
        """The living nodes of a service; C{*} stands for every namespace."""


class Load(Protocol):
    """How a node is, as far as we can tell from here."""

    def load(self, address: str) -> int:
        """Calls under way to C{address}; a very large number when it cannot be reached at the moment."""


class INetwork(Protocol):
    """What is known of daemons, routes and services."""

    @property
    def daemon(self) -> Daemon:
        """Ourselves."""

    async def routes(self, query: Query) -> Sequence[Route]:
        """The routes which the query chooses, each once, the nearest first."""

    async def services(self) -> Sequence[str]:
        """The names of all services of every namespace, each once, sorted."""

    def watch(self, namespace: str, reader: Account | None = None) -> AsyncGenerator[Event, None]:
        """How the routes of a namespace (C{*}: of all) change from now on.

        @param reader: whose watch it is; it ends with the account.

        Iteration raises L{microd.kernel.errors.Unavailable} rather than lose an event.
        """

    async def unreachable(self) -> Sequence[Route]:
        """The routes whose nodes cannot be reached at the moment."""
