"""How a service's and a function's names become the names of an endpoint and of its path.

The rule is the one by which the HTTP door reads C{/foo-bar/say-hello} (spec micro-v3-server 4.4), so that what is written
in Python, typed after C{micro} and put in a URL are the same words.
"""

from __future__ import annotations

import re

from microd.kernel.errors import BadRequest

_SERVICE = re.compile(r"[A-Za-z0-9]+(?:[-_.][A-Za-z0-9]+)*")
_WORDS = re.compile(r"[-_]+")
_LABEL = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def camel(words: str) -> str:
    """Join words parted by C{-} or C{_}, each with its first letter in upper case: C{say_hello} is C{SayHello}."""
    return "".join(word[:1].upper() + word[1:] for word in _WORDS.split(words) if word)


def checked_service(name: str) -> str:
    """Give C{name} back if it may name a service.

    @raise ValueError: it could not stand in a path.
    """
    if not _SERVICE.fullmatch(name):
        raise ValueError(
            f"{name!r} cannot name a service: use letters, digits, '-' and '.', as in 'greeter' or 'v1.foo-bar'"
        )
    return name


def struct_of(service: str) -> str:
    """The struct which a service's own endpoints belong to: C{FooBar} for C{v1.foo-bar}."""
    return camel(service.rpartition(".")[2])


def endpoint_of(service: str, function: str, name: str = "") -> str:
    """An endpoint's full name, from the function's, or from the one its author gave.

    @raise ValueError: the given name is not C{Method} or C{Struct.Method}.
    """
    struct, _, method = (name or camel(function)).rpartition(".")
    struct = struct or struct_of(service)
    if not _LABEL.fullmatch(method) or not _LABEL.fullmatch(struct):
        raise ValueError(f"{name or function!r} cannot name an endpoint: use 'Method' or 'Struct.Method'")
    return f"{struct}.{method}"


def package_of(service: str) -> str:
    """The protobuf package of a service; a hyphen, which protobuf does not know, becomes an underscore."""
    return service.replace("-", "_")


def path_of(service: str, endpoint: str) -> str:
    """The gRPC path of a service's endpoint (spec 2.2).

    @raise BadRequest: C{endpoint} is neither a path nor C{Struct.Method}.
    """
    if endpoint.startswith("/"):
        return endpoint
    struct, dot, method = endpoint.partition(".")
    if not dot or not method or "." in method:
        raise BadRequest(
            f"{endpoint!r} is not an endpoint: write Struct.Method, such as {struct_of(service)}.Hello"
        )
    return f"/{service}.{struct}/{method}"
