"""Events: they are kept, in order, and each group of consumers gets every one of them until it has dealt with it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from microd.framework.bridge import Bridge
from microd.framework.config.closing import close
from microd.framework.messages.consuming import FAREWELL, Caller, Consumer
from microd.framework.messages.delivery import Delivery, Reading, Say, terms_of
from microd.framework.messages.model import Event, Message, Stored
from microd.framework.messages.questions import Belongs, Headers, Questions
from microd.framework.messages.terms import Moment, Start, Terms
from microd.framework.questions import Ask
from microd.kernel.errors import MicroError
from microd.wire import events_pb2


class Events:
    """Events, for handlers and other coroutines. Topics belong to the namespace of the account that asks.

    @ivar questions: makes the questions.
    """

    def __init__(self, caller: Caller, bridge: Bridge, clock: IReactorTime, belongs: Belongs) -> None:
        self._caller = caller
        self._bridge = bridge
        self._clock = clock
        self.questions = Questions(belongs)
        self._leaving: set[Deferred[None]] = set()

    def publish(
        self,
        topic: str,
        event: object,
        *,
        metadata: Headers | None = None,
        timestamp: Moment | None = None,
    ) -> Awaitable[Stored]:
        """Keep an event; it is on the daemon's disk when this returns its id and its offset.

        @param event: a dataclass, a protobuf message or a C{dict} (as JSON), text or bytes.
        @param timestamp: when it happened; C{None}: now. Whole seconds of it are kept.
        @raise TooLarge: it is larger than the daemon takes (C{max_event} in C{[events]} of its settings).
        @raise MicroError: it is not kept, or where the connection broke off (502), not known to be.
        """
        return self._ask(self.questions.event(topic, event, metadata, timestamp))

    def publish_many(self, topic: str, events: Iterable[object]) -> Awaitable[Sequence[int]]:
        """Keep several events of a topic, all or none, one behind the other; their offsets.

        @param events: as for L{publish}; or L{Draft}s, which have metadata and a time of their own.
        """
        return self._ask(self.questions.events(topic, events))

    def read(
        self,
        topic: str,
        *,
        after: int = 0,
        since: Moment | None = None,
        limit: int = 0,
        newest: bool = False,
    ) -> AsyncIterator[Event]:
        """Iterate over the events which are kept now, a page at a time; none for a topic that is not there.

        @param after: only those behind this offset.
        @param since: begin with the first that is not older.
        @param limit: no more than so many; 0: all.
        @param newest: with a C{limit}, the last ones.
        """
        return self._bridge.their_stream(
            self._read(Reading(self.questions, topic, after, since, limit, newest))
        )

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
    ) -> AsyncIterator[Delivery]:
        """Iterate over a topic's events as they come, for ever: a daemon which restarts is waited for.

        @param group: each event goes to one of all who consume for the same group, which remembers how far it is; empty: this
            consumer gets all of them, and nobody remembers.
        @param type: what C{value} is: a dataclass, a protobuf message, C{dict}, C{str}, C{bytes} ...
        @param start: where a new group begins: C{"earliest"}, which is the default with a group, C{"latest"}, which is that without, an
            offset or a time.
        @param auto_ack: an event of which nothing was said is acknowledged when the next one is asked for; one at which
            the loop was left comes again.
        @param in_flight: how many events may be here at a time.
        @param retries: how often an event comes again before it goes to the dead letters; -1: for ever.
        @param ack_wait: seconds after which an event comes again of which nothing was said.
        @param backoff: seconds before an event comes again the first time; each time twice as long, up to C{backoff_max}.
        @raise BadRequest: one of these cannot be.
        """
        terms = terms_of(topic, group, start, retries, in_flight, ack_wait, backoff, backoff_max)
        return self._bridge.their_stream(self.deliveries(terms, type, auto_ack))

    async def deliveries(
        self, terms: Terms, kind: Any, auto_ack: bool, say: Callable[[Say], Say] = lambda say: say
    ) -> AsyncGenerator[Delivery, None]:
        """What L{consume} does, as a generator of ours.

        @param say: how the words of whoever consumes get here.
        """
        consumer = Consumer(self._caller, self._clock, self._bridge, terms, keep=False, insistent=False)

        def heard(word: events_pb2.AckRequest) -> None:
            if word.working:
                consumer.working(word.id)
            else:
                consumer.say(word.id, word, final=word.success or word.drop)

        messages = consumer.messages()
        try:
            async for message in messages:
                delivery = Delivery(message, kind, say(heard))
                yield delivery
                if auto_ack and not delivery.said:
                    delivery.said = True
                    heard(events_pb2.AckRequest(id=message.id, success=True))
        finally:
            # Nothing is waited for here, as nobody may be left to wait.
            leaving = Deferred.fromCoroutine(self._left(consumer, messages))
            self._leaving.add(leaving)
            leaving.addTimeout(FAREWELL, self._clock)
            leaving.addBoth(lambda _: self._leaving.discard(leaving))

    async def _read(self, reading: Reading) -> AsyncGenerator[Event, None]:
        while (ask := reading.next()) is not None:
            for event in reading.got(await self._caller.ask_store(ask)):
                yield event

    async def _left(self, consumer: Consumer, messages: AsyncGenerator[Message, None]) -> None:
        """Whoever consumed has gone: have what was said arrive."""
        consumer.leave()
        try:
            async for _ in messages:
                pass
        except MicroError:
            pass  # what did not arrive is given to others of the group
        finally:
            await close(messages)

    def _ask(self, ask: Ask[Any]) -> Awaitable[Any]:
        return self._bridge.theirs(self._caller.ask_store(ask))
