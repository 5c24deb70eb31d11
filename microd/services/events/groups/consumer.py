"""One consumer: asks its group for one event after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from microd.kernel.errors import MicroError
from microd.services.events.groups.group import Member
from microd.services.events.groups.world import LARGE
from microd.services.events.interface import IConsumer
from microd.services.events.model import Ack, Delivery, Terms

if TYPE_CHECKING:
    from microd.services.events.groups.running import Running


class Consumer(IConsumer):
    """Takes events when it is asked for one, and keeps none: who does not read has none waiting.

    A large event is counted as unsent until the next one is asked for, or the consumer closed.

    Where it acknowledges by itself, an event is done with when the next one is asked for: then the stream has taken it.
    """

    __slots__ = ("_auto", "_error", "_left", "_over", "_running", "_taken", "_unsent", "_waiting", "member")

    def __init__(self, running: Running, terms: Terms, left: Callable[[], None]) -> None:
        self.member = Member(terms)
        self._left = left
        self._running = running
        self._auto = terms.auto_ack
        self._taken = self._unsent = 0
        self._waiting: Deferred[Delivery | None] | None = None
        self._over = False
        self._error: MicroError | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether it would take an event now."""
        return self._waiting is not None

    def __aiter__(self) -> Consumer:
        return self

    async def __anext__(self) -> Delivery:
        running = self._running
        if self._unsent:
            self._sent()
        if self._taken:
            taken, self._taken = self._taken, 0
            running.taken(taken)
        if self._over:
            raise self._error or StopAsyncIteration
        delivery = running.ask(self)
        if delivery is not None:
            if len(delivery.event.payload) > LARGE:
                self._owe(delivery)
        else:
            if self._over:
                # It had to be read, and could not.
                raise self._error or StopAsyncIteration
            waiting: Deferred[Delivery | None] = Deferred()
            self._waiting = waiting
            running.wait(self)
            try:
                delivery = await waiting
            finally:
                if self._waiting is waiting:
                    self._waiting = None
                    running.weary(self)
            if delivery is None:
                raise self._error or StopAsyncIteration
        if self._auto:
            self._taken = delivery.event.offset
        return delivery

    def hand(self, delivery: Delivery | None) -> None:
        """Give it what it waits for; None: there is no more."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            if delivery is not None and len(delivery.event.payload) > LARGE:
                self._owe(delivery)
            waiting.callback(delivery)

    def ack(self, ack: Ack) -> bool:
        return not self._over and self._running.heard(ack, self)

    def finish(self) -> None:
        self.end(None)

    def close(self) -> None:
        self.end(None)
        if self._unsent:
            self._sent()

    def _owe(self, delivery: Delivery) -> None:
        self._unsent = len(delivery.event.payload)
        self._running.unsent.used += self._unsent

    def _sent(self) -> None:
        unsent, self._unsent = self._unsent, 0
        self._running.unsent.sent(unsent)

    def end(self, error: MicroError | None) -> None:
        """Consume no more; iteration stops, or raises C{error}."""
        if self._over:
            return
        self._over = True
        self._error = error
        self._running.left(self)
        self._left()
        self.hand(None)
