"""What travels beside the messages: names and values, before them (metadata) and after them (trailers)."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, overload

T = TypeVar("T")
Value = str | bytes

#: Names which belong to HTTP/2 or to gRPC itself; an application neither sees nor sends them.
RESERVED = frozenset(
    (
        *("content-type", "te", "content-length", "connection", "keep-alive", "proxy-connection"),
        *("transfer-encoding", "upgrade", "host"),
    )
)

_valid_name = re.compile(r"[0-9a-z_.\-]+").fullmatch
_valid_text = re.compile(r"[\x20-\x7e]*").fullmatch


class Metadata:
    """An immutable multi-map over lower-case names; values of C{-bin} names are bytes, all others text.

    Built from pairs or a mapping; anything that takes metadata takes those just as well.

    @ivar kept: whatever somebody made of it and wants to find again.
    """

    __slots__ = ("_first", "_pairs", "kept")

    def __init__(self, pairs: Mapping[str, Value] | Iterable[tuple[str, Value]] = ()) -> None:
        items = pairs.items() if isinstance(pairs, Mapping) else pairs
        self._pairs: tuple[tuple[str, Value], ...] = tuple((name.lower(), value) for name, value in items)
        self._first: dict[str, Value] | None = None
        self.kept: Any = None

    @classmethod
    def of(cls, given: Any) -> Metadata:
        """C{given} itself if it is L{Metadata} already, else one made from it; None is none."""
        if isinstance(given, Metadata):
            return given
        return cls(given) if given else EMPTY

    @overload
    def get(self, name: str) -> Any: ...
    @overload
    def get(self, name: str, default: T) -> Any | T: ...
    def get(self, name: str, default: Any = None) -> Any:
        """The first value of C{name}."""
        return (self._first or self._firsts()).get(name, default)

    def with_more(self, pairs: tuple[tuple[str, Value], ...]) -> Metadata:
        """The same with more behind it; their names are in lower case."""
        made = Metadata()
        made._pairs = self._pairs + pairs
        # Many calls have the same behind which something else stands, and most of them are asked for the same.
        made._first = {**dict(reversed(pairs)), **self._firsts()}
        return made

    def _firsts(self) -> dict[str, Value]:
        first = self._first
        if first is None:
            first = self._first = dict(reversed(self._pairs))
        return first

    def get_all(self, name: str) -> list[Value]:
        """All values of C{name}, in their order."""
        return [value for key, value in self._pairs if key == name]

    def __contains__(self, name: object) -> bool:
        return any(key == name for key, _ in self._pairs)

    def __iter__(self) -> Iterator[tuple[str, Value]]:
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Metadata) and self._pairs == other._pairs

    def __hash__(self) -> int:
        return hash(self._pairs)

    def __repr__(self) -> str:
        return f"Metadata({list(self._pairs)!r})"


EMPTY = Metadata()


def from_fields(fields: Iterable[tuple[bytes, bytes]]) -> Metadata:
    """The application's part of a header list, C{-bin} values decoded."""
    pairs: list[tuple[str, Value]] = []
    for raw, value in fields:
        name = _shown.get(raw) or _show(raw)
        if name[-4:] == "-bin":
            pairs.extend((name, decode_binary(part)) for part in value.split(b","))
        elif name != _HIDDEN:
            pairs.append((name, value.decode("utf-8", "replace")))
    if not pairs:
        return EMPTY
    # Names are in lower case already.
    made = Metadata()
    made._pairs = tuple(pairs)
    return made


#: Names as applications see them; those they do not see are C{_HIDDEN}.
_shown: dict[bytes, str] = {}
_HIDDEN = ":"
_MOST_KNOWN = 1024


def _show(raw: bytes) -> str:
    name = raw.decode("ascii")
    if raw[:1] == b":" or raw[:5] == b"grpc-" or name in RESERVED:
        name = _HIDDEN
    if len(_shown) < _MOST_KNOWN and len(raw) < 64:
        _shown[raw] = name
    return name


def to_fields(metadata: Any) -> list[tuple[bytes, bytes]]:
    """The header fields of an application's metadata.

    @raise ValueError: a name or value which cannot be sent, naming it.
    """
    fields: list[tuple[bytes, bytes]] = []
    for name, value in metadata.items() if isinstance(metadata, Mapping) else metadata:
        key = name.lower()
        if _valid_name(key) is None or key in RESERVED or key.startswith("grpc-"):
            raise ValueError(f"{name!r} cannot be the name of metadata")
        if key.endswith("-bin"):
            raw = value.encode() if isinstance(value, str) else bytes(value)
            fields.append((key.encode("ascii"), encode_binary(raw)))
            continue
        text = value if isinstance(value, str) else bytes(value).decode("latin-1")
        if _valid_text(text) is None:
            raise ValueError(
                f"the value of {name!r} is not printable ASCII; a name ending in -bin takes bytes"
            )
        fields.append((key.encode("ascii"), text.strip(" ").encode("ascii")))
    return fields


def encode_binary(value: bytes) -> bytes:
    """Base64 without padding, as gRPC asks of senders."""
    return b64encode(value).rstrip(b"=")


def decode_binary(value: bytes) -> bytes:
    """Base64 with or without padding; what is neither comes back as it is."""
    stripped = value.strip()
    try:
        return b64decode(stripped + b"=" * (-len(stripped) % 4), validate=True)
    except (Base64Error, ValueError):
        return value
