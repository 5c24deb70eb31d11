"""Where an address leads, as far as its text tells, and whose nodes are there.

Nodes are called with the rights of their namespace's callers, so no namespace may name another's nodes as its own. As one
place is written in many ways, addresses are compared by what they mean: an IP address has one form, and all that lead to this
host are C{localhost}. What a name resolves to is not asked: it may be another address a moment later. A service that is
reached so refuses the call itself (L{microd.framework.rules}).
"""

from __future__ import annotations

import socket
from collections.abc import Hashable, Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

#: Stands for every address of this host.
HERE = "localhost"
_NAMES = frozenset(("", HERE, "localhost.localdomain", "ip6-localhost", "ip6-loopback"))


def place_of(address: str) -> str:
    """The place that C{host:port} leads to; an IPv6 host stands in brackets."""
    host, _, port = address.rpartition(":")
    return f"{host_of(host)}:{int(port)}"


def doors_at(addresses: Iterable[str]) -> frozenset[str]:
    """The places of doors; one that does not listen on a port, or not yet, has none."""
    return frozenset(place_of(each) for each in addresses if each.rpartition(":")[2].isdecimal())


def host_of(host: str) -> str:
    """One form of a host's address or name; nothing, as of a socket in the file system, is this host."""
    name = host.strip("[]").lower().rstrip(".")
    ip = _ip(name)
    if ip is None:
        is_here = name in _NAMES or name.endswith(".localhost") or name == socket.gethostname().lower()
        return HERE if is_here else name
    if ip.is_loopback or ip.is_unspecified or _is_own(ip):
        return HERE
    return str(ip)


def _ip(text: str) -> IPv4Address | IPv6Address | None:
    try:
        ip = ip_address(text.partition("%")[0])
    except ValueError:
        try:
            # What the resolver reads as well: 127.1, 0x7f000001, 2130706433.
            return IPv4Address(socket.inet_aton(text))
        except OSError:
            return None
    return getattr(ip, "ipv4_mapped", None) or ip


def _is_own(ip: IPv4Address | IPv6Address) -> bool:
    """Whether it is an address of this host: only there can one listen. Nothing is sent to find out."""
    family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(ip), 0))
    except OSError:
        return False
    return True


class Places(Generic[K]):
    """Which nodes are where, by namespace; C{near} are those that were registered from their own host."""

    def __init__(self) -> None:
        self._places: dict[str, dict[str, _Tenancy[K]]] = {}

    def add(self, place: str, namespace: str, key: K, near: bool) -> None:
        """Note a node."""
        tenancy = self._places.setdefault(place, {}).setdefault(namespace, _Tenancy())
        tenancy.keys.add(key)
        tenancy.near += near

    def discard(self, place: str, namespace: str, key: K, near: bool) -> None:
        """Forget what was added."""
        tenancies = self._places[place]
        tenancy = tenancies[namespace]
        tenancy.keys.discard(key)
        tenancy.near -= near
        if not tenancy.keys:
            del tenancies[namespace]
        if not tenancies:
            del self._places[place]

    def others(self, place: str, namespace: str, near: bool) -> tuple[bool, list[K]]:
        """Whether other namespaces hold a place against this one; and the nodes which would give way to it."""
        tenancies = self._places.get(place)
        if tenancies is None:
            return False, []
        others = [tenancy for name, tenancy in tenancies.items() if name != namespace]
        if any(tenancy.near or not near for tenancy in others):
            return True, []
        return False, [key for tenancy in others for key in tenancy.keys]


class _Tenancy(Generic[K]):
    """A namespace's nodes in one place, and how many of them are near."""

    __slots__ = ("keys", "near")

    def __init__(self) -> None:
        self.keys: set[K] = set()
        self.near = 0
