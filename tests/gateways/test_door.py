"""Core services behind a gRPC door: how they are found, spoken to, and how they refuse."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, globalLogPublisher
from zope.interface import provider

from microd.kernel.caller import Caller
from microd.kernel.endpoint import Endpoint
from microd.kernel.errors import Conflict, Forbidden
from microd.services.auth.model import Resource
from microd.txgrpc import RpcError, StatusCode
from microd.txgrpc.memory import connect
from microd.txgrpc.wire.status_pb2 import Status
from microd.wire.auth_pb2 import InspectRequest, InspectResponse, Token, TokenRequest, TokenResponse
from microd.wire.errors_pb2 import Error


class Core:
    """A core service of all four kinds, which does as the request's token says."""

    def __init__(self) -> None:
        self.callers: list[Caller] = []
        self.waiting: Deferred[None] = Deferred()
        self.cancelled = False

    async def inspect(self, request: InspectRequest, caller: Caller) -> InspectResponse:
        """Answer, or fail in one of several ways."""
        self.callers.append(caller)
        match request.token:
            case "conflict":
                raise Conflict("two <of> them")
            case "elsewhere":
                raise Conflict("no", "some.where")
            case "defect":
                raise ZeroDivisionError("a defect")
            case "wait":
                try:
                    await self.waiting
                finally:
                    self.cancelled = True
        reply = InspectResponse()
        reply.account.id = f"<{request.token}>"
        return reply

    async def watch(self, request: InspectRequest, caller: Caller) -> AsyncIterator[InspectResponse]:
        """Answer three times, then perhaps fail."""
        for number in range(3):
            reply = InspectResponse()
            reply.account.id = f"{request.token}{number}"
            yield reply
        if request.token == "conflict":
            raise Conflict("enough")

    async def upload(self, requests: AsyncIterator[TokenRequest], caller: Caller) -> TokenResponse:
        """Count."""
        count = 0
        async for request in requests:
            count += len(request.id)
        return TokenResponse(token=Token(created=count))

    async def chat(
        self, requests: AsyncIterator[TokenRequest], caller: Caller
    ) -> AsyncIterator[TokenResponse]:
        """Echo."""
        async for request in requests:
            yield TokenResponse(token=Token(access_token=request.id))

    def endpoints(self) -> list[Endpoint]:
        """What it offers."""
        return [
            Endpoint("/core.Core/Inspect", InspectRequest, InspectResponse, self.inspect),
            Endpoint("/core.Core/Watch", InspectRequest, InspectResponse, self.watch, server_streaming=True),
            Endpoint("/core.Core/Upload", TokenRequest, TokenResponse, self.upload, client_streaming=True),
            Endpoint("/core.Chat/Chat", TokenRequest, TokenResponse, self.chat, True, True),
        ]


@pytest.fixture
def core() -> Core:
    """A core service."""
    return Core()


@pytest.fixture
def town(core: Core, make_town: Any) -> Any:
    """A door with the core service behind it."""
    return make_town(core.endpoints())


def ask(token: str) -> bytes:
    """A request."""
    return InspectRequest(token=token).SerializeToString()


def said(body: bytes) -> str:
    """What a reply says."""
    return InspectResponse.FromString(body).account.id


@pytest.mark.parametrize(
    "content_type", ["application/grpc", "application/grpc+proto", "application/grpc+proto;x=y"]
)
def test_protobuf(town: Any, content_type: str) -> None:
    """Core services speak protobuf."""
    assert said(town.call("/core.Core/Inspect", ask("x"), content_type=content_type)) == "<x>"


def test_json(town: Any) -> None:
    """Core services speak JSON, by the rules of the reference."""
    body = town.call("/core.Core/Inspect", b'{"token":"x","more":1}', content_type="application/grpc+json")
    account = json.loads(body)["account"]
    assert (account["id"], account["scopes"], account["metadata"]) == ("<x>", [], {})


def test_bad_requests(town: Any) -> None:
    """What is not a request is the caller's fault, and says so, with the field where there is one."""
    refusal = town.refusal("/core.Core/Inspect", b"\xff")
    assert (refusal.code, refusal.id) == (400, "core.Core.Inspect")
    assert refusal.detail.startswith("grpc: failed to unmarshal the received message")
    refusal = town.refusal("/core.Core/Inspect", b'{"token":7}', content_type="application/grpc+json")
    assert refusal.code == 400
    assert "token" in refusal.detail


def test_unsupported(town: Any) -> None:
    """Another content type is refused by its name."""
    refusal = town.refusal("/core.Core/Inspect", b"", content_type="application/grpc+foo")
    assert (refusal.code, refusal.id) == (500, "proxy")
    assert refusal.detail == "Unsupported Content-Type: application/grpc+foo"


def test_streams(town: Any) -> None:
    """Core services stream, in either direction and in both."""
    names = [TokenRequest(id=text).SerializeToString() for text in ("a", "bcd")]

    async def all_of(call: Any) -> list[bytes]:
        return [reply async for reply in call]

    watched = town.outcome(all_of(town.client.unary_stream("/core.Core/Watch")(ask("x"))))
    assert [said(body) for body in watched] == ["x0", "x1", "x2"]
    uploaded = town.outcome(town.client.stream_unary("/core.Core/Upload")(names))
    assert TokenResponse.FromString(uploaded).token.created == 4
    chatted = town.outcome(all_of(town.client.stream_stream("/core.Chat/Chat")(names)))
    assert [TokenResponse.FromString(body).token.access_token for body in chatted] == ["a", "bcd"]


def test_refusal(town: Any) -> None:
    """An error has its JSON in the message, the code that goes with it, and itself in the details (spec 2.5)."""
    error = town.call("/core.Core/Inspect", ask("conflict"))
    assert error.code is StatusCode.ALREADY_EXISTS
    assert error.message == (
        '{"id":"core.Core.Inspect","code":409,"detail":"two \\u003cof\\u003e them","status":"Conflict"}'
    )
    status = Status.FromString(error.details)
    assert (status.code, status.message) == (6, error.message)
    assert status.details[0].type_url == "type.googleapis.com/errors.Error"
    assert Error.FromString(status.details[0].value) == Error(
        id="core.Core.Inspect", code=409, detail="two <of> them", status="Conflict"
    )


def test_id_is_kept(town: Any) -> None:
    """An error that says where it was decided keeps that."""
    assert town.refusal("/core.Core/Inspect", ask("elsewhere")).id == "some.where"


def test_refusal_of_a_stream(town: Any) -> None:
    """A stream which fails after some replies gives those, then the error."""
    got: list[str] = []

    async def watch() -> None:
        async for body in town.client.unary_stream("/core.Core/Watch")(ask("conflict")):
            got.append(said(body))

    error = town.outcome(watch())
    assert isinstance(error, RpcError)
    assert got == ["conflict0", "conflict1", "conflict2"]
    assert error.code is StatusCode.ALREADY_EXISTS
    assert '"detail":"enough"' in error.message


@pytest.fixture
def failures() -> Iterator[list[Any]]:
    """The tracebacks which are logged."""
    logged: list[Any] = []

    @provider(ILogObserver)
    def observe(event: dict[str, Any]) -> None:
        if "log_failure" in event:
            logged.append(event["log_failure"])

    globalLogPublisher.addObserver(observe)
    yield logged
    globalLogPublisher.removeObserver(observe)


def test_defect(town: Any, failures: list[Any]) -> None:
    """A defect is that call's 500 and one traceback in the log; the next call is answered."""
    refusal = town.refusal("/core.Core/Inspect", ask("defect"))
    assert (refusal.code, refusal.id, refusal.detail) == (
        500,
        "core.Core.Inspect",
        "ZeroDivisionError: a defect",
    )
    assert [failure.type for failure in failures] == [ZeroDivisionError]
    assert said(town.call("/core.Core/Inspect", ask("x"))) == "<x>"


def test_refusals_are_not_logged(town: Any, failures: list[Any]) -> None:
    """An answer of "no" is no defect."""
    town.call("/core.Core/Inspect", ask("conflict"))
    assert failures == []


@pytest.mark.parametrize(
    ("path", "code", "text"),
    [
        ("/core.Core/Nope", StatusCode.UNIMPLEMENTED, "unknown service Core.Nope"),
        ("/core.Nope/Inspect", StatusCode.UNIMPLEMENTED, "unknown service Nope"),
        ("/core.Core", StatusCode.INVALID_ARGUMENT, 'malformed method name: "/core.Core"'),
        ("/core.Core/", StatusCode.INVALID_ARGUMENT, 'malformed method name: "/core.Core/"'),
        ("/a/b/c", StatusCode.INVALID_ARGUMENT, 'malformed method name: "/a/b/c"'),
        ("Foo", StatusCode.INVALID_ARGUMENT, 'malformed method name: "Foo"'),
    ],
)
def test_unknown(town: Any, path: str, code: StatusCode, text: str) -> None:
    """A path that nothing serves is refused in the words which clients of the reference match."""
    error = town.call(path)
    assert (error.code, error.message) == (code, text)


def test_blank_service(town: Any) -> None:
    """A path without a service is refused as the reference does."""
    refusal = town.refusal("/Core/Inspect")
    assert (refusal.code, refusal.id, refusal.detail) == (400, "go.micro.proxy", "service name is blank")


def test_caller(town: Any, core: Core) -> None:
    """A core service is told who calls: account, namespace, headers and peer."""
    metadata = {"authorization": "Bearer foo", "x": "y"}
    town.call("/core.Core/Inspect", ask("x"), metadata=metadata)
    (caller,) = core.callers
    assert caller.account == town.auth.tokens["foo"]
    assert (caller.namespace, caller.peer, caller.metadata["x"]) == ("foo", "unix", "y")


def test_may_they(town: Any, core: Core) -> None:
    """Whom auth forbids it, a core service is never asked by."""
    town.auth.refusal = Forbidden("not you")
    refusal = town.refusal("/core.Core/Inspect", ask("x"))
    assert (refusal.code, refusal.id, refusal.detail) == (403, "core", "not you")
    assert core.callers == []
    assert town.auth.asked == [(None, "micro", Resource("service", "core", "Core.Inspect", core=True))]


def test_disconnect(town: Any, core: Core) -> None:
    """A core service can learn that the connection of a caller has dropped."""
    told: list[str] = []
    town.call("/core.Core/Inspect", ask("x"))
    core.callers[0].on_disconnect(lambda: told.append("gone"))
    assert told == []
    town.outcome(town.client.close())
    assert told == ["gone"]


def test_connection(town: Any, core: Core) -> None:
    """A core service can tell one caller's connection from another's, though both have the same peer."""
    other = connect(town.door, town.clock)
    for client in (town.client, other, town.client):
        town.outcome(client.unary_unary("/core.Core/Inspect")(ask("x")))
    first, second, third = [caller.connection for caller in core.callers]
    assert first == third != second
    assert None not in (first, second)


def test_deadline(town: Any, core: Core) -> None:
    """A call that takes longer than its deadline is stopped."""
    waiting = town.client.unary_unary("/core.Core/Inspect")(ask("wait"), timeout=2)
    town.clock.advance(2.5)
    error = town.outcome(waiting)
    assert error.code is StatusCode.DEADLINE_EXCEEDED
    assert core.cancelled


def test_cancel(town: Any, core: Core) -> None:
    """A call which its client cancels is stopped."""
    waiting = town.client.unary_unary("/core.Core/Inspect")(ask("wait"))
    waiting.addErrback(lambda _: None)
    waiting.cancel()
    assert core.cancelled


def test_core_comes_first(town: Any) -> None:
    """A registered service which calls itself like a core service is not reached in its stead."""
    town.settle("core", {})
    assert said(town.call("/core.Core/Inspect", ask("x"))) == "<x>"
    assert town.call("/core.Core/Nope").message == "unknown service Core.Nope"
