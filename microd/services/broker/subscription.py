"""One subscriber's backlog."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from microd.kernel.caller import Account
from microd.kernel.errors import MicroError, Unavailable
from microd.services.broker.interface import ISubscription
from microd.services.broker.model import Counts, Limits, Message


class Budget:
    """What the messages which wait in one namespace take, in bytes.

    @ivar shared: large messages which are counted once for all who wait for them: by identity, how many those are.
    @ivar behind: connections whose transports keep some of it, those first who have not read for longest.
    """

    __slots__ = ("behind", "most", "shared", "used")

    def __init__(self, most: int) -> None:
        self.most = most
        self.used = 0
        self.shared: dict[int, int] = {}
        self.behind: dict[Any, None] = {}


class Subscription(ISubscription):
    """A topic's messages as one reader takes them; a L{microd.services.broker.interface.Receiver}.

    Somebody who waits is given a message at once, and it takes no room. Else it joins the backlog, where it may be
    dropped again.
    """

    log = Logger()
    subjects_only = False

    def __init__(
        self,
        limits: Limits,
        counts: Counts,
        budget: Budget,
        leave: Callable[[], None],
        reader: Account | None,
        peer: str,
    ) -> None:
        self._limits = limits
        self._counts = counts
        self._budget = budget
        self._leave = leave
        self._messages: deque[Message] = deque()
        self._held = 0
        self._waiting: Deferred[Message | None] | None = None
        self._error: MicroError | None = None
        self._over = False
        self.dropped = 0
        self.reader = reader
        self._peer = peer

    @property
    def waiting(self) -> int:
        """How many messages wait to be read."""
        return len(self._messages)

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Message:
        if self._messages:
            return self._take()
        if self._over:
            raise self._error or StopAsyncIteration
        waiting: Deferred[Message | None] = Deferred()
        self._waiting = waiting
        try:
            message = await waiting
        finally:
            self._waiting = None
        if message is None:
            raise self._error or StopAsyncIteration
        return message

    def deliver(self, topic: str, message: Message) -> None:
        """Pass a message on, or keep it, or drop another for it."""
        if self._over:
            return
        message.topic = topic
        waiting = self._waiting
        if waiting is not None:
            self._waiting = None
            self._counts.delivered += 1
            waiting.callback(message)
            return
        if self._fits(message):
            self._keep(message)
            return
        self._slow(topic, message)

    def close(self) -> None:
        """Get no more; what waits is forgotten."""
        self.cut(None)

    def cut(self, error: MicroError | None) -> None:
        """As C{end}, and forget what waits."""
        self._forget()
        self.end(error)

    def end(self, error: MicroError | None) -> None:
        """Take no more messages; iteration goes on through those kept, then stops or raises C{error}."""
        if self._over:
            return
        self._over = True
        self._error = error
        self._leave()
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    def _take(self) -> Message:
        message = self._messages.popleft()
        self._held -= message.size
        self._budget.used -= message.size
        return message

    def _keep(self, message: Message) -> None:
        self._messages.append(message)
        self._held += message.size
        self._budget.used += message.size
        self._counts.delivered += 1

    def _fits(self, message: Message) -> bool:
        limits, budget = self._limits, self._budget
        if len(self._messages) >= limits.backlog:
            return False
        return self._held + message.size <= min(limits.backlog_size, budget.most - budget.used)

    def _slow(self, topic: str, message: Message) -> None:
        """There is no room for a message: do as the setting says."""
        if not self.dropped:
            self.log.warn(
                "{reader} of {namespace} at {peer} reads {topic} too slowly: {policy} (broker.slow)",
                reader=self.reader.id if self.reader else "a part of the platform",
                namespace=self.reader.issuer if self.reader else "micro",
                peer=self._peer or "home",
                topic=topic,
                policy=self._limits.slow,
            )
        if self._limits.slow == "disconnect":
            self._counts.disconnected += 1
            self._lost(len(self._messages) + 1)
            self.cut(Unavailable("messages came faster than they were read, and were lost: subscribe again"))
            return
        if self._limits.slow == "drop-oldest":
            while self._messages and not self._fits(message):
                self._take()
                self._lost(1)
            if self._fits(message):
                self._keep(message)
                return
        self._lost(1)

    def _lost(self, count: int) -> None:
        self.dropped += count
        self._counts.dropped += count

    def _forget(self) -> None:
        self._budget.used -= self._held
        self._held = 0
        self._messages.clear()
