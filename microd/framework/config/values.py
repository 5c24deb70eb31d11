"""What can be done with configuration, by those who await it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable
from typing import Any, TypeVar, overload

T = TypeVar("T")
D = TypeVar("D")


class Values(ABC):
    """Configuration; see L{microd.framework.config} for where values come from and which wins.

    A path is keys with dots between them; the empty one is everything.
    """

    @overload
    def get(self, path: str = "", default: None = None, *, secret: bool = False) -> Awaitable[Any]: ...
    @overload
    def get(self, path: str, default: D, *, secret: bool = False) -> Awaitable[D]: ...
    @overload
    def get(
        self, path: str, default: None = None, *, type: type[T], secret: bool = False
    ) -> Awaitable[T | None]: ...
    @overload
    def get(self, path: str, default: T, *, type: type[T], secret: bool = False) -> Awaitable[T]: ...
    @overload
    def get(
        self, path: str = "", default: Any = None, *, type: Any, secret: bool = False
    ) -> Awaitable[Any]: ...
    def get(
        self, path: str = "", default: Any = None, *, type: Any = None, secret: bool = False
    ) -> Awaitable[Any]:
        """The value at a path; C{default} where nothing is.

        @param type: what it is to be: C{str}, C{int}, C{float}, C{bool}, C{timedelta}, an enum, a dataclass, or lists and dicts
            of such; without it, what the default is.
        @param secret: read secrets, too.
        @raise ConfigError: it is of another type, or a secret that was not asked for.
        @raise MicroError: the config service refused, or cannot be reached.
        """
        return self._value(path, default, type, secret)

    def set(
        self, path: str, value: object, *, secret: bool = False, replace: bool = False, if_version: int = 0
    ) -> Awaitable[int]:
        """Put a value into the config service: an object is merged into what is there, anything else takes its place.

        @param value: what JSON can say, or a dataclass of it.
        @param secret: keep it encrypted.
        @param replace: let an object take the place of what is there, too.
        @param if_version: fail unless the configuration is at this version; 0: whatever it is.
        @return: the version that it has then; it is durable when this returns.
        """
        return self._set(path, value, secret, replace, if_version)

    def delete(self, path: str, *, if_version: int = 0) -> Awaitable[int]:
        """Take out of the config service what is at a path, and under it; L{set} explains the rest."""
        return self._delete(path, if_version)

    def explain(self, path: str) -> Awaitable[list[tuple[str, Any]]]:
        """What each place says about a path, by the place's name; the last one wins, key by key. Secrets are masked."""
        return self._explain(path)

    @abstractmethod
    def _value(self, path: str, default: Any, kind: Any, secret: bool) -> Awaitable[Any]: ...

    @abstractmethod
    def _set(
        self, path: str, value: object, secret: bool, replace: bool, if_version: int
    ) -> Awaitable[int]: ...

    @abstractmethod
    def _delete(self, path: str, if_version: int) -> Awaitable[int]: ...

    @abstractmethod
    def _explain(self, path: str) -> Awaitable[list[tuple[str, Any]]]: ...
