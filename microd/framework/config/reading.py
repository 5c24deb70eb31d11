"""How one value is made of what all places say. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from typing import Any

from microd.framework.config.conversion import converted, kind_of, known_paths
from microd.framework.config.layers import merged, spread
from microd.framework.config.questions import Said
from microd.framework.config.sources import ConfigError, Layers


class Reading:
    """One wish for a value.

    @param kind: the type that is wanted; None: the default's, or any.
    """

    def __init__(
        self, layers: Callable[[], Layers], path: str, default: Any, kind: Any, secret: bool
    ) -> None:
        self._layers = layers
        self._path = path
        self._default = default
        self._kind = kind_of(default) if kind is None else kind
        self._secret = secret

    def value(self, found: Said) -> Any:
        """The value, as the author wants it.

        @raise ConfigError: it is of another type, or a secret which was not asked for.
        """
        known = tuple(known_paths(self._kind))
        node = self._layers().over(self._path, found.value, known)
        if found.masked and not self._secret and self._kind not in (None, dict, Any):
            raise ConfigError(
                f"{self._path or 'the configuration'} holds a secret: ask for it with secret=True"
            )
        if node is None:
            return self._default
        if is_dataclass(self._default) and not isinstance(self._default, type) and isinstance(node, dict):
            node = merged(spread(asdict(self._default)), node)
        return converted(self._path, node, self._kind)
