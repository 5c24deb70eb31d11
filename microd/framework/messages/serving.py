"""One subscription while it is served."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from microd.framework.bridge import Bridge
from microd.framework.config.closing import close
from microd.framework.messages.attending import Attending, Outcome
from microd.framework.messages.broker import Broker
from microd.framework.messages.calling import Calling
from microd.framework.messages.consuming import FAREWELL, Caller, Consumer
from microd.framework.messages.model import Message
from microd.framework.messages.reopening import SLOW_WAIT
from microd.framework.messages.subscriber import AHEAD, Subscriber
from microd.kernel.activity import Activity
from microd.wire import events_pb2


class IClient(Caller, Protocol):
    """What is asked of L{microd.framework.client.Client}."""

    @property
    def namespace(self) -> str: ...

    @property
    def activity(self) -> Activity: ...

    @property
    def broker(self) -> Broker: ...


class Served:
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
        self._reading = Deferred.fromCoroutine(self._insist())
        self._reading.addErrback(lambda failure: failure.trap(CancelledError))

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

    async def _insist(self) -> None:
        """Read, whatever happens: a defect of ours must not leave the service deaf."""
        while True:
            try:
                return await self._read()
            except CancelledError:
                raise
            except Exception:  # noqa: BLE001 - the next attempt may fare better
                if self._client.closed:
                    return None
                self.log.failure(
                    "reading for {subscriber} failed; trying again", subscriber=self._subscriber.name
                )
            await deferLater(self._clock, SLOW_WAIT)

    async def _read(self) -> None:
        raise NotImplementedError

    def _settle(self, message: Message, outcome: Outcome) -> bool:
        raise NotImplementedError

    def _leave(self, reading: Deferred[None]) -> None:
        raise NotImplementedError


class OfBroker(Served):
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


class OfEvents(Served):
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
                try:
                    self._attending.arrived(message)
                except Exception:
                    self._consumer.release(message.id)
                    raise
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
