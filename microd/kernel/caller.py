"""Who is calling, and what travels with the call."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

#: The namespace of the platform itself, and the default everywhere (spec 7.1).
DEFAULT_NAMESPACE = "micro"


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody with a name: a person, a service, an operator.

    @ivar issuer: the namespace which the account belongs to.
    @ivar type: C{user} or C{service}; "admin" is a scope, not a type (spec 5.1).
    """

    id: str
    type: str
    issuer: str
    name: str = ""
    scopes: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_admin(self) -> bool:
        """Whether the account administers its own namespace (spec 7.3)."""
        return (self.type == "user" and "admin" in self.scopes) or (
            self.type == "service" and "service" in self.scopes
        )


def _never(_: Callable[[], None]) -> None:
    """The connection of a call made in this process cannot drop."""


class Caller(NamedTuple):
    """One call's origin, as a door has established it.

    A named tuple, because one is made for every call, and that takes a third of the time of a frozen dataclass.

    @ivar account: None for somebody anonymous.
    @ivar namespace: where the call is routed: C{Micro-Namespace}, checked by the door.
    @ivar metadata: the request's headers, names in lower case; text values only.
    @ivar peer: C{host:port} of the connection, or C{unix}.
    @ivar on_disconnect: calls what it is given, once, when the caller's connection drops.
    @ivar connection: the same for all calls of one connection, and for no others; None where nobody can tell.
    """

    account: Account | None = None
    namespace: str = DEFAULT_NAMESPACE
    metadata: Mapping[str, str] = MappingProxyType({})
    peer: str = ""
    on_disconnect: Callable[[Callable[[], None]], object] = _never
    connection: Hashable | None = None


#: The platform calling itself.
PLATFORM_ACCOUNT = Account(id="microd", type="service", issuer=DEFAULT_NAMESPACE, scopes=("service",))
PLATFORM = Caller(account=PLATFORM_ACCOUNT)
