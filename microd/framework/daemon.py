"""Where the daemon is: what the environment says, else what the same user's daemon left on this host."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

#: Where a daemon with default settings has the door for services.
DEFAULT_ADDRESS = "127.0.0.1:8443"
_SCHEMES = ("tcp:", "tls:", "ssl:", "unix:")


@dataclass(frozen=True, slots=True)
class Address:
    """A door.

    @ivar text: as a person wrote it.
    @ivar description: an endpoint string of L{microd.txgrpc.endpoints}.
    @ivar host: with its port, for clients without Twisted; empty for a socket file.
    """

    text: str
    description: str
    host: str
    port: int
    tls: bool

    @property
    def trust_roots(self) -> str:
        """Whose certificates are believed, where the address says so: the path of a PEM file."""
        found = re.search(r":trustRoots=([^:]+)", self.description)
        return found[1] if found else ""

    @property
    def is_local(self) -> bool:
        """Whether the daemon is on this host."""
        return self.host in ("127.0.0.1", "localhost", "::1", "") or self.host.startswith("127.")


@dataclass(frozen=True, slots=True)
class Daemon:
    """The daemon that a service or a script talks to.

    @ivar admin_secret: reads the secret of the admin of a daemon of our own, from its data folder; empty for others'.
    """

    address: Address
    admin_secret: Callable[[], str]


def find_daemon(environ: Mapping[str, str], alive: Callable[[int], bool] | None = None) -> Daemon:
    """Look in C{MICRO_PROXY}, C{MICRO_ADDRESS}, the daemon's own note in its data folder, and at the usual address.

    @raise ValueError: what the environment says is no address.
    """
    given = environ.get("MICRO_PROXY") or environ.get("MICRO_ADDRESS")
    data = data_folder(environ)
    doors = _doors(data, alive or _alive)
    told = doors.get("network") or doors.get("proxy")
    address = address_from(given or told or DEFAULT_ADDRESS)

    def admin_secret() -> str:
        """Only for a door of the daemon that is running: while it is down, anybody on this host may listen there."""
        if not any(_same(address, door) for door in _doors(data, alive or _alive).values()):
            return ""
        try:
            return (data / "admin-secret").read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return ""

    return Daemon(address, admin_secret)


def data_folder(environ: Mapping[str, str]) -> Path:
    """The data folder of the same user's daemon."""
    if environ.get("MICRO_DATA"):
        return Path(environ["MICRO_DATA"]).expanduser()
    home = environ.get("MICRO_HOME")
    return Path(home or Path(environ.get("HOME") or "~") / ".micro").expanduser() / "server"


def address_from(text: str) -> Address:
    """Read C{host:port}, C{:port}, C{https://host}, or an endpoint string; port 443 and no port at all mean TLS.

    @raise ValueError: it is none of these.
    """
    wanted = text.strip()
    tls = wanted.startswith(("https://", "tls:", "ssl:"))
    if wanted.startswith("unix:"):
        return Address(text, wanted, "", 0, False)
    description = wanted if wanted.startswith(_SCHEMES) else ""
    if description:
        host, _, rest = (
            wanted.split(":", 1)[1].rpartition(":") if wanted.count(":") == 2 else _first_two(wanted)
        )
    else:
        wanted = wanted.removeprefix("https://").removeprefix("http://").rstrip("/")
        host, colon, rest = wanted.rpartition(":")
        if not colon or (wanted.startswith("[") and wanted.endswith("]")):
            host, rest, tls = wanted, "443", True
    host = host.strip("[]") or "127.0.0.1"
    if not rest.isdigit() or not 0 < int(rest) < 65536 or "/" in host or (":" in host and "[" not in text):
        raise ValueError(
            f"{text!r} is not the address of a daemon: write host:port, such as {DEFAULT_ADDRESS}"
        )
    port = int(rest)
    tls = tls or port == 443
    shown = f"[{host}]" if ":" in host else host
    return Address(text, description or f"{'tls' if tls else 'tcp'}:{shown}:{port}", host, port, tls)


def _first_two(description: str) -> tuple[str, str, str]:
    """Host and port of an endpoint string which has options behind them."""
    words = description.split(":")
    return (words[1], ":", words[2]) if len(words) > 2 else ("", "", "")


def _doors(data: Path, alive: Callable[[int], bool]) -> dict[str, str]:
    """The doors of the daemon that runs on this data folder; none where none runs."""
    try:
        told = json.loads((data / "daemon.json").read_bytes())
        if not alive(int(told["pid"])):
            return {}
        return {str(name): str(address) for name, address in dict(told["doors"]).items()}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _same(address: Address, door: str) -> bool:
    try:
        other = address_from(door)
    except ValueError:
        return False
    return (other.host, other.port, other.description) == (address.host, address.port, address.description)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return False  # another user's: then the note is not of our daemon
    return True
