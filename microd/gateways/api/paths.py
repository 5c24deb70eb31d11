"""Which endpoint a path means (spec 4.4)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from posixpath import normpath
from urllib.parse import quote, unquote_to_bytes

from microd.kernel.errors import BadRequest, NotFound

_VERSION = re.compile(r"v[0-9]+")
_SERVICE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_NAME = re.compile(r"[A-Za-z0-9_]+")


@dataclass(frozen=True, slots=True)
class Target:
    """An endpoint of a service.

    @ivar endpoint: C{Struct.Method}.
    @ivar grpc: its path on the wire.
    """

    service: str
    endpoint: str
    grpc: str


class Paths:
    """Resolves paths, and remembers the last few thousand."""

    def __init__(self, most: int = 4096) -> None:
        self._most = most
        self._known: dict[bytes, Target] = {}
        #: The endpoint which a path means, if it was resolved before; then it needs no cleaning either.
        self.known = self._known.get

    def resolve(self, path: bytes) -> Target:
        """The endpoint which a path (still percent-encoded) means.

        @raise NotFound: it cannot be any.
        """
        found = self._known.get(path)
        if found is None:
            found = target(decoded(path))
            if len(self._known) >= self._most:
                self._known.clear()
            self._known[path] = found
        return found


def decoded(path: bytes) -> str:
    """The text of a percent-encoded path."""
    try:
        return unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        raise BadRequest("the path is not UTF-8") from None


def cleaned(path: str) -> str | None:
    """Where to send a client whose path has empty parts, C{.} or C{..} in it; None if it has none."""
    clean = normpath(path)
    if clean.startswith("//"):
        clean = clean[1:]
    if path.endswith("/") and clean != "/":
        clean += "/"
    return None if clean == path else quote(clean, safe="/-._~!$&'()*+,;=:@")


def target(path: str) -> Target:
    """The table of spec 4.4."""
    parts = path.strip("/").split("/")
    if _VERSION.fullmatch(parts[0]) and len(parts) > 2:
        names = parts[1:]
        head = [parts[0], *(names[:1] if len(names) < 3 else names[:-2])]
    else:
        names = parts
        head = names[:1] if len(names) < 4 else names[:-2]
    service, endpoint = ".".join(head), _endpoint(names)
    if _SERVICE.fullmatch(service) is None or ".." in service:
        raise NotFound("service not found")
    struct, _, method = endpoint.partition(".")
    if _NAME.fullmatch(struct) is None or _NAME.fullmatch(method) is None:
        raise NotFound(f"no endpoint of {service} has such a name")
    return Target(service, endpoint, f"/{service}.{struct}/{method}")


def _endpoint(names: list[str]) -> str:
    match names:
        case [only]:
            return f"{_camel(only)}.Call"
        case [_, method] if method.count(".") == 1:
            return method
        case [struct, method] | [*_, struct, method]:
            return f"{_camel(struct)}.{_camel(method)}"
    raise NotFound("service not found")


def _camel(part: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in part.split("-"))
