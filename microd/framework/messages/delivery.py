"""What is said about events, and how they are read: what coroutines, threads and scripts share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from microd.framework.failures import CLIENT
from microd.framework.messages.model import Event, Message
from microd.framework.messages.questions import PAGE, Page, Questions
from microd.framework.messages.terms import Moment, Start, Terms, checked_terms
from microd.framework.questions import Ask, Drop
from microd.kernel.errors import BadRequest, MicroError
from microd.wire import events_pb2

#: Characters of an error which go with an event.
LONGEST_ERROR = 1000

Say = Callable[[events_pb2.AckRequest], None]


class Delivery:
    """An event as a consumer gets it, who says what became of it: once, with one of the methods.

    @ivar message: all that came with it; C{attempt} and C{redelivered} are there.
    @ivar said: whether something was said.
    """

    __slots__ = ("_kind", "_say", "message", "said")

    def __init__(self, message: Message, kind: Any, say: Say) -> None:
        self.message = message
        self._kind = kind
        self._say = say
        self.said = False

    @property
    def event(self) -> Event:
        """The event."""
        found = self.message
        return Event(found.topic, found.id, found.offset, found.timestamp, found.headers, found.body)

    @property
    def value(self) -> Any:
        """The payload, as the type that was asked for.

        @raise BadRequest: it is none.
        """
        return self.message.read(self._kind)

    @property
    def attempt(self) -> int:
        """How often the event was given to the group, this time included."""
        return self.message.attempt

    @property
    def redelivered(self) -> bool:
        """It may have been given to the group before; it is false only where it surely was not."""
        return self.message.redelivered

    def ack(self) -> None:
        """It is done with."""
        self._once(events_pb2.AckRequest(id=self.message.id, success=True))

    def nack(self, error: object = "", delay: float | None = None) -> None:
        """It is to come again.

        @param error: why, for the dead letter that it may become.
        @param delay: seconds; C{None}: as the backoff has it.
        """
        wait = 0 if delay is None else max(1, round(delay * 1000))
        self._once(events_pb2.AckRequest(id=self.message.id, error=_said(error), delay=wait))

    def drop(self, error: object = "") -> None:
        """It is not to come again: to the dead letters with it."""
        self._once(events_pb2.AckRequest(id=self.message.id, drop=True, error=_said(error)))

    def working(self) -> None:
        """It is being worked on: let C{ack_wait} begin anew."""
        if not self.said:
            self._say(events_pb2.AckRequest(id=self.message.id, working=True))

    def _once(self, word: events_pb2.AckRequest) -> None:
        if not self.said:
            self.said = True
            self._say(word)


class Reading:
    """Events that are kept, a page at a time."""

    def __init__(
        self,
        questions: Questions,
        topic: str,
        after: int,
        since: Moment | None,
        limit: int,
        newest: bool,
    ) -> None:
        if newest and not limit:
            raise BadRequest("say how many of the newest: give a limit", CLIENT)
        if limit < 0:
            raise BadRequest("a limit is 0 or more", CLIENT)
        self._questions = questions
        self._topic = topic
        self._after = after
        self._since = since
        self._limit = limit
        self._newest = newest
        self._left = limit
        self._over = False

    def next(self) -> Ask[Page] | None:
        """The next question; C{None}: that was all."""
        if self._over:
            return None
        size = self._left if self._newest else min(PAGE, self._left or PAGE)
        return self._questions.page(self._topic, self._after, self._since, size, self._newest)

    def got(self, page: Page) -> Sequence[Event]:
        """What came."""
        events = page.events
        self._after, self._since = page.next, None
        self._over = self._newest or not page.next
        if self._limit:
            events = events[: self._left]
            self._left -= len(events)
            self._over = self._over or not self._left
        return events


def terms_of(
    topic: str,
    group: str,
    start: Start | None,
    retries: int,
    in_flight: int,
    ack_wait: float,
    backoff: float,
    backoff_max: float,
) -> Terms:
    """The terms of whoever consumes.

    @raise BadRequest: they cannot be.
    """
    where = ("earliest" if group else "latest") if start is None else start
    try:
        return checked_terms(
            Terms(topic, group, where, retries, in_flight, ack_wait, backoff, max(backoff, backoff_max))
        )
    except ValueError as problem:
        raise BadRequest(str(problem), CLIENT) from None


def _said(error: object) -> str:
    return told(error if isinstance(error, BaseException) else Drop(str(error))) if error else ""


def told(problem: BaseException) -> str:
    """An error as it goes with the event, in a line or a few."""
    if isinstance(problem, Drop):
        said = problem.key or "dropped"
    elif isinstance(problem, MicroError):
        said = problem.detail or str(problem.code)
    else:
        said = f"{type(problem).__name__}: {problem}" if str(problem) else type(problem).__name__
    # It travels as UTF-8, whatever Python had in it.
    return said[:LONGEST_ERROR].encode("utf-8", "replace").decode()
