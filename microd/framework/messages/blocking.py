"""The broker and events, for scripts and for handlers which are plain functions: each call waits."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from microd.framework.messages.delivery import Delivery, Reading, Say, terms_of
from microd.framework.messages.model import Event, Stored
from microd.framework.messages.private import Private
from microd.framework.messages.questions import Belongs, Headers, Questions, received
from microd.framework.messages.terms import Moment, Start, Terms, consume
from microd.framework.questions import Ask
from microd.kernel.errors import BadRequest, Forbidden, MicroError, Unauthorized, Unimplemented
from microd.wire import events_pb2

#: The bounds of the wait after a stream that ended, in seconds.
FIRST_WAIT, LONGEST_WAIT = 0.25, 5.0


class Stream(Protocol):
    """A stream of events as a thread has it; what it raises are L{MicroError}s."""

    def __iter__(self) -> Iterator[events_pb2.Event]: ...

    def write(self, message: events_pb2.AckRequest) -> None: ...

    def leave(self) -> None:
        """Have what was written arrive, and end it."""


def consuming(
    opened: Callable[[events_pb2.ConsumeRequest], Stream],
    ask: Callable[[Ask[Any]], Any],
    sleep: Callable[[float], None],
    terms: Terms,
    kind: Any,
    auto_ack: bool,
) -> Iterator[Delivery]:
    """Consume with a connection that waits, and with the next one where that breaks.

    @param opened: opens a stream; it may raise L{MicroError}s.
    """
    wait, refused = FIRST_WAIT, 0
    private = None if terms.group else _private(ask, terms)
    while True:
        try:
            stream = opened(consume(terms, None if private is None else private.start))
            try:
                for found in stream:
                    wait, refused = FIRST_WAIT, 0
                    say = _saying(stream, private)
                    if private is not None and not private.admit(found.id, found.offset):
                        say(events_pb2.AckRequest(id=found.id, success=True))
                        continue
                    delivery = Delivery(received(found), kind, say)
                    yield delivery
                    if auto_ack and not delivery.said:
                        delivery.ack()
            finally:
                stream.leave()
        except (BadRequest, Forbidden, Unimplemented):
            raise
        except MicroError as problem:
            # The daemon is away, or a token has lost its worth; what is not done with comes again.
            refused += isinstance(problem, Unauthorized)
            if refused > 1:
                raise
        sleep(random.uniform(0.0, wait))
        wait = min(2 * wait, LONGEST_WAIT)


def _private(ask: Callable[[Ask[Any]], Any], terms: Terms) -> Private:
    """Where to begin without a group: what comes from now on does so behind the last event that is there."""
    if terms.start != "latest":
        return Private()
    page = ask(Questions(lambda: (None, False)).page(terms.topic, 0, None, 1, True))
    return Private(page.events[-1].offset if page.events else 0)


def _saying(stream: Stream, private: Private | None) -> Say:
    def say(word: events_pb2.AckRequest) -> None:
        if private is not None and (word.success or word.drop):
            private.done(word.id)
        stream.write(word)

    return say


class BlockingBroker:
    """The broker, for scripts, and for handlers which are plain functions: each call waits."""

    def __init__(self, ask: Callable[[Ask[Any]], Any], belongs: Belongs) -> None:
        self._ask = ask
        self._questions = Questions(belongs)

    def publish(self, topic: str, message: object, *, headers: Headers | None = None) -> None:
        """Send a message to all who are subscribed to a topic now; see L{Broker.publish}."""
        self._ask(self._questions.publish(topic, message, headers))


class BlockingEvents:
    """Events, for scripts, and for handlers which are plain functions: each call waits.

    @param consume: iterates over what there is to consume.
    """

    def __init__(
        self,
        ask: Callable[[Ask[Any]], Any],
        belongs: Belongs,
        consume: Callable[[Terms, Any, bool], Iterator[Delivery]],
    ) -> None:
        self._ask = ask
        self._consume = consume
        self._questions = Questions(belongs)

    def publish(
        self,
        topic: str,
        event: object,
        *,
        metadata: Headers | None = None,
        timestamp: Moment | None = None,
    ) -> Stored:
        """Keep an event; see L{Events.publish}."""
        stored: Stored = self._ask(self._questions.event(topic, event, metadata, timestamp))
        return stored

    def publish_many(self, topic: str, events: Iterable[object]) -> Sequence[int]:
        """Keep several events of a topic, all or none; their offsets. See L{Events.publish_many}."""
        offsets: Sequence[int] = self._ask(self._questions.events(topic, events))
        return offsets

    def read(
        self,
        topic: str,
        *,
        after: int = 0,
        since: Moment | None = None,
        limit: int = 0,
        newest: bool = False,
    ) -> Iterator[Event]:
        """Iterate over the events which are kept now; see L{Events.read}."""
        reading = Reading(self._questions, topic, after, since, limit, newest)
        while (ask := reading.next()) is not None:
            yield from reading.got(self._ask(ask))

    def consume(
        self,
        topic: str,
        *,
        group: str = "",
        type: Any = dict,
        start: Start | None = None,
        auto_ack: bool = True,
        in_flight: int = 64,
        retries: int = -1,
        ack_wait: float = 30.0,
        backoff: float = 1.0,
        backoff_max: float = 60.0,
    ) -> Iterator[Delivery]:
        """Iterate over a topic's events as they come, for ever; see L{Events.consume}."""
        terms = terms_of(topic, group, start, retries, in_flight, ack_wait, backoff, backoff_max)
        return self._consume(terms, type, auto_ack)
