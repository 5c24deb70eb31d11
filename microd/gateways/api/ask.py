"""One HTTP request on its way to an endpoint: in this process, or over a connection to a node.

No coroutine stands between a request and a node's answer: with the call's Deferred and two callbacks the gateway
moves twice as many requests.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import Any

from google.protobuf.message import DecodeError, Message
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as Late
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from microd.gateways.api import failures
from microd.gateways.api.paths import Target
from microd.gateways.api.payload import Kind, UnsupportedMediaType
from microd.gateways.api.replies import JSON, Dated, chunk, error_reply, reply, stream_head
from microd.gateways.api.request import Request
from microd.gateways.api.wires import NodeCall, Wires
from microd.kernel import protojson
from microd.kernel.caller import Caller
from microd.kernel.endpoint import Endpoint
from microd.kernel.errors import BadRequest, Internal, MicroError, Unimplemented
from microd.kernel.trace import CURRENT
from microd.services.registry.model import Node
from microd.txgrpc.status import MetadataLike, RpcError

#: Nodes which are tried for one call.
MOST_TRIED = 16

Ended = Callable[..., None]
#: Sends one message and gives the answers.
Replies = AsyncGenerator[bytes, None]


class Asking:
    """What all ways to an endpoint share: the request, and how it is answered.

    @param kind: how the body is written; the answer is written the same way.
    @param ended: is told how it ended, once.
    """

    __slots__ = (
        "_asked_for",
        "_content_type",
        "_dated",
        "_doing",
        "_ended",
        "_kind",
        "_request",
        "_target",
        "_timeout",
        "_why",
    )

    _why: MicroError | None

    def __init__(
        self,
        request: Request,
        target: Target,
        kind: Kind,
        dated: Dated,
        timeout: float,
        asked_for: bool,
        ended: Ended,
    ) -> None:
        self._ended = ended
        self._request = request
        self._target = target
        self._kind = kind
        self._dated = dated
        self._timeout = timeout
        self._asked_for = asked_for
        self._doing: Deferred[Any] | None = None
        self._content_type = JSON
        if kind is Kind.PROTO:
            self._content_type = request.head.get(b"content-type") or JSON

    def _begin(self, doing: Deferred[Any], answered: Callable[[bytes], None]) -> None:
        self._doing = doing
        self._request.gone = self.cancel
        doing.addCallbacks(answered, self._failed)
        doing.addErrback(self.broken)

    def cancel(self) -> None:
        """The client has gone."""
        doing, self._doing = self._doing, None
        if doing is not None:
            doing.cancel()
            self._ended(self._request, 499, "the client has gone")

    def _answer(self, body: bytes) -> None:
        self._doing = None
        request = self._request
        status = 200 if body or self._kind is Kind.PROTO else 204
        request.answer(reply(request, status, body, self._dated, self._content_type))
        self._ended(request, status)

    def _refuse(self, error: MicroError, defect: Failure | None = None) -> None:
        self._doing = None
        request = self._request
        request.answer(error_reply(request, error, self._dated))
        self._ended(request, error.code, error.detail, defect)

    def _failed(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, MicroError):
            self._refuse(error)
        elif isinstance(error, RpcError):
            self._refuse(self._told(error))
        elif isinstance(error, Late):
            self._refuse(failures.late(self._target.service, asked_for=self._asked_for))
        elif isinstance(error, CancelledError):
            self.cancel()
        else:
            self.broken(failure)

    def _told(self, error: RpcError) -> MicroError:
        target = self._target
        return failures.told(error, target.service, target.endpoint, asked_for=self._asked_for)

    def broken(self, failure: Failure) -> None:
        """A defect: this call's, and nobody else's."""
        self._refuse(Internal(f"{type(failure.value).__name__}: {failure.value}"), failure)

    def _no_proto_stream(self) -> None:
        if self._kind is Kind.PROTO:
            raise UnsupportedMediaType(
                "a stream of messages comes as JSON here: ask for it with JSON, or over gRPC"
            )

    @property
    def request(self) -> Request:
        """What is being answered."""
        return self._request

    def end(self, error: MicroError) -> bool:
        """End a stream with an error, at once; always True."""
        self._why = error
        if self._doing is not None:
            self._doing.cancel()
        return True

    def _begin_stream(self, replies: Replies, streams: set[Asking]) -> None:
        self._why = None
        streams.add(self)
        self._begin(Deferred.fromCoroutine(self._stream(replies, streams)), _nothing)

    async def _stream(self, replies: Replies, streams: set[Asking]) -> None:
        """Each reply is a line; the status is told with the first of them."""
        try:
            await self._lines(replies)
        finally:
            streams.discard(self)

    async def _lines(self, replies: Replies) -> None:
        request, begun, code, text = self._request, False, 200, ""
        try:
            async with aclosing(replies):
                async for each in replies:
                    part = chunk(request, each + b"\n")
                    if not begun:
                        begun = True
                        part = stream_head(request, self._dated, self._content_type) + part
                    room = request.send(part)
                    if room is not None:
                        await room
        except (MicroError, RpcError, CancelledError) as error:
            said = self._said(error)
            if not begun:
                raise said from None
            code, text = said.code, said.detail
            line = said.identified("go.micro.api").to_json().encode() + b"\n"
            request.send(chunk(request, line))
        self._doing = None
        head = b"" if begun else stream_head(request, self._dated, self._content_type)
        if request.version != "1.1":
            request.keep_alive = False
        request.answer(head + chunk(request, b""))
        self._ended(request, code, text)

    def _said(self, error: MicroError | RpcError | CancelledError) -> MicroError:
        """What a client is told of the error that has ended its stream."""
        if isinstance(error, CancelledError):
            if self._why is None:
                raise error
            return self._why
        return error if isinstance(error, MicroError) else self._told(error)


class AskCore(Asking):
    """An endpoint of a core service."""

    __slots__ = ()

    def ask(
        self, endpoint: Endpoint, caller: Caller, body: bytes, clock: IReactorTime, streams: set[Asking]
    ) -> None:
        """Call it; it is among C{streams} as long as it streams."""
        if endpoint.client_streaming:
            raise Unimplemented(f"{endpoint.name} takes a stream: call it over gRPC", endpoint.id)
        message = self._message(endpoint, body)
        if endpoint.server_streaming:
            self._no_proto_stream()
            self._request.endless = endpoint.endless
            self._begin_stream(self._shown(endpoint, endpoint.handler(message, caller)), streams)
            return
        doing = Deferred.fromCoroutine(self._called(endpoint, message, caller))
        if not doing.called:
            doing.addTimeout(self._timeout, clock)
        self._begin(doing, self._answer)

    def _message(self, endpoint: Endpoint, body: bytes) -> Message:
        if self._kind is not Kind.PROTO:
            try:
                return protojson.parse(body, endpoint.request)
            except BadRequest as error:
                raise error.identified(endpoint.id) from None
        try:
            return endpoint.request.FromString(body)
        except DecodeError as error:
            raise BadRequest(
                f"the body is not a {endpoint.request.DESCRIPTOR.name}: {error}", endpoint.id
            ) from None

    def _bytes(self, message: Message) -> bytes:
        return message.SerializeToString() if self._kind is Kind.PROTO else protojson.dump(message)

    async def _called(self, endpoint: Endpoint, message: Message, caller: Caller) -> bytes:
        CURRENT.set(self._request.trace.decode())
        try:
            return self._bytes(await endpoint.handler(message, caller))
        except MicroError as error:
            raise error.identified(endpoint.id) from None

    async def _shown(self, endpoint: Endpoint, replies: Any) -> Replies:
        CURRENT.set(self._request.trace.decode())
        async with aclosing(replies):
            try:
                async for each in replies:
                    yield self._bytes(each)
            except MicroError as error:
                raise error.identified(endpoint.id) from None


class AskNode(Asking):
    """An endpoint of a service in another process; where a node cannot be reached, the next one is tried.

    A node is left for the next only if it provably has not seen the call.
    """

    __slots__ = ("_body", "_call", "_metadata", "_nodes", "_wires")

    _call: NodeCall | None

    def ask(
        self,
        nodes: Sequence[Node],
        wires: Wires,
        body: bytes,
        metadata: MetadataLike,
        streams: set[Asking] | None,
    ) -> None:
        """Call it; if it streams, it is among C{streams} as long as it does."""
        self._call = None
        self._nodes: Iterator[Node] = iter(nodes[:MOST_TRIED])
        self._wires = wires
        self._body = body
        self._metadata = metadata
        if streams is not None:
            self._no_proto_stream()
            self._begin_stream(self._replies(), streams)
        else:
            self._try(next(self._nodes))

    def _try(self, node: Node) -> None:
        kind = "application/grpc+proto" if self._kind is Kind.PROTO else "application/grpc+json"
        request = self._request
        request.gone = self.cancel
        call = self._wires.call(
            node.address,
            self._target.grpc,
            self._body,
            self._metadata,
            kind,
            self._timeout,
            request.tail,
            self,
        )
        if not call.over:
            self._call = call

    def answered(self, body: bytes) -> None:
        """The node has answered."""
        self._call = None
        self._answer(body)

    def unanswered(self, error: RpcError) -> None:
        """The node has not; the next one may."""
        self._call = None
        if error.undelivered:
            node = next(self._nodes, None)
            if node is not None:
                self._try(node)
                return
        self._refuse(self._told(error))

    def cancel(self) -> None:
        """The client has gone."""
        call, self._call = self._call, None
        if call is None:
            super().cancel()
        else:
            call.abandon()
            self._ended(self._request, 499, "the client has gone")

    async def _replies(self) -> Replies:
        failed: RpcError | None = None
        for node in self._nodes:
            begun = False
            call = self._wires.streaming(node.address, self._target.grpc)
            try:
                async with call(
                    self._body,
                    metadata=self._metadata,
                    content_type="application/grpc+json",
                    tail=self._request.tail,
                ) as replies:
                    async for each in replies:
                        begun = True
                        yield each
                return
            except RpcError as error:
                if begun or not error.undelivered:
                    raise
                failed = error
        if failed is not None:
            raise failed


def _nothing(_: object) -> None:
    """The stream has answered by itself."""
