"""One running copy of a service: it listens, is registered, answers, and leaves in order."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Mapping
from typing import Any
from uuid import uuid4

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import deferLater
from twisted.logger import Logger

from microd.framework.bridge import Bridge
from microd.framework.client import Client
from microd.framework.config.ofservice import Watching
from microd.framework.config.sources import ConfigError
from microd.framework.daemon import Daemon
from microd.framework.debug import Debug
from microd.framework.debug import methods as debug_methods
from microd.framework.endpoints import AnyPackage, Published
from microd.framework.messages.ofservice import Subscriptions
from microd.framework.presence import Presence
from microd.framework.registration import TTL, Registration
from microd.framework.rules import Rules
from microd.framework.service import Hook, Service
from microd.framework.workers import Threads, Workers
from microd.kernel.caller import DEFAULT_NAMESPACE
from microd.kernel.errors import MicroError
from microd.kernel.recent import Recent
from microd.kernel.vitals import Vitals
from microd.txgrpc import GrpcServer
from microd.txgrpc.endpoints import server_endpoint
from microd.txgrpc.health import SERVING, Health
from microd.txgrpc.reflection import Reflection
from microd.wire import registry_pb2 as wire

#: Seconds that a service waits for a daemon which is not there yet, and between two looks.
PATIENCE, LOOK = 10.0, 0.25


class CannotStart(Exception):
    """Why a service does not run, in a sentence for the person who started it."""


class Node:
    """One copy of C{service}, from L{start} to L{stop}.

    @param reactor: the clock, the network and the threads.
    @param recent: the last lines of the log.
    """

    log = Logger()

    def __init__(
        self,
        service: Service,
        reactor: Any,
        daemon: Daemon,
        client: Client,
        bridge: Bridge,
        environ: Mapping[str, str],
        recent: Recent | None = None,
    ) -> None:
        self._service = service
        self._reactor = reactor
        self._daemon = daemon
        self._client = client
        self._bridge = bridge
        self._environ = environ
        self._health = Health()
        self._threads = Threads(reactor, service.threads)
        self._watching = Watching(client.config, bridge, reactor)
        self._rules = Rules(service.name, client, reactor)
        self._vitals = Vitals()
        self._debug = Debug(
            service.checks, client.namespace, client.activity, recent or Recent(), self._vitals, bridge
        )
        self._subscriptions: Subscriptions | None = None
        self.presence = Presence(
            reactor, bridge, daemon.address.text, service.connected, service.disconnected
        )
        self._port: IListeningPort | None = None
        self._server: GrpcServer | None = None
        self.registration: Registration | None = None

    async def start(self) -> None:
        """Be there for calls.

        @raise CannotStart: something is missing.
        @raise SchemaError: the service's own code is at fault.
        """
        service = self._service
        published = service.published()
        subscribers = service.subscribers.published()
        if not published.handlers and not subscribers:
            raise CannotStart(
                f"{service.name} has no endpoints and no subscriptions: decorate functions with @service.endpoint "
                "or @service.subscribe"
            )
        await self._await_daemon()
        service.client, service.workers = self._client, self._threads
        self._threads.start()
        self._vitals.collections.begin()
        await self._configure()
        await self._rules.begin()
        for hook in service.starting:
            await self._called(hook)
        self._server = grpc_server(
            service,
            published,
            self._threads,
            self._bridge,
            self._client,
            self._health,
            self._reactor,
            self._debug,
            self._rules,
        )
        address = await self._listen(self._server)
        entry = entry_of(service, published, address, self._environ)
        self.registration = Registration(self._client.ask, entry, self._reactor)
        try:
            await self.registration.begin()
        except MicroError as problem:
            raise CannotStart(
                f"the daemon at {self._daemon.address.text} did not register {service.name}: {problem.detail}"
            ) from None
        for name in published.service_names():
            self._health.set(name, SERVING)
        self.presence.begin()
        self._subscriptions = Subscriptions(
            service.name, subscribers, self._client, self._threads, self._bridge, self._reactor
        )
        self._subscriptions.begin()

    async def stop(self) -> None:
        """Take leave of the registry, let calls in flight and what is subscribed finish, and hang up."""
        self._health.close()
        self._debug.stopping = True
        self.presence.end()
        subscriptions, self._subscriptions = self._subscriptions, None
        ending: Deferred[None] | None = None
        if subscriptions is not None:
            ending = Deferred.fromCoroutine(subscriptions.end(self._service.drain))
        if self.registration is not None:
            await self.registration.end()
        if self._port is not None:
            port, self._port = self._port, None
            await _settled(port.stopListening())
        if self._server is not None:
            await self._server.drain(self._service.drain)
        if ending is not None:
            await ending
        for hook in self._service.stopping:
            try:
                await self._called(hook)
            except Exception:  # noqa: BLE001 - the rest must be left in order all the same
                self.log.failure("a function for the stop failed")
        self._vitals.collections.end()
        self._watching.end()
        self._rules.end()
        self._threads.stop()
        await self._client.close()
        self._service.client = self._service.workers = None

    async def _configure(self) -> None:
        """Read the configuration's files, and tell who watches what is there."""
        try:
            self._client.config.layers()
        except ConfigError as problem:
            raise CannotStart(str(problem)) from None
        await self._watching.begin(self._service.config.wishes)

    async def _await_daemon(self) -> None:
        """A service may start before its daemon, though not for ever."""
        address = self._daemon.address.text
        sentence = f"no daemon at {address}: start one with `twistd -n micro`"
        late = self._reactor.seconds() + PATIENCE
        told = False
        while not await self._client.reachable():
            if self._reactor.seconds() >= late:
                raise CannotStart(sentence)
            if not told:
                told = True
                self.log.warn("{sentence}; waiting for it", sentence=sentence)
            await deferLater(self._reactor, LOOK)

    async def _listen(self, server: GrpcServer) -> str:
        """Listen, and say under which address others find us."""
        host, port = listening_at(self._service.address, self._daemon.address.is_local)
        description = f"tcp:{port}" + (f":interface={host.replace(':', chr(92) + ':')}" if host else "")
        try:
            self._port = await server_endpoint(self._reactor, description).listen(server)
        except (CannotListenError, ValueError) as problem:
            raise CannotStart(
                f"{self._service.name} cannot listen on {self._service.address or host}: {problem}; "
                f"set MICRO_SERVICE_ADDRESS to another host:port"
            ) from None
        bound: Any = self._port.getHost()
        shown = host if host not in ("", "0.0.0.0", "::") else own_address(self._daemon.address.host)
        return f"[{shown}]:{bound.port}" if ":" in shown else f"{shown}:{bound.port}"

    async def _called(self, hook: Hook) -> None:
        outcome = hook()
        if isinstance(outcome, Awaitable):
            await self._bridge.ours(outcome)


def grpc_server(
    service: Service,
    published: Published,
    workers: Workers,
    bridge: Bridge,
    client: Client,
    health: Health,
    clock: Any,
    debug: Debug | None = None,
    rules: Rules | None = None,
) -> GrpcServer:
    """What answers the service's calls, and tools that ask how it is and what it offers.

    @param rules: who may call; C{None}: everybody, as in an author's tests.
    """
    activity = client.activity
    debug = debug or Debug(service.checks, client.namespace, activity, Recent(), Vitals(), bridge)
    methods = {
        **debug_methods(service.name, debug, workers, client.inspect, activity),
        **published.methods(workers, bridge, lambda token: bridge.theirs(client.inspect(token)), activity),
    }
    reflection = Reflection(published.service_names, [published.contract.pool])
    tools = {**health.methods(), **reflection.methods()}
    if rules is not None:
        methods = {
            path: rules.guarded(path.rpartition(".")[2].replace("/", "."), method)
            for path, method in methods.items()
        }
        tools = {path: rules.walled(method) for path, method in tools.items()}
    return GrpcServer({**methods, **tools}, clock=clock, fallback=AnyPackage(methods))


def entry_of(
    service: Service, published: Published, address: str, environ: Mapping[str, str]
) -> wire.Service:
    """What the registry is told (spec 6.1)."""
    described = {
        **service.metadata,
        "broker": "service",
        "registry": "service",
        "server": "grpc",
        "transport": "grpc",
        "protocol": "grpc",
    }
    if environ.get("MICRO_SERVICE_PROCESS"):
        described["process"] = environ["MICRO_SERVICE_PROCESS"]
    return wire.Service(
        name=service.name,
        version=service.version,
        endpoints=published.registered(),
        nodes=[wire.Node(id=f"{service.name}-{uuid4()}", address=address, metadata=described)],
        options=wire.Options(ttl=TTL, domain=environ.get("MICRO_NAMESPACE") or DEFAULT_NAMESPACE),
    )


def listening_at(address: str, daemon_is_local: bool) -> tuple[str, int]:
    """Host and port to listen on; no host means all of them.

    @raise CannotStart: C{address} is none.
    """
    if not address:
        return ("127.0.0.1" if daemon_is_local else ""), 0
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise CannotStart(f"{address!r} is not an address to listen on: write host:port or :port")
    return host.strip("[]"), int(port)


def own_address(towards: str) -> str:
    """Our address, as the host C{towards} sees it; nothing is sent to find out."""
    family = socket.AF_INET6 if ":" in towards else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((towards or "127.0.0.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


async def _settled(outcome: Any) -> None:
    if isinstance(outcome, Awaitable):
        await outcome
