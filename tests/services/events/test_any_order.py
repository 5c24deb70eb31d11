"""Whole lives of a topic: whatever happens in whichever order, each event that is kept is read once, at its offset."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from microd.services.events.model import Draft, Limits

Rest = Any


class Life:
    """A topic, and what is known to have been published to it.

    @ivar kept: the payload and the time of each event, by its offset.
    """

    def __init__(self, rest: Rest, dice: Random) -> None:
        self.rest = rest
        self.dice = dice
        rest.logs.limits = rest.logs._shared.limits = rest.limits = Limits(size=4000)
        rest.logs._shared.tail._limit = 5000
        self.kept: dict[int, tuple[bytes, int]] = {}
        self.number = 0

    def _payload(self) -> bytes:
        self.number += 1
        return b"%d" % self.number + b"." * self.dice.randint(0, 200)

    def publish(self) -> None:
        stamp = self.dice.choice([0, 0, self.dice.randint(1, 1000)])
        drafts = [Draft(self._payload(), {}, stamp) for _ in range(self.dice.randint(1, 12))]
        for event in self.rest.done(self.rest.logs.join("acme", "orders", drafts)):
            self.kept[event.offset] = event.payload, event.timestamp

    def submit(self) -> None:
        kept = self.kept

        class Receipt:
            def stored(self, token: Any, topic: str, offset: int) -> None:
                kept[offset] = token, 0

            def refused(self, token: object, error: Exception) -> None:
                raise error

        for _ in range(self.dice.randint(1, 5)):
            for _ in range(self.dice.randint(1, 5)):
                payload = self._payload()
                self.rest.logs.submit("acme", "orders", {}, payload, Receipt(), payload)
            self.rest.turns(self.dice.randint(0, 3))
        self.rest.turns()

    def read(self) -> None:
        """A reader who begins anywhere and takes a few at a time finds all that there is."""
        log = self.rest.log()
        assert log.next == len(self.kept) + 1
        offset = self.dice.randint(1, log.next)
        most, size = self.dice.randint(1, 30), self.dice.choice([1, 500, 1 << 20])
        expected = max(offset, log.first)
        while events := self.rest.done(log.read(offset, most, size)):
            assert len(events) <= most
            for event in events:
                assert event.offset == expected
                assert event.payload == self.kept[event.offset][0]
                assert log.offset_of(event.id) == event.offset
                expected += 1
            offset = expected
        assert expected == log.next

    def read_while_trimmed(self) -> None:
        """What is taken out meanwhile is left out, and nothing else."""
        log = self.rest.log()
        reading = Deferred.fromCoroutine(log.read(1, 10))
        self.sweep()
        events = self.rest.done(reading)
        offsets = [event.offset for event in events]
        assert offsets == sorted(set(offsets))
        assert all(event.payload == self.kept[event.offset][0] for event in events)

    def find(self) -> None:
        log = self.rest.log()
        stamps = [
            event.timestamp
            for event in self.rest.done(log.read(log.first, 10_000))
            if event.timestamp < 10_000
        ]
        wanted = self.dice.choice([1, *stamps])
        found = self.rest.done(log.offset_at(wanted))
        events = self.rest.done(log.read(log.first, 10_000))
        assert found == next((event.offset for event in events if event.timestamp >= wanted), log.next)

    def sweep(self) -> None:
        self.rest.done(self.rest.logs.sweep())
        assert self.rest.log().size <= 4000

    def again(self) -> None:
        self.rest.again()
        self.rest.logs._shared.tail._limit = 5000

    def wait(self) -> None:
        self.rest.clock.advance(self.dice.choice([0.001, 1, 11]))

    def live(self, steps: int) -> None:
        ways = [self.publish, self.submit, self.read, self.find, self.read_while_trimmed, self.sweep]
        for _ in range(steps):
            self.dice.choice([*ways, self.publish, self.submit, self.read, self.again, self.wait])()
        self.read()
        assert sum(log.size for log in self.rest.logs.of("acme").values()) == self.rest.log().space.kept


@pytest.mark.parametrize("seed", range(15))
def test_any_order(rest: Rest, seed: int) -> None:
    """Publishing, reading, retention and restarts go together in any order."""
    Life(rest, Random(seed)).live(120)
