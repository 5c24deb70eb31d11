"""Where a door is: C{host:port}, and whether it speaks TLS."""

from __future__ import annotations

from typing import NamedTuple

from microd.cli.failure import CommandFailed

_ANY_HOST = ("", "0.0.0.0", "[::]")


class Address(NamedTuple):
    """A door of some daemon.

    @ivar host: an IPv6 host is in brackets.
    """

    host: str
    port: int
    tls: bool = False

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def written(self) -> str:
        """What L{address_from} reads this address from."""
        return f"https://{self}" if self.tls else str(self)


def address_from(text: str) -> Address:
    """Understand what a person, a config file or C{daemon.json} calls an address.

    C{https://host} and what has no port mean 443, and 443 means TLS; a host that stands for every interface means
    this one.
    """
    scheme, separator, rest = text.strip().rpartition("://")
    rest = rest.rstrip("/")
    host, colon, port = rest.rpartition(":")
    if not colon or rest.endswith("]"):
        host, port = rest, "80" if scheme == "http" else "443"
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536 or "/" in host:
        raise CommandFailed(f"{text!r} is not an address such as 127.0.0.1:8081")
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    if separator and scheme not in ("http", "https"):
        raise CommandFailed(f"{text!r} is not an address: it begins with {scheme}, not https")
    tls = scheme == "https" or (int(port) == 443 and scheme != "http")
    return Address("127.0.0.1" if host in _ANY_HOST else host, int(port), tls)
