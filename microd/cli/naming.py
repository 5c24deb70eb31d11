"""How the words of a command line name an endpoint, and back (spec micro-v3-cli 1.6, micro-v3-server 4.4). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

#: The namespace of the platform itself, and the one to work in if no other was chosen (spec micro-v3-server 7.1).
DEFAULT_NAMESPACE = "micro"
#: Services of the platform itself: they are found in its own namespace, whatever the caller works in.
CORE = frozenset(
    (
        "network",
        "runtime",
        "registry",
        "config",
        "store",
        "broker",
        "router",
        "auth",
        "proxy",
        "api",
        "events",
    )
)
_LOOSE = re.compile(r"[-_]")


def camel(word: str) -> str:
    """C{foo-bar} as C{FooBar}, the same way as the HTTP door."""
    return "".join(part[:1].upper() + part[1:] for part in word.split("-"))


def struct_of(service: str) -> str:
    """The struct that a service's own endpoints belong to: C{FooBar} for C{v1.foo-bar}."""
    return camel(service.rpartition(".")[2])


def endpoint_of(service: str, words: Sequence[str]) -> str:
    """The endpoint that the words after the service's name mean by the rules."""
    if not words:
        return f"{struct_of(service)}.Call"
    if len(words) == 1:
        return f"{struct_of(service)}.{camel(words[0])}"
    return f"{camel(words[0])}.{camel(words[1])}"


def chosen(service: str, words: Sequence[str], known: Iterable[str]) -> str | None:
    """Which of the known endpoints is meant; None for none, or for more than one.

    Spelling is forgiven in this order: exactly by the rules; but for case, C{-} and C{_}; by the method's name alone,
    if only one struct has it.
    """
    meant, names = endpoint_of(service, words), list(known)
    if meant in names:
        return meant
    alike = [name for name in names if _plain(name) == _plain(meant)]
    if not alike and len(words) == 1:
        alike = [name for name in names if _plain(name.rpartition(".")[2]) == _plain(words[0])]
    return alike[0] if len(alike) == 1 else None


def command_of(service: str, endpoint: str) -> str:
    """The words that call an endpoint: C{Greeter.SayHello} of C{greeter} as C{sayHello}."""
    struct, dot, method = endpoint.partition(".")
    if not dot:
        return _lower(struct)
    if _plain(struct) == _plain(struct_of(service)):
        return _lower(method)
    return f"{_lower(struct)} {_lower(method)}"


def path_of(service: str, endpoint: str) -> str:
    """The gRPC path: it has the registry's name of the service, not a package (spec micro-v3-server 2.2)."""
    struct, _, method = endpoint.partition(".")
    return f"/{service}.{struct}/{method}"


def _plain(name: str) -> str:
    return _LOOSE.sub("", name).lower()


def _lower(word: str) -> str:
    return word[:1].lower() + word[1:]
