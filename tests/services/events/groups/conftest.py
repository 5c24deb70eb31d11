"""Groups over logs in a store in memory, under a clock that stands still."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import pytest
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock

from microd.kernel.errors import MicroError
from microd.services.events.groups.consumption import Consumption
from microd.services.events.logs import Logs
from microd.services.events.model import Ack, Delivery, Draft, Event, Limits, Position, Start, Terms, Verdict
from microd.services.events.service import Events
from microd.services.store.backends.memory import MemoryStore
from microd.services.store.model import Act, Record
from microd.testing.outcome import done

NOW = 1_800_000_000
T = TypeVar("T")


class TestingStore(MemoryStore):
    """A store in memory, whose writes can be held up, or made to fail.

    @ivar error: what writes fail with.
    @ivar is_slow: writes take place at once, and are answered by C{answer}.
    @ivar commits: how many writes there were.
    """

    __test__ = False

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__(now=now)
        self.error: MicroError | None = None
        self.is_slow = False
        self.commits = 0
        self._held: list[Deferred[None]] = []

    async def write(self, database: str, table: str, record: Record, *, if_version: int | None = None) -> int:
        return await super().write(database, table, record, if_version=if_version)

    async def apply(self, acts: Sequence[Act]) -> Sequence[int]:
        if self.error is not None:
            raise self.error
        self.commits += 1
        versions = await super().apply(acts)
        if self.is_slow:
            held: Deferred[None] = Deferred()
            self._held.append(held)
            await held
        return versions

    def answer(self) -> None:
        """Answer all writes that wait."""
        held, self._held = self._held, []
        for each in held:
            each.callback(None)


class Reader:
    """Takes a consumer's events as they come, as many as it is told to."""

    def __init__(self, consumer: Any, most: int = 1 << 30) -> None:
        self.consumer = consumer
        self.got: list[Delivery] = []
        self.error: Exception | None = None
        self.over = False
        self.most = most
        self._resume: Deferred[None] | None = None
        self.task = Deferred.fromCoroutine(self._read())

    async def _read(self) -> None:
        try:
            while True:
                while len(self.got) >= self.most:
                    self._resume = Deferred()
                    await self._resume
                self.got.append(await anext(self.consumer))
        except StopAsyncIteration:
            self.over = True
        except MicroError as problem:
            self.error = problem
            self.over = True

    def go_on(self, most: int = 1 << 30) -> None:
        """Take up to so many in all."""
        self.most = most
        resume, self._resume = self._resume, None
        if resume is not None:
            resume.callback(None)

    @property
    def offsets(self) -> list[int]:
        return [delivery.event.offset for delivery in self.got]

    @property
    def payloads(self) -> list[bytes]:
        return [delivery.event.payload for delivery in self.got]

    @property
    def marked(self) -> list[int]:
        """The offsets of those which may have been given before."""
        return [delivery.event.offset for delivery in self.got if delivery.redelivered]

    def ack(self, number: int, verdict: Verdict = Verdict.DONE, **more: Any) -> bool:
        """Say something about the event that came so many-th."""
        return bool(self.consumer.ack(Ack(self.got[number].event.id, verdict, **more)))

    def ack_all(self) -> None:
        """They are done with."""
        for delivery in self.got:
            self.consumer.ack(Ack(delivery.event.id, Verdict.DONE))


class Town:
    """Events, running; C{again} starts them anew on the same store."""

    def __init__(self, limits: Limits | None = None, dice: float = 0.0) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.store = TestingStore(self.clock.seconds)
        self.limits = limits or Limits()
        self.dice = dice
        self._start()

    def _start(self) -> None:
        self.logs = Logs(self.store, self.clock, self.limits)
        self.consumption = Consumption(self.logs, self.clock, self.limits, lambda: self.dice)
        self.events = Events(self.store, self.logs, self.consumption)
        done(self.events.startService())

    def turns(self, count: int = 20) -> None:
        """Let so many turns of the reactor pass, in no time."""
        for _ in range(count):
            self.clock.advance(0)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(seconds)
        self.turns()

    def done(self, awaited: Awaitable[T]) -> T:
        """What something returned, after as many turns as it takes."""
        waiting: Deferred[T] = awaited if isinstance(awaited, Deferred) else ensureDeferred(awaited)  # type: ignore[arg-type]
        self.turns()
        return done(waiting)

    def crash(self) -> None:
        """Nothing of what was in memory is left; what was not on disk is lost."""
        store = self.store
        self.store = TestingStore(self.clock.seconds)
        self.store._records = {place: dict(records) for place, records in store._records.items()}
        self.store._version = store._version
        # Whatever the old ones still do reaches a store that nobody reads any more.
        self._start()

    def again(self) -> None:
        """Stop properly, and start anew."""
        self.done(self.events.stopService())
        self._start()

    def publish(
        self, *payloads: bytes, topic: str = "orders", metadata: Mapping[str, str] | None = None
    ) -> Sequence[Event]:
        drafts = [Draft(payload, metadata or {}) for payload in payloads]
        return self.done(self.events.publish("acme", topic, drafts))

    def number(self, count: int, topic: str = "orders") -> None:
        """Publish so many, which say their offsets."""
        self.publish(*(b"%d" % number for number in range(1, count + 1)), topic=topic)

    def consume(self, group: str = "", *, topic: str = "orders", most: int = 1 << 30, **terms: Any) -> Reader:
        """Consume; by default a group that is new begins with the first event."""
        terms.setdefault("start", Position(Start.EARLIEST))
        terms.setdefault("auto_ack", False)
        consumer = self.done(self.events.consume("acme", topic, Terms(group=group, **terms)))
        reader = Reader(consumer, most)
        self.turns()
        return reader

    def facts(self, group: str, topic: str = "orders") -> Any:
        """What there is to say about a group."""
        (found,) = [each for each in self.done(self.events.lag("acme", topic)) if each.name == group]
        return found


@pytest.fixture
def make_town() -> Iterator[Callable[..., Town]]:
    """Makes towns, and stops what is left of them."""
    made: list[Town] = []

    def make(*args: Any, **more: Any) -> Town:
        made.append(Town(*args, **more))
        return made[-1]

    yield make
    for town in made:
        town.store.error = None
        town.store.is_slow = False
        town.store.answer()
        town.done(town.events.stopService())


@pytest.fixture
def town(make_town: Callable[..., Town]) -> Town:
    """A town."""
    return make_town()
