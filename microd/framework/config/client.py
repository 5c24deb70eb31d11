"""Configuration, for handlers and other coroutines."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeVar, overload

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from microd.framework.bridge import Bridge
from microd.framework.config.closing import close
from microd.framework.config.following import Caller, Following
from microd.framework.config.questions import NOTHING, Questions, Said
from microd.framework.config.reading import Reading
from microd.framework.config.sources import ConfigError, Layers, Sources
from microd.framework.config.values import Values
from microd.framework.questions import Ask
from microd.kernel.errors import NotFound

T = TypeVar("T")


class Config(Values):
    """The configuration of a service that runs, or of whoever else has a client."""

    log = Logger()

    def __init__(
        self,
        caller: Caller,
        ask: Callable[[Ask[Any]], Awaitable[Any]],
        bridge: Bridge,
        clock: IReactorTime,
        namespace: str,
        sources: Sources,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._caller = caller
        self._ask = ask
        self._bridge = bridge
        self._clock = clock
        self.questions = Questions(namespace)
        self._sources = sources
        self._environ = environ
        self._read: Layers | None = None

    def layers(self) -> Layers:
        """What the sources say, which are read once.

        @raise ConfigError: one of them cannot be used.
        """
        if self._read is None:
            self._read = Layers(self._sources, self._environ)
        return self._read

    @overload
    def watch(self, path: str = "", default: Any = None, *, secret: bool = False) -> AsyncIterator[Any]: ...
    @overload
    def watch(
        self, path: str, default: Any = None, *, type: type[T], secret: bool = False
    ) -> AsyncIterator[T]: ...
    @overload
    def watch(
        self, path: str = "", default: Any = None, *, type: Any, secret: bool = False
    ) -> AsyncIterator[Any]: ...
    def watch(
        self, path: str = "", default: Any = None, *, type: Any = None, secret: bool = False
    ) -> AsyncIterator[Any]:
        """The value at a path as it is, then as it becomes, for ever: a daemon which restarts is waited for.

        The same value never comes twice in a row; of changes that come faster than they are read, some may be left out, the
        last never. A value of another type than is wanted is logged, and left out.

        @raise MicroError: the config service will not tell us.
        """
        reading = Reading(self.layers, path, default, type, secret)
        return self._bridge.their_stream(self.follow(path, reading, secret, insistent=False))

    async def follow(
        self, path: str, reading: Reading, secret: bool, *, insistent: bool
    ) -> AsyncGenerator[Any, None]:
        """What L{watch} does, likewise.

        @param insistent: wait for the config service even if it refuses.
        """
        following = Following(
            self._caller, self._clock, self.questions.watch(path, secret), insistent=insistent
        )
        last: Any = _NEVER
        values = following.values()
        try:
            async for found in values:
                try:
                    value = reading.value(found)
                except ConfigError as problem:
                    self.log.error("configuration is left as it was: {problem}", problem=str(problem))
                    continue
                if last is _NEVER or value != last:
                    last = value
                    yield value
        finally:
            await close(values)

    def _value(self, path: str, default: Any, kind: Any, secret: bool) -> Awaitable[Any]:
        return self._bridge.theirs(self.value(path, default, kind, secret))

    async def value(self, path: str, default: Any, kind: Any, secret: bool) -> Any:
        """What C{get} does, as a coroutine of ours whatever the author's are."""
        return Reading(self.layers, path, default, kind, secret).value(await self._said(path, secret))

    def _set(self, path: str, value: object, secret: bool, replace: bool, if_version: int) -> Awaitable[int]:
        return self._bridge.theirs(self._put(self.questions.set(path, value, secret, replace, if_version)))

    def _delete(self, path: str, if_version: int) -> Awaitable[int]:
        return self._bridge.theirs(self._put(self.questions.delete(path, if_version)))

    def _explain(self, path: str) -> Awaitable[list[tuple[str, Any]]]:
        return self._bridge.theirs(self._explained(path))

    async def _explained(self, path: str) -> list[tuple[str, Any]]:
        return self.layers().origins(path, (await self._said(path, False)).value)

    async def _said(self, path: str, secret: bool) -> Said:
        try:
            found: Said = await self._ask(self.questions.get(path, secret))
        except NotFound:
            return NOTHING
        return found

    async def _put(self, ask: Ask[int]) -> int:
        version: int = await self._ask(ask)
        return version


_NEVER: Any = object()
