"""How a setting is written: durations, sizes, addresses, lists. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

#: Makes of what was written what is meant, or raises L{ValueError} with the words of L{duration} and the others.
Reader = Callable[[object], Any]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"(\d+)\s*(B|KiB|MiB|GiB)?", re.IGNORECASE)
_BYTES = {"b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
_HOST_PORT = re.compile(r"(?:(?P<host>\[[0-9a-fA-F:.%]+\]|[A-Za-z0-9_.-]*):)?(?P<port>\d{1,5})")
_KINDS_OF_ENDPOINT = ("tcp:", "tcp6:", "unix:", "ssl:", "tls:", "systemd:")
#: Connections which the kernel keeps until they are taken in, as far as it allows so many (net.core.somaxconn).
_QUEUE = 4096


def duration(value: object) -> float:
    """C{"20s"}, C{"1m30s"}, C{"250ms"} or a number of seconds."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
        return float(value)
    if isinstance(value, str):
        text = value.replace(" ", "")
        if re.fullmatch(r"\d+(\.\d+)?", text):
            return float(text)
        if text and _DURATION.sub("", text) == "":
            return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(text))
    raise ValueError('wants a duration such as "20s" or "1m30s"')


def size(value: object) -> int:
    """C{"32 MiB"}, C{"64KiB"} or a number of bytes."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        return int(match[1]) * _BYTES[(match[2] or "B").lower()]
    raise ValueError('wants a size such as "32 MiB"')


def count(value: object) -> int:
    """A whole number, zero or more."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    raise ValueError("wants a whole number")


def switch(value: object) -> bool:
    """True or false."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "1", "yes", "on"):
        return True
    if isinstance(value, str) and value.lower() in ("false", "0", "no", "off"):
        return False
    raise ValueError("wants true or false")


def text(value: object) -> str:
    """Any string."""
    if isinstance(value, str):
        return value
    raise ValueError("wants a string")


#: The reference's names of levels, and ours for them.
LOG_LEVELS = {
    "trace": "debug",
    "debug": "debug",
    "info": "info",
    "warn": "warn",
    "error": "error",
    "fatal": "critical",
}


def log_level(value: object) -> str:
    """One of L{LOG_LEVELS}."""
    if isinstance(value, str) and value.lower() in LOG_LEVELS:
        return value.lower()
    raise ValueError(f"wants one of {', '.join(LOG_LEVELS)}")


def choice(*allowed: str) -> Reader:
    """One of some words."""

    def read(value: object) -> str:
        if isinstance(value, str) and value.lower() in allowed:
            return value.lower()
        raise ValueError(f"wants one of {', '.join(allowed)}")

    return read


def log_format(value: object) -> str:
    """One of the forms of L{microd.kernel.logformat}."""
    if isinstance(value, str) and value.lower() in LOG_FORMATS:
        return value.lower()
    raise ValueError(f"wants one of {', '.join(LOG_FORMATS)}")


LOG_FORMATS = ("text", "json", "logfmt")


def words(value: object) -> tuple[str, ...]:
    """A list of strings, or one string with commas."""
    if isinstance(value, str):
        return tuple(word for word in (part.strip() for part in value.split(",")) if word)
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return tuple(value)
    raise ValueError("wants a list of strings")


def address(value: object) -> str:
    """C{host:port}, C{:port}, or an endpoint string (C{unix:/run/x.sock}, C{ssl:...}, C{systemd:...})."""
    if isinstance(value, str) and value.startswith(_KINDS_OF_ENDPOINT):
        return value
    if isinstance(value, str) and (match := _HOST_PORT.fullmatch(value)) and int(match["port"]) < 65536:
        return value
    raise ValueError('wants an address such as "127.0.0.1:8080" or an endpoint such as "unix:/run/api.sock"')


def optional_address(value: object) -> str:
    """An L{address}; nothing, or C{off}, for none."""
    return "" if value in ("", "off") else address(value)


def is_local(address: str) -> bool:
    """Whether nobody beyond this host reaches an L{address}: it is on loopback, or in the file system."""
    if address.startswith(_KINDS_OF_ENDPOINT):
        return address.startswith("unix:") or _interface(address) in _LOOPBACK
    host = address.rpartition(":")[0].strip("[]")
    return host in _LOOPBACK or bool(_LOOPBACK_4.fullmatch(host))


_LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))
_LOOPBACK_4 = re.compile(r"127(\.\d{1,3}){3}")


def _interface(endpoint: str) -> str:
    """The interface which an endpoint string of Twisted's names; empty: every one."""
    found = re.search(r":interface=((?:[^:\\]|\\.)*)", endpoint)
    return found[1].replace("\\", "") if found else ""


def endpoint_string(address: str) -> str:
    """The Twisted endpoint description of C{address}; a bare C{:port} listens on every interface.

    Thousands come back at once after a restart. Whom the kernel's queue has no room for tries again a second later, or
    three, and Twisted asks for a queue of 50.
    """
    if address.startswith(_KINDS_OF_ENDPOINT):
        return address
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if ":" in host:
        return f"tcp6:{port}:interface={host.replace(':', chr(92) + ':')}:backlog={_QUEUE}"
    return f"tcp:{port}" + (f":interface={host}" if host else "") + f":backlog={_QUEUE}"
