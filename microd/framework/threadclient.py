"""The client of handlers that are plain functions: they run in threads, and may wait."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from typing_extensions import TypeVar

from microd.framework.blobs import BlockingBlobs
from microd.framework.client import Client
from microd.framework.config.blocking import BlockingConfig
from microd.framework.handoff import Handoff
from microd.framework.messages.blocking import BlockingBroker, BlockingEvents
from microd.framework.messages.delivery import Delivery, Say
from microd.framework.messages.terms import Terms
from microd.framework.outgoing import MetadataLike
from microd.framework.store import BlockingStore
from microd.framework.tracing import belongs
from microd.framework.workers import Workers
from microd.wire import events_pb2

T = TypeVar("T", default=dict[str, Any])


class ThreadClient:
    """Calls as L{Client} does, and waits for the answers; with the deadline and the trace of the call that is being answered.

    @ivar store: the platform's store; C{blobs} its blobs.
    @ivar config: the service's configuration.
    @ivar broker: messages to whoever listens now; C{events} are kept.
    """

    def __init__(self, client: Client, workers: Workers) -> None:
        self._client = client
        self._workers = workers
        store = client.store.questions
        self.store = BlockingStore(
            lambda ask: workers.wait(lambda: client.ask_store(ask)), store.database, store.table
        )
        self.config = BlockingConfig(
            lambda ask: workers.wait(lambda: client.ask_store(ask)),
            client.config.questions,
            client.config.layers,
        )
        self.blobs = BlockingBlobs(self, client.namespace)
        self.broker = BlockingBroker(lambda ask: workers.wait(lambda: client.ask_store(ask)), belongs)
        self.events = BlockingEvents(
            lambda ask: workers.wait(lambda: client.ask_store(ask)), belongs, self._consume
        )

    def call(
        self,
        service: str,
        endpoint: str,
        request: object = None,
        reply: type[T] = dict,  # type: ignore[assignment]
        *,
        timeout: float | None = None,
        metadata: MetadataLike | None = None,
        namespace: str | None = None,
    ) -> T:
        """Call an endpoint, and wait for its one reply; see L{Client.call}.

        @param request: as there; an iterator, where the endpoint takes a stream, runs in this thread.
        """
        if isinstance(request, Iterator):
            return self._send(service, endpoint, request, reply, timeout, metadata, namespace)
        return self._workers.wait(
            lambda: self._client.answer(service, endpoint, request, reply, timeout, metadata, namespace)
        )

    def stream(
        self,
        service: str,
        endpoint: str,
        request: object = None,
        reply: type[T] = dict,  # type: ignore[assignment]
        *,
        timeout: float | None = None,
        metadata: MetadataLike | None = None,
        namespace: str | None = None,
    ) -> Iterator[T]:
        """Call an endpoint that streams, and iterate over its replies; see L{Client.stream}."""
        return self._each(
            self._client.answers(service, endpoint, request, reply, timeout, metadata, namespace)
        )

    def _each(self, values: AsyncGenerator[T, None]) -> Iterator[T]:
        """What comes of a generator on the reactor, one after the other."""

        async def following() -> tuple[T, ...]:
            async for value in values:
                return (value,)
            return ()

        async def end() -> None:
            await values.aclose()

        try:
            while found := self._workers.wait(following):
                yield found[0]
        finally:
            self._workers.wait(end)

    def _consume(self, terms: Terms, kind: Any, auto_ack: bool) -> Iterator[Delivery]:
        def say(heard: Say) -> Say:
            async def hear(word: events_pb2.AckRequest) -> None:
                heard(word)

            return lambda word: self._workers.wait(partial(hear, word))

        return self._each(self._client.events.deliveries(terms, kind, auto_ack, say))

    def _send(self, service: str, endpoint: str, requests: Iterator[object], reply: type[T], *rest: Any) -> T:
        """Call with a stream of requests: one after the other is handed to the call, as it sends them."""
        handoff = Handoff(self._client.bridge)
        calling: list[Deferred[T]] = []

        async def begin() -> None:
            answer = self._client.answer(service, endpoint, handoff, reply, *rest)
            calling.append(Deferred.fromCoroutine(answer).addBoth(_closing, handoff))

        async def ended() -> T:
            return await calling[0]

        async def give_up() -> None:
            calling[0].addErrback(_nothing)
            calling[0].cancel()

        self._workers.wait(begin)
        try:
            for request in requests:
                if not self._workers.wait(partial(handoff.put, request)):
                    break
        except BaseException:
            self._workers.wait(give_up)
            raise
        self._workers.wait(handoff.end)
        return self._workers.wait(ended)


def _closing(outcome: T, handoff: Handoff) -> T:
    handoff.close()
    return outcome


def _nothing(_: Failure) -> None:
    """Whoever would be told has gone."""
