"""What the relay passes on, and as what: everything, as it came."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from microd.kernel.errors import Forbidden
from microd.services.auth.model import Resource
from microd.services.registry.model import Node
from microd.txgrpc import Method, RpcError, ServerCall, StatusCode
from microd.txgrpc.memory import MemoryEndpoint

IDS = ("traceparent", "micro-trace-id", "micro-span-id")


class Service:
    """A service which tells what it was asked, and does as it is told."""

    def __init__(self) -> None:
        self.calls: list[ServerCall] = []
        self.requests: list[bytes] = []
        self.waiting: Deferred[bytes] = Deferred()
        self.ended: list[str] = []

    def methods(self) -> dict[str, Method]:
        """What it offers."""
        return {
            "/greeter.Greeter/Hello": Method("unary_unary", self.hello),
            "/greeter.Greeter/Wait": Method("unary_unary", self.wait),
            "/greeter.Greeter/Fail": Method("unary_unary", self.fail),
            "/greeter.Greeter/Count": Method("unary_stream", self.count),
            "/greeter.Greeter/Sum": Method("stream_unary", self.sum),
            "/greeter.Greeter/Chat": Method("stream_stream", self.chat),
            "/greeter.Greeter/Slow": Method("stream_stream", self.slow),
        }

    async def hello(self, request: bytes, call: ServerCall) -> bytes:
        """Greet."""
        self.calls.append(call)
        return b"hello " + request

    async def wait(self, request: bytes, call: ServerCall) -> bytes:
        """Answer when told to."""
        self.calls.append(call)
        try:
            return await self.waiting
        finally:
            self.ended.append("wait")

    async def fail(self, request: bytes, call: ServerCall) -> bytes:
        """Refuse."""
        raise RpcError(
            StatusCode.DATA_LOSS, "café 100%", details=b"\0\1", metadata=[("x-why", "so"), ("y-bin", b"\xff")]
        )

    async def count(self, request: bytes, call: ServerCall) -> AsyncIterator[bytes]:
        """Count up, with metadata at both ends."""
        call.send_initial_metadata([("x-first", "1"), ("x-first", "2"), ("z-bin", b"\0\xff")])
        for number in range(int(request)):
            yield b"%d" % number
        call.trailing_metadata = [("x-last", "bye")]

    async def sum(self, requests: AsyncIterator[bytes], call: ServerCall) -> bytes:
        """Add up lengths."""
        return b"%d" % sum([len(request) async for request in requests])

    async def chat(self, requests: AsyncIterator[bytes], call: ServerCall) -> AsyncIterator[bytes]:
        """Echo."""
        try:
            async for request in requests:
                self.requests.append(request)
                if request == b"enough":
                    return
                yield request.upper()
        finally:
            self.ended.append("chat")

    async def slow(self, requests: AsyncIterator[bytes], call: ServerCall) -> AsyncIterator[bytes]:
        """Read nothing until told to."""
        await self.waiting
        async for request in requests:
            self.requests.append(request)
        yield b"%d" % len(self.requests)


@pytest.fixture
def service() -> Service:
    """A service."""
    return Service()


@pytest.fixture
def town(town: Any, service: Service) -> Any:
    """A town with one node of the service."""
    town.settle("greeter", service.methods())
    return town


def test_unary(town: Any) -> None:
    """A unary call comes and goes as it is."""
    assert town.call("/greeter.Greeter/Hello", b"ada") == b"hello ada"


def test_large(town: Any) -> None:
    """Messages which are larger than any window pass, in both directions."""
    large = b"x" * 3_000_000
    assert town.call("/greeter.Greeter/Hello", large) == b"hello " + large


def test_empty(town: Any) -> None:
    """An empty message is a message."""
    assert town.call("/greeter.Greeter/Hello", b"") == b"hello "


async def everything(call: Any) -> tuple[list[bytes], Any, Any]:
    """Replies, initial and trailing metadata."""
    replies = [reply async for reply in call]
    return replies, await call.initial_metadata(), await call.trailing_metadata()


def test_server_streaming(town: Any) -> None:
    """A stream of replies passes, with the metadata at its ends."""
    call = town.client.unary_stream("/greeter.Greeter/Count")(b"3")
    replies, initial, trailing = town.outcome(everything(call))
    assert replies == [b"0", b"1", b"2"]
    assert list(initial) == [("x-first", "1"), ("x-first", "2"), ("z-bin", b"\0\xff")]
    assert list(trailing) == [("x-last", "bye")]


def test_no_replies(town: Any) -> None:
    """A stream may have no replies at all."""
    replies, initial, trailing = town.outcome(
        everything(town.client.unary_stream("/greeter.Greeter/Count")(b"0"))
    )
    assert (replies, trailing.get("x-last"), initial.get("x-first")) == ([], "bye", "1")


def test_client_streaming(town: Any) -> None:
    """A stream of requests passes, even one without any."""
    method = town.client.stream_unary("/greeter.Greeter/Sum")
    assert town.outcome(method([b"a", b"bc", b""])) == b"3"
    assert town.outcome(method([])) == b"0"


def test_conversation(town: Any) -> None:
    """In a conversation each message is passed on when it comes."""

    async def talk() -> list[bytes]:
        heard = []
        call = town.client.stream_stream("/greeter.Greeter/Chat")()
        for word in (b"one", b"two" * 100_000, b"three"):
            await call.write(word)
            heard.append(await anext(call))
        await call.done_writing()
        heard.extend([reply async for reply in call])
        return heard

    assert town.outcome(talk()) == [b"ONE", b"TWO" * 100_000, b"THREE"]


def test_early_end(town: Any, service: Service) -> None:
    """A service may end a call before the client has said everything."""

    async def talk() -> list[bytes]:
        call = town.client.stream_stream("/greeter.Greeter/Chat")()
        await call.write(b"hi")
        await call.write(b"enough")
        return [reply async for reply in call]

    assert town.outcome(talk()) == [b"HI"]
    assert town.dialer.load("10.0.0.1:80") == 0


def test_headers_at_once(town: Any, service: Service) -> None:
    """The headers of an answer do not wait for its first message."""

    async def talk(requests: Any, call: ServerCall) -> AsyncIterator[bytes]:
        call.send_initial_metadata([("x-early", "yes")])
        yield await service.waiting

    town.settle("early", {"/early.Early/Talk": Method("stream_stream", talk)})
    call = town.client.stream_stream("/early.Early/Talk")()
    assert town.outcome(call.initial_metadata()).get("x-early") == "yes"


def test_first_reply_at_once(town: Any) -> None:
    """The first reply does not wait for the second."""
    first: Deferred[bytes] = Deferred()

    async def tick(request: bytes, call: ServerCall) -> AsyncIterator[bytes]:
        yield b"1"
        yield await first

    town.settle("clock", {"/clock.Clock/Tick": Method("unary_stream", tick)})
    call = town.client.unary_stream("/clock.Clock/Tick")(b"")
    assert town.outcome(anext(call)) == b"1"


def test_status(town: Any) -> None:
    """A service's own refusal passes as it is: code, message, details and trailers."""
    error = town.call("/greeter.Greeter/Fail")
    assert (error.code, error.message, error.details) == (StatusCode.DATA_LOSS, "café 100%", b"\0\1")
    assert list(error.trailing_metadata) == [("x-why", "so"), ("y-bin", b"\xff")]


def test_unknown_method(town: Any) -> None:
    """A method which the service does not have is refused by the service, in the words which clients match."""
    error = town.call("/greeter.Greeter/Nope")
    assert (error.code, error.message) == (StatusCode.UNIMPLEMENTED, "unknown service Greeter.Nope")


def test_no_route(town: Any) -> None:
    """A service which nobody serves is refused in the words which clients match."""
    refusal = town.refusal("/a.b.Nobody/Hello")
    assert (refusal.code, refusal.id, refusal.detail) == (
        404,
        "go.micro.client",
        "service a.b: route not found",
    )


@pytest.mark.parametrize(
    "content_type",
    ["application/grpc", "application/grpc+proto", "application/grpc+json", "application/grpc+bytes"],
)
def test_content_type(town: Any, service: Service, content_type: str) -> None:
    """The content type goes on, and comes back."""
    town.call("/greeter.Greeter/Hello", content_type=content_type)
    assert service.calls[0].content_type == content_type


def test_unsupported_content_type(town: Any, service: Service) -> None:
    """A content type that no service speaks is refused by its name."""
    refusal = town.refusal("/greeter.Greeter/Hello", content_type="application/grpc+foo")
    assert (refusal.code, refusal.id) == (500, "proxy")
    assert refusal.detail == "Unsupported Content-Type: application/grpc+foo"
    assert service.calls == []


def test_metadata(town: Any, service: Service) -> None:
    """Metadata goes on as it came, several values and binary ones too; what is about one hop does not."""
    sent = [
        ("authorization", "Bearer user"),
        ("micro-id", "7"),
        ("a", "1"),
        ("a", "2"),
        ("b-bin", b"\0\xff"),
    ]
    hops = [("x-content-type", "application/json"), ("timeout", "5000000000"), ("micro-namespace", "micro")]
    town.call("/greeter.Greeter/Hello", metadata=[*sent, *hops])
    (call,) = service.calls
    came = [(name, value) for name, value in call.metadata if name != "user-agent" and name not in IDS]
    assert came == [*sent, ("micro-namespace", "micro"), ("micro-hops", "1")]


def test_in_circles(town: Any) -> None:
    """A call whose node is the door itself is refused in a sentence, and does not go round until its deadline."""
    town.endpoints["127.0.0.1:8081"] = MemoryEndpoint(town.door)
    town.services["micro", "echo"] = (Node("echo-1", "127.0.0.1:8081"),)
    refusal = town.refusal("/echo.Echo/Hello", timeout=60)
    assert (refusal.code, refusal.id) == (500, "proxy")
    assert refusal.detail == (
        "service echo: its node is this daemon itself, or calls go round in circles: this one came through 16 doors"
    )
    assert len(town.auth.asked) == 16


@pytest.mark.parametrize(
    ("came", "goes"), [("1", "2"), ("15", "16"), ("x", "1"), ("-3", "1"), ("9" * 40, "1")]
)
def test_hops(town: Any, service: Service, came: str, goes: str) -> None:
    """Each door adds one to the doors which a call came through; what is no count is none."""
    town.call("/greeter.Greeter/Hello", metadata={"micro-hops": came})
    assert service.calls[0].metadata.get_all("micro-hops") == [goes]


def test_namespace(town: Any, service: Service) -> None:
    """A call goes to the namespace of its account, and the service is told which that is."""
    elsewhere = Service()
    town.settle("greeter", elsewhere.methods(), "foo")
    town.call("/greeter.Greeter/Hello", metadata={"authorization": "Bearer foo"})
    assert service.calls == []
    assert elsewhere.calls[0].metadata.get_all("micro-namespace") == ["foo"]


def test_foreign_namespace(town: Any, service: Service) -> None:
    """Another namespace's service is out of reach."""
    elsewhere = Service()
    town.settle("greeter", elsewhere.methods(), "foo")
    for token, code in (("", 401), ("user", 403)):
        metadata = {"authorization": f"Bearer {token}", "micro-namespace": "foo"}
        assert town.refusal("/greeter.Greeter/Hello", metadata=metadata).code == code
    assert elsewhere.calls == []


def test_revoked(town: Any, service: Service) -> None:
    """A token that is no good any more counts for nothing from the next call on, same headers or not."""
    town.settle("greeter", service.methods(), "foo")
    metadata = {"authorization": "Bearer foo"}
    town.call("/greeter.Greeter/Hello", metadata=metadata)
    del town.auth.tokens["foo"]
    town.call("/greeter.Greeter/Hello", metadata=metadata)
    assert [call.metadata.get("micro-namespace") for call in service.calls] == ["foo", "micro"]


def test_may_they(town: Any, service: Service) -> None:
    """Whom auth forbids it, a service is never asked by."""
    town.auth.refusal = Forbidden("not you")
    refusal = town.refusal("/greeter.Greeter/Hello")
    assert (refusal.code, refusal.id) == (403, "greeter")
    assert service.calls == []
    assert town.auth.asked == [(None, "micro", Resource("service", "greeter", "Greeter.Hello"))]


def test_deadline_goes_on(town: Any, service: Service) -> None:
    """The service has as much time as is left."""
    town.call("/greeter.Greeter/Hello", timeout=7)
    assert service.calls[0].time_remaining() == pytest.approx(7, abs=0.01)


def test_timeout_header(town: Any, service: Service) -> None:
    """The reference's own header for the time limit is understood, and goes on as gRPC's."""
    town.call("/greeter.Greeter/Hello", metadata={"timeout": "3000000000"})
    assert service.calls[0].time_remaining() == pytest.approx(3, abs=0.01)


def test_deadline(town: Any, service: Service) -> None:
    """A call which takes too long is a 408 in the reference's words, and the service stops."""
    waiting = town.client.unary_unary("/greeter.Greeter/Wait")(b"", metadata={"timeout": "2000000000"})
    assert town.outcome(waiting) is None
    town.clock.advance(2.5)
    assert service.ended == ["wait"]


def test_deadline_words(town: Any) -> None:
    """The refusal of a call which took too long is the reference's."""
    waiting = town.client.unary_unary("/greeter.Greeter/Wait")(b"", metadata={"timeout": "2000000000"})
    found: list[Any] = []
    waiting.addErrback(lambda failure: found.append(failure.value))
    town.clock.advance(2.5)
    assert found[0].code is StatusCode.DEADLINE_EXCEEDED
    assert found[0].message == (
        '{"id":"go.micro.client","code":408,"detail":"context deadline exceeded","status":"Request Timeout"}'
    )


def test_cancel(town: Any, service: Service) -> None:
    """A call which its client cancels is cancelled at the service."""
    waiting = town.client.unary_unary("/greeter.Greeter/Wait")(b"")
    waiting.addErrback(lambda _: None)
    waiting.cancel()
    assert service.ended == ["wait"]
    assert town.dialer.load("10.0.0.1:80") == 0


def test_client_gone(town: Any, service: Service) -> None:
    """A client whose connection drops has cancelled its calls."""
    town.client.unary_unary("/greeter.Greeter/Wait")(b"").addErrback(lambda _: None)
    town.client._endpoint.connections[-1][0].abortConnection()
    assert service.ended == ["wait"]


def test_nothing_for_the_garbage_collector(town: Any) -> None:
    """A relayed call leaves no cycles behind, which would cost more to find than the call did."""

    async def echo(request: bytes, call: ServerCall) -> bytes:
        return request

    town.settle("echo", {"/echo.Echo/Echo": Method("unary_unary", echo)})
    call = town.client.unary_unary("/echo.Echo/Echo")

    def ask() -> None:
        assert town.outcome(call(b"hi", timeout=5, metadata={"authorization": "Bearer root"})) == b"hi"

    ask()
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            ask()
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_one_write(town: Any, service: Service) -> None:
    """What arrived together goes on together: one write to the node, and one back to the client."""
    town.call("/greeter.Greeter/Hello")
    (to_node, _), (_, to_client) = (
        town.endpoints["10.0.0.1:80"].connections[0],
        town.client._endpoint.connections[0],
    )
    writes: list[Any] = []

    def counted(end: Any) -> Any:
        write = end.write

        def note(data: bytes) -> None:
            writes.append(end)
            write(data)

        return note

    for end in (to_node, to_client):
        end.write = counted(end)
    connection = town.client.connection
    connection.busy = True
    calls = [town.client.unary_unary("/greeter.Greeter/Hello")(b"%d" % number) for number in range(8)]
    connection.busy = False
    connection.on_output()
    assert [town.outcome(call) for call in calls] == [b"hello %d" % number for number in range(8)]
    assert writes == [to_node, to_client]


def test_ways_are_bounded(town: Any, service: Service) -> None:
    """What a connection has us remember of its requests is bounded in number and in length."""
    for number in range(200):
        town.call("/greeter.Greeter/Hello", metadata={"x": str(number)})
    town.call("/greeter.Greeter/Hello", metadata={"long": "x" * 10_000})
    (protocol,) = town.door._protocols
    assert len(protocol._ways) <= protocol.most_ways
    assert all("long" not in head.metadata for head in protocol._ways)
    assert len(service.calls) == 201


def test_drain(town: Any, service: Service) -> None:
    """A door that drains lets a relayed call finish, and takes no new one."""
    waiting = town.client.unary_unary("/greeter.Greeter/Wait")(b"")
    draining = Deferred.fromCoroutine(town.door.drain(20))
    town.clock.advance(1)
    assert not draining.called
    service.waiting.callback(b"done")
    assert town.outcome(waiting) == b"done"
    assert draining.called


def test_long_requests_are_not_kept(town: Any, service: Service) -> None:
    """What was sent of a request is kept for another node only while it is little."""
    call = town.client.stream_stream("/greeter.Greeter/Slow")()
    service.waiting.callback(b"")

    async def pour() -> None:
        for _ in range(300):
            await call.write(b"x" * 10_000)

    town.outcome(pour())
    assert len(service.requests) == 300
    (protocol,) = town.door._protocols
    (relayed,) = protocol.connection.streams.values()
    assert relayed._kept is None


def test_slow_reader_of_requests(town: Any, service: Service) -> None:
    """A service that does not read stops the client; all arrives once it does."""
    sent = 0

    async def pour(call: Any) -> None:
        nonlocal sent
        for _ in range(200):
            await call.write(b"x" * 50_000)
            sent += 1
        await call.done_writing()

    call = town.client.stream_stream("/greeter.Greeter/Slow")()
    town.outcome(pour(call))
    # Two stream windows and the transports' buffers, rather than ten megabytes.
    assert sent * 50_000 < 1_500_000
    service.waiting.callback(b"")
    assert town.outcome(anext(call)) == b"200"


def test_slow_reader_of_replies(town: Any) -> None:
    """A client that does not read stops the service; all arrives once it does."""
    made = 0

    async def gush(request: bytes, call: ServerCall) -> AsyncIterator[bytes]:
        nonlocal made
        for _ in range(200):
            made += 1
            yield b"x" * 50_000

    town.settle("well", {"/well.Well/Gush": Method("unary_stream", gush)})
    call = town.client.unary_stream("/well.Well/Gush")(b"")
    assert made * 50_000 < 1_500_000

    async def drink() -> int:
        return sum([len(reply) async for reply in call])

    assert town.outcome(drink()) == 10_000_000


def test_too_large(make_town: Any) -> None:
    """A message over the limit is refused by the door, naming the limit."""
    from microd.txgrpc import Limits

    town = make_town(limits=Limits(max_message=1000))
    service = Service()
    town.settle("greeter", service.methods())
    error = town.call("/greeter.Greeter/Hello", b"x" * 1001)
    assert error.code is StatusCode.RESOURCE_EXHAUSTED
    assert "1000" in error.message
    assert service.calls == []


def test_compressed(town: Any, service: Service) -> None:
    """What was compressed stays so, in both directions."""
    seen: list[bool] = []

    async def squeeze(request: bytes, call: ServerCall) -> bytes:
        seen.append(call.was_compressed)
        call.compress = True
        return request

    town.settle("press", {"/press.Press/Squeeze": Method("unary_unary", squeeze)})
    (_, theirs) = _tap(town, "/press.Press/Squeeze")
    assert town.call("/press.Press/Squeeze", b"x" * 10_000, compress=True) == b"x" * 10_000
    assert seen == [False, True]
    assert len(theirs()) < 1000


def _tap(town: Any, path: str) -> Any:
    """What the door writes to the client from now on."""
    town.call(path, b"")
    _, door_end = town.client._endpoint.connections[-1]
    door_end.keep = True
    door_end.written = b""
    return door_end, lambda: door_end.written
