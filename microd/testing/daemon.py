"""A daemon in memory: registry, auth, store, config and routing, enough for a service and its author's tests.

It keeps the promises of the wire that services rely on, in the simplest way that does; nothing is written anywhere, and time is
the clock's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Literal

from google.protobuf.message import Message
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from microd.kernel.caller import Account, Caller
from microd.kernel.endpoint import Endpoint
from microd.kernel.errors import BadRequest, MicroError, NotFound, Unauthorized
from microd.kernel.rules import DEFAULT_RULE
from microd.services.auth.rpc import rule_message
from microd.services.broker import rpc as broker_rpc
from microd.services.broker.service import Broker
from microd.services.config import rpc as config_rpc
from microd.services.config.backends.store import StoredDocuments
from microd.services.config.keyring import Keyring
from microd.services.config.service import Config
from microd.services.events import rpc as events_rpc
from microd.services.events import rpc_groups
from microd.services.events.groups.consumption import Consumption
from microd.services.events.logs import Logs
from microd.services.events.model import Limits as EventLimits
from microd.services.events.service import Events
from microd.services.store import rpc as store_rpc
from microd.services.store.backends.memory import MemoryStore
from microd.services.store.blobs import rpc as blobs_rpc
from microd.services.store.blobs.backends.memory import MemoryBlobs
from microd.services.store.model import Query, Record
from microd.testing.outcome import done
from microd.testing.prompt import Prompt
from microd.txgrpc import Channel, GrpcServer, Method, RpcError, ServerCall, StatusCode
from microd.txgrpc.memory import MemoryEndpoint, connect
from microd.wire import auth_pb2, registry_pb2


class FakeDaemon:
    """One daemon.

    @ivar endpoint: where clients connect; C{endpoint.refusing} says that it is down.
    @ivar accounts: secrets by namespace and id.
    @ivar scopes: likewise; without, the account C{admin} has the scope C{admin}, all others have C{service}.
    @ivar nodes: what is registered, by node id; C{registrations} counts how often something was.
    @ivar rules: who may call whom; as in a new namespace, everybody everybody.
    @ivar store: the store, which answers as a daemon's own does; likewise C{blobs}, C{config}, C{broker} and C{events}.
    @ivar prompt: the clock of those who write a little later; C{prompt.run()} has it done.
    @ivar calls: the path and metadata of each call, the latest last.
    @ivar on_register: called after each registration; C{on_deregister} after the opposite.
    @ivar services: who answers for a service, by its name.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.clock = clock
        self.accounts: dict[tuple[str, str], str] = {("micro", "admin"): "admin-secret"}
        self.nodes: dict[str, registry_pb2.Service] = {}
        self.registrations = 0
        self.scopes: dict[tuple[str, str], list[str]] = {}
        self.rules = [rule_message(DEFAULT_RULE)]
        self.store = MemoryStore(now=clock.seconds)
        self.blobs = MemoryBlobs(now=clock.seconds)
        documents = StoredDocuments(MemoryStore(now=clock.seconds))
        self.config = Config(clock, documents, lambda _: Keyring([b"not a secret, and 32 bytes long."]))
        done(self.config.startService())
        self.broker = Broker()
        self.prompt = Prompt(clock)
        self.events = self._events()
        done(self.events.startService())
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.services: dict[str, GrpcServer] = {}
        self.on_register: Callable[[], None] = _nothing
        self.on_deregister: Callable[[], None] = _nothing
        self._tokens: dict[str, tuple[str, str]] = {}
        self._channels: dict[str, Channel] = {}
        self._serve()

    def restart(self) -> None:
        """Lose all connections, and with them what was registered over them."""
        self.nodes.clear()
        lost = self.endpoint.connections[:]
        self.endpoint.connections.clear()
        for _, theirs in lost:
            theirs.abortConnection()

    def revoke(self) -> None:
        """Let no token that was given out be good any more."""
        self._tokens.clear()

    def _events(self) -> Events:
        store, limits = MemoryStore(now=self.clock.seconds), EventLimits()
        logs = Logs(store, self.prompt, limits)
        # An event comes again after just the time that its consumer says, with no part of it taken off at random.
        return Events(store, logs, Consumption(logs, self.prompt, limits, lambda: 0.0))

    def _serve(self) -> None:
        methods = {
            "/auth.Auth/Token": self._method(self._token, auth_pb2.TokenRequest),
            "/auth.Auth/Generate": self._method(self._generate, auth_pb2.GenerateRequest),
            "/auth.Auth/Inspect": self._method(self._inspect, auth_pb2.InspectRequest),
            "/auth.Accounts/ChangeSecret": self._method(self._change_secret, auth_pb2.ChangeSecretRequest),
            "/auth.Rules/List": self._method(self._list_rules, auth_pb2.ListRequest),
            "/registry.Registry/Register": self._method(self._register, registry_pb2.Service),
            "/registry.Registry/Deregister": self._method(self._deregister, registry_pb2.Service),
        }
        for endpoint in (
            *store_rpc.endpoints(self.store, self.clock.seconds),
            *blobs_rpc.endpoints(self.blobs),
            *config_rpc.endpoints(self.config),
            *broker_rpc.endpoints(self.broker),
            *events_rpc.endpoints(self.events),
            *rpc_groups.endpoints(self.events, self.clock),
        ):
            methods[endpoint.path] = self._core(endpoint)
        self.server = GrpcServer(methods, clock=self.clock, fallback=self._route)
        self.endpoint = MemoryEndpoint(self.server)

    def _method(self, answer: Callable[[Any, str], Message], request: type[Message]) -> Method:
        """A unary method; C{answer} gets the request, and the id of who asks."""

        async def handler(message: Any, call: ServerCall) -> Message:
            self.calls.append((call.path, dict(call.metadata)))
            try:
                return answer(message, self._asker(call))
            except MicroError as problem:
                raise _refusal(problem, call) from None

        return Method("unary_unary", handler, request.FromString, _bytes)

    def _asker(self, call: ServerCall) -> str:
        token = str(call.metadata.get("authorization", "")).removeprefix("Bearer ")
        return self._tokens.get(token, ("", ""))[1]

    # -- auth

    def _token(self, request: auth_pb2.TokenRequest, _: str) -> Message:
        namespace = request.options.namespace or "micro"
        if request.refresh_token:
            if request.refresh_token.removeprefix("refresh-") not in self._tokens:
                raise BadRequest("invalid token provided")
            namespace, id = self._tokens[request.refresh_token.removeprefix("refresh-")]
        else:
            id = request.id
            if (namespace, id) not in self.accounts:
                raise BadRequest("Account not found with this ID")
            if self.accounts[namespace, id] != request.secret:
                raise BadRequest("Secret not correct")
        token = f"token-{id}-{len(self._tokens)}"
        self._tokens[token] = (namespace, id)
        expiry = int(self.clock.seconds()) + request.token_expiry
        made = auth_pb2.Token(access_token=token, refresh_token=f"refresh-{token}", expiry=expiry)
        return auth_pb2.TokenResponse(token=made)

    def _generate(self, request: auth_pb2.GenerateRequest, asker: str) -> Message:
        if asker != "admin":
            raise Unauthorized("an account is required")
        place = (request.options.namespace or "micro", request.id)
        if place in self.accounts:
            raise BadRequest("Account with this ID already exists")
        self.accounts[place] = request.secret
        return auth_pb2.GenerateResponse()

    def _change_secret(self, request: auth_pb2.ChangeSecretRequest, asker: str) -> Message:
        if asker != "admin":
            raise Unauthorized("an account is required")
        self.accounts[request.options.namespace or "micro", request.id] = request.new_secret
        return auth_pb2.ChangeSecretResponse()

    def _inspect(self, request: auth_pb2.InspectRequest, _: str) -> Message:
        if request.token not in self._tokens:
            raise BadRequest("invalid token provided")
        issuer, id = self._tokens[request.token]
        type, scope = ("user", "admin") if id == "admin" else ("service", "service")
        return auth_pb2.InspectResponse(
            account=auth_pb2.Account(
                id=id,
                name=id,
                type=type,
                issuer=issuer,
                scopes=self.scopes.get((issuer, id), [scope]),
            )
        )

    def _list_rules(self, request: auth_pb2.ListRequest, asker: str) -> Message:
        _require(asker)
        return auth_pb2.ListResponse(rules=self.rules)

    # -- registry

    def _register(self, request: registry_pb2.Service, asker: str) -> Message:
        _require(asker)
        self.registrations += 1
        for node in request.nodes:
            self.nodes[node.id] = request
        self.on_register()
        return registry_pb2.EmptyResponse()

    def _deregister(self, request: registry_pb2.Service, asker: str) -> Message:
        _require(asker)
        for node in request.nodes:
            self.nodes.pop(node.id, None)
        self.on_deregister()
        return registry_pb2.EmptyResponse()

    # -- store

    @property
    def records(self) -> dict[tuple[str, str, str], Record]:
        """What the store holds, by database, table and key."""
        return {
            (database, table, record.key): record
            for database in done(self.store.databases())
            for table in done(self.store.tables(database))
            for record in done(self.store.read(database, table, Query()))
        }

    def _core(self, endpoint: Endpoint) -> Method:
        """An endpoint of the daemon's own code."""

        async def handler(message: Any, call: ServerCall) -> Message:
            answer = self._answered(call, lambda caller: endpoint.handler(message, caller))
            answering: Deferred[Message] = Deferred.fromCoroutine(answer)
            self.prompt.run()
            return await answering

        async def stream(message: Any, call: ServerCall) -> AsyncIterator[Message]:
            # A request, or all requests of a client that streams.
            replies = aiter(endpoint.handler(message, self._caller(call)))
            try:
                while True:
                    reply = await self._answered(call, lambda _: anext(replies, None))
                    if reply is None:
                        return
                    yield reply
            finally:
                # Where it is still at work, both are being collected as garbage.
                if not replies.ag_running:
                    await replies.aclose()

        async def both(bodies: AsyncIterator[bytes], call: ServerCall) -> AsyncIterator[Message]:
            async for reply in stream(_requests(bodies, endpoint), call):
                yield reply

        if endpoint.server_streaming and endpoint.client_streaming:
            return Method("stream_stream", both, None, _bytes)
        if endpoint.server_streaming:
            return Method("unary_stream", stream, endpoint.request.FromString, _bytes)
        kind: Literal["stream_unary", "unary_unary"] = (
            "stream_unary" if endpoint.client_streaming else "unary_unary"
        )
        return Method(kind, handler, endpoint.request.FromString, _bytes)

    async def _answered(self, call: ServerCall, answer: Callable[[Caller], Any]) -> Any:
        self.calls.append((call.path, dict(call.metadata)))
        try:
            return await answer(self._caller(call))
        except MicroError as problem:
            raise _refusal(problem, call) from None

    def _caller(self, call: ServerCall) -> Caller:
        id = self._asker(call)
        account = Account(id, "service", "micro", id, ("service",)) if id else None
        said = {name: value for name, value in call.head.metadata if isinstance(value, str)}
        return Caller(account, metadata=said, peer=call.peer)

    # -- routing

    def forward(self, service: str, channel: Channel) -> None:
        """Send a service's calls to a channel, as to a node that is not in memory."""
        self._channels[service] = channel

    def _route(self, call: ServerCall) -> Method:
        service = call.path[1:].split("/")[0].rpartition(".")[0]
        if service not in self._channels and service in self.services:
            self._channels[service] = connect(self.services[service], self.clock)
        channel = self._channels.get(service)
        if channel is None:
            missing = NotFound(f"service {service} not found", "micro.network")
            raise RpcError(StatusCode.NOT_FOUND, missing.to_json())

        async def relay(requests: AsyncIterator[bytes], asked: ServerCall) -> AsyncIterator[bytes]:
            self.calls.append((asked.path, dict(asked.metadata)))
            call = channel.stream_stream(asked.path)
            async for reply in call(requests, metadata=asked.metadata, content_type=asked.content_type):
                yield reply

        return Method("stream_stream", relay)


async def _requests(bodies: AsyncIterator[bytes], endpoint: Endpoint) -> AsyncIterator[Message]:
    kind = endpoint.request
    async for body in bodies:
        yield kind.FromString(body)
        kind = endpoint.later or kind


def _nothing() -> None:
    """Nobody wants to know."""


def _require(asker: str) -> None:
    if not asker:
        raise Unauthorized("an account is required")


def _refusal(problem: MicroError, call: ServerCall) -> RpcError:
    named = problem.identified(call.path[1:].replace("/", "."))
    return RpcError(named.grpc_status, named.to_json())


def _bytes(message: Message) -> bytes:
    return message.SerializeToString()
