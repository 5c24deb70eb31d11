"""Logs in a store in memory, under a clock that stands still."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TypeVar

import pytest
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from zope.interface import implementer

from microd.kernel.errors import MicroError
from microd.services.events.log.log import Log
from microd.services.events.logs import Logs
from microd.services.events.model import Draft, Event, Limits
from microd.services.store.backends.memory import MemoryStore
from microd.services.store.interface import IStore
from microd.testing.outcome import done

NOW = 1_800_000_000
T = TypeVar("T")


class Told:
    """Who publishes, and hears what became of it."""

    def __init__(self) -> None:
        self.stored_at: list[tuple[object, str, int]] = []
        self.errors: list[tuple[object, MicroError]] = []

    def stored(self, token: object, topic: str, offset: int) -> None:
        self.stored_at.append((token, topic, offset))

    def refused(self, token: object, error: MicroError) -> None:
        self.errors.append((token, error))

    @property
    def offsets(self) -> list[int]:
        """Of all that was stored, in that order."""
        return [offset for _, _, offset in self.stored_at]


class LogsAtRest:
    """Logs, and the turns of a reactor which stands still otherwise."""

    def __init__(self, store: IStore | None = None, limits: Limits | None = None) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.store = store or MemoryStore(now=self.clock.seconds)
        self.limits = limits or Limits()
        self.logs = self._started()

    def _started(self) -> Logs:
        logs = Logs(self.store, self.clock, self.limits)
        done(logs.start())
        return logs

    def again(self) -> Logs:
        """As after a crash: nothing of what was in memory is left."""
        self.logs = self._started()
        return self.logs

    def turns(self, count: int = 20) -> None:
        """Let so many turns pass, in no time."""
        for _ in range(count):
            self.clock.advance(0)

    def done(self, awaited: Awaitable[T]) -> T:
        """What something returned, after as many turns as it takes."""
        waiting: Deferred[T] = awaited if isinstance(awaited, Deferred) else ensureDeferred(awaited)  # type: ignore[arg-type]
        self.turns()
        return done(waiting)

    def log(self, topic: str = "orders", namespace: str = "acme") -> Log:
        """The log of a topic, which is made if need be."""
        return self.done(self.logs.open(namespace, topic, create=True))

    def publish(self, *payloads: bytes, topic: str = "orders", namespace: str = "acme") -> Sequence[Event]:
        """Store events together."""
        return self.done(self.logs.join(namespace, topic, [Draft(payload) for payload in payloads]))

    def submit(self, told: Told, *payloads: bytes, topic: str = "orders") -> None:
        """Store events one by one; each is told with its payload."""
        for payload in payloads:
            self.logs.submit("acme", topic, {}, payload, told, payload)

    def payloads(self, offset: int = 1, most: int = 1000, topic: str = "orders") -> list[bytes]:
        """What is read from an offset on."""
        return [event.payload for event in self.done(self.log(topic).read(offset, most))]


@pytest.fixture
def rest() -> LogsAtRest:
    """Logs at rest."""
    return LogsAtRest()


@pytest.fixture
def told() -> Told:
    """Who publishes."""
    return Told()


@pytest.fixture
def flush() -> Iterator[Callable[[], list[str]]]:
    """What was logged as having gone wrong."""
    heard: list[str] = []

    @implementer(ILogObserver)
    def hear(event: LogEvent) -> None:
        if event.get("log_level") in (LogLevel.critical, LogLevel.error):
            heard.append(str(event.get("log_format")))

    globalLogPublisher.addObserver(hear)
    yield lambda: heard
    globalLogPublisher.removeObserver(hear)
