"""Core endpoints as gRPC methods: called in this process, with no socket and no copy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import aclosing
from typing import Any

from google.protobuf.message import DecodeError, Message
from twisted.internet.defer import CancelledError
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from microd.gateways.gate import Gate
from microd.gateways.refusals import is_ours, rpc_error
from microd.gateways.tally import Ended, Tally
from microd.kernel import protojson, trace
from microd.kernel.activity import UNTRACED
from microd.kernel.caller import Caller
from microd.kernel.endpoint import Endpoint
from microd.kernel.errors import BadRequest, Internal, MicroError
from microd.txgrpc import Method, RpcError, ServerCall, StatusCode
from microd.txgrpc.tail import trace_of

Read = Callable[[bytes], Message]
Show = Callable[[Message], bytes]
AtOnce = Callable[[Any, Caller], bytes | None]


class UnsupportedContentType(Internal):
    """Unsupported Content-Type"""

    def __init__(self, content_type: str) -> None:
        super().__init__(f"Unsupported Content-Type: {content_type}", "proxy")


def core_methods(endpoints: Iterable[Endpoint], gate: Gate, tally: Tally) -> Mapping[str, Method]:
    """A method for each endpoint, by its path."""
    return {endpoint.path: _Core(endpoint, gate, tally).method() for endpoint in endpoints}


def status_name(code: int) -> str:
    """The name of a status of gRPC."""
    return StatusCode(code).name


class _Core:
    """One endpoint behind the gate."""

    def __init__(self, endpoint: Endpoint, gate: Gate, tally: Tally) -> None:
        self._tally = tally
        self._row = tally.row(endpoint.service)
        self._endpoint = endpoint
        self._handler = endpoint.handler
        self._gate = gate
        self._service, self._name = endpoint.service, endpoint.name
        self._activity = endpoint.activity
        self._span = "" if endpoint.name.startswith(UNTRACED) else endpoint.id
        self._codecs = _codecs(endpoint.request)
        self._later = self._codecs if endpoint.later is None else _codecs(endpoint.later)

    def method(self) -> Method:
        """The method which calls the endpoint."""
        ended = self._ended
        match self._endpoint.client_streaming, self._endpoint.server_streaming:
            case False, False:
                return Method("unary_unary", self._unary_unary, None, None, plain=True, ended=ended)
            case False, True:
                return Method("unary_stream", self._unary_stream, endless=self._endpoint.endless, ended=ended)
            case True, False:
                return Method("stream_unary", self._stream_unary, None, None, ended=ended)
        return Method("stream_stream", self._stream_stream, endless=self._endpoint.endless, ended=ended)

    def _unary_unary(self, body: bytes, call: ServerCall) -> bytes | Coroutine[Any, Any, bytes]:
        try:
            known = call.head.kept
            if known is None or not known.lasts():
                known = self._let_in(call)
            request = _read(known.read, body)
            if known.at_once is not None:
                reply: bytes | None = known.at_once(request, known.caller)
                if reply is not None:
                    return reply
            return self._answer(request, known, call)
        except Exception as error:  # noqa: BLE001 - the edge
            raise self._refusal(error, call) from None

    async def _answer(self, request: Message, known: _Known, call: ServerCall) -> bytes:
        try:
            return known.show(await self._handler(request, known.caller))
        except Exception as error:  # noqa: BLE001 - the edge
            raise self._refusal(error, call) from None

    def _let_in(self, call: ServerCall) -> _Known:
        """Check all that the headers say; where the same ones came before, remember the outcome."""
        head = call.head
        read, show = self._codec(call)
        at_once = self._endpoint.at_once if show is _to_binary else None
        kept, head.kept = head.kept, _SEEN
        known = _Known(self._admit(call), read, show, at_once, _once)
        if kept is not None:
            known.lasts = self._gate.lasting(head.metadata)
            head.kept = known
        return known

    async def _unary_stream(self, body: bytes, call: ServerCall) -> AsyncIterator[bytes]:
        shown: list[bytes] = []
        try:
            read, show = self._codec(call)
            caller = self._admit(call)
            async with aclosing(self._handler(_read(read, body), caller)) as replies:
                async for reply in replies:
                    shown.append(show(reply))
                    # While the client does not read, nothing is in memory but what is to be sent.
                    del reply
                    yield shown.pop()
        except Exception as error:  # noqa: BLE001 - the edge
            raise self._refusal(error, call) from None

    async def _stream_unary(self, bodies: AsyncIterator[bytes], call: ServerCall) -> bytes:
        try:
            show = self._codec(call)[1]
            caller = self._admit(call)
            return show(await self._handler(self._requests(bodies, call), caller))
        except Exception as error:  # noqa: BLE001 - the edge
            raise self._refusal(error, call) from None

    async def _stream_stream(self, bodies: AsyncIterator[bytes], call: ServerCall) -> AsyncIterator[bytes]:
        shown: list[bytes] = []
        try:
            show = self._codec(call)[1]
            caller = self._admit(call)
            async with aclosing(self._handler(self._requests(bodies, call), caller)) as replies:
                async for reply in replies:
                    shown.append(show(reply))
                    # While the client does not read, nothing is in memory but what is to be sent.
                    del reply
                    yield shown.pop()
        except Exception as error:  # noqa: BLE001 - the edge
            raise self._refusal(error, call) from None

    def _admit(self, call: ServerCall) -> Caller:
        # Not the call's metadata: the caller may be remembered, and the ids of a trace are of one call.
        caller = call.notes = self._gate.admit(
            call.head.metadata,
            call.peer,
            self._service,
            self._name,
            call.on_connection_lost,
            core=True,
            connection=call.connection,
        )
        return caller

    def _codec(self, call: ServerCall) -> tuple[Read, Show]:
        return _chosen(self._codecs, call)

    async def _requests(self, bodies: AsyncIterator[bytes], call: ServerCall) -> AsyncIterator[Any]:
        read, later = self._codec(call)[0], _chosen(self._later, call)[0]
        async for body in bodies:
            yield _read(read, body)
            read = later

    def _refusal(self, error: Exception, call: ServerCall) -> Exception:
        """What a handler raised, as a status; a defect is logged, once, and is this call's only."""
        if isinstance(error, MicroError):
            return rpc_error(error.identified(self._endpoint.id))
        if isinstance(error, RpcError | CancelledError):
            return error
        over = call.cancelled
        call.notes = (caller_of(call), Failure(error))
        refusal = rpc_error(Internal(f"{type(error).__name__}: {error}", self._endpoint.id))
        if over:
            # The call has been counted, and nobody hears of this but the log.
            self._say(call, refusal.code, refusal.message, self._tally.seconds() - call.began)
        return refusal

    def _ended(self, call: ServerCall, code: int, text: str) -> None:
        tally = self._tally
        took = tally.count(self._row, code, call.began)
        if self._activity is not None:
            error = "" if code == 0 else self._error(code, text)
            self._activity.answered(self._span, call.began, took, error, call.tail or call.head)
        if code or tally.every:
            self._say(call, code, text, took)

    def _error(self, code: int, text: str) -> str:
        """Why a call failed; a stream that its reader left has not."""
        if code == StatusCode.CANCELLED:
            return "" if self._endpoint.server_streaming else "the caller has gone away"
        return text or status_name(code)

    def _say(self, call: ServerCall, code: int, text: str, took: float) -> None:
        """Log the call, if it is worth it."""
        failure = call.notes[1] if type(call.notes) is tuple else None
        ours = failure is not None or is_ours(code, text)
        if ours or self._tally.every:
            caller = caller_of(call)
            account, namespace = (None, "") if caller is None else (caller.account, caller.namespace)
            name = status_name(code)
            ended = Ended(trace_id(call), self._service, self._name, account, namespace, name, took, text)
            self._tally.say(ended, LogLevel.warn if ours else LogLevel.info, failure)


def trace_id(call: ServerCall) -> str:
    """The id of a call's trace; one that is made up where the call has none, so that it can be found in the log."""
    if call.tail:
        return trace_of(call.tail).decode()
    found = trace.read(call.head.metadata)
    return found.id if found is not None else trace.begin().id


def caller_of(call: ServerCall) -> Caller | None:
    """Who makes a call, if they were let in."""
    notes = call.notes
    if type(notes) is tuple:
        notes = notes[0]
    if notes is None and call.head.kept not in (None, _SEEN):
        notes = call.head.kept.caller
    return notes if isinstance(notes, Caller) else None


def _codecs(request: type[Message]) -> Mapping[str, tuple[Read, Show]]:
    """How a message is read, and how replies are shown, by content type."""
    binary = (request.FromString, _to_binary)
    return {
        "application/grpc": binary,
        "application/grpc+proto": binary,
        "application/grpc+json": (lambda body: protojson.parse(body, request), protojson.dump),
    }


def _chosen(codecs: Mapping[str, tuple[Read, Show]], call: ServerCall) -> tuple[Read, Show]:
    found = codecs.get(call.content_type) or codecs.get(plain_type(call.content_type))
    if found is None:
        raise UnsupportedContentType(call.content_type)
    return found


def _to_binary(message: Message) -> bytes:
    return message.SerializeToString()


class _Known:
    """What the headers of a call said, as long as it C{lasts}."""

    __slots__ = ("at_once", "caller", "lasts", "read", "show")

    def __init__(
        self, caller: Caller, read: Read, show: Show, at_once: AtOnce | None, lasts: Callable[[], bool]
    ) -> None:
        self.caller = caller
        self.read = read
        self.show = show
        self.at_once = at_once
        self.lasts = lasts


def _once() -> bool:
    return False


#: In the place of a L{_Known}: such headers came once. Those of many clients never come again.
_SEEN = _Known(Caller(), Message.FromString, _to_binary, None, _once)


def plain_type(content_type: str) -> str:
    """A content type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def _read(read: Read, body: bytes) -> Message:
    try:
        return read(body)
    except DecodeError as error:
        raise BadRequest(f"grpc: failed to unmarshal the received message {error}") from None
