"""What the HTTP door asks of others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from microd.kernel.caller import Account, Caller
from microd.services.registry.model import Endpoint, Node


class IGate(Protocol):
    """Lets calls in; see L{microd.gateways.gate.Gate}."""

    def admit(
        self,
        headers: Mapping[str, str],
        peer: str,
        service: str,
        endpoint: str,
        on_disconnect: Callable[[Callable[[], None]], None] | None = None,
        *,
        core: bool = False,
    ) -> Caller:
        """The caller of a core endpoint."""

    def check(
        self, headers: Mapping[str, str], service: str, endpoint: str, *, core: bool = False
    ) -> tuple[Account | None, str]:
        """Who calls, and the namespace where the service is."""

    def allow(
        self, account: Account | None, namespace: str, service: str, endpoint: str, *, core: bool
    ) -> None:
        """May they whom C{check} has let in still?"""


class IRouter(Protocol):
    """Knows which nodes a call can go to."""

    def nodes(self, namespace: str, service: str) -> Sequence[Node]:
        """The nodes of a service, the best first; empty when there is no such service."""


class IDialer(Protocol):
    """Keeps connections to nodes."""

    def channel(self, address: str) -> Any:
        """The L{microd.txgrpc.Channel} to an address."""


class ICatalogue(Protocol):
    """Knows what services can be asked."""

    def endpoints_of(self, namespace: str, name: str) -> Sequence[Endpoint]:
        """The endpoints of a service; the same object until something changes."""
