"""The client's configuration: a JSON object of strings, addressed by dotted paths (spec micro-v3-cli 1.7)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from microd.cli.failure import CommandFailed
from microd.cli.files import locked, read, replace


class Config:
    """C{config.json}; read when first asked, written at every change."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, Any] | None = None

    def get(self, key: str) -> str:
        """The value at C{key}; empty where nothing is set. An object comes as its JSON."""
        found: Any = self._content()
        for part in key.split("."):
            if not isinstance(found, dict) or part not in found:
                return ""
            found = found[part]
        return found if isinstance(found, str) else json.dumps(found)

    def set(self, key: str, value: str) -> None:
        """Keep C{value} at C{key}."""
        self.update({key: value})

    def update(self, values: Mapping[str, str]) -> None:
        """Keep several values in one step."""
        with locked(self.path):
            self._known = None
            content = self._content()
            for key, value in values.items():
                _put(content, key.split("."), value)
            replace(self.path, json.dumps(content, indent=2) + "\n")

    def _content(self) -> dict[str, Any]:
        if self._known is None:
            self._known = self._load()
        return self._known

    def _load(self) -> dict[str, Any]:
        text = read(self.path)
        if text is None or not text.strip():
            return {"env": "local"}
        try:
            content = json.loads(text)
        except ValueError as error:
            raise CommandFailed(
                f"{self.path} is not valid JSON ({error})", remedy="Mend or remove it."
            ) from error
        if not isinstance(content, dict):
            raise CommandFailed(f"{self.path} does not hold a JSON object", remedy="Mend or remove it.")
        return content


def _put(content: dict[str, Any], path: list[str], value: str) -> None:
    for part in path[:-1]:
        inner = content.get(part)
        if not isinstance(inner, dict):
            inner = content[part] = {}
        content = inner
    content[path[-1]] = value
