"""What a service's author has before the service runs: C{service.config}."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from microd.framework.bridge import Bridge
from microd.framework.config.client import Config
from microd.framework.config.closing import close
from microd.framework.config.reading import Reading
from microd.framework.config.sources import Sources
from microd.framework.config.values import Values

if TYPE_CHECKING:
    from microd.framework.service import Service

Callback = Callable[[Any], Awaitable[None] | None]
C = TypeVar("C", bound=Callback)

#: Seconds that a service's start waits for the first values.
PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Wish:
    """Who wants to be told of what."""

    callback: Callback
    path: str
    default: Any
    kind: Any
    secret: bool


class ServiceConfig(Values):
    """Configuration of a service: functions that are called when it changes; the rest works while the service runs.

    @ivar sources: where it comes from besides the config service.
    @ivar wishes: who wants to be told.
    """

    def __init__(self, service: Service, sources: Sources) -> None:
        self._service = service
        self.sources = sources
        self.wishes: list[Wish] = []

    def watch(
        self, path: str = "", default: Any = None, *, type: Any = None, secret: bool = False
    ) -> Callable[[C], C]:
        """Have a function called with the value at a path: once before the service takes calls, then at each change::

            @service.config.watch("greeting.text", "Hello")
            def greet_with(text: str) -> None:
                ...

        It is C{async def}, or plain and quick; while it is at work, changes wait. What it raises is logged. See L{Config.watch}.
        """

        def register(callback: C) -> C:
            self.wishes.append(Wish(callback, path, default, type, secret))
            return callback

        return register

    def _value(self, path: str, default: Any, kind: Any, secret: bool) -> Awaitable[Any]:
        return self._running.get(path, default, type=kind, secret=secret)

    def _set(self, path: str, value: object, secret: bool, replace: bool, if_version: int) -> Awaitable[int]:
        return self._running.set(path, value, secret=secret, replace=replace, if_version=if_version)

    def _delete(self, path: str, if_version: int) -> Awaitable[int]:
        return self._running.delete(path, if_version=if_version)

    def _explain(self, path: str) -> Awaitable[list[tuple[str, Any]]]:
        return self._running.explain(path)

    @property
    def _running(self) -> Config:
        """The client's; there is none before the service runs, which it says."""
        return self._service.client.config


class Watching:
    """Tells those who wished for it, from L{begin} to L{end}."""

    log = Logger()

    def __init__(self, config: Config, bridge: Bridge, clock: IReactorTime) -> None:
        self._config = config
        self._bridge = bridge
        self._clock = clock
        self._under_way: list[Deferred[None]] = []
        self._ending = False

    async def begin(self, wishes: list[Wish]) -> None:
        """Follow all of it; returns once everybody was told for the first time, or after a while without."""
        first = [self._begin(wish) for wish in wishes]
        for told in first:
            await told

    def end(self) -> None:
        """Tell nobody any more."""
        self._ending = True
        under_way, self._under_way = self._under_way, []
        for work in under_way:
            work.cancel()

    def _begin(self, wish: Wish) -> Deferred[None]:
        told: Deferred[None] = Deferred()
        work = Deferred.fromCoroutine(self._follow(wish, told))
        work.addErrback(self._ended, wish)
        self._under_way.append(work)
        late = self._clock.callLater(PATIENCE, self._late, wish, told)

        def on_time(outcome: Any) -> Any:
            if late.active():
                late.cancel()
            return outcome

        return told.addBoth(on_time)

    def _late(self, wish: Wish, told: Deferred[None]) -> None:
        self.log.warn("the value of {path!r} has not come yet; the service starts without it", path=wish.path)
        told.callback(None)

    def _ended(self, failure: Any, wish: Wish) -> None:
        if not failure.check(CancelledError):
            self.log.failure("watching {path!r} ended", failure=failure, path=wish.path)

    async def _follow(self, wish: Wish, told: Deferred[None]) -> None:
        reading = Reading(self._config.layers, wish.path, wish.default, wish.kind, wish.secret)
        values: AsyncGenerator[Any, None] = self._config.follow(
            wish.path, reading, wish.secret, insistent=True
        )
        try:
            async for value in values:
                await self._tell(wish, value)
                if not told.called:
                    told.callback(None)
        finally:
            await close(values)
            if not told.called:
                told.callback(None)

    async def _tell(self, wish: Wish, value: Any) -> None:
        """Call back; one value that is too much for the callback must not end the watching."""
        try:
            outcome = wish.callback(value)
            if isinstance(outcome, Awaitable):
                await self._bridge.ours(outcome)
        except Exception:
            if self._ending:
                raise
            self.log.failure("a function that watches {path!r} failed", path=wish.path)
