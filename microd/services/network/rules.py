"""How registrations become routes, and which of them a query chooses. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from microd.kernel.caller import DEFAULT_NAMESPACE
from microd.kernel.errors import BadRequest
from microd.services.network.model import ANY, Query, Route
from microd.services.registry.model import Service

_FNV_OFFSET, _FNV_PRIME, _64_BITS = 0xCBF29CE484222325, 0x100000001B3, (1 << 64) - 1
#: No part of a query is longer than what it could find.
_LONGEST = 255


def fnv64(text: str) -> int:
    """The FNV-1 hash of a text's UTF-8 bytes, 64 bits wide."""
    found = _FNV_OFFSET
    for byte in text.encode():
        found = (found * _FNV_PRIME & _64_BITS) ^ byte
    return found


def key(route: Route) -> tuple[str, str, str, str, str, str]:
    """The six fields which make two routes the same one."""
    return route.service, route.address, route.gateway, route.network, route.router, route.link


def identity(route: Route) -> str:
    """The same in short, in decimal: FNV-64 of the six fields (spec micro-v3-server 6.8)."""
    return str(fnv64("".join(key(route))))


def routes_of(service: Service, router: str) -> Iterator[Route]:
    """A route for each node of a version."""
    network = service.metadata.get("domain") or DEFAULT_NAMESPACE
    for node in service.nodes:
        yield Route(service.name, node.address, network, router, metadata=node.metadata)


def matches(query: Query, route: Route) -> bool:
    """Whether a query chooses a route; C{*} on either side matches."""
    return all(
        asked in (ANY, has) or has == ANY
        for asked, has in (
            (query.service, route.service),
            (query.address, route.address),
            (query.gateway, route.gateway),
            (query.network, route.network),
            (query.router, route.router),
            (query.link, route.link),
        )
    )


def chosen(query: Query, routes: Iterable[Route]) -> list[Route]:
    """The routes that a query chooses, each once, the nearest first; equal ones by service and address."""
    found = {key(route): route for route in routes if matches(query, route)}
    return sorted(
        found.values(), key=lambda route: (route.metric, route.service, route.network, route.address)
    )


def checked(query: Query) -> Query:
    """Let a query pass.

    @raise BadRequest: a part of it is longer than anything that it could find.
    """
    for name in ("service", "address", "gateway", "network", "router", "link"):
        if len(getattr(query, name)) > _LONGEST:
            raise BadRequest(f"the query's {name} is longer than {_LONGEST} characters")
    return query
