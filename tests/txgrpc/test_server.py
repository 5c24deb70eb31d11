"""What a server promises its handlers and its clients."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from zope.interface import provider

from microd.testing.outcome import StillWaitingError, done
from microd.txgrpc import (
    Channel,
    GrpcServer,
    Limits,
    Method,
    RpcError,
    ServerCall,
    StatusCode,
    stream_stream,
    stream_unary,
    unary_stream,
    unary_unary,
)
from microd.txgrpc.memory import connect

PATH = "/shop.Shop/Do"


async def echo(request: bytes, call: ServerCall) -> bytes:
    return request


async def count(request: bytes, call: ServerCall) -> AsyncIterator[bytes]:
    for number in range(int(request)):
        yield b"%d" % number


async def total(requests: AsyncIterator[bytes], call: ServerCall) -> bytes:
    return b"%d" % sum([int(request) async for request in requests])


async def doubled(requests: AsyncIterator[bytes], call: ServerCall) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request * 2


async def collected(replies: Any) -> list[bytes]:
    return [reply async for reply in replies]


def raised(awaited: Any) -> RpcError:
    """The error that a call ended with."""
    with pytest.raises(RpcError) as caught:
        done(awaited)
    return caught.value


class Hanging:
    """A handler which waits for ever, and notes how it ended."""

    def __init__(self) -> None:
        self.ended: list[type[BaseException] | None] = []
        self.calls: list[ServerCall] = []
        self.waiting: Deferred[bytes] = Deferred()

    async def __call__(self, request: bytes, call: ServerCall) -> bytes:
        self.calls.append(call)
        try:
            return await self.waiting
        except BaseException as error:
            self.ended.append(type(error))
            raise


# The four kinds.


def test_unary(tie: Any) -> None:
    """One request, one reply."""
    assert done(tie({PATH: unary_unary(echo)}).unary_unary(PATH)(b"hi")) == b"hi"


def test_server_streaming(tie: Any) -> None:
    """One request, many replies in their order."""
    replies = tie({PATH: unary_stream(count)}).unary_stream(PATH)(b"3")
    assert done(collected(replies)) == [b"0", b"1", b"2"]


def test_client_streaming(tie: Any) -> None:
    """Many requests, one reply."""
    assert done(tie({PATH: stream_unary(total)}).stream_unary(PATH)([b"1", b"2", b"3"])) == b"6"


def test_both_streaming(tie: Any) -> None:
    """Requests and replies take turns as both sides like."""
    call = tie({PATH: stream_stream(doubled)}).stream_stream(PATH)()

    async def talk() -> list[bytes]:
        heard = []
        for word in (b"a", b"b"):
            await call.write(word)
            heard.append(await call.__anext__())
        await call.done_writing()
        return heard + await collected(call)

    assert done(talk()) == [b"aa", b"bb"]


def test_no_messages_at_all(tie: Any) -> None:
    """Streams may be empty both ways."""
    call = tie({PATH: stream_stream(doubled)}).stream_stream(PATH)([])
    assert done(collected(call)) == []


def test_messages_are_made_and_read(tie: Any) -> None:
    """Handlers meet messages, not bytes, where the method says how."""
    method = unary_unary(lambda_upper, bytes.decode, str.encode)
    call = tie({PATH: method}).unary_unary(PATH, str.encode, bytes.decode)
    assert done(call("ada")) == "ADA"


async def lambda_upper(request: str, call: ServerCall) -> str:
    return request.upper()


def test_plain(tie: Any) -> None:
    """A plain handler's reply is the answer, and its defect is that call's only."""

    def halved(request: int, call: ServerCall) -> int:
        if request % 2:
            raise RpcError(StatusCode.INVALID_ARGUMENT, "odd")
        return request // 2

    method = Method("unary_unary", halved, int, lambda number: b"%d" % number, plain=True)
    client = tie({PATH: method})
    assert done(client.unary_unary(PATH)(b"8", timeout=5)) == b"4"
    error = raised(client.unary_unary(PATH)(b"7"))
    assert (error.code, error.message) == (StatusCode.INVALID_ARGUMENT, "odd")
    assert raised(client.unary_unary(PATH)(b"x")).code == StatusCode.INTERNAL
    assert done(client.unary_unary(PATH)(b"6")) == b"3"


def test_plain_that_waits(tie: Any, clock: Clock) -> None:
    """A plain handler may return a coroutine, which waits, and is cancelled when the call is over."""
    hanging = Hanging()

    def handler(request: bytes, call: ServerCall) -> Any:
        return hanging(request, call)

    method = Method("unary_unary", handler, plain=True)
    client = tie({PATH: method})
    answer = client.unary_unary(PATH)(b"")
    hanging.waiting.callback(b"late")
    assert done(answer) == b"late"
    hanging.waiting = Deferred()
    client.unary_unary(PATH)(b"", timeout=1).addErrback(lambda failure: None)
    clock.advance(2)
    assert hanging.ended == [CancelledError]


def test_only_unary_is_plain() -> None:
    """Streams are never plain."""
    with pytest.raises(ValueError, match="plain"):
        Method("unary_stream", count, plain=True)


def test_a_method_of_no_kind() -> None:
    """A method is one of the four kinds."""
    with pytest.raises(ValueError, match="kind"):
        Method("unary", echo)  # type: ignore[arg-type]


def test_the_first_message_is_enough(clock: Clock) -> None:
    """A server-streaming call is answered though the client has not said that its request was all."""
    channel = connect(GrpcServer({PATH: unary_stream(count)}, clock=clock), clock)
    call = channel.stream_stream(PATH)()

    async def ask() -> list[bytes]:
        await call.write(b"2")
        return await collected(call)

    assert done(ask()) == [b"0", b"1"]


def test_more_than_one_request(tie: Any) -> None:
    """A method that takes one request refuses two, as gRPC says."""
    hanging = Hanging()
    call = tie({PATH: unary_unary(hanging)}).stream_stream(PATH)()
    done(call.write(b"1"))
    done(call.write(b"2"))
    assert raised(call.trailing_metadata()).code is StatusCode.UNIMPLEMENTED
    assert hanging.ended == [CancelledError]


def test_no_request(tie: Any) -> None:
    """A method that takes one request refuses none."""
    assert raised(tie({PATH: unary_unary(echo)}).stream_unary(PATH)([])).code is StatusCode.UNIMPLEMENTED


# Which method.


@pytest.mark.parametrize(
    ("path", "code", "text"),
    [
        ("/shop.Shop/Nope", StatusCode.UNIMPLEMENTED, "unknown service Shop.Nope"),
        ("/other.Store/Do", StatusCode.UNIMPLEMENTED, "unknown service Store"),
        ("/Do", StatusCode.INVALID_ARGUMENT, 'malformed method name: "/Do"'),
        ("/a/b/c", StatusCode.INVALID_ARGUMENT, 'malformed method name: "/a/b/c"'),
        ("Do", StatusCode.INVALID_ARGUMENT, 'malformed method name: "Do"'),
    ],
)
def test_unknown_paths(tie: Any, path: str, code: StatusCode, text: str) -> None:
    """A path that nothing serves is answered with the texts that clients of the reference know."""
    error = raised(tie({PATH: unary_unary(echo)}).unary_unary(path)(b""))
    assert (error.code, error.message) == (code, text)
    assert error.answered


def test_fallback(tie: Any) -> None:
    """The fallback sees the call and names the method, for each call anew."""
    asked = []

    def fallback(call: ServerCall) -> Method:
        asked.append((call.path, call.metadata.get("to")))
        return unary_unary(echo)

    call = tie({}, {"fallback": fallback}).unary_unary("/any.Where/At")
    assert done(call(b"x", metadata={"to": "all"})) == b"x"
    assert done(call(b"y", metadata={"to": "all"})) == b"y"
    assert asked == [("/any.Where/At", "all")] * 2


def test_fallback_refuses(tie: Any) -> None:
    """What the fallback raises is the call's answer, with all that it carries."""

    def fallback(call: ServerCall) -> Method:
        raise RpcError(StatusCode.NOT_FOUND, "no such service", details=b"\x08\x05", metadata={"why": "gone"})

    error = raised(tie({}, {"fallback": fallback}).unary_unary(PATH)(b""))
    assert (error.code, error.message, error.details) == (
        StatusCode.NOT_FOUND,
        "no such service",
        b"\x08\x05",
    )
    assert error.trailing_metadata.get("why") == "gone"


# Metadata.


def test_metadata_both_ways(tie: Any) -> None:
    """Names and values pass with the call, before the replies and with the status; -bin ones as bytes."""

    async def handler(request: bytes, call: ServerCall) -> AsyncIterator[bytes]:
        call.send_initial_metadata({"first": call.metadata.get("ask")})
        call.trailing_metadata = [("last-bin", call.metadata.get("ask-bin"))]
        yield b""

    call = tie({PATH: unary_stream(handler)}).unary_stream(PATH)(
        b"", metadata={"ask": "x", "ask-bin": b"\x00\xff"}
    )

    async def all_of_it() -> tuple[Any, Any]:
        return (await call.initial_metadata()).get("first"), (await call.trailing_metadata()).get("last-bin")

    assert done(all_of_it()) == ("x", b"\x00\xff")


@pytest.mark.parametrize("bad", [{"bad name": "x"}, {"a": "line\nbreak"}, {"a": "x" * 100_000}])
def test_initial_metadata_that_cannot_be_sent(tie: Any, bad: dict[str, str]) -> None:
    """Who gives such metadata is told at once, and may still answer."""

    async def handler(request: bytes, call: ServerCall) -> bytes:
        with pytest.raises(ValueError, match=r"."):
            call.send_initial_metadata(bad)
        return b"fine"

    assert done(tie({PATH: unary_unary(handler)}).unary_unary(PATH)(b"")) == b"fine"


def test_initial_metadata_once(tie: Any) -> None:
    """The headers of an answer are sent once."""

    async def handler(request: bytes, call: ServerCall) -> bytes:
        call.send_initial_metadata()
        with pytest.raises(RuntimeError):
            call.send_initial_metadata()
        return b"fine"

    assert done(tie({PATH: unary_unary(handler)}).unary_unary(PATH)(b"")) == b"fine"


@pytest.mark.parametrize(
    "content_type", ["application/grpc", "application/grpc+json", "application/grpc+proto"]
)
def test_content_type_is_echoed(tie: Any, content_type: str) -> None:
    """The handler sees the content type of the request, and the answer has the same."""

    async def handler(request: bytes, call: ServerCall) -> AsyncIterator[bytes]:
        yield call.content_type.encode()

    call = tie({PATH: unary_stream(handler)}).unary_stream(PATH)(b"", content_type=content_type)
    assert done(collected(call)) == [content_type.encode()]
    assert call.head is not None
    assert call.head.content_type == content_type


def test_who_is_calling(tie: Any) -> None:
    """The handler knows the peer, the authority and the connection."""
    seen = []

    async def handler(request: bytes, call: ServerCall) -> bytes:
        seen.append((call.peer, call.authority, hash(call.connection)))
        return b""

    call = tie({PATH: unary_unary(handler)}, authority="shop.example:80").unary_unary(PATH)
    done(call(b""))
    done(call(b""))
    assert seen[0][:2] == ("unix", "shop.example:80")
    assert seen[0] == seen[1]


# Errors.


def test_errors_arrive_whole(tie: Any) -> None:
    """Code, message in any script, details and metadata of what a handler raises reach the client."""

    async def handler(request: bytes, call: ServerCall) -> bytes:
        raise RpcError(StatusCode.ABORTED, "n\u00e4chstes 100%\n", details=b"\x00\xff", metadata={"a": "b"})

    error = raised(tie({PATH: unary_unary(handler)}).unary_unary(PATH)(b""))
    assert (error.code, error.message) == (StatusCode.ABORTED, "n\u00e4chstes 100%\n")
    assert error.details == b"\x00\xff"
    assert error.trailing_metadata.get("a") == "b"
    assert error.answered
    assert not error.undelivered


@pytest.mark.parametrize(
    ("text", "details", "metadata"),
    [
        ("\N{GRINNING FACE}" * 200_000, b"", {}),
        ("why", b"x" * 200_000, {}),
        ("why", b"", {"long": "x" * 200_000}),
    ],
)
def test_a_long_error_costs_nobody_else(tie: Any, text: str, details: bytes, metadata: Any) -> None:
    """An error that is too long for a header block keeps its code, and the connection with the other calls on it."""
    hanging = Hanging()

    async def handler(request: bytes, call: ServerCall) -> bytes:
        raise RpcError(StatusCode.ABORTED, text, details=details, metadata=metadata)

    channel = tie({PATH: unary_unary(handler), "/shop.Shop/Wait": unary_unary(hanging)})
    other = channel.unary_unary("/shop.Shop/Wait")(b"")
    error = raised(channel.unary_unary(PATH)(b""))
    assert error.code is StatusCode.ABORTED
    assert error.message
    assert text.startswith(error.message)
    hanging.waiting.callback(b"fine")
    assert done(other) == b"fine"


@pytest.mark.parametrize("kind", [unary_unary, unary_stream])
def test_long_trailers_cost_nobody_else(tie: Any, kind: Any) -> None:
    """Nor does trailing metadata that is too long."""

    async def one(request: bytes, call: ServerCall) -> bytes:
        call.trailing_metadata = {"long": "x" * 200_000}
        return request

    async def many(request: bytes, call: ServerCall) -> AsyncIterator[bytes]:
        yield await one(request, call)

    channel = tie({PATH: kind(one if kind is unary_unary else many), "/shop.Shop/Echo": unary_unary(echo)})
    call = getattr(channel, kind.__name__)(PATH)(b"")
    error = raised(call if kind is unary_unary else collected(call))
    assert error.answered
    assert done(channel.unary_unary("/shop.Shop/Echo")(b"fine")) == b"fine"


def test_an_error_after_replies(tie: Any) -> None:
    """Replies that went before an error are read before it is raised."""

    async def handler(request: bytes, call: ServerCall) -> AsyncIterator[bytes]:
        yield b"one"
        raise RpcError(StatusCode.DATA_LOSS, "that was all")

    heard = []

    async def listen(call: Any) -> None:
        async for reply in call:
            heard.append(reply)

    error = raised(listen(tie({PATH: unary_stream(handler)}).unary_stream(PATH)(b"")))
    assert heard == [b"one"]
    assert error.code is StatusCode.DATA_LOSS


def test_a_defect_is_logged_once_and_tells_nothing(tie: Any) -> None:
    """A handler's defect is that call's UNKNOWN, whose traceback stays here; the next call is served."""
    events: list[LogEvent] = []

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        events.append(event)

    globalLogPublisher.addObserver(observe)

    async def handler(request: bytes, call: ServerCall) -> bytes:
        if request == b"bad":
            raise ValueError("secret")
        return b"fine"

    try:
        call = tie({PATH: unary_unary(handler)}).unary_unary(PATH)
        error = raised(call(b"bad"))
        assert done(call(b"good")) == b"fine"
    finally:
        globalLogPublisher.removeObserver(observe)
    assert error.code is StatusCode.UNKNOWN
    assert "secret" not in error.message
    assert len([event for event in events if "log_failure" in event]) == 1


@pytest.mark.parametrize(
    ("sent", "level"),
    [
        (b"GET / HTTP/1.1\r\nHost: here\r\n\r\n", LogLevel.debug),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), LogLevel.debug),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4" + bytes(5) + b"\0\0\1" + bytes(7), LogLevel.info),
    ],
)
def test_who_speaks_no_http2_fills_no_log(clock: Clock, sent: bytes, level: LogLevel) -> None:
    """A connection that never spoke HTTP/2 leaves a line for those who debug only; one that broke off is told to all."""
    events: list[LogEvent] = []
    observe = cast(ILogObserver, events.append)
    globalLogPublisher.addObserver(observe)
    protocol = GrpcServer({}, clock=clock).buildProtocol(IPv4Address("TCP", "192.0.2.1", 7))
    transport = StringTransport(peerAddress=IPv4Address("TCP", "192.0.2.1", 7))
    try:
        protocol.makeConnection(transport)
        protocol.dataReceived(sent)
    finally:
        globalLogPublisher.removeObserver(observe)
    assert transport.disconnecting
    told = [event["log_level"] for event in events if "was disconnected" in event.get("log_format", "")]
    assert told == [level]


def test_an_unreadable_request(tie: Any) -> None:
    """A request that cannot be read is INTERNAL, in the words that gRPC uses."""
    method = unary_unary(echo, lambda data: data.decode("ascii"))
    error = raised(tie({PATH: method}).unary_unary(PATH)(b"\xff"))
    assert error.code is StatusCode.INTERNAL
    assert error.message.startswith("grpc: failed to unmarshal the received message")


def test_awaiting_something_else(tie: Any) -> None:
    """A handler which awaits what is no Deferred fails its call and nothing more."""

    class Foreign:
        def __await__(self) -> Any:
            yield self

    async def handler(request: bytes, call: ServerCall) -> bytes:
        try:
            await Foreign()
        except TypeError as error:
            return str(error).encode()
        return b""

    assert b"Deferreds" in done(tie({PATH: unary_unary(handler)}).unary_unary(PATH)(b""))


# Time and cancellation.


def test_deadline(tie: Any, clock: Clock) -> None:
    """When the deadline passes the client has its answer, and the handler is cancelled where it waits."""
    hanging = Hanging()
    channel = tie({PATH: unary_unary(hanging)})
    # The client's own deadline is later, so that the answer is the server's.
    reply = channel.unary_unary(PATH)(b"", metadata={"timeout": "500000000"}, timeout=9)
    clock.advance(0.499)
    assert hanging.ended == []
    assert hanging.calls[0].time_remaining() == pytest.approx(0.001)
    clock.advance(0.001)
    error = raised(reply)
    assert error.code is StatusCode.DEADLINE_EXCEEDED
    assert error.answered
    assert hanging.ended == [CancelledError]


@pytest.mark.parametrize(
    ("grpc_timeout", "micro_timeout", "left"),
    [
        (3.0, None, 3.0),
        (None, "2000000000", 2.0),
        (3.0, "2000000000", 2.0),
        (1.0, "2000000000", 1.0),
        (None, "x", None),
    ],
)
def test_the_lesser_limit_counts(
    tie: Any, grpc_timeout: float | None, micro_timeout: str | None, left: float | None
) -> None:
    """gRPC's timeout and Micro's become one deadline."""
    hanging = Hanging()
    metadata = {"timeout": micro_timeout} if micro_timeout else {}
    tie({PATH: unary_unary(hanging)}).unary_unary(PATH)(
        b"", timeout=grpc_timeout, metadata=metadata
    ).addErrback(id)
    assert hanging.calls[0].time_remaining() == (None if left is None else pytest.approx(left))
    assert (hanging.calls[0].deadline is None) is (left is None)


def test_a_deadline_that_has_passed(tie: Any) -> None:
    """A call that comes too late is not begun."""
    hanging = Hanging()
    error = raised(tie({PATH: unary_unary(hanging)}).unary_unary(PATH)(b"", metadata={"timeout": "0"}))
    assert error.code is StatusCode.DEADLINE_EXCEEDED
    assert hanging.calls == []


def test_headers_alone_run_out_of_time(tie: Any, clock: Clock) -> None:
    """A client that never sends its request is told when the time is over."""
    call = tie({PATH: unary_unary(echo)}).stream_stream(PATH)(metadata={"timeout": "1000000000"})
    clock.advance(1)
    assert raised(call.trailing_metadata()).code is StatusCode.DEADLINE_EXCEEDED


def test_no_timer_is_left(tie: Any, clock: Clock) -> None:
    """A call that has ended leaves nothing behind that would fire."""
    channel = tie({PATH: unary_unary(echo)})
    done(channel.unary_unary(PATH)(b"", timeout=5))
    done(channel.close(0))
    assert clock.getDelayedCalls() == []


def test_the_clients_cancellation_reaches_the_handler(tie: Any) -> None:
    """When the client gives up, CancelledError is raised where the handler waits."""
    hanging = Hanging()
    reply = tie({PATH: unary_unary(hanging)}).unary_unary(PATH)(b"")
    reply.addErrback(lambda failure: failure.trap(CancelledError))
    reply.cancel()
    assert hanging.ended == [CancelledError]
    assert hanging.calls[0].cancelled


def test_a_lost_connection_reaches_the_handler(tie: Any) -> None:
    """So it is when the client's connection is gone."""
    hanging = Hanging()
    channel = tie({PATH: unary_unary(hanging)})
    reply = channel.unary_unary(PATH)(b"")
    channel.endpoint.connections[0][0].abortConnection()
    assert hanging.ended == [CancelledError]
    error = raised(reply)
    assert error.code is StatusCode.UNAVAILABLE
    assert not error.undelivered


@pytest.mark.parametrize("kind", [stream_unary, stream_stream])
def test_cancelled_while_reading(tie: Any, kind: Any) -> None:
    """A handler which waits for the next request is told as well."""
    ended = []

    async def unary(requests: AsyncIterator[bytes], call: ServerCall) -> bytes:
        try:
            return b"".join([request async for request in requests])
        except CancelledError:
            ended.append(True)
            raise

    async def stream(requests: AsyncIterator[bytes], call: ServerCall) -> AsyncIterator[bytes]:
        yield await unary(requests, call)

    call = tie({PATH: kind(unary if kind is stream_unary else stream)}).stream_stream(PATH)()
    done(call.write(b"x"))
    call.cancel()
    assert ended == [True]


def test_cancelled_while_writing(tie: Any) -> None:
    """A handler whose client does not read any more is told where it yields."""
    ended = []

    async def flood(request: bytes, call: ServerCall) -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(1000)
        except (CancelledError, GeneratorExit):
            ended.append(True)
            raise

    call = tie({PATH: unary_stream(flood)}).unary_stream(PATH)(b"")
    done(call.__anext__())
    assert ended == []
    call.cancel()
    assert ended == [True]


def test_nested_calls_inherit(tie: Any, clock: Clock) -> None:
    """A call made by a handler has at most the time that is left, and ends with the handler's own."""
    inner = Hanging()
    onward = tie({PATH: unary_unary(inner)})

    async def handler(request: bytes, call: ServerCall) -> bytes:
        waited: Deferred[None] = Deferred()
        clock.callLater(1, waited.callback, None)
        await waited
        return await onward.unary_unary(PATH)(request)  # type: ignore[no-any-return]

    reply = tie({PATH: unary_unary(handler)}).unary_unary(PATH)(b"", timeout=3)
    clock.advance(1)
    assert inner.calls[0].time_remaining() == pytest.approx(2, abs=0.002)
    reply.addErrback(lambda failure: failure.trap(CancelledError))
    reply.cancel()
    assert inner.ended == [CancelledError]


def test_nested_streams_end_with_their_call(tie: Any) -> None:
    """A streaming call that a handler has left open is cancelled when the handler is done."""
    ended = []

    async def forever(requests: AsyncIterator[bytes], call: ServerCall) -> AsyncIterator[bytes]:
        try:
            async for request in requests:
                yield request
        except CancelledError:
            ended.append(True)
            raise

    onward = tie({PATH: stream_stream(forever)})

    async def handler(request: bytes, call: ServerCall) -> bytes:
        stream = onward.stream_stream(PATH)()
        await stream.write(b"x")
        return await stream.__anext__()  # type: ignore[no-any-return]

    assert done(tie({PATH: unary_unary(handler)}).unary_unary(PATH)(b"")) == b"x"
    assert ended == [True]


def test_calls_do_not_see_each_others_context(tie: Any) -> None:
    """Each handler runs in a context of its own; its deadline is not the next one's."""
    inner = Hanging()
    onward = tie({PATH: unary_unary(inner)})

    async def handler(request: bytes, call: ServerCall) -> bytes:
        return await onward.unary_unary(PATH)(request)  # type: ignore[no-any-return]

    channel = tie({PATH: unary_unary(handler)})
    for timeout in (1.0, None):
        channel.unary_unary(PATH)(b"", timeout=timeout).addErrback(id)
    assert [call.deadline is None for call in inner.calls] == [False, True]


def test_an_uncancellable_handler_counts(clock: Clock) -> None:
    """Work that goes on after its call was cancelled still counts against the limit of calls."""
    stubborn: list[Deferred[None]] = []

    async def handler(request: bytes, call: ServerCall) -> bytes:
        for _ in range(2):
            waiting: Deferred[None] = Deferred()
            stubborn.append(waiting)
            try:
                await waiting
            except CancelledError:
                continue
        return b""

    server = GrpcServer({PATH: unary_unary(handler)}, clock=clock, limits=Limits(max_streams=2))
    channel = connect(server, clock)
    for _ in range(2):
        reply = channel.unary_unary(PATH)(b"")
        reply.addErrback(lambda failure: failure.trap(CancelledError))
        reply.cancel()
    error = raised(channel.unary_unary(PATH)(b""))
    assert error.code is StatusCode.UNAVAILABLE
    assert error.undelivered
    for waiting in stubborn:
        if not waiting.called:
            waiting.callback(None)
    done(channel.close(0))


# Size and compression.


def test_a_request_over_the_limit(clock: Clock) -> None:
    """A message over the limit ends the call with RESOURCE_EXHAUSTED, which names the limit."""
    server = GrpcServer({PATH: unary_unary(echo)}, clock=clock, limits=Limits(max_message=1000))
    call = connect(server, clock).unary_unary(PATH)
    assert done(call(bytes(1000))) == bytes(1000)
    error = raised(call(bytes(1001)))
    assert error.code is StatusCode.RESOURCE_EXHAUSTED
    assert "1000" in error.message


def test_a_reply_over_the_limit(clock: Clock) -> None:
    """A handler cannot send more either."""
    server = GrpcServer({PATH: unary_stream(count_bytes)}, clock=clock, limits=Limits(max_message=1000))
    error = raised(collected(connect(server, clock).unary_stream(PATH)(b"1001")))
    assert error.code is StatusCode.RESOURCE_EXHAUSTED
    assert "1000" in error.message


async def count_bytes(request: bytes, call: ServerCall) -> AsyncIterator[bytes]:
    yield bytes(int(request))


def test_the_default_limit_is_32_mebibytes(tie: Any) -> None:
    """Exactly 32 MiB pass, both ways."""
    most = 32 * 1024 * 1024
    assert Limits().max_message == most
    assert len(done(tie({PATH: unary_unary(echo)}).unary_unary(PATH)(bytes(most)))) == most


def test_compressed_requests(tie: Any) -> None:
    """A request that is compressed is read like any other."""
    assert done(tie({PATH: unary_unary(echo)}).unary_unary(PATH)(b"x" * 5000, compress=True)) == b"x" * 5000


def test_compressed_replies(tie: Any) -> None:
    """A handler decides for each reply whether it is compressed."""

    async def handler(request: bytes, call: ServerCall) -> AsyncIterator[bytes]:
        call.compress = False
        yield b"plain" * 1000
        call.compress = True
        yield b"packed" * 1000

    channel = tie({PATH: unary_stream(handler)})
    done(channel.unary_unary("/none/none")(b"").addErrback(id))
    wire = channel.endpoint.connections[0][1]
    wire.keep = True
    assert done(collected(channel.unary_stream(PATH)(b""))) == [b"plain" * 1000, b"packed" * 1000]
    assert b"plainplain" in wire.written
    assert b"packedpacked" not in wire.written


def test_a_bomb_stops_at_the_limit(clock: Clock) -> None:
    """A small message that would grow over the limit is refused before it has."""
    server = GrpcServer({PATH: unary_unary(echo)}, clock=clock, limits=Limits(max_message=10_000))
    error = raised(connect(server, clock).unary_unary(PATH)(bytes(1_000_000), compress=True))
    assert error.code is StatusCode.RESOURCE_EXHAUSTED
    assert "10000" in error.message


# Connections.


def test_lost_connections_are_told(tie: Any) -> None:
    """Who asks is told when the client's connection is gone, long after the call; who withdraws is not."""
    told = []

    async def handler(request: bytes, call: ServerCall) -> bytes:
        call.on_connection_lost(lambda: told.append("kept"))
        call.on_connection_lost(lambda: told.append("withdrawn"))()
        return b""

    channel = tie({PATH: unary_unary(handler)})
    done(channel.unary_unary(PATH)(b""))
    assert told == []
    done(channel.close(0))
    assert told == ["kept"]


def test_draining_lets_calls_finish(clock: Clock) -> None:
    """A server that drains takes no new calls, finishes those in flight and then closes."""
    hanging = Hanging()
    server = GrpcServer({PATH: unary_unary(hanging)}, clock=clock)
    channel: Channel = connect(server, clock)
    reply = channel.unary_unary(PATH)(b"")
    drained = Deferred.fromCoroutine(server.drain(20))
    assert not drained.called
    assert server.connections == 1
    hanging.waiting.callback(b"done")
    assert done(reply) == b"done"
    done(drained)
    assert server.connections == 0


def test_draining_has_an_end(clock: Clock) -> None:
    """Calls that take too long are cut off, and their outcome is unknown."""
    hanging = Hanging()
    server = GrpcServer({PATH: unary_unary(hanging)}, clock=clock)
    reply = connect(server, clock).unary_unary(PATH)(b"")
    drained = Deferred.fromCoroutine(server.drain(20))
    clock.advance(19.9)
    with pytest.raises(StillWaitingError):
        done(drained)
    clock.advance(0.1)
    assert server.connections == 0
    assert hanging.ended == [CancelledError]
    error = raised(reply)
    assert error.code is StatusCode.UNAVAILABLE
    assert not error.undelivered


def test_draining_nothing(clock: Clock) -> None:
    """A server without connections is drained at once."""
    done(GrpcServer({}, clock=clock).drain(20))
