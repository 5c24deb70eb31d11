"""What routing speaks of. All values are frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

#: Matches anything, in a query as well as in a route.
ANY = "*"
#: The way to a node that this daemon reaches by itself.
LOCAL = "local"
#: The name of the network (spec micro-v3-server 6.8).
NETWORK = "micro"


@dataclass(frozen=True, slots=True)
class Route:
    """A way to a node of a service (spec micro-v3-server 6.8).

    @ivar gateway: the daemon in between; empty where there is none.
    @ivar network: the namespace.
    @ivar router: the id of the daemon that knows the node.
    @ivar metric: the lower, the better; 1 for a node of our own.
    """

    service: str
    address: str
    network: str
    router: str
    gateway: str = ""
    link: str = LOCAL
    metric: int = 1
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Query:
    """What routes must have; C{*}: anything."""

    service: str = ANY
    address: str = ANY
    gateway: str = ANY
    network: str = ANY
    router: str = ANY
    link: str = ANY


@dataclass(frozen=True, slots=True)
class Event:
    """A route came, went, or became different.

    @ivar at: when, in Unix seconds.
    """

    action: Literal["create", "update", "delete"]
    route: Route
    at: float


@dataclass(frozen=True, slots=True)
class Daemon:
    """One daemon of the network: here, ourselves.

    @ivar id: the same after a restart.
    @ivar address: where services and other daemons reach it.
    """

    id: str
    address: str
