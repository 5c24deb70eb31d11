"""Calling other services, and the platform's own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from typing_extensions import TypeVar

from microd.framework.blobs import Blobs
from microd.framework.bridge import Bridge, NoBridge
from microd.framework.config.client import Config
from microd.framework.config.sources import Sources
from microd.framework.context import current_call
from microd.framework.envelope import Envelopes
from microd.framework.failures import micro_error
from microd.framework.identity import Identity, Question
from microd.framework.messages.broker import Broker
from microd.framework.messages.events import Events
from microd.framework.outgoing import CORE, TIMEOUT, MetadataLike, Outgoing, Pairs, outgoing, pairs
from microd.framework.store import Ask, Questions, Store
from microd.framework.tokens import Tokens
from microd.framework.tracing import Outbound, belongs, place_of_call
from microd.kernel.activity import Activity
from microd.kernel.caller import Account
from microd.kernel.errors import MicroError, Unauthorized
from microd.txgrpc import Channel, Metadata, RpcError
from microd.txgrpc.noted import headers_of
from microd.wire import auth_pb2

#: What comes back, where nobody says otherwise: the JSON object.
T = TypeVar("T", default=dict[str, Any])

#: How many tokens of callers are remembered, and for how many seconds.
INSPECTED, INSPECTED_FOR = 1000, 10.0


class Client:
    """Calls services through the daemon, as somebody.

    What is awaited here inside a handler takes over the call's deadline, and is part of its trace.

    @param identity: who we are; asked when a token is needed.
    @param namespace: where services are looked up, the store's database, and whose configuration it is.
    @param table: the store's table.
    @param now: Unix time.
    @param sources: where configuration comes from besides the platform.
    @ivar blobs: the blobs of the namespace.
    @ivar broker: messages to whoever listens now; C{events} are kept.
    @ivar config: the configuration.
    @ivar closed: no call can be made any more.
    @ivar impatient: called, each of them, when there is a connection again.
    @ivar activity: takes note of the calls made here, and of those which the service answers.
    """

    def __init__(
        self,
        channel: Channel,
        identity: Callable[[], Identity],
        now: Callable[[], float],
        *,
        namespace: str,
        table: str,
        bridge: Bridge | None = None,
        sources: Sources | None = None,
    ) -> None:
        self._channel = channel
        self.namespace = namespace
        self.activity = Activity(headers_of)
        self.closed = False
        self.impatient: set[Callable[[], None]] = set()
        self._envelopes = Envelopes()
        self.bridge: Bridge = bridge or NoBridge()
        self._now = now
        self.tokens = Tokens(identity, self._ask_auth, now)
        self._inspected: dict[str, tuple[float, Account | None]] = {}
        self.config = Config(
            self, self.ask_store, self.bridge, channel.clock, namespace, sources or Sources()
        )
        self.store_questions = Questions(namespace, table)
        self.store = Store(lambda ask: self.bridge.theirs(self.ask_store(ask)), namespace, table)
        self.blobs = Blobs(self, self.bridge, namespace)
        self.broker = Broker(self, self.bridge, channel.clock, belongs)
        self.events = Events(self, self.bridge, channel.clock, belongs)

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
    ) -> Awaitable[T]:
        """Call C{endpoint} (C{Struct.Method}) of C{service}, and get its one reply.

        @param request: a dataclass, a generated message, a dict (as JSON) or C{None} (the empty message); an async iterator
            of those, where the endpoint takes a stream.
        @param reply: the type of the reply, likewise.
        @param timeout: seconds; without it, what is left to the call that is being answered, or 10.
        @raise MicroError: what the service answered, or how the call broke off.
        """
        return self.bridge.theirs(
            self.answer(service, endpoint, request, reply, timeout, metadata, namespace)
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
    ) -> AsyncIterator[T]:
        """Call an endpoint that streams, and iterate over its replies; leaving the loop cancels the call.

        @param request: as for L{call}; with an async iterator both sides stream.
        @param timeout: seconds for the whole stream; without it, what is left to the call that is being answered.
        """
        return self.bridge.their_stream(
            self.answers(service, endpoint, request, reply, timeout, metadata, namespace)
        )

    async def ask(
        self,
        path: str,
        request: object,
        reply: type[T],
        *,
        token: str | None = None,
        timeout: float = TIMEOUT,
        metadata: Mapping[str, str] | None = None,
        wait_for_ready: bool = False,
    ) -> T:
        """Call a core service with its generated messages.

        @param token: whose call it is; C{None}: ours.
        @param wait_for_ready: wait for the daemon, rather than fail at once where it is not there.
        """
        wanted = outgoing("", path, type(request), reply)
        shown = await self._token() if token is None else token
        given = pairs(metadata)
        # Getting a token of our own is nothing that whoever called us asked for.
        place = place_of_call(given, alone=False) if token is None else None
        with Outbound(self.activity, wanted.name, place) as outbound:
            made, tail = self._envelopes.of(CORE, shown, outbound.own, given)
            try:
                return await self._unary(wanted, request, made, tail, timeout, wait_for_ready)
            except Unauthorized:
                if token is None:
                    self.tokens.forget(shown)
                raise

    async def inspect(self, token: str) -> Account | None:
        """Whose token it is, by the auth service's word, which is remembered for L{INSPECTED_FOR} seconds; C{None} for nobody's."""
        found = self._inspected.get(token)
        if found is not None and self._now() < found[0]:
            return found[1]
        request = auth_pb2.InspectRequest(token=token)
        try:
            account = account_from(
                (await self.ask("/auth.Auth/Inspect", request, auth_pb2.InspectResponse)).account
            )
        except MicroError as problem:
            if problem.code not in (400, 401):
                raise
            account = None
        if len(self._inspected) >= INSPECTED:
            self._inspected.clear()
        self._inspected[token] = (self._now() + INSPECTED_FOR, account)
        return account

    async def reachable(self) -> bool:
        """Whether a daemon answers, be it with a refusal."""
        try:
            await self._channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=TIMEOUT)
        except RpcError as problem:
            return problem.answered
        return True

    def connected(self) -> None:
        """There is a connection again."""
        for each in list(self.impatient):
            each()

    async def close(self) -> None:
        """Hang up, for good."""
        self.closed = True
        await self._channel.close(0)

    # -- how

    async def answer(
        self,
        service: str,
        endpoint: str,
        request: object,
        reply: type[T],
        timeout: float | None,
        metadata: MetadataLike | None,
        namespace: str | None,
    ) -> T:
        """What L{call} does, as a coroutine of ours whatever the author's are."""
        streams = isinstance(request, AsyncIterable)
        wanted = outgoing(service, endpoint, None if streams else type(request), reply)
        token, given = await self._token(), pairs(metadata)
        with Outbound(self.activity, wanted.name, place_of_call(given, alone=True)) as outbound:
            made, tail = self._envelopes.of(namespace or self.namespace, token, outbound.own, given)
            if not isinstance(request, AsyncIterable):
                limit = _default_timeout() if timeout is None else timeout
                return await self._unary(wanted, request, made, tail, limit, False)
            options = _options(wanted, made, tail, timeout)
            call = self._channel.stream_unary(wanted.path, wanted.dump, None)
            try:
                data = await call(self.bridge.our_stream(aiter(request)), **options)
            except RpcError as problem:
                raise self._told(problem, service, token) from None
            return wanted.parse(data)

    def _told(self, problem: RpcError, service: str, token: str) -> MicroError:
        """What a call came to. Where the platform itself does not know us any more, log in again next time."""
        found = micro_error(problem)
        if not service and isinstance(found, Unauthorized):
            self.tokens.forget(token)
        return found

    async def _unary(
        self,
        wanted: Outgoing[T],
        request: object,
        made: Metadata | Pairs,
        tail: bytes,
        timeout: float | None,
        wait_for_ready: bool,
    ) -> T:
        data = wanted.dump(request)
        call = self._channel.unary_unary(wanted.path)
        try:
            answer = await call(
                data,
                timeout=timeout,
                metadata=made,
                content_type=wanted.content_type,
                tail=tail,
                wait_for_ready=wait_for_ready,
            )
        except RpcError as problem:
            raise micro_error(problem) from None
        return wanted.parse(answer)

    async def answers(
        self,
        service: str,
        endpoint: str,
        request: object,
        reply: type[T],
        timeout: float | None,
        metadata: MetadataLike | None,
        namespace: str | None,
    ) -> AsyncGenerator[T, None]:
        """What L{stream} does, likewise."""
        streams = isinstance(request, AsyncIterable)
        wanted = outgoing(service, endpoint, None if streams else type(request), reply)
        token, given = await self._token(), pairs(metadata)
        with Outbound(self.activity, wanted.name, place_of_call(given, alone=True)) as outbound:
            made, tail = self._envelopes.of(namespace or self.namespace, token, outbound.own, given)
            options = _options(wanted, made, tail, timeout)
            if isinstance(request, AsyncIterable):
                requests = self.bridge.our_stream(aiter(request))
                call = self._channel.stream_stream(wanted.path, wanted.dump, None)(requests, **options)
            else:
                call = self._channel.unary_stream(wanted.path)(wanted.dump(request), **options)
            try:
                async for data in call:
                    yield wanted.parse(data)
            except RpcError as problem:
                raise self._told(problem, service, token) from None
            finally:
                call.cancel()

    async def _ask_auth(self, question: Question) -> Any:
        return await self.ask(question.path, question.request, question.reply, token=question.token)

    async def ask_store(self, ask: Ask[T]) -> T:
        """Put a question to the store, the broker or events."""
        if not ask.stream:
            return ask.answer([await self.ask(ask.path, ask.request, ask.reply, metadata=ask.metadata)])
        replies = self.answers("", ask.path, ask.request, ask.reply, _default_timeout(), None, CORE)
        return ask.answer([reply async for reply in replies])

    async def _token(self) -> str:
        """Our token; nothing where we are nobody, which is for the other side to judge."""
        return self.tokens.ready() or await self.tokens.fetch()


def account_from(message: auth_pb2.Account) -> Account:
    """An account, as the auth service describes it."""
    return Account(
        message.id, message.type, message.issuer, message.name, tuple(message.scopes), dict(message.metadata)
    )


def _options(
    wanted: Outgoing[Any], made: Metadata | Pairs, tail: bytes, timeout: float | None
) -> dict[str, Any]:
    return {"timeout": timeout, "metadata": made, "content_type": wanted.content_type, "tail": tail}


def _default_timeout() -> float | None:
    """None where the call that is being answered has a deadline, which the channel then takes over."""
    call = current_call()
    return None if call is not None and call.deadline is not None else TIMEOUT
