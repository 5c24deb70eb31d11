"""What happens to one call: bytes in, the author's function, bytes out.

This is the path that every call takes; what can be decided when the service starts is decided there, so that a call costs a
few microseconds here besides the conversions and the author's own code.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger, LogLevel

from microd.framework.bridge import Bridge, NoBridge
from microd.framework.context import Call, current_call, enter
from microd.framework.failures import Quit, rpc_error
from microd.framework.handlers import Handler, Style
from microd.framework.schema.codec import Codec
from microd.framework.workers import Workers
from microd.kernel.activity import INBOUND, UNTRACED, Activity
from microd.kernel.caller import Account
from microd.kernel.errors import BadRequest, Internal, MicroError
from microd.txgrpc import Method, RpcError, ServerCall, stream_stream, stream_unary, unary_stream, unary_unary

#: Whether a content type means JSON (spec 2.3); parameters after C{;} are cut off before.
_JSON = {
    "application/grpc": False,
    "application/grpc+proto": False,
    "application/grpc+json": True,
}
_END: Any = object()


class Answering:
    """Answers the calls of one endpoint.

    @param service: the service's name, for the ids of errors.
    @param inspect: finds out whose token a caller showed.
    @param activity: takes note of each call.
    """

    log = Logger()

    def __init__(
        self,
        service: str,
        handler: Handler,
        request: Codec[Any],
        reply: Codec[Any],
        workers: Workers,
        bridge: Bridge,
        inspect: Callable[[str], Awaitable[Account | None]],
        activity: Activity,
    ) -> None:
        self._service = service
        self._handler = handler
        self._id = f"{service}.{handler.name}"
        self._parsers = (request.parse, request.parse_json)
        self._dumpers = (reply.dump, reply.dump_json)
        self._workers = workers
        self._bridge = bridge
        self._inspect = inspect
        self._activity = activity
        self._traced = not handler.name.startswith(UNTRACED)
        self._streams_in = handler.client_streaming
        self._is_coroutine = handler.style is Style.COROUTINE and isinstance(bridge, NoBridge)
        self._takes_request_only = handler.wants_request and not handler.wants_call

    def method(self) -> Method:
        """What a gRPC server needs to know; messages stay bytes, as the content type of a call decides what they are."""
        if self._handler.server_streaming:
            return (
                stream_stream(self._stream) if self._handler.client_streaming else unary_stream(self._stream)
            )
        return stream_unary(self._unary) if self._handler.client_streaming else unary_unary(self._unary)

    async def _unary(self, data: Any, server_call: ServerCall) -> bytes:
        handler = self._handler
        call = Call(self._service, handler.name, server_call, self._inspect)
        enter(call)
        error = ""
        started = self._activity.now()
        # Where there is a choice this is spelled out rather than split up: each function less is a tenth of a microsecond.
        try:
            json = _JSON.get(server_call.content_type)
            if json is None:
                json = self._json(server_call.content_type)
            if self._streams_in:
                request = self._requests(data, json)
            else:
                try:
                    request = self._parsers[json](data)
                except ValueError as problem:
                    raise BadRequest(str(problem), self._id) from None
            arguments = (request,) if self._takes_request_only else handler.arguments(request, call)
            if self._is_coroutine:
                reply = await handler.function(*arguments)
            else:
                reply = await self._reply(arguments)
            try:
                return self._dumpers[json](reply)
            except ValueError as problem:
                raise _bad_reply(problem) from None
        except (CancelledError, RpcError) as problem:
            error = _broken_off(problem, call)
            raise
        except MicroError as problem:
            error = problem.detail or str(problem.code)
            raise rpc_error(problem.identified(self._id)) from None
        except BaseException as problem:  # one call's defect, or sys.exit(), must not be the process's
            error = str(problem) or type(problem).__name__
            if _is_forgotten(problem, call):
                raise
            raise rpc_error(self._defect(problem)) from None
        finally:
            self._ended(call, server_call, started, error)

    async def _stream(self, data: Any, server_call: ServerCall) -> AsyncGenerator[bytes, None]:
        call = Call(self._service, self._handler.name, server_call, self._inspect)
        enter(call)
        error = ""
        started = self._activity.now()
        replies: AsyncIterator[Any] | None = None
        waiting = False
        try:
            json = self._json(server_call.content_type)
            if self._streams_in:
                request = self._requests(data, json)
            else:
                try:
                    request = self._parsers[json](data)
                except ValueError as problem:
                    raise BadRequest(str(problem), self._id) from None
            replies = self._replies(self._handler.arguments(request, call))
            async for reply in replies:
                try:
                    message = self._dumpers[json](reply)
                except ValueError as problem:
                    raise _bad_reply(problem) from None
                waiting = True
                yield message
                waiting = False
        except (CancelledError, RpcError) as problem:
            error = _broken_off(problem, call)
            raise
        except MicroError as problem:
            error = problem.detail or str(problem.code)
            raise rpc_error(problem.identified(self._id)) from None
        except BaseException as problem:  # as above
            error = str(problem) or type(problem).__name__
            if _is_forgotten(problem, call) or (waiting and isinstance(problem, GeneratorExit)):
                error = _broken_off(problem, call)
                raise
            raise rpc_error(self._defect(problem)) from None
        finally:
            self._ended(call, server_call, started, error)
            close = getattr(replies, "aclose", None)
            if close is not None:
                await close()

    def _json(self, content_type: str) -> bool:
        json = _JSON.get(content_type.partition(";")[0].strip().lower())
        if json is None:
            raise BadRequest(
                f"{content_type} is not spoken here; use application/grpc+proto or application/grpc+json",
                self._id,
            )
        return json

    def _requests(self, messages: AsyncIterator[bytes], json: bool) -> AsyncIterator[Any]:
        """The client's stream, as the author reads it."""
        return self._bridge.their_stream(self._parsed(messages, json))

    async def _parsed(self, messages: AsyncIterator[bytes], json: bool) -> AsyncIterator[Any]:
        parse = self._parsers[json]
        async for data in messages:
            try:
                request = parse(data)
            except ValueError as problem:
                raise BadRequest(str(problem), self._id) from None
            yield request

    async def _reply(self, arguments: tuple[object, ...]) -> Any:
        handler = self._handler
        if handler.style is Style.COROUTINE:
            return await self._bridge.ours(handler.function(*arguments))
        if handler.style is Style.THREAD:
            reply = await self._workers.run(handler.function, *arguments)
            if isinstance(reply, Deferred):
                raise TypeError(
                    f"{self._id} ran in a thread and returned a Deferred; annotate it '-> Deferred[...]'"
                )
            return reply
        outcome = handler.function(*arguments)
        return await outcome if isinstance(outcome, Deferred) else outcome

    def _replies(self, arguments: tuple[object, ...]) -> AsyncIterator[Any]:
        if self._handler.style is Style.ASYNC_STREAM:
            return self._bridge.our_stream(self._handler.function(*arguments))
        return self._from_thread(arguments)

    async def _from_thread(self, arguments: tuple[object, ...]) -> AsyncIterator[Any]:
        """Run a plain generator, each of its steps in a thread."""
        replies: Iterator[Any] = iter(await self._workers.run(self._handler.function, *arguments))
        try:
            while (reply := await self._workers.run(next, replies, _END)) is not _END:
                yield reply
        finally:
            close = getattr(replies, "close", None)
            if close is not None:
                await self._workers.run(close)

    def _ended(self, call: Call, server_call: ServerCall, started: int, error: str) -> None:
        activity = self._activity
        activity.requests += 1
        if error:
            activity.errors += 1
        if self._traced:
            where = call.known_place or server_call.tail or server_call.head
            activity.note((self._id, INBOUND, started, activity.now(), error, where))

    def _defect(self, problem: BaseException) -> MicroError:
        """Log what the author did not foresee, once, and tell the caller no more than its text."""
        self.log.failure("{endpoint} failed", level=LogLevel.error, endpoint=self._id)
        if not isinstance(problem, Exception):
            problem = Quit(problem)
        return Internal(str(problem) or type(problem).__name__, self._id)


def _is_forgotten(problem: BaseException, call: Call) -> bool:
    """Whether nobody drives the coroutine any more, and Python closes it; for an author may raise the same."""
    return isinstance(problem, GeneratorExit) and current_call() is not call


def _broken_off(problem: BaseException, call: Call) -> str:
    """Why a call has no answer of the author's."""
    if isinstance(problem, RpcError):
        return problem.message or problem.code.name
    return "the deadline has passed" if call.time_remaining() == 0 else "the caller has gone away"


def _bad_reply(problem: ValueError) -> _BadReply:
    return _BadReply(str(problem).replace("field", "the reply's field", 1))


class _BadReply(TypeError):
    """What the function returned does not fit its annotation."""
