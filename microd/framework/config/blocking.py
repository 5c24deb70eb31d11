"""Configuration for scripts, and for handlers which run in threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

from microd.framework.config.questions import NOTHING, Questions, Said
from microd.framework.config.reading import Reading
from microd.framework.config.sources import Layers
from microd.framework.questions import Ask
from microd.kernel.errors import NotFound

T = TypeVar("T")
D = TypeVar("D")


class BlockingConfig:
    """The configuration, for scripts and for handlers which run in threads: each call waits."""

    def __init__(
        self, ask: Callable[[Ask[Any]], Any], questions: Questions, layers: Callable[[], Layers]
    ) -> None:
        self._ask = ask
        self._questions = questions
        self._layers = layers

    @overload
    def get(self, path: str = "", default: None = None, *, secret: bool = False) -> Any: ...
    @overload
    def get(self, path: str, default: D, *, secret: bool = False) -> D: ...
    @overload
    def get(self, path: str, default: None = None, *, type: type[T], secret: bool = False) -> T | None: ...
    @overload
    def get(self, path: str, default: T, *, type: type[T], secret: bool = False) -> T: ...
    @overload
    def get(self, path: str = "", default: Any = None, *, type: Any, secret: bool = False) -> Any: ...
    def get(self, path: str = "", default: Any = None, *, type: Any = None, secret: bool = False) -> Any:
        """The value at a path; C{default} where nothing is. See L{microd.framework.config.client.Config}."""
        try:
            found: Said = self._ask(self._questions.get(path, secret))
        except NotFound:
            found = NOTHING
        return Reading(self._layers, path, default, type, secret).value(found)

    def set(
        self, path: str, value: object, *, secret: bool = False, replace: bool = False, if_version: int = 0
    ) -> int:
        """Put a value; the version that makes."""
        version: int = self._ask(self._questions.set(path, value, secret, replace, if_version))
        return version

    def delete(self, path: str, *, if_version: int = 0) -> int:
        """Take a value out; the version that makes."""
        version: int = self._ask(self._questions.delete(path, if_version))
        return version
