"""A service: the object that an author makes, decorates functions with, and runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar, overload

from microd.framework import naming
from microd.framework.client import Client
from microd.framework.config.ofservice import ServiceConfig
from microd.framework.config.sources import Sources
from microd.framework.endpoints import Endpoints, Published
from microd.framework.handlers import place_of_function
from microd.framework.messages.ofservice import Subscribers
from microd.framework.messages.subscriber import Key, wish_of
from microd.framework.messages.terms import Start
from microd.framework.model import Index, Model
from microd.framework.model.ofservice import ServiceRecords
from microd.framework.schema.shapes import SchemaError
from microd.framework.threadclient import ThreadClient
from microd.framework.workers import Workers

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
Hook = Callable[[], Awaitable[None] | None]
H = TypeVar("H", bound=Hook)
#: Says what is wrong, if anything is.
Check = Callable[[], Awaitable[str | None] | str | None]
C = TypeVar("C", bound=Check)


class Service:
    """A named set of endpoints::

        service = Service("greeter")

        @service.endpoint                       # Greeter.Hello
        async def hello(request: HelloRequest) -> HelloReply:
            return HelloReply(msg=f"Hello {request.name}")

        if __name__ == "__main__":
            service.run()

    What the runtime says in C{MICRO_SERVICE_NAME}, C{MICRO_SERVICE_VERSION} and C{MICRO_SERVICE_ADDRESS} wins over what
    stands here.

    @param name: how the service is found: letters, digits, C{-} and C{.}.
    @param address: where it listens, C{host:port}; empty: a free port, on this host only if the daemon is on it too.
    @param metadata: what the registry tells about each node.
    @param reactor: C{"asyncio"} for handlers which await what libraries for asyncio make; empty: Twisted's fastest.
    @param threads: how many plain C{def} handlers run at once.
    @param drain: seconds that calls in flight have on a stop.
    @param config: where configuration comes from besides the platform's config service.
    @ivar config: the configuration.
    """

    def __init__(
        self,
        name: str,
        version: str = "latest",
        *,
        address: str = "",
        metadata: Mapping[str, str] | None = None,
        reactor: str = "",
        threads: int = 16,
        drain: float = 20.0,
        config: Sources | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        if reactor not in ("", "asyncio"):
            raise ValueError(f'there is no reactor {reactor!r}: leave it out, or say "asyncio"')
        self.name = naming.checked_service(environ.get("MICRO_SERVICE_NAME") or name)
        self.version = environ.get("MICRO_SERVICE_VERSION") or version
        self.address = environ.get("MICRO_SERVICE_ADDRESS") or address
        self.metadata = dict(metadata or {})
        self.reactor = reactor
        self.threads = threads
        self.drain = drain
        self.starting: list[Hook] = []
        self.stopping: list[Hook] = []
        self.checks: list[Check] = []
        self.connected: list[Hook] = []
        self.disconnected: list[Hook] = []
        self.subscribers = Subscribers(self.name)
        self._endpoints = Endpoints(self.name)
        self._client: Client | None = None
        self.config = ServiceConfig(self, config or Sources())
        self.workers: Workers | None = None

    @overload
    def endpoint(self, function: F, /) -> F: ...
    @overload
    def endpoint(
        self, function: str = ..., /, *, name: str = ..., metadata: Mapping[str, str] | None = ...
    ) -> Callable[[F], F]: ...
    def endpoint(
        self,
        function: Callable[..., Any] | str = "",
        /,
        *,
        name: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> Any:
        """Offer a function: C{@service.endpoint}, or C{@service.endpoint("Admin.Purge")} with another name than its own.

        @param metadata: what the registry tells about the endpoint, beside its documentation.
        @raise SchemaError: the function cannot be an endpoint; the text says why, and where it is.
        """
        frame = sys._getframe(1)
        names = {} if frame.f_locals is frame.f_globals else dict(frame.f_locals)
        if callable(function):
            self._endpoints.add(function, name, names, metadata or {})
            return function
        chosen = function or name

        def decorate(decorated: F) -> F:
            self._endpoints.add(decorated, chosen, names, metadata or {})
            return decorated

        return decorate

    def subscribe(
        self,
        topic: str,
        *,
        queue: str = "",
        group: str = "",
        ephemeral: bool = False,
        start: Start | None = None,
        concurrency: int = 16,
        key: str | Key | None = None,
        timeout: float | None = None,
        retries: int | None = None,
        backoff: float | None = None,
        backoff_max: float | None = None,
        ack_wait: float | None = None,
    ) -> Callable[[F], F]:
        """Have a function called with what is published; see L{microd.framework.messages.subscriber} for what it may be::

            @service.subscribe("orders", group="billing")
            async def bill(order: Order) -> None:
                ...

        @param queue: on the broker: of all who subscribe with the same one, one gets each message; without, each gets it.
        @param group: events: they are kept until the group has dealt with them, whoever of it is there.
        @param ephemeral: events: this copy of the service gets all of them, and begins anew when it does.
        @param start: events: where a new group begins: C{"earliest"} (the default), C{"latest"} (that of an ephemeral one), an offset or a
            C{datetime}.
        @param concurrency: how many calls of the function run at once, 1 to 1000.
        @param key: the name of a field, or a function of the message: of those with the same key this copy of the service deals
            with one after the other, in order, a retried one included. Several copies of a group share the keys, too.
        @param timeout: seconds after which a call is cancelled, and counts as failed; a thread cannot be, and goes on.
        @param retries: events: how often one comes again, 5 by default, before it goes to the dead letters; -1: for ever.
        @param backoff: events: seconds before one comes again the first time, 1 by default; each time twice as long, up to C{backoff_max}, 60
            by default, less a random part.
        @param ack_wait: events: seconds after which one comes again if this process is gone without a word, 30 by default.
        @raise SchemaError: the function or the terms cannot be; the text says why, and where it is.
        """
        if callable(topic):
            raise SchemaError(f'{place_of_function(topic)}: say to what: @service.subscribe("orders", ...)')
        frame = sys._getframe(1)
        names = {} if frame.f_locals is frame.f_globals else dict(frame.f_locals)

        def decorate(function: F) -> F:
            try:
                wish = wish_of(
                    topic,
                    queue,
                    group,
                    ephemeral,
                    concurrency,
                    key,
                    timeout,
                    start=start,
                    retries=retries,
                    backoff=backoff,
                    backoff_max=backoff_max,
                    ack_wait=ack_wait,
                )
            except ValueError as problem:
                raise SchemaError(f"{place_of_function(function)}: {problem}") from None
            self.subscribers.add(function, wish, names)
            return function

        return decorate

    def on_connected(self, hook: H) -> H:
        """Have a function called when the service has the daemon: at its start, and each time it is back after it was lost."""
        self.connected.append(hook)
        return hook

    def on_disconnected(self, hook: H) -> H:
        """Have a function called when the connection to the daemon is lost; subscriptions go on by themselves when it is back."""
        self.disconnected.append(hook)
        return hook

    def on_start(self, hook: H) -> H:
        """Have a function called before the service takes calls: C{async def}, or plain and quick."""
        self.starting.append(hook)
        return hook

    def on_stop(self, hook: H) -> H:
        """Have a function called after the last call, whatever happened before."""
        self.stopping.append(hook)
        return hook

    def on_health(self, check: C) -> C:
        """Have a function asked whenever C{Debug.Health} is: C{async def}, or plain and quick.

        It returns nothing where all is well, else what is wrong; to raise is to be unwell.
        """
        self.checks.append(check)
        return check

    @property
    def client(self) -> Client:
        """Calls other services, and the platform's own, as this service; there is one while the service runs.

        @raise RuntimeError: it does not run.
        """
        if self._client is None:
            raise RuntimeError(
                f"{self.name} does not run yet; its client is for handlers and for what they call"
            )
        return self._client

    @client.setter
    def client(self, client: Client | None) -> None:
        self._client = client

    @property
    def blocking(self) -> ThreadClient:
        """The same for plain C{def} handlers, which run in threads: each call waits.

        @raise RuntimeError: the service does not run.
        """
        client = self.client
        assert self.workers is not None
        return ThreadClient(client, self.workers)

    def model(
        self,
        kind: type[T],
        *,
        key: str = "id",
        indexes: Sequence[Index] = (),
        name: str = "",
        version: str = "",
    ) -> ServiceRecords[T]:
        """Keep instances of a dataclass in the service's store, found by indexes; see L{Model}::

            users = service.model(User, indexes=[Index("email", unique=True)])

        It can be called before the service runs; the records are there while it does: C{await users.get(email=...)}, and
        C{users.blocking.get(email=...)} in plain C{def} handlers.

        @raise SchemaError: the class cannot be kept, or an index is of what has no order; the text names the field.
        """
        frame = sys._getframe(1)
        names = {} if frame.f_locals is frame.f_globals else dict(frame.f_locals)
        model = Model(kind, key=key, indexes=indexes, name=name, version=version, names=names)
        return ServiceRecords(model, self)

    def published(self) -> Published:
        """The endpoints in all their forms.

        @raise SchemaError: some annotation names what does not exist.
        """
        return self._endpoints.published()

    def proto(self) -> str:
        """The contract as the text of a C{.proto} file, for other languages."""
        return self.published().prototext()

    def run(self) -> None:
        """Run until SIGTERM or Ctrl-C, then let calls finish; what prevents it ends the process with one sentence."""
        from microd.framework.running import run  # the reactor is chosen there, as late as can be

        run(self)
