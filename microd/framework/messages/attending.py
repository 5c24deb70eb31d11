"""Dealing with what arrives for one subscription: reading it, and calling the function, so many times at once and in order.

::

    arrived ─▶ read ─▶ in its lane ─▶ called ──returned──▶ settled: done
                 └─it cannot be─▶ settled: dropped  ├─raised Drop──▶ settled: dropped
                                                    └─raised──▶ settled: failed
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextvars import Context, copy_context
from typing import Any, NamedTuple

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from microd.framework.messages.calling import Calling
from microd.framework.messages.complaints import Complaints
from microd.framework.messages.delivery import told
from microd.framework.messages.lanes import Lanes
from microd.framework.messages.model import Message
from microd.framework.messages.subscriber import Subscriber
from microd.framework.questions import Drop
from microd.kernel.errors import MicroError

#: Why a function that was cancelled did not finish.
STOPPED = "the service stopped before it was done"


class Outcome(NamedTuple):
    """What became of a message.

    @ivar again: it shall come again, where messages do.
    @ivar error: empty where all went well.
    @ivar reply: what the function returned.
    """

    error: str = ""
    again: bool = False
    reply: Any = None


class _Work(NamedTuple):
    value: Any
    message: Message


class Attending:
    """Deals with the messages of one subscription.

    @param settle: is told what became of each message; whether it comes again.
    @ivar handled: how many were dealt with; C{failed}: how many of them not well.
    """

    log = Logger()

    def __init__(
        self,
        subscriber: Subscriber,
        calling: Calling,
        clock: IReactorTime,
        settle: Callable[[Message, Outcome], bool],
    ) -> None:
        self._subscriber = subscriber
        self._calling = calling
        self._clock = clock
        self._settle = settle
        self._lanes: Lanes[_Work] = Lanes(subscriber.wish.concurrency)
        self._running: set[Deferred[None]] = set()
        self._context: Context = copy_context()
        self._complaints = Complaints(clock.seconds)
        self._changed: list[Deferred[None]] = []
        self._awaited: dict[str, IDelayedCall] = {}
        self._paused = self._over = False
        self.handled = self.failed = 0

    def arrived(self, message: Message) -> None:
        """Take on a message."""
        subscriber = self._subscriber
        try:
            value = subscriber.decode(message.body, message.content_type)
        except Exception as problem:  # noqa: BLE001 - strangers' bytes, and the checks of the author's own class
            self._settled(message, Outcome(str(problem) or told(problem)), _Unreadable(), None)
            return
        try:
            key = None if subscriber.key is None else subscriber.key(value)
            hash(key)
        except Exception as problem:  # noqa: BLE001 - the author's function
            self._settled(message, Outcome(f"its key: {told(problem)}", again=True), problem, None)
            return
        self._lanes.add(_Work(value, message), key, message.id or None)
        timer = self._awaited.pop(message.id, None) if message.id else None
        if timer is not None:
            timer.cancel()
        self._begin()

    def pause(self) -> list[Message]:
        """Begin nothing more; what was waiting here?"""
        self._paused = True
        return self.forget()

    def forget(self) -> list[Message]:
        """Let go of all that waits; what was that?"""
        gone = [work.message for work in self._lanes.forget()]
        self._wake()
        return gone

    async def room(self, most: int) -> None:
        """Wait until fewer than so many are here."""
        while self._lanes.waiting + self._lanes.running >= most and not self._paused:
            await self._change()

    async def drain(self) -> None:
        """Wait until nothing runs."""
        while self._running:
            await self._change()

    def end(self) -> None:
        """Cancel what runs, and be told of nothing more."""
        self._paused = self._over = True
        awaited, self._awaited = self._awaited, {}
        for timer in awaited.values():
            timer.cancel()
        for running in list(self._running):
            running.cancel()
        self._wake()

    def _begin(self) -> None:
        while not self._paused and (taken := self._lanes.take()) is not None:
            key, work = taken
            # Each function has a context of its own, and not that of whoever made room for it.
            running = self._context.copy().run(Deferred.fromCoroutine, self._deal(key, work))
            self._running.add(running)
            running.addBoth(self._ran, running)

    def _ran(self, outcome: object, running: Deferred[None]) -> None:
        self._running.discard(running)
        if isinstance(outcome, Failure):
            self.log.failure("{subscriber} was not called", outcome, subscriber=self._subscriber.name)
        self._wake()

    async def _deal(self, key: Hashable, work: _Work) -> None:
        message = work.message
        outcome = Outcome()
        problem: BaseException | None = None
        try:
            outcome = Outcome(reply=await self._calling.call(work.value, message))
        except Drop as dropped:
            outcome, problem = Outcome(told(dropped)), dropped
        except (Exception, CancelledError) as raised:  # noqa: BLE001 - whatever it is, the next message is dealt with
            # Who cancels at the end has said so.
            problem = None if self._over else raised
            outcome = Outcome(STOPPED if self._over else told(raised), again=True)
        again = self._settled(message, outcome, problem, key)
        if again:
            self._lanes.failed(key, message.id)
        else:
            self._lanes.done(key)
        self._begin()

    def _settled(
        self, message: Message, outcome: Outcome, problem: BaseException | None, key: Hashable
    ) -> bool:
        """Count it, say what went wrong, and settle it; whether it comes again."""
        self.handled += 1
        try:
            again = self._settle(message, outcome)
        except Exception:  # noqa: BLE001 - then it comes again after its time, and all others go on
            again = False
            self.log.failure("{subscriber} was not settled", subscriber=self._subscriber.name)
        if problem is not None:
            self.failed += 1
            self._complain(message, outcome, problem, again)
        if again and key is not None:
            self._await(key, message.id)
        return again

    def _await(self, key: Hashable, id: str) -> None:
        """Hold the key until an event comes again; but it may go to another copy of the service, of which nobody tells us."""
        terms = self._subscriber.wish.terms
        if terms is not None:
            longest = terms.backoff_max + terms.ack_wait
            self._awaited[id] = self._clock.callLater(longest, self._awaited_in_vain, key, id)

    def _awaited_in_vain(self, key: Hashable, id: str) -> None:
        self._awaited.pop(id, None)
        self._lanes.give_up(key, id)
        self._begin()

    def _complain(self, message: Message, outcome: Outcome, problem: BaseException, again: bool) -> None:
        kept_back = self._complaints.admit()
        if kept_back is None:
            return
        name = self._subscriber.name
        if kept_back:
            self.log.warn("{subscriber} failed {count} times more", subscriber=name, count=kept_back)
        said = {"subscriber": name, "what": _called(message), "problem": outcome.error}
        said["then"] = self._then(message, outcome, again)
        if isinstance(problem, Drop | MicroError | _Unreadable):
            self.log.warn("{subscriber} failed on {what}: {problem}; {then}", **said)
        else:
            failure = Failure(problem, type(problem), problem.__traceback__)
            self.log.failure("{subscriber} failed on {what}; {then}", failure, LogLevel.error, **said)

    def _then(self, message: Message, outcome: Outcome, again: bool) -> str:
        if not message.id:
            return "it is lost"
        if again:
            return f"attempt {message.attempt}, it comes again"
        return f"attempt {message.attempt}, it goes to {message.topic}.dlq"

    def _change(self) -> Deferred[None]:
        changed: Deferred[None] = Deferred()
        self._changed.append(changed)
        return changed

    def _wake(self) -> None:
        changed, self._changed = self._changed, []
        for each in changed:
            if not each.called:
                each.callback(None)


class _Unreadable(Exception):
    """The message is not what the function takes."""


def _called(message: Message) -> str:
    return (
        f"{message.topic} {message.offset} ({message.id})" if message.id else f"a message of {message.topic}"
    )
