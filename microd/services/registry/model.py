"""What the registry speaks of. All values are frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from microd.kernel.caller import Account

#: Stands for every namespace, in L{microd.services.registry.interface.IRegistry.list} and C{watch}.
EVERYWHERE = "*"

Action = Literal["create", "update", "delete"]


@dataclass(frozen=True, slots=True)
class Registrant:
    """Who registers from outside.

    @ivar peer: C{host:port} of the connection, or C{unix}.
    """

    account: Account
    peer: str


@dataclass(frozen=True, slots=True)
class Node:
    """A running copy of a service.

    @ivar address: C{host:port}, an IPv6 host in brackets.
    """

    id: str
    address: str
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Value:
    """The shape of a message: a field, its type, and the fields inside it (spec 6.1)."""

    name: str
    type: str
    values: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What a service can be asked.

    @ivar name: C{Struct.Method}.
    """

    name: str
    request: Value | None = None
    response: Value | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Service:
    """One version of a service, and the nodes which serve it."""

    name: str
    version: str = "latest"
    metadata: Mapping[str, str] = field(default_factory=dict)
    endpoints: tuple[Endpoint, ...] = ()
    nodes: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """Something became different.

    @ivar service: for C{create} and C{update} the version as it is now, with all its nodes; for C{delete} as it was
        before it went.
    @ivar at: when, in Unix seconds.
    """

    action: Action
    service: Service
    namespace: str
    at: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one registration may hold, and how much those of one namespace.

    @ivar default_ttl: the lease, in seconds, of who asks for none.
    @ivar longest_ttl: no lease is longer; who asks for more gets this.
    @ivar backlog: how many changes may wait for one watcher before it is cut off.
    @ivar watchers: at once, in one namespace; those of every namespace (C{*}) count by themselves.
    @ivar versions: of all services of a namespace together.
    @ivar memory: what all that is registered in a namespace may take, in bytes, roughly.
    """

    default_ttl: float = 90.0
    longest_ttl: float = 3600.0
    backlog: int = 1024
    nodes: int = 1024
    endpoints: int = 1024
    values: int = 16384
    depth: int = 16
    metadata: int = 16384
    versions: int = 16384
    memory: int = 64 << 20
    watchers: int = 1024
