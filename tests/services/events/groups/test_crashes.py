"""Whole lives of groups over a disk which is slow, with crashes at any moment: what was promised holds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from microd.kernel.errors import MicroError
from microd.services.events.model import Ack, Delivery, Draft, Limits, Position, Start, Terms, Verdict
from microd.services.store.backends.memory import MemoryStore
from microd.services.store.errors import StoreFailed
from microd.services.store.model import Act

MakeTown = Callable[..., Any]
GROUPS = ("billing", "shipping")


class SlowStore(MemoryStore):
    """Writes take place in their order, when they are let; a crash loses those which were not."""

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__(now=now)
        self.under_way: list[tuple[Sequence[Act], Deferred[Sequence[int]]]] = []
        self.is_slow = True
        self.error: MicroError | None = None
        self.failure = ""

    async def apply(self, acts: Sequence[Act]) -> Sequence[int]:
        if self.failure:
            raise StoreFailed(self.failure)
        if not self.is_slow:
            return await super().apply(acts)
        waiter: Deferred[Sequence[int]] = Deferred()
        self.under_way.append((acts, waiter))
        return await waiter

    def let(self, count: int, *, is_heard: bool = True) -> None:
        """Let so many writes take place."""
        now, self.under_way = self.under_way[:count], self.under_way[count:]
        for acts, waiter in now:
            versions = [self._do(act) for act in acts]
            if is_heard:
                waiter.callback(versions)
            else:
                waiter.errback(StoreFailed("the daemon died"))

    def answer(self) -> None:
        """Let all writes take place."""
        while self.under_way:
            self.let(1)


class Life:
    """One life of a topic and two groups, as a number makes it.

    @ivar published: what was acknowledged to publishers.
    @ivar given: what each group was ever given; C{done}: what it said durably that it is done with.
    """

    def __init__(self, town: Any, dice: Random) -> None:
        self.town = town
        self.dice = dice
        town.store = SlowStore(town.clock.seconds)
        town._start()
        self.published: set[bytes] = set()
        self.given: dict[str, set[bytes]] = {name: set() for name in GROUPS}
        self.done: dict[str, set[bytes]] = {name: set() for name in GROUPS}
        self.readers: list[tuple[str, Any, list[Delivery]]] = []
        self.count = 0
        #: Which life of the daemon this is: what those before still do happens in no world.
        self.epoch = 0
        self.problems: list[Failure] = []
        for name in GROUPS:
            self.join(name)
        self.settle()

    def settle(self) -> None:
        """Let the disk do all that it was asked for."""
        for _ in range(20):
            self.town.clock.advance(0.002)
            self.town.turns(3)
            self.town.store.answer()

    def start(self, work: Awaitable[Any], then: Callable[[Any], object]) -> None:
        """Do something that takes a while, and may never come to an end."""

        epoch = self.epoch

        async def run() -> None:
            found = await work
            if epoch == self.epoch:
                then(found)

        def failed(failure: Failure) -> None:
            if failure.check(MicroError) is None:
                self.problems.append(failure)

        Deferred.fromCoroutine(run()).addErrback(failed)

    def publish(self) -> None:
        payloads = [b"%d" % (self.count + number) for number in range(self.dice.randint(1, 5))]
        self.count += len(payloads)
        work = self.town.events.publish("acme", "orders", [Draft(payload) for payload in payloads])
        self.start(work, lambda _: self.published.update(payloads))

    def join(self, name: str) -> None:
        terms = Terms(
            name,
            Position(Start.EARLIEST),
            auto_ack=False,
            ack_wait=self.dice.choice([0.5, 30.0]),
            retry_limit=self.dice.choice([-1, -1, 1]),
            max_in_flight=self.dice.randint(1, 8),
            backoff=0.1,
        )
        self.start(self.town.events.consume("acme", "orders", terms), lambda made: self.read(name, made))

    def read(self, name: str, consumer: Any) -> None:
        held: list[Delivery] = []
        entry = (name, consumer, held)
        self.readers.append(entry)
        given, done, epoch = self.given[name], self.done[name], self.epoch

        async def run() -> None:
            async for delivery in consumer:
                if epoch != self.epoch:
                    return
                payload = delivery.event.payload
                assert payload not in done, payload
                assert delivery.redelivered or payload not in given, payload
                given.add(payload)
                held.append(delivery)

        self.start(run(), lambda _: None)

    def say(self) -> None:
        """Somebody says something about what he holds, on the stream or by a call."""
        busy = [entry for entry in self.readers if entry[2]]
        if not busy:
            return
        name, consumer, held = self.dice.choice(busy)
        delivery = held.pop(self.dice.randrange(len(held)))
        id, payload = delivery.event.id, delivery.event.payload
        verdict = self.dice.choice([Verdict.DONE] * 6 + list(Verdict))
        if verdict is Verdict.DONE and self.dice.random() < 0.5:
            work = self.town.events.ack("acme", "orders", name, [Ack(id, verdict)])
            self.start(work, lambda _: self.done[name].add(payload))
        else:
            consumer.ack(Ack(id, verdict))

    def leave(self) -> None:
        if self.readers:
            _, consumer, _ = self.readers.pop(self.dice.randrange(len(self.readers)))
            consumer.close()

    def crash(self) -> None:
        """The daemon dies; of what the disk was asked for, it has done a part."""
        town, old = self.town, self.town.store
        self.epoch += 1
        old.let(self.dice.randint(0, len(old.under_way)), is_heard=False)
        town.store = SlowStore(town.clock.seconds)
        town.store._records = {place: dict(records) for place, records in old._records.items()}
        town.store._version = old._version
        self.readers.clear()
        # So that nobody in the world that was goes on waiting.
        old.failure = "the daemon died"
        for _, waiter in old.under_way:
            waiter.errback(StoreFailed(old.failure))
        town._start()

    def stop(self) -> None:
        """The daemon stops properly."""
        stopping = self.town.events.stopService()
        for _ in range(5):
            self.settle()
        assert stopping.called
        self.readers.clear()
        self.epoch += 1
        self.town._start()

    def live(self, steps: int) -> None:
        dice = self.dice
        for _ in range(steps):
            match dice.choices(range(9), [10, 25, 6, 3, 12, 12, 3, 1, 0.3])[0]:
                case 0:
                    self.publish()
                case 1:
                    self.say()
                case 2 if len(self.readers) < 6:
                    self.join(dice.choice(GROUPS))
                case 3:
                    self.leave()
                case 4:
                    self.town.clock.advance(dice.choice([0.0, 0.004, 0.01, 0.2, 1.0]))
                case 5:
                    self.town.store.let(dice.randint(1, 3))
                case 6:
                    self.settle()
                case 7:
                    self.crash()
                case 8:
                    self.stop()
            for problem in self.problems:
                problem.raiseException()

    def finish(self) -> None:
        """In the end each event that was acknowledged is done with, or a dead letter, in each group."""
        self.settle()
        for _, consumer, _ in list(self.readers):
            consumer.close()
        self.readers.clear()
        self.settle()
        self.town.store.is_slow = False
        self.town.wait(10)
        for name in GROUPS:
            reader = self.town.consume(name, max_in_flight=20)
            drained = 0
            while drained < len(reader.got):
                delivery = reader.got[drained]
                payload = delivery.event.payload
                assert payload not in self.done[name], payload
                assert delivery.redelivered or payload not in self.given[name], payload
                self.given[name].add(payload)
                reader.ack(drained)
                drained += 1
                if drained == len(reader.got):
                    self.town.wait(10)
            facts = self.town.facts(name)
            assert (facts.lag, facts.missed) == (0, 0)
            assert self.published <= self.given[name]


def test_lives(make_town: MakeTown) -> None:
    """Nothing that was acknowledged is lost; what was durably done with comes no more; whatever comes again is marked."""
    for seed in range(60):
        life = Life(make_town(Limits(in_flight=20)), Random(seed))
        try:
            life.live(250)
            life.finish()
        except BaseException as problem:
            problem.add_note(f"seed {seed}")
            raise
