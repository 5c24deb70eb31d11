"""Testing a service with no daemon, no network and no reactor.

::

    tester = ServiceTester(service)
    reply = tester.call("Greeter.Hello", HelloRequest("Ada"), HelloReply)
    assert tester.stream("Greeter.Count", CountRequest(3), CountReply) == [...]
    tester.publish("orders", Order(7))
    assert tester.dead_letters("orders") == []

Calls go through the same bytes as in earnest. What the service calls is answered by a L{FakeDaemon}, which has a registry,
accounts, a store, configuration, and routes to other services that the test gives it.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Iterable, Mapping
from typing import Any
from weakref import finalize

from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from typing_extensions import TypeVar

from microd.framework.bridge import NoBridge
from microd.framework.client import Client
from microd.framework.config.ofservice import Watching
from microd.framework.config.sources import Sources
from microd.framework.identity import Credentials
from microd.framework.messages.ofservice import Subscriptions
from microd.framework.node import grpc_server
from microd.framework.outgoing import MetadataLike
from microd.framework.service import Service
from microd.framework.workers import AtOnce
from microd.services.events.model import DeadLetter
from microd.testing.daemon import FakeDaemon
from microd.testing.outcome import done
from microd.txgrpc import Channel, GrpcServer
from microd.txgrpc.health import Health

#: What comes back, where nobody says otherwise: the JSON object.
T = TypeVar("T", default=dict[str, Any])


class ServiceTester:
    """Calls the endpoints of one service.

    Plain functions run where they stand rather than in threads. Handlers that await what asyncio makes need its loop, and
    are not for this.

    @ivar daemon: whom the service takes for its daemon.
    @ivar client: calls through the daemon, as C{tester}; C{ServiceTester.call} waits for its answers.
    @ivar server: the service's own gRPC server.
    """

    def __init__(
        self, service: Service, clock: IReactorTime | None = None, daemon: FakeDaemon | None = None
    ) -> None:
        self.clock: Any = clock or Clock()
        self.daemon = daemon or FakeDaemon(self.clock)
        self.service = service
        service.client = self._client(service.name, service.config.sources)
        service.workers = AtOnce()
        self.server: GrpcServer = grpc_server(
            service, service.published(), service.workers, NoBridge(), service.client, Health(), self.clock
        )
        self.daemon.services[service.name] = self.server
        self.client = self._client("tester", Sources())
        self.subscribers = service.subscribers.published()
        # A connection of its own, so that functions which wait can be answered while it hands them something.
        listening = self._client(service.name, Sources())
        listening.activity = service.client.activity
        self._subscriptions = Subscriptions(
            service.name, self.subscribers, listening, service.workers, NoBridge(), self.clock
        )
        self._subscriptions.begin()
        watching = Watching(service.client.config, NoBridge(), self.clock)
        ensureDeferred(watching.begin(service.config.wishes))
        finalize(self, watching.end)
        finalize(self, self._subscriptions.abandon)

    def _client(self, name: str, sources: Sources) -> Client:
        self.daemon.accounts["micro", name] = f"secret of {name}"
        identity = Credentials(name, f"secret of {name}", "micro")
        return Client(
            Channel(self.daemon.endpoint, self.clock),
            lambda: identity,
            self.clock.seconds,
            namespace="micro",
            table=name,
            sources=sources,
        )

    def call(
        self,
        endpoint: str,
        request: object = None,
        reply: type[T] = dict,  # type: ignore[assignment]
        *,
        timeout: float | None = None,
        metadata: MetadataLike | None = None,
    ) -> T:
        """Call an endpoint, and get its reply; nothing in a test may make it wait.

        @raise MicroError: what the service answered.
        """
        return done(self.begin(endpoint, request, reply, timeout=timeout, metadata=metadata))

    def begin(
        self,
        endpoint: str,
        request: object = None,
        reply: type[T] = dict,  # type: ignore[assignment]
        *,
        timeout: float | None = None,
        metadata: MetadataLike | None = None,
    ) -> Deferred[T]:
        """Call an endpoint whose reply comes later, when the test has let time pass or fired a Deferred."""
        if isinstance(request, list):
            request = _stream(request)
        return _deferred(
            self.client.call(self.service.name, endpoint, request, reply, timeout=timeout, metadata=metadata)
        )

    def stream(
        self,
        endpoint: str,
        request: object = None,
        reply: type[T] = dict,  # type: ignore[assignment]
        *,
        metadata: MetadataLike | None = None,
    ) -> list[T]:
        """Call an endpoint that streams, and get all that comes; a list of requests is streamed too."""
        if isinstance(request, list):
            request = _stream(request)

        async def read() -> list[T]:
            replies = self.client.stream(self.service.name, endpoint, request, reply, metadata=metadata)
            return [value async for value in replies]

        return done(ensureDeferred(read()))

    def publish(
        self,
        topic: str,
        message: object,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Deferred[None]:
        """Publish what the service is subscribed to: on the broker, as an event, or both, as its subscriptions are.

        What follows from that, and waits for nothing, has happened when this returns; an event that shall come again does so
        as C{clock} is advanced. It can be awaited, and need not be.

        @raise LookupError: no function of the service is subscribed to the topic.
        """
        wishes = [each.wish for each in self.subscribers if fits(each.wish.topic, topic)]
        if not wishes:
            raise LookupError(f"no function of {self.service.name} is subscribed to {topic}")
        if any(wish.terms is None for wish in wishes):
            done(self.client.broker.publish(topic, message, headers=headers))
        if any(wish.terms is not None for wish in wishes):
            done(self.client.events.publish(topic, message, metadata=headers))
            self.daemon.prompt.run()
        return succeed(None)

    def dead_letters(self, topic: str) -> list[DeadLetter]:
        """The events of a topic which were dropped, or failed too often; the first one first."""
        self.daemon.prompt.run()
        letters, _ = done(self.daemon.events.dead_letters("micro", topic))
        return list(letters)


def fits(pattern: str, topic: str) -> bool:
    """Whether a subscription's topic, which may have wildcards, stands for C{topic}."""
    wanted, words = pattern.split("."), topic.split(".")
    if wanted[-1] == ">" and len(words) >= len(wanted):
        wanted, words = wanted[:-1], words[: len(wanted) - 1]
    return len(wanted) == len(words) and all(
        each in ("*", word) for each, word in zip(wanted, words, strict=True)
    )


def _deferred(awaitable: Awaitable[T]) -> Deferred[T]:
    async def wait() -> T:
        return await awaitable

    return ensureDeferred(wait())


async def _stream(values: Iterable[T]) -> AsyncIterable[T]:
    for value in values:
        yield value
