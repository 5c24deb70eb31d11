"""A service's subscriptions: gathered from decorators, then served from the service's start to its stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from microd.framework import naming
from microd.framework.bridge import Bridge
from microd.framework.config.closing import close
from microd.framework.handlers import place_of_function
from microd.framework.messages.attending import Attending, Outcome
from microd.framework.messages.broker import Broker
from microd.framework.messages.calling import Calling
from microd.framework.messages.consuming import FAREWELL, Caller, Consumer
from microd.framework.messages.model import Message
from microd.framework.messages.subscriber import AHEAD, Subscriber, Wish, subscriber_of
from microd.framework.schema.shapes import SchemaError
from microd.framework.workers import Workers
from microd.kernel.activity import Activity
from microd.wire import events_pb2


@dataclass(frozen=True, slots=True)
class _Postponed:
    """A function whose annotations name what is defined further down."""

    function: Callable[..., Any]
    name: str
    wish: Wish
    names: Mapping[str, object]


class Subscribers:
    """The functions that a service has subscribed; they grow until L{published}."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._known: list[Subscriber] = []
        self._postponed: list[_Postponed] = []
        self._taken: dict[tuple[str, str, str], str] = {}

    def __bool__(self) -> bool:
        return bool(self._known or self._postponed)

    def add(self, function: Callable[..., Any], wish: Wish, names: Mapping[str, object]) -> None:
        """Take a function on.

        @raise SchemaError: it cannot be subscribed; the text says where it is, and why.
        """
        where = place_of_function(function)
        group = wish.terms.group if wish.terms is not None else ""
        if wish.queue or group:
            taken = (wish.topic, wish.queue, group)
            if taken in self._taken:
                what = f"queue {wish.queue}" if wish.queue else f"group {group}"
                raise SchemaError(
                    f"{where}: {self._taken[taken]} is subscribed to {wish.topic} for the {what} already, "
                    "and each would get a part; give one another name"
                )
            self._taken[taken] = where
        name = naming.endpoint_of(self._service, getattr(function, "__name__", "subscriber").strip("_<>"))
        wanted = _Postponed(function, name, wish, names)
        try:
            self._resolve(wanted)
        except NameError:
            self._postponed.append(wanted)

    def published(self) -> list[Subscriber]:
        """All of them, once no more come.

        @raise SchemaError: an annotation names what does not exist.
        """
        waiting, self._postponed = self._postponed, []
        for wanted in waiting:
            try:
                self._resolve(wanted)
            except NameError as problem:
                raise SchemaError(f"{place_of_function(wanted.function)}: {problem}") from None
        return list(self._known)

    def _resolve(self, wanted: _Postponed) -> None:
        self._known.append(subscriber_of(wanted.function, wanted.name, wanted.wish, wanted.names))


class IClient(Caller, Protocol):
    """What is asked of L{microd.framework.client.Client}."""

    @property
    def namespace(self) -> str: ...

    @property
    def activity(self) -> Activity: ...

    @property
    def broker(self) -> Broker: ...


class Subscription(Protocol):
    """One of them while it is served."""

    def begin(self) -> None:
        """Listen, from now on."""

    def pause(self) -> None:
        """Begin to deal with nothing more."""

    async def end(self, drain: float) -> None:
        """Let what runs finish, for so many seconds, and hang up."""


class Subscriptions:
    """All subscriptions of one running service."""

    def __init__(
        self,
        service: str,
        subscribers: list[Subscriber],
        client: IClient,
        workers: Workers,
        bridge: Bridge,
        clock: IReactorTime,
    ) -> None:
        self._all: list[_OfBroker | _OfEvents] = []
        for subscriber in subscribers:
            calling = Calling(service, client.namespace, subscriber, workers, bridge, clock, client.activity)
            kind = _OfBroker if subscriber.wish.terms is None else _OfEvents
            self._all.append(kind(subscriber, calling, client, bridge, clock))

    def begin(self) -> None:
        """Listen; a daemon that is not there is waited for."""
        for each in self._all:
            each.begin()

    def pause(self) -> None:
        """Begin to deal with nothing more."""
        for each in self._all:
            each.pause()

    async def end(self, drain: float) -> None:
        """Let what runs finish, for at most so many seconds in all, have it acknowledged, and hang up."""
        self.pause()
        for ending in [Deferred.fromCoroutine(each.end(drain)) for each in self._all]:
            await ending

    def abandon(self) -> None:
        """Hang up at once, and wait for nothing."""
        for each in self._all:
            each.abandon()


class _Served:
    """One subscription, from L{begin} to L{end}."""

    log = Logger()

    def __init__(
        self, subscriber: Subscriber, calling: Calling, client: IClient, bridge: Bridge, clock: IReactorTime
    ) -> None:
        self._subscriber = subscriber
        self._client = client
        self._bridge = bridge
        self._clock = clock
        self._attending = Attending(subscriber, calling, clock, self._settle)
        self._reading: Deferred[None] | None = None

    def begin(self) -> None:
        """Listen, from now on."""
        self._reading = Deferred.fromCoroutine(self._read())
        self._reading.addErrback(self._broken)

    async def end(self, drain: float) -> None:
        """Let what runs finish, for so many seconds, and hang up."""
        draining = Deferred.fromCoroutine(self._attending.drain())
        draining.addTimeout(drain, self._clock).addErrback(self._late)
        await draining
        self._attending.end()
        reading, self._reading = self._reading, None
        if reading is not None:
            self._leave(reading)
            await reading

    def abandon(self) -> None:
        """Hang up at once, and wait for nothing."""
        self._attending.end()
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()

    def _late(self, _: object) -> None:
        self.log.warn(
            "{subscriber} did not finish in time, and is cancelled", subscriber=self._subscriber.name
        )

    def _broken(self, failure: Any) -> None:
        if not failure.check(CancelledError):
            self.log.failure("{subscriber} gets no more", failure, subscriber=self._subscriber.name)

    async def _read(self) -> None:
        raise NotImplementedError

    def _settle(self, message: Message, outcome: Outcome) -> bool:
        raise NotImplementedError

    def _leave(self, reading: Deferred[None]) -> None:
        raise NotImplementedError


class _OfBroker(_Served):
    """A subscription to the broker: what cannot be dealt with is lost, and what comes too fast waits at the daemon."""

    def __init__(
        self, subscriber: Subscriber, calling: Calling, client: IClient, bridge: Bridge, clock: IReactorTime
    ) -> None:
        super().__init__(subscriber, calling, client, bridge, clock)
        self._answering: set[Deferred[None]] = set()

    async def _read(self) -> None:
        wish = self._subscriber.wish
        most = wish.concurrency if wish.key is None else AHEAD * wish.concurrency
        messages = self._client.broker.messages(wish.topic, wish.queue, insistent=True)
        try:
            async for message in messages:
                self._attending.arrived(message)
                await self._attending.room(most)
        finally:
            await close(messages)

    def pause(self) -> None:
        """Begin to deal with nothing more; what waits here is lost, but for which the broker makes no promise."""
        self._attending.pause()

    def _settle(self, message: Message, outcome: Outcome) -> bool:
        to = message.header("Reply-To")
        if to and (outcome.error or outcome.reply is not None):
            answering = Deferred.fromCoroutine(self._answer(to, outcome))
            self._answering.add(answering)
            answering.addErrback(self._unanswered, to)
            answering.addBoth(lambda _: self._answering.discard(answering))
        return False

    async def _answer(self, to: str, outcome: Outcome) -> None:
        """Somebody has asked, in the way of NATS; errors are told as that one's services tell them (its ADR-32)."""
        questions = self._client.broker.questions
        if outcome.error:
            said = {"Nats-Service-Error": " ".join(outcome.error.split()), "Nats-Service-Error-Code": "500"}
            await self._client.ask_store(questions.publish(to, b"", said))
        else:
            await self._client.ask_store(questions.publish(to, outcome.reply, None))

    def _unanswered(self, failure: Any, to: str) -> None:
        name, problem = self._subscriber.name, failure.getErrorMessage()
        self.log.warn(
            "{subscriber} could not answer at {to}: {problem}", subscriber=name, to=to, problem=problem
        )

    async def end(self, drain: float) -> None:
        """Let what runs finish, for so many seconds, and hang up once all is answered."""
        await super().end(drain)
        for answering in list(self._answering):
            await answering

    def _leave(self, reading: Deferred[None]) -> None:
        reading.cancel()


class _OfEvents(_Served):
    """A subscription to events."""

    def __init__(
        self, subscriber: Subscriber, calling: Calling, client: IClient, bridge: Bridge, clock: IReactorTime
    ) -> None:
        super().__init__(subscriber, calling, client, bridge, clock)
        assert subscriber.wish.terms is not None
        self._terms = subscriber.wish.terms
        self._consumer = Consumer(
            client, clock, bridge, self._terms, keep=True, insistent=True, on_lost=self._forget
        )

    async def _read(self) -> None:
        messages = self._consumer.messages()
        try:
            async for message in messages:
                self._attending.arrived(message)
        finally:
            await close(messages)

    def pause(self) -> None:
        """Begin to deal with nothing more; what waits here is given back at the end."""
        self._attending.pause()

    def _settle(self, message: Message, outcome: Outcome) -> bool:
        word = events_pb2.AckRequest(id=message.id, error=outcome.error)
        again = outcome.again and not 0 <= self._terms.retries < message.attempt
        if not outcome.error:
            word.success = True
        elif not outcome.again:
            word.drop = True
        self._consumer.say(message.id, word, final=not again)
        return again

    def _forget(self) -> None:
        """The connection is gone, and what was not begun comes again."""
        for message in self._attending.forget():
            self._consumer.release(message.id)

    def _leave(self, reading: Deferred[None]) -> None:
        self._consumer.leave()
        reading.addTimeout(FAREWELL, self._clock, lambda failure, _: None)
