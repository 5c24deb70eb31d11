"""The client for scripts, notebooks and tests: every call waits, and Twisted is not imported."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache, partial
from types import TracebackType
from typing import Any
from weakref import WeakSet

from google.protobuf.message import Message
from typing_extensions import TypeVar

from microd.framework.blobs import BlockingBlobs
from microd.framework.config.blocking import BlockingConfig
from microd.framework.config.questions import Questions as ConfigQuestions
from microd.framework.config.sources import Layers, Sources
from microd.framework.daemon import address_from, find_daemon
from microd.framework.failures import micro_error
from microd.framework.identity import (
    MARGIN,
    Credentials,
    Identity,
    Question,
    Steps,
    Token,
    identity_of,
    renew,
)
from microd.framework.messages.blocking import BlockingBroker, BlockingEvents, consuming
from microd.framework.messages.questions import CONSUME
from microd.framework.outgoing import CORE, TIMEOUT, MetadataLike, Outgoing, headers, outgoing, pairs
from microd.framework.store import Ask, BlockingStore
from microd.kernel.caller import DEFAULT_NAMESPACE
from microd.kernel.errors import MicroError, Unauthorized
from microd.txgrpc.blocking import BlockingChannel
from microd.txgrpc.status import RpcError
from microd.wire import events_pb2

#: What comes back, where nobody says otherwise: the JSON object.
T = TypeVar("T", default=dict[str, Any])


class BlockingClient:
    """Calls services through the daemon::

        with BlockingClient() as client:
            reply = client.call("greeter", "Greeter.Hello", HelloRequest("Ada"), HelloReply)

    The daemon and the account are found as a service finds them: C{MICRO_PROXY} or C{MICRO_ADDRESS}, C{MICRO_AUTH_ID} and
    C{MICRO_AUTH_SECRET}, else the daemon of the same user on this host. Threads may share a client: each has a connection of
    its own.

    @param name: who the script is, where it gets an account by itself; also its table in the store.
    @param address: the daemon's, C{host:port}.
    @param credentials: an account's id and its secret.
    @param config: where configuration comes from besides the platform's config service.
    """

    def __init__(
        self,
        name: str = "script",
        *,
        address: str = "",
        namespace: str = "",
        credentials: tuple[str, str] | None = None,
        config: Sources | None = None,
        environ: Mapping[str, str] = os.environ,
        channel: Any = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        daemon = find_daemon({**environ, "MICRO_PROXY": address} if address else environ)
        self._namespace = namespace or environ.get("MICRO_NAMESPACE") or DEFAULT_NAMESPACE
        self._address = address_from(daemon.address.text)
        self._given = channel
        self._mine = threading.local()
        self._opened: WeakSet[BlockingChannel] = WeakSet()
        self._now = now
        self._token: Token | None = None
        self._turn = threading.Lock()
        self.store = BlockingStore(self._ask_store, self._namespace, name)
        self.blobs = BlockingBlobs(self, self._namespace)
        self.broker = BlockingBroker(self._ask_store, _untraced)
        self.events = BlockingEvents(
            self._ask_store, _untraced, partial(consuming, self._consume, self._ask_store, time.sleep)
        )
        layers = cache(lambda: Layers(config or Sources(), environ))
        self.config = BlockingConfig(self._ask_store, ConfigQuestions(self._namespace), layers)

        def identity() -> Identity:
            if credentials is not None:
                return Credentials(*credentials, self._namespace)
            return identity_of(dict(environ), name, self._namespace, daemon.admin_secret)

        self._identity = identity

    def __enter__(self) -> BlockingClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up, in every thread."""
        # The threads' own references go last: with them would go the channels, still open.
        for channel in (self._given, *self._opened):
            if channel is not None:
                channel.close()
        self._opened.clear()
        self._mine = threading.local()

    def call(
        self,
        service: str,
        endpoint: str,
        request: object = None,
        reply: type[T] = dict,  # type: ignore[assignment]
        *,
        timeout: float | None = TIMEOUT,
        metadata: MetadataLike | None = None,
        namespace: str | None = None,
    ) -> T:
        """Call C{endpoint} (C{Struct.Method}) of C{service}, and wait for its one reply.

        @param request: a dataclass, a generated message, a dict (as JSON) or C{None} (the empty message); an iterator of those,
            where the endpoint takes a stream.
        @param reply: the type of the reply, likewise.
        @raise MicroError: what the service answered, or how the call broke off.
        """
        shown = self._shown()
        made = headers(namespace or self._namespace, shown, None, pairs(metadata))
        try:
            if isinstance(request, Iterator):
                wanted = outgoing(service, endpoint, None, reply)
                send = self._open().stream_unary(wanted.path, wanted.dump)
                return self._answered(wanted, lambda: send(request, **_options(wanted, made, timeout)))
            return self._unary(outgoing(service, endpoint, type(request), reply), request, made, timeout)
        except Unauthorized:
            if not service:
                self._forget(shown)
            raise

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
        """Call an endpoint that streams, and iterate over its replies."""
        shown = self._shown()
        made = headers(namespace or self._namespace, shown, None, pairs(metadata))
        channel = self._open()
        try:
            if isinstance(request, Iterator):
                wanted = outgoing(service, endpoint, None, reply)
                replies = channel.stream_stream(wanted.path, wanted.dump)(
                    request, **_options(wanted, made, timeout)
                )
            else:
                wanted = outgoing(service, endpoint, type(request), reply)
                replies = channel.unary_stream(wanted.path)(
                    wanted.dump(request), **_options(wanted, made, timeout)
                )
            for data in replies:
                yield wanted.parse(data)
        except RpcError as problem:
            found = micro_error(problem)
            if not service and isinstance(found, Unauthorized):
                self._forget(shown)
            raise found from None

    def ask(
        self,
        path: str,
        request: object,
        reply: type[T],
        *,
        token: str | None = None,
        timeout: float = TIMEOUT,
    ) -> T:
        """Call a core service with its generated messages, as ourselves unless a C{token} is given."""
        shown = self._shown() if token is None else token
        try:
            return self._unary(
                outgoing("", path, type(request), reply), request, headers(CORE, shown, None, []), timeout
            )
        except Unauthorized:
            if token is None:
                self._forget(shown)
            raise

    # -- how

    def _unary(
        self, wanted: Outgoing[T], request: object, made: list[tuple[str, str | bytes]], timeout: float | None
    ) -> T:
        send = self._open().unary_unary(wanted.path)
        data = wanted.dump(request)
        return self._answered(wanted, lambda: send(data, **_options(wanted, made, timeout)))

    def _answered(self, wanted: Outgoing[T], send: Callable[[], bytes]) -> T:
        try:
            data = send()
        except RpcError as problem:
            raise micro_error(problem) from None
        return wanted.parse(data)

    def _open(self) -> Any:
        """The channel of this thread; it goes with the thread."""
        if self._given is not None:
            return self._given
        channel = getattr(self._mine, "channel", None)
        if channel is None:
            address = self._address
            host = f"[{address.host}]" if ":" in address.host else address.host
            target = f"{host}:{address.port}" if host else address.description
            channel = self._mine.channel = BlockingChannel(target, tls=address.trust_roots or address.tls)
            self._opened.add(channel)
        return channel

    def _shown(self) -> str:
        """Our token, fetched or renewed if need be; threads which need one at the same time share it."""
        with self._turn:
            token = self._token
            if token is None or self._now() >= token.expires - MARGIN:
                identity = self._identity()
                steps = identity.log_in() if token is None else renew(identity, token)
                token = self._token = self._walk(steps)
            return token.access

    def _forget(self, refused: str) -> None:
        """Log in again next time, unless another thread has done so."""
        with self._turn:
            if self._token is not None and self._token.access == refused:
                self._token = None

    def _walk(self, steps: Steps) -> Token:
        try:
            question: Question = next(steps)
            while True:
                try:
                    answer = self.ask(question.path, question.request, question.reply, token=question.token)
                except MicroError as problem:
                    question = steps.throw(problem)
                else:
                    question = steps.send(answer)
        except StopIteration as done:
            token: Token = done.value
            return token

    def _ask_store(self, ask: Ask[T]) -> T:
        if not ask.stream:
            return ask.answer([self.ask(ask.path, ask.request, ask.reply)])
        wanted: Outgoing[Any] = outgoing("", ask.path, type(ask.request), ask.reply)
        made = headers(CORE, self._shown(), None, [])
        replies: Iterable[bytes] = self._open().unary_stream(wanted.path)(
            wanted.dump(ask.request), **_options(wanted, made, TIMEOUT)
        )
        try:
            return ask.answer([wanted.parse(data) for data in replies])
        except RpcError as problem:
            raise micro_error(problem) from None

    def _consume(self, request: events_pb2.ConsumeRequest) -> _Consuming:
        shown = self._shown()
        wanted: Outgoing[Any] = outgoing("", CONSUME, None, events_pb2.Event)
        call = self._open().stream_stream(CONSUME, wanted.dump)
        stream = _Consuming(call(**_options(wanted, headers(CORE, shown, None, []), None)), wanted)
        stream.refused = partial(self._forget, shown)
        stream.write(request)
        return stream


class _Consuming:
    """A stream of events of L{BlockingClient}.

    @ivar refused: called where our token is.
    """

    def __init__(self, call: Any, wanted: Outgoing[Any]) -> None:
        self._call = call
        self._wanted = wanted
        self.refused: Callable[[], object] = bool

    def __iter__(self) -> Iterator[events_pb2.Event]:
        try:
            for data in self._call:
                yield self._wanted.parse(data)
        except RpcError as problem:
            raise self._told(problem) from None

    def write(self, message: Message) -> None:
        """Send a message; where the stream is over, its reader is told why."""
        with suppress(RpcError):
            self._call.write(message)

    def leave(self) -> None:
        """Have what was written arrive, and end the stream."""
        with suppress(RpcError):
            self._call.done_writing()
            for _ in self._call:
                pass
        self._call.cancel()

    def _told(self, problem: RpcError) -> MicroError:
        found = micro_error(problem)
        if isinstance(found, Unauthorized):
            self.refused()
        return found


def _untraced() -> tuple[None, bool]:
    """What scripts publish begins no trace."""
    return None, False


def _options(
    wanted: Outgoing[Any], made: list[tuple[str, str | bytes]], timeout: float | None
) -> dict[str, Any]:
    return {"timeout": timeout, "metadata": made, "content_type": wanted.content_type}
