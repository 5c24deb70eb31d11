"""Where configuration comes from besides the config service."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from pathlib import Path as FilePath
from typing import Any

from microd.framework.config.environment import Environment
from microd.framework.config.layers import Path, at, merged, path_from, spread
from microd.kernel.errors import BadRequest


class ConfigError(ValueError):
    """Configuration that cannot be used; the text says where it comes from, and what is wrong."""


@dataclass(frozen=True, slots=True)
class File:
    """A file of configuration; its name ends in C{.toml}, C{.json}, C{.yaml} or C{.yml}.

    @ivar path: relative to the folder in which the service runs.
    @ivar optional: it may be missing.
    """

    path: str | os.PathLike[str]
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Sources:
    """Where configuration comes from besides the config service; see L{microd.framework.config} for what wins::

        Service("greeter", config=Sources(
            defaults={"greeting.text": "Hello"},
            files=["greeter.toml", File("/etc/greeter.yaml", optional=True)],
            prefix="GREETER",                       # greeting.text is GREETER_GREETING_TEXT
        ))

    @ivar defaults: keys may be dotted.
    @ivar prefix: how the variables begin; empty: the environment is not looked at.
    """

    defaults: Mapping[str, Any] = field(default_factory=dict)
    files: Sequence[str | os.PathLike[str] | File] = ()
    prefix: str = ""


class Layers:
    """Sources that have been read.

    @raise ConfigError: something in them cannot be used.
    """

    def __init__(self, sources: Sources, environ: Mapping[str, str]) -> None:
        try:
            self._under = [("defaults", spread(sources.defaults))]
            self._environment = Environment(sources.prefix, environ) if sources.prefix else None
        except ValueError as problem:
            raise ConfigError(f"the configuration's sources: {problem}") from None
        for each in sources.files:
            file = each if isinstance(each, File) else File(each)
            self._under.append((os.fspath(file.path), _read(file)))

    def over(self, path: str, found: Any, known: Sequence[Path] = ()) -> Any:
        """What is at a path in the end.

        @param found: what the config service has there.
        """
        under: Any = {}
        for _, tree in self._under:
            under = merged(under, tree)
        keys = _keys(path)
        node = merged(at(under, keys) if keys else under or None, found)
        return node if self._environment is None else self._environment.over(keys, node, known)

    def origins(self, path: str, found: Any) -> list[tuple[str, Any]]:
        """What each place says that says something, the last of which wins."""
        keys = _keys(path)
        said = [(name, at(tree, keys)) for name, tree in self._under]
        said.append(("the config service", found))
        if self._environment is not None:
            said.append(
                (f"the environment ({self._environment.name(keys)})", self._environment.over(keys, None))
            )
        return [(name, value) for name, value in said if value is not None and value != {}]


def _keys(path: str) -> Path:
    try:
        return path_from(path)
    except ValueError as problem:
        raise BadRequest(str(problem), "micro.client") from None


def _read(file: File) -> dict[str, Any]:
    path = FilePath(file.path)
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise ConfigError(f"{path}: configuration is in files named {', '.join(_READERS)}")
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if file.optional:
            return {}
        raise ConfigError(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(f"{path}: {getattr(problem, 'strerror', None) or 'it is not UTF-8'}") from None
    try:
        found = read(text)
        tree = None if found is None else spread(_plain(found)) if isinstance(found, dict) else found
    except ConfigError:
        raise
    except (ValueError, RecursionError) as problem:
        raise ConfigError(f"{path}: {' '.join(str(problem).split())}") from None
    if not isinstance(tree, (dict, type(None))):
        raise ConfigError(f"{path}: it holds {type(found).__name__}, not an object")
    return tree or {}


def _plain(value: Any) -> Any:
    """What only TOML and YAML can say, as JSON does."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value.isoformat() if isinstance(value, (datetime, date, time)) else value


def _yaml(text: str) -> Any:
    try:
        import yaml
    except ImportError:
        raise ConfigError("reading YAML takes PyYAML: install it with `pip install 'microd[yaml]'`") from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as problem:
        # Its own text quotes the file, which may hold secrets.
        mark = getattr(problem, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise ValueError(f"{getattr(problem, 'problem', None) or 'it is no YAML'}{where}") from None


_READERS: dict[str, Any] = {".toml": tomllib.loads, ".json": json.loads, ".yaml": _yaml, ".yml": _yaml}
