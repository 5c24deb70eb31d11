"""What may be an endpoint, and how each sort answers."""

from __future__ import annotations

import gc
import threading
from collections.abc import AsyncIterator, Generator, Iterator
from dataclasses import dataclass

import pytest
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.task import Clock, deferLater

from microd.framework import (
    BadRequest,
    Call,
    Conflict,
    Internal,
    MicroError,
    NotFound,
    SchemaError,
    Service,
    current_call,
)
from microd.testing.outcome import done
from microd.testing.services import ServiceTester
from microd.txgrpc import RpcError, StatusCode
from microd.txgrpc.memory import connect
from microd.wire.store_pb2 import Field, Record


@dataclass
class Text:
    text: str = ""
    count: int = 0


@pytest.fixture
def service() -> Service:
    """A service without endpoints."""
    return Service("echo", environ={})


def test_coroutine(service: Service) -> None:
    """An async def answers a call."""

    @service.endpoint
    async def upper(request: Text) -> Text:
        return Text(request.text.upper())

    assert ServiceTester(service).call("Echo.Upper", Text("a"), Text) == Text("A")


def test_plain_function(service: Service) -> None:
    """A plain def answers a call, and knows the call's circumstances."""
    seen: list[object] = []

    @service.endpoint
    def upper(request: Text) -> Text:
        seen.append(current_call())
        return Text(request.text.upper())

    assert ServiceTester(service).call("Echo.Upper", Text("a"), Text) == Text("A")
    assert isinstance(seen[0], Call)
    assert seen[0].endpoint == "Echo.Upper"


def test_deferred(service: Service) -> None:
    """A function that returns a Deferred answers when it fires."""
    clock = Clock()

    @service.endpoint
    def later(request: Text) -> Deferred[Text]:
        return deferLater(clock, 1, Text, request.text)

    tester = ServiceTester(service, clock)
    answer = tester.begin("Echo.Later", Text("a"), Text)
    assert not answer.called
    clock.advance(1)
    assert done(answer) == Text("a")


def test_inline_callbacks(service: Service) -> None:
    """So does one of Twisted's older coroutines, whose annotation is that of its generator."""
    clock = Clock()

    @service.endpoint
    @inlineCallbacks
    def later(request: Text) -> Generator[Deferred[None], None, Text]:
        yield deferLater(clock, 1)
        return request

    tester = ServiceTester(service, clock)
    answer = tester.begin("Echo.Later", Text("a"), Text)
    clock.advance(1)
    assert done(answer) == Text("a")


def test_deferred_from_a_thread(service: Service, log: list[dict[str, object]]) -> None:
    """A plain function whose annotation does not say that it returns a Deferred runs in a thread; the error says what to write."""

    @service.endpoint
    def later(request: Text) -> Text:
        return Deferred()  # type: ignore[return-value]

    with pytest.raises(Internal, match=r"annotate it '-> Deferred\[...\]'"):
        ServiceTester(service).call("Echo.Later", Text("a"), Text)


def test_server_streaming(service: Service) -> None:
    """What an async generator yields is streamed."""

    @service.endpoint
    async def count(request: Text) -> AsyncIterator[Text]:
        for number in range(request.count):
            yield Text(count=number)

    found = ServiceTester(service).stream("Echo.Count", Text(count=3), Text)
    assert found == [Text(count=0), Text(count=1), Text(count=2)]


def test_plain_generator(service: Service) -> None:
    """What a plain generator yields is streamed too."""

    @service.endpoint
    def count(request: Text) -> Iterator[Text]:
        for number in range(request.count):
            yield Text(count=number)

    assert ServiceTester(service).stream("Echo.Count", Text(count=2), Text) == [Text(), Text(count=1)]


def test_client_streaming(service: Service) -> None:
    """A request annotated as an AsyncIterator is the stream of the client's messages."""

    @service.endpoint
    async def join(requests: AsyncIterator[Text]) -> Text:
        return Text("".join([request.text async for request in requests]))

    assert ServiceTester(service).call("Echo.Join", [Text("a"), Text("b")], Text) == Text("ab")


def test_both_streaming(service: Service) -> None:
    """Both sides may stream."""

    @service.endpoint
    async def upper(requests: AsyncIterator[Text]) -> AsyncIterator[Text]:
        async for request in requests:
            yield Text(request.text.upper())

    assert ServiceTester(service).stream("Echo.Upper", [Text("a"), Text("b")], Text) == [Text("A"), Text("B")]


def test_generated_messages(service: Service) -> None:
    """Generated protobuf messages work where dataclasses do, in both encodings."""

    @service.endpoint
    async def field(request: Record) -> Field:
        return Field(type="key", value=request.key)

    tester = ServiceTester(service)
    assert tester.call("Echo.Field", Record(key="k"), Field) == Field(type="key", value="k")
    assert tester.call("Echo.Field", {"key": "k"}) == {"type": "key", "value": "k"}


def test_nothing(service: Service) -> None:
    """An endpoint may take nothing and answer nothing."""
    pinged: list[str] = []

    @service.endpoint
    async def ping() -> None:
        pinged.append("ping")

    tester = ServiceTester(service)
    assert tester.call("Echo.Ping", None, type(None)) is None
    assert tester.call("Echo.Ping", {}) == {}
    assert pinged == ["ping", "ping"]


def test_call_parameter(service: Service) -> None:
    """A parameter annotated Call gets the circumstances of the call, before or after the request, or alone."""

    @service.endpoint
    async def after(request: Text, call: Call) -> Text:
        return Text(f"{request.text} {call.endpoint}")

    @service.endpoint
    async def before(call: Call, request: Text) -> Text:
        return Text(f"{request.text} {call.metadata.get('x-mine')}")

    @service.endpoint
    async def alone(call: Call) -> Text:
        return Text(call.namespace)

    tester = ServiceTester(service)
    assert tester.call("Echo.After", Text("a"), Text).text == "a Echo.After"
    assert tester.call("Echo.Before", Text("a"), Text, metadata={"x-mine": "m"}).text == "a m"
    assert tester.call("Echo.Alone", None, Text).text == "micro"


def test_account(service: Service) -> None:
    """A handler can learn who calls; the auth service is asked once for a token."""

    @service.endpoint
    async def whoami(call: Call) -> Text:
        account = await call.account()
        return Text(account.id if account else "nobody")

    tester = ServiceTester(service)
    assert tester.call("Echo.Whoami", None, Text).text == "tester"
    assert tester.call("Echo.Whoami", None, Text).text == "tester"
    assert [path for path, _ in tester.daemon.calls].count("/auth.Auth/Inspect") == 1
    assert (
        tester.call("Echo.Whoami", None, Text, metadata={"authorization": "Bearer forged"}).text == "nobody"
    )


def test_json(service: Service) -> None:
    """The same handler answers JSON: own names out, both spellings in, what is unknown passed over."""

    @dataclass
    class Named:
        user_name: str
        count: int = 0

    @service.endpoint
    async def same(request: Named) -> Named:
        return request

    tester = ServiceTester(service)
    expected = {"user_name": "a", "count": "7"}
    assert tester.call("Echo.Same", {"userName": "a", "count": 7, "other": []}) == expected
    assert tester.call("Echo.Same", {"user_name": "a", "count": "7"}) == expected


def test_wrong_type(service: Service) -> None:
    """A wrong type in a request is a 400 which names the field, and the handler is not called."""

    @service.endpoint
    async def never(request: Text) -> Text:
        raise AssertionError("called")

    with pytest.raises(BadRequest) as caught:
        ServiceTester(service).call("Echo.Never", {"count": "x"})
    assert caught.value.detail == 'field "count" wants an integer, got a string'
    assert caught.value.id == "echo.Echo.Never"


def raw(tester: ServiceTester, path: str, data: bytes, content_type: str) -> RpcError:
    """Call with bytes of our own choice, and give the error."""
    channel = connect(tester.server, tester.clock)
    with pytest.raises(RpcError) as caught:
        done(channel.unary_unary(path)(data, content_type=content_type))
    return caught.value


def test_no_protobuf(service: Service) -> None:
    """Bytes which are no protobuf are a 400."""

    @service.endpoint
    async def never(request: Text) -> Text:
        raise AssertionError("called")

    error = raw(ServiceTester(service), "/echo.Echo/Never", b"\xff", "application/grpc+proto")
    assert error.code == StatusCode.INVALID_ARGUMENT
    assert '"code":400' in error.message


def test_other_content_type(service: Service) -> None:
    """An encoding that is not spoken is a 400 which names those that are."""

    @service.endpoint
    async def never(request: Text) -> Text:
        raise AssertionError("called")

    error = raw(ServiceTester(service), "/echo.Echo/Never", b"", "application/grpc+bytes")
    assert "application/grpc+json" in error.message
    assert error.code == StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("path", "code", "text"),
    [
        ("/echo.Echo/Nope", StatusCode.UNIMPLEMENTED, "unknown service Echo.Nope"),
        ("/echo.Nope/Never", StatusCode.UNIMPLEMENTED, "unknown service Nope"),
        ("/echo.Echo/Never/x", StatusCode.INVALID_ARGUMENT, 'malformed method name: "/echo.Echo/Never/x"'),
    ],
)
def test_unknown(service: Service, path: str, code: StatusCode, text: str) -> None:
    """What does not exist is told in the words that clients of the reference match."""

    @service.endpoint
    async def never(request: Text) -> Text:
        raise AssertionError("called")

    error = raw(ServiceTester(service), path, b"", "application/grpc+proto")
    assert (error.code, error.message) == (code, text)


@pytest.mark.parametrize("path", ["/Echo/Same", "/echo.Echo/Same", "/x.y.Echo/Same"])
def test_any_package(service: Service, path: str) -> None:
    """Only the last label of the path's second part selects the struct."""

    @service.endpoint
    async def same(request: Text) -> Text:
        return request

    tester = ServiceTester(service)
    assert done(connect(tester.server, tester.clock).unary_unary(path)(b"\x0a\x01a")) == b"\x0a\x01a"


def test_exception(service: Service, log: list[dict[str, object]]) -> None:
    """An exception is that call's 500, and one logged traceback; the next call is answered."""

    @service.endpoint
    async def half(request: Text) -> Text:
        return Text(count=10 // request.count)

    tester = ServiceTester(service)
    with pytest.raises(Internal) as caught:
        tester.call("Echo.Half", Text(count=0), Text)
    assert (caught.value.id, caught.value.code) == ("echo.Echo.Half", 500)
    assert caught.value.detail == "integer division or modulo by zero"
    failures = [event for event in log if "log_failure" in event]
    assert [event["endpoint"] for event in failures] == ["echo.Echo.Half"]
    assert tester.call("Echo.Half", Text(count=5), Text) == Text(count=2)


def test_exception_in_a_stream(service: Service, log: list[dict[str, object]]) -> None:
    """An exception in a stream ends it with a 500, after what was streamed before."""

    @service.endpoint
    async def some(request: Text) -> AsyncIterator[Text]:
        yield Text("first")
        raise RuntimeError("broken")

    tester = ServiceTester(service)
    got: list[Text] = []

    async def read() -> None:
        async for reply in tester.client.stream("echo", "Echo.Some", Text(), Text):
            got.append(reply)

    with pytest.raises(Internal, match="broken"):
        done(Deferred.fromCoroutine(read()))
    assert got == [Text("first")]
    assert len([event for event in log if "log_failure" in event]) == 1


@pytest.mark.parametrize("quits", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
@pytest.mark.parametrize("name", ["Echo.Coroutine", "Echo.Plain", "Echo.Later"])
def test_quits(service: Service, log: list[dict[str, object]], quits: BaseException, name: str) -> None:
    """A handler that would end the process ends its call with a 500, and one logged traceback; the next call is answered."""
    clock = Clock()

    @service.endpoint
    async def coroutine(request: Text) -> Text:
        return request if request.text else plain(request)

    @service.endpoint
    def plain(request: Text) -> Text:
        if not request.text:
            raise quits
        return request

    @service.endpoint
    def later(request: Text) -> Deferred[Text]:
        return deferLater(clock, 1, plain, request)

    tester = ServiceTester(service, clock)
    answer = tester.begin(name, Text(), Text)
    clock.advance(1)
    with pytest.raises(Internal) as caught:
        done(answer)
    assert (caught.value.id, caught.value.code) == (f"echo.{name}", 500)
    assert caught.value.detail == f"{quits!r}: a handler can end its own call only, not the process"
    assert len([event for event in log if "log_failure" in event]) == 1
    answer = tester.begin(name, Text("a"), Text)
    clock.advance(1)
    assert done(answer) == Text("a")


@pytest.mark.parametrize("quits", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
@pytest.mark.parametrize("name", ["Echo.Some", "Echo.Plain"])
def test_quits_in_a_stream(
    service: Service, log: list[dict[str, object]], quits: BaseException, name: str
) -> None:
    """So does one that streams."""

    @service.endpoint
    async def some(request: Text) -> AsyncIterator[Text]:
        yield request
        raise quits

    @service.endpoint
    def plain(request: Text) -> Iterator[Text]:
        yield request
        raise quits

    tester = ServiceTester(service)
    with pytest.raises(Internal, match="a handler can end its own call only") as caught:
        tester.stream(name, Text(), Text)
    assert caught.value.id == f"echo.{name}"
    assert len([event for event in log if "log_failure" in event]) == 1


def test_forgotten(log: list[dict[str, object]]) -> None:
    """A handler that waits for what nobody will fire, and is closed by Python, is no defect."""
    closed: list[bool] = []

    def call() -> None:
        service = Service("echo", environ={})

        @service.endpoint
        async def never(request: Text) -> Text:
            try:
                await Deferred()
            finally:
                closed.append(True)
            return request

        ServiceTester(service).begin("Echo.Never", Text(), Text)

    call()
    gc.collect()
    assert closed == [True]
    assert [event for event in log if "log_failure" in event] == []


def test_micro_errors(service: Service, log: list[dict[str, object]]) -> None:
    """An error which the author chose reaches the caller with its code and id, and is not logged."""

    @service.endpoint
    async def find(request: Text) -> Text:
        raise NotFound(f"no {request.text} <here>")

    @service.endpoint
    def take(request: Text) -> Text:
        raise Conflict("taken", "my.own.id")

    tester = ServiceTester(service)
    with pytest.raises(NotFound, match="no x <here>") as missing:
        tester.call("Echo.Find", Text("x"), Text)
    assert missing.value.id == "echo.Echo.Find"
    with pytest.raises(Conflict) as conflict:
        tester.call("Echo.Take", Text("x"), Text)
    assert conflict.value.id == "my.own.id"
    assert not [event for event in log if "log_failure" in event]


def test_error_on_the_wire(service: Service) -> None:
    """An error is the JSON object in the message, its gRPC status, and the same object in the details."""

    @service.endpoint
    async def find(request: Text) -> Text:
        raise NotFound("gone")

    error = raw(ServiceTester(service), "/echo.Echo/Find", b"", "application/grpc+proto")
    assert error.code == StatusCode.NOT_FOUND
    assert error.message == '{"id":"echo.Echo.Find","code":404,"detail":"gone","status":"Not Found"}'
    assert b"type.googleapis.com/errors.Error" in error.details


def test_bad_reply(service: Service, log: list[dict[str, object]]) -> None:
    """A reply that does not fit its annotation is a 500 which names the field."""

    @service.endpoint
    async def wrong(request: Text) -> Text:
        return Text(text=request.count)  # type: ignore[arg-type]

    @service.endpoint
    async def other(request: Text) -> Text:
        return {"text": "a"}  # type: ignore[return-value]

    tester = ServiceTester(service)
    said = 'the reply\'s field "text" wants a string, got an integer'
    with pytest.raises(Internal, match=said):
        tester.call("Echo.Wrong", Text(), Text)
    with pytest.raises(Internal, match=said):
        tester.call("Echo.Wrong", {})
    with pytest.raises(Internal, match="wants a Text, got an object"):
        tester.call("Echo.Other", Text(), Text)


def test_deadline(service: Service) -> None:
    """A handler that outlives the caller's deadline is cancelled where it waits."""
    clock = Clock()
    ended: list[str] = []

    @service.endpoint
    async def slow(request: Text, call: Call) -> Text:
        ended.append(f"{call.time_remaining()}")
        try:
            await deferLater(clock, 100)
        finally:
            ended.append("ended")
        return request

    tester = ServiceTester(service, clock)
    answer = tester.begin("Echo.Slow", Text(), Text, timeout=2)
    clock.advance(3)
    with pytest.raises(MicroError) as caught:
        done(answer)
    assert caught.value.code == 408
    assert ended == ["2.0", "ended"]


def test_deadline_travels(service: Service) -> None:
    """A call made inside a handler has the time that is left of the handler's own, and its trace."""
    clock = Clock()
    seen: list[tuple[float | None, str]] = []

    @service.endpoint
    async def outer(request: Text) -> Text:
        return await service.client.call("echo", "Echo.Inner", request, Text)

    @service.endpoint
    async def inner(request: Text, call: Call) -> Text:
        seen.append((call.time_remaining(), call.id))
        return request

    tester = ServiceTester(service, clock)
    tester.call("Echo.Outer", Text(), Text, timeout=3, metadata={"micro-trace-id": "a" * 32})
    assert seen == [(3.0, "a" * 32)]


def test_forward_reference(service: Service) -> None:
    """A handler may name what is defined further down."""

    @service.endpoint
    async def later(request: Later) -> Later:
        return request

    assert ServiceTester(service).call("Echo.Later", {"x": 1}) == {"x": "1"}


@dataclass
class Later:
    x: int


def test_names(service: Service) -> None:
    """An endpoint may have another name, given by position or by keyword."""

    @service.endpoint("Hi")
    async def one() -> Text:
        return Text("one")

    @service.endpoint(name="Admin.Purge")
    async def two() -> Text:
        return Text("two")

    @service.endpoint()
    async def three() -> Text:
        return Text("three")

    tester = ServiceTester(service)
    assert tester.call("Echo.Hi", None, Text) == Text("one")
    assert tester.call("Admin.Purge", None, Text) == Text("two")
    assert tester.call("Echo.Three", None, Text) == Text("three")


def test_decorated_function_stays(service: Service) -> None:
    """The decorator gives back the function itself, so that tests may call it."""

    @service.endpoint
    def upper(request: Text) -> Text:
        return Text(request.text.upper())

    assert upper(Text("a")) == Text("A")


async def no_return(request: Text):  # type: ignore[no-untyped-def]
    """Says nothing of what it returns."""


async def no_request(request) -> Text:  # type: ignore[no-untyped-def]
    """Says nothing of what it takes."""
    return Text()


async def takes_int(request: int) -> Text:
    """Takes what is no message."""
    return Text()


async def two_requests(one: Text, two: Text) -> Text:
    """Takes too much."""
    return Text()


async def yields(request: Text) -> Text:  # type: ignore[misc]
    """Says that it returns one, and yields many."""
    yield Text()


def reads_in_a_thread(requests: AsyncIterator[Text]) -> Text:
    """Cannot read a stream."""
    return Text()


def unknown_deferred(request: Text) -> Deferred:  # type: ignore[type-arg]
    """Does not say of what."""
    return Deferred()


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (no_return, r"no_return\(\) does not say what it returns"),
        (no_request, r"no_request\(\): request has no annotation"),
        (takes_int, r"takes_int\(\): int is neither a dataclass nor a protobuf message"),
        (two_requests, r"two_requests\(\): two is one too many"),
        (yields, r"yields\(\) yields; its annotation is 'AsyncIterator\[Text\]'"),
        (reads_in_a_thread, r"reads_in_a_thread\(\) reads a stream, which only an 'async def' can"),
        (unknown_deferred, r"unknown_deferred\(\) returns a Deferred of what\?"),
    ],
)
def test_refused(service: Service, function: object, said: str) -> None:
    """What cannot be an endpoint is refused when it is decorated, with its file, its line and the reason."""
    with pytest.raises(SchemaError, match=rf"test_endpoints\.py:\d+: {said}"):
        service.endpoint(function)  # type: ignore[call-overload]


def test_twice(service: Service) -> None:
    """Two endpoints of one name are refused."""

    @service.endpoint
    async def same(request: Text) -> Text:
        return request

    with pytest.raises(SchemaError, match=r"there is an endpoint Echo.Same already"):
        service.endpoint(same)


def test_main_thread_stays_free(service: Service) -> None:
    """A coroutine is answered in the thread that runs the reactor."""
    seen: list[int] = []

    @service.endpoint
    async def here(request: Text) -> Text:
        seen.append(threading.get_ident())
        return request

    ServiceTester(service).call("Echo.Here", Text(), Text)
    assert seen == [threading.get_ident()]
