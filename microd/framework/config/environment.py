"""Values from the environment: C{db.host} is C{<PREFIX>_DB_HOST}. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from microd.framework.config.layers import Path, Text, at, leaves, merged, placed, spread

_NO_LETTER = re.compile(r"[^A-Za-z0-9]")
_PREFIX = re.compile(r"[A-Z][A-Z0-9_]*")


class Environment:
    """The variables which begin with a prefix.

    A path's variable is in capitals, with C{_} for dots and for whatever is no letter or digit. A variable may hold a JSON
    object, for all that is under its path. Where an object is asked for, a variable means the key that is known by that name,
    from another place or a field of the type which is wanted; else each C{_} parts two keys, in small letters.

    @raise ValueError: the prefix is none, or is that of the platform's own variables.
    """

    def __init__(self, prefix: str, environ: Mapping[str, str]) -> None:
        if _PREFIX.fullmatch(prefix) is None:
            raise ValueError(f"{prefix!r} is no prefix of variables: write capitals, such as GREETER")
        if prefix == "MICRO" or prefix.startswith("MICRO_"):
            raise ValueError(
                f"variables that begin with {prefix} belong to the platform: choose another prefix"
            )
        self._prefix = prefix
        self._values = {name: text for name, text in environ.items() if name.startswith(prefix + "_")}

    def name(self, path: Path) -> str:
        """The variable of a path."""
        return "_".join((self._prefix, *(_NO_LETTER.sub("_", key).upper() for key in path)))

    def over(self, path: Path, node: Any, known: Iterable[Path] = ()) -> Any:
        """What is at a path, with what the environment says laid over it.

        @param known: paths under it that may be there.
        """
        if not self._values:
            return node
        for length in range(1, len(path) + 1):
            text = self._values.get(self.name(path[:length]))
            if text is not None:
                whole = _object(text)
                if whole is not None:
                    node = merged(node, at(whole, path[length:]))
                elif length == len(path):
                    node = Text(text)
        return self._below(path, node, known)

    def _below(self, path: Path, node: Any, known: Iterable[Path]) -> Any:
        start = self.name(path) + "_"
        names = {name for name in self._values if name.startswith(start)}
        if not names:
            return node
        for inner in sorted({*leaves(node), *known}):
            name = self.name((*path, *inner))
            if inner and name in names:
                names.discard(name)
                node = self._laid(node, inner, name)
        for name in sorted(names):
            keys = tuple(part.lower() for part in name[len(start) :].split("_"))
            if all(keys):
                node = self._laid(node, keys, name)
        return node

    def _laid(self, node: Any, path: Path, name: str) -> Any:
        text = self._values[name]
        whole = _object(text)
        return placed(node, path, Text(text) if whole is None else merged(at(node, path), whole))


def _object(text: str) -> dict[str, Any] | None:
    if not text.lstrip().startswith("{"):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return spread(found) if isinstance(found, dict) else None
