"""From a request to an endpoint and back: core services, nodes, errors, browsers."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest
from twisted.internet.defer import Deferred

from microd.gateways.api.limits import Limits
from microd.kernel.caller import Account
from microd.kernel.endpoint import Endpoint
from microd.kernel.errors import Conflict, Forbidden, NotFound, Unauthorized
from microd.services.registry.model import Endpoint as Described
from microd.services.registry.model import Value
from microd.services.store import rpc
from microd.services.store.backends.memory import MemoryStore
from microd.txgrpc import RpcError, StatusCode
from microd.wire import store_pb2 as pb

JSON = {"Content-Type": "application/json"}
PROTO = {"Content-Type": "application/protobuf"}


def problem(answer: Any) -> tuple[int, str]:
    """The status and the detail of an error; the object agrees with the status."""
    told = orjson.loads(answer.body)
    assert told["code"] == answer.status
    assert answer.headers["content-type"] == "application/json"
    return answer.status, told["detail"]


class Echo:
    """A service's node, which remembers how it was called."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.metadata: dict[str, Any] = {}
        self.content_type = ""
        self.remaining: float | None = None

    async def __call__(self, body: bytes, call: Any) -> bytes:
        self.bodies.append(body)
        self.metadata = dict(call.metadata)
        self.content_type = call.content_type
        self.remaining = call.time_remaining()
        return body


@pytest.fixture
def echo(house: Any) -> Echo:
    """The node of a service C{greeter} with the endpoint C{Greeter.Hello}."""
    echo = Echo()
    house.serve("greeter", {"/greeter.Greeter/Hello": echo, "/greeter.Greeter/Call": echo})
    return echo


@pytest.fixture
def store_house(make: Any) -> Any:
    """A gateway with the store as its only core service, and an admin as the caller."""
    house = make(rpc.endpoints(MemoryStore()))
    house.gate.account = Account("ann", "user", "micro", scopes=("admin",))
    return house


# What the door itself answers.


def test_version(house: Any) -> None:
    """The root tells the version."""
    answer = house.client().ask("GET", "/")
    assert (answer.status, answer.body) == (200, b'{"version": "1.2.3"}')
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["date"] == "Mon, 12 Jan 1970 13:46:40 GMT"


def test_favicon(house: Any) -> None:
    """A browser that asks for an icon is not told of an unknown service."""
    assert house.client().ask("GET", "/favicon.ico").status == 200


@pytest.mark.parametrize(
    ("path", "clean"), [("//greeter/hello", "/greeter/hello"), ("/a/%2e%2e/b?x=1", "/b?x=1")]
)
def test_unclean_path(house: Any, path: str, clean: str) -> None:
    """A path with empty parts or dots is sent to the clean one, query and all."""
    answer = house.client().ask("GET", path)
    assert (answer.status, answer.headers["location"]) == (301, clean)


def test_absolute_target(house: Any, echo: Echo) -> None:
    """The target may be a whole URL."""
    assert house.client().ask("POST", "http://micro.test/greeter/hello", b"{}", JSON).status == 200


@pytest.mark.parametrize("method", ["TRACE", "PROPFIND"])
def test_other_method(house: Any, echo: Echo, method: str) -> None:
    """Methods with no meaning here are refused, and call nothing."""
    answer = house.client().ask(method, "/greeter/hello")
    assert answer.status == 405
    assert "POST" in answer.headers["allow"]
    assert echo.bodies == []


def test_options(house: Any, echo: Echo) -> None:
    """A browser's question what it may do is answered without asking anybody."""
    answer = house.client().ask("OPTIONS", "/greeter/hello", headers={"Origin": "https://page.test"})
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["access-control-allow-origin"] == "https://page.test"
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert answer.headers["access-control-allow-methods"] == "POST, PATCH, GET, OPTIONS, PUT, DELETE"
    assert "Micro-Namespace" in answer.headers["access-control-allow-headers"]
    assert answer.headers["vary"] == "Origin"
    assert echo.bodies == []
    assert house.gate.seen == []


def test_cors_on_errors(house: Any) -> None:
    """Errors may be read by pages of other origins as well."""
    answer = house.client().ask("POST", "/nope", headers={"Origin": "https://page.test"})
    assert answer.headers["access-control-allow-origin"] == "https://page.test"
    assert house.client().ask("GET", "/").headers["access-control-allow-origin"] == "*"


def test_no_cors(make: Any) -> None:
    """Where it is switched off, nothing is told to other origins."""
    answer = make(cors=False).client().ask("GET", "/", headers={"Origin": "https://page.test"})
    assert not [name for name in answer.headers if name.startswith("access-control")]


# Core services.


def test_core(store_house: Any) -> None:
    """A core endpoint is called in this process, with JSON in and out."""
    client = store_house.client()
    value = base64.b64encode(b"bar").decode()
    body = orjson.dumps({"record": {"key": "foo", "value": value}})
    version = orjson.loads(client.ask("POST", "/store/write", body, JSON).body)["version"]
    answer = client.ask("POST", "/store/read", b'{"key":"foo"}', JSON)
    record = f'"key":"foo","value":"YmFy","expiry":"0","metadata":{{}},"version":"{version}"'
    assert answer.body.decode() == '{"records":[{' + record + '}],"next":""}'
    assert answer.headers["content-type"] == "application/json"
    assert client.ask("POST", "/store/Store/Read", b'{"key":"foo"}', JSON).body == answer.body


def test_core_in_protobuf(store_house: Any) -> None:
    """A core endpoint speaks protobuf with whoever does; what cannot be read is a 400."""
    client = store_house.client()
    write = pb.WriteRequest(record=pb.Record(key="foo", value=b"bar"))
    client.ask("POST", "/store/write", write.SerializeToString(), PROTO)
    answer = client.ask("POST", "/store/read", pb.ReadRequest(key="foo").SerializeToString(), PROTO)
    assert answer.headers["content-type"] == "application/protobuf"
    assert pb.ReadResponse.FromString(answer.body).records[0].value == b"bar"
    assert problem(client.ask("POST", "/store/read", b"\xff\xff", PROTO))[0] == 400


def test_core_by_query(store_house: Any) -> None:
    """A query becomes a message of the right types: a numeric key stays a string."""
    client = store_house.client()
    client.ask("POST", "/store/write", b'{"record":{"key":"123","value":"YmFy"}}', JSON)
    answer = client.ask("GET", "/store/read?key=12&options.prefix=true&options.limit=5")
    assert orjson.loads(answer.body)["records"][0]["key"] == "123"


def test_core_error(store_house: Any) -> None:
    """A core service's no is told with its id, its code and the same status."""
    answer = store_house.client().ask("POST", "/store/read", b'{"key":"nope"}', JSON)
    assert answer.status == 404
    assert orjson.loads(answer.body) == {
        "id": "store.Store.Read",
        "code": 404,
        "detail": "not found",
        "status": "Not Found",
    }


def test_core_bad_json(store_house: Any) -> None:
    """A field of the wrong type is a 400 which names it."""
    client = store_house.client()
    assert problem(client.ask("POST", "/store/read", b'{"key":7}', JSON)) == (
        400,
        "key: a string is wanted, not 7",
    )
    assert problem(client.ask("POST", "/store/read", b"{", JSON))[0] == 400


def test_core_unknown_endpoint(store_house: Any) -> None:
    """An endpoint which a core service does not have is a 404."""
    answer = store_house.client().ask("POST", "/store/nope", b"{}", JSON)
    assert problem(answer) == (404, "store has no endpoint Store.Nope")


def test_core_stream(store_house: Any) -> None:
    """A streaming endpoint answers in lines, a message each."""
    client = store_house.client()
    for number in range(1500):
        client.ask("POST", "/store/write", b'{"record":{"key":"k%04d"}}' % number, JSON)
    answer = client.ask("POST", "/store/list", b"{}", JSON)
    assert answer.headers["transfer-encoding"] == "chunked"
    lines = [orjson.loads(line)["keys"] for line in answer.body.splitlines()]
    assert [len(keys) for keys in lines] == [1000, 500]
    assert client.ask("GET", "/").status == 200


def test_core_stream_refused(store_house: Any) -> None:
    """A stream that fails before its first message has the error's status."""
    store_house.gate.account = None
    answer = store_house.client().ask("POST", "/store/list", b"{}", JSON)
    assert problem(answer) == (401, "an account is required")
    assert answer.headers["www-authenticate"] == "Bearer"


def _core(make: Any, handler: Callable[..., Any], **options: Any) -> Any:
    return make([Endpoint("/t.T/Call", pb.ReadRequest, pb.ReadResponse, handler, **options)])


def test_core_defect(make: Any, caught: list[Any]) -> None:
    """An exception in a handler is that call's 500 and one entry in the log, and nothing else."""

    async def broken(request: Any, caller: Any) -> Any:
        raise ZeroDivisionError("oh")

    client = _core(make, broken).client()
    assert problem(client.ask("POST", "/t", b"{}", JSON)) == (500, "ZeroDivisionError: oh")
    assert [each["log_failure"].type for each in caught] == [ZeroDivisionError]
    assert client.ask("GET", "/").status == 200


def test_core_late(make: Any) -> None:
    """A handler that does not answer in time is a 504, and is cancelled."""
    cancelled: list[Any] = []

    async def forever(request: Any, caller: Any) -> Any:
        await Deferred(cancelled.append)

    house = _core(make, forever)
    client = house.client()
    client.send(b"POST /t HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}")
    house.clock.pump([1.0] * 61)
    assert problem(client.received()[0]) == (504, "t did not answer in time")
    assert len(cancelled) == 1


def test_core_client_stream(make: Any) -> None:
    """An endpoint that takes a stream cannot be called so, and says how it can."""

    async def taking(requests: Any, caller: Any) -> Any:
        raise AssertionError

    house = _core(make, taking, client_streaming=True)
    assert problem(house.client().ask("POST", "/t", b"{}", JSON))[0] == 501


def test_stream_broken_off(make: Any) -> None:
    """A stream that fails midway ends with the error as its last line."""

    async def some(request: Any, caller: Any) -> AsyncIterator[Any]:
        yield pb.ReadResponse()
        raise Conflict("enough")

    client = _core(make, some, server_streaming=True).client()
    lines = client.ask("POST", "/t", b"{}", JSON).body.splitlines()
    assert lines[0] == b'{"records":[],"next":""}'
    assert orjson.loads(lines[1])["code"] == 409
    assert client.ask("GET", "/").status == 200


def test_stream_follows_the_reader(make: Any) -> None:
    """A client that does not read stops the stream; when it goes away the stream is closed."""
    made: list[int] = []
    closed: list[int] = []

    async def endless(request: Any, caller: Any) -> AsyncIterator[Any]:
        try:
            while True:
                made.append(1)
                if len(made) % 10 == 0:
                    client.transport.producer.pauseProducing()
                yield pb.ReadResponse()
        finally:
            closed.append(1)

    client = _core(make, endless, server_streaming=True).client()
    client.send(b"POST /t HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}")
    assert len(made) == 10
    client.transport.producer.resumeProducing()
    assert len(made) == 20
    client.drop()
    assert len(made) == 20
    assert closed == [1]


def test_stream_to_http_1_0(make: Any) -> None:
    """A client too old for chunks gets the stream as it is, until the connection ends."""

    async def some(request: Any, caller: Any) -> AsyncIterator[Any]:
        yield pb.ReadResponse()

    client = _core(make, some, server_streaming=True).client()
    client.send(b"POST /t HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}")
    head, _, body = client.transport.value().partition(b"\r\n\r\n")
    assert b"Transfer-Encoding" not in head
    assert body == b'{"records":[],"next":""}\n'
    assert client.transport.disconnecting


def test_core_learns_of_disconnect(make: Any) -> None:
    """A core service that asks is told when the client's connection drops."""
    told = []

    async def asking(request: Any, caller: Any) -> Any:
        caller.on_disconnect(lambda: told.append(1))
        return pb.ReadResponse()

    client = _core(make, asking).client()
    assert client.ask("POST", "/t", b"{}", JSON).status == 200
    assert told == []
    client.drop()
    assert told == [1]


# Services in other processes.


def test_passes_on(house: Any, echo: Echo) -> None:
    """A service gets the JSON byte for byte, and so does the client its answer."""
    body = b'{ "name" : "Ada", "n": 1.50 }'
    answer = house.client().ask("POST", "/greeter/hello", body, JSON)
    assert (answer.status, answer.body) == (200, body)
    assert answer.headers["content-type"] == "application/json"
    assert echo.content_type == "application/grpc+json"
    assert echo.bodies == [body]


def test_protobuf_passes_on(house: Any, echo: Echo) -> None:
    """Protobuf goes through as it is, under its own content type."""
    answer = house.client().ask("POST", "/greeter/hello", b"\x0a\x01x", PROTO)
    assert (answer.status, answer.body) == (200, b"\x0a\x01x")
    assert answer.headers["content-type"] == "application/protobuf"
    assert echo.content_type == "application/grpc+proto"


@pytest.mark.parametrize(
    ("method", "url", "headers", "body", "want"),
    [
        ("POST", "/greeter/hello", JSON, b"", b"{}"),
        ("POST", "/greeter/hello", {}, b'{"a":1}', b'{"a":1}'),
        ("POST", "/greeter/hello", {"Content-Type": "text/plain"}, b'{"a":1}', b'{"a":1}'),
        ("GET", "/greeter/hello", {}, b"", b"{}"),
        ("GET", "/greeter/hello?a=1&b=x", {}, b"", b'{"a":1,"b":"x"}'),
        ("POST", "/greeter/hello?a=1&b=x", JSON, b'{"a":2}', b'{"a":2,"b":"x"}'),
        ("PUT", "/greeter/hello?a=1", JSON, b"", b'{"a":1}'),
        ("DELETE", "/greeter/hello?a=1", JSON, b"", b'{"a":1}'),
        (
            "POST",
            "/greeter/hello?c=3",
            {"Content-Type": "application/x-www-form-urlencoded"},
            b"a=1&b=x",
            b'{"c":3,"a":1,"b":"x"}',
        ),
        (
            "POST",
            "/greeter/hello",
            {"Content-Type": "application/x-www-form-urlencoded"},
            b'{"a":1}',
            b'{"a":1}',
        ),
    ],
)
def test_payload(
    house: Any, echo: Echo, method: str, url: str, headers: dict[str, str], body: bytes, want: bytes
) -> None:
    """What a service gets is the query, the form or the body; also JSON which curl calls a form."""
    assert house.client().ask(method, url, body, headers).status == 200
    assert echo.bodies == [want]


def test_query_by_shape(house: Any, echo: Echo) -> None:
    """What the registry says of the endpoint decides what a query's values are."""
    shape = Value("Req", "Req", (Value("name", "string"), Value("age", "int32")))
    house.shapes["micro", "greeter"] = (Described("Greeter.Hello", shape),)
    house.client().ask("GET", "/greeter/hello?name=007&age=7")
    assert echo.bodies == [b'{"name":"007","age":7}']


def test_head(house: Any, echo: Echo) -> None:
    """HEAD is answered as GET is, without the body."""
    assert house.client().ask("HEAD", "/greeter/hello?a=1").status == 200
    assert echo.bodies == [b'{"a":1}']


def test_metadata(house: Any, echo: Echo) -> None:
    """Headers travel on, but for those of the connection; the namespace is what the gate made of it."""
    headers = {
        **JSON,
        "Authorization": "Bearer x",
        "X-Request": "a",
        "x-request": "b",
        "Cookie": "secret=1",
        "Grpc-Status": "0",
        "X-Bin": "\u00e9",
        "Token-Bin": "!",
        "Timeout": "junk",
        "Content-Length": "2",
    }
    text = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    client = house.client()
    client.send(f"POST /greeter/hello?x=1 HTTP/1.1\r\nHost: micro.test\r\n{text}\r\n{{}}".encode("latin-1"))
    assert client.received()[0].status == 200
    assert echo.metadata.pop("user-agent")
    assert all(echo.metadata.pop(name) for name in ("traceparent", "micro-trace-id", "micro-span-id"))
    assert echo.metadata == {
        "authorization": "Bearer x",
        "x-request": "a,b",
        "micro-namespace": "micro",
        "method": "POST",
        "url": "/greeter/hello?x=1",
        "x-forwarded-host": "micro.test",
        "x-forwarded-for": "192.0.2.7",
    }


def test_metadata_is_not_mixed_up(house: Any, echo: Echo) -> None:
    """Requests of one connection with other headers, paths or methods have metadata of their own."""
    client = house.client()
    client.ask("POST", "/greeter/hello", b"{}", {"X-A": "1"})
    assert (echo.metadata["x-a"], echo.metadata["url"]) == ("1", "/greeter/hello")
    client.ask("PUT", "/greeter/hello?b", b"{}", {"X-A": "1"})
    assert (echo.metadata["method"], echo.metadata["url"]) == ("PUT", "/greeter/hello?b")
    client.ask("PUT", "/greeter/hello?b", b"{}", {"X-A": "2"})
    assert echo.metadata["x-a"] == "2"


def test_namespace(house: Any) -> None:
    """A service is looked for in the namespace that the gate lets the caller into."""
    house.serve("greeter", {"/greeter.Greeter/Hello": Echo()}, namespace="acme")
    client = house.client()
    assert client.ask("POST", "/greeter/hello", b"{}").status == 404
    assert client.ask("POST", "/greeter/hello", b"{}", {"Micro-Namespace": "acme"}).status == 200


@pytest.mark.parametrize(
    ("cookie", "headers", "believed"),
    [
        ("a=b; micro-token=t1", {}, True),
        ("micro-token=micro-token=t1", {}, True),
        ("micro-token=t1", {"Origin": "http://micro.test"}, True),
        ("micro-token=t1", {"Sec-Fetch-Site": "same-origin"}, True),
        ("micro-token=t1", {"Origin": "https://evil.test"}, False),
        ("micro-token=t1", {"Origin": "null"}, False),
        ("micro-token=t1", {"Sec-Fetch-Site": "cross-site"}, False),
    ],
)
def test_cookie(house: Any, echo: Echo, cookie: str, headers: dict[str, str], believed: bool) -> None:
    """The token may come in the cookie, though not when a page of another origin had it sent."""
    house.client().ask("POST", "/greeter/hello", b"{}", {"Cookie": cookie, **headers})
    assert house.gate.seen[0][0].get("authorization") == ("Bearer t1" if believed else None)


def test_header_before_cookie(house: Any, echo: Echo) -> None:
    """An Authorization header counts before the cookie."""
    headers = {"Cookie": "micro-token=t1", "Authorization": "Bearer t2"}
    house.client().ask("POST", "/greeter/hello", b"{}", headers)
    assert house.gate.seen[0][0]["authorization"] == "Bearer t2"


# When it does not go well.


def test_unknown_service(house: Any) -> None:
    """A service that nobody registered is a 404."""
    answer = house.client().ask("POST", "/nope/hello", b"{}", JSON)
    assert problem(answer) == (404, "service not found")
    assert orjson.loads(answer.body)["id"] == "go.micro.api"


def test_unknown_endpoint(house: Any, echo: Echo) -> None:
    """An endpoint which the service does not have is a 404."""
    answer = house.client().ask("POST", "/greeter/nope", b"{}", JSON)
    assert problem(answer) == (404, "greeter has no endpoint Greeter.Nope")


@pytest.mark.parametrize("error", [Unauthorized("an account is required"), Forbidden("no")])
def test_gate(house: Any, echo: Echo, error: Any) -> None:
    """Whom the gate refuses gets its status, and the service never hears of it."""
    house.gate.refuse = error
    answer = house.client().ask("POST", "/greeter/hello", b"{}", JSON)
    assert problem(answer) == (error.code, error.detail)
    assert echo.bodies == []


@pytest.mark.parametrize(
    ("content_type", "headers"),
    [
        ("multipart/form-data; boundary=x", {}),
        ("application/json-rpc", {}),
        ("application/json", {"Content-Encoding": "gzip"}),
    ],
)
def test_media_type(house: Any, echo: Echo, content_type: str, headers: dict[str, str]) -> None:
    """A body that nobody here can read is a 415, and goes nowhere."""
    answer = house.client().ask("POST", "/greeter/hello", b"x", {"Content-Type": content_type, **headers})
    assert problem(answer)[0] == 415
    assert echo.bodies == []


@pytest.mark.parametrize(
    ("error", "status", "detail"),
    [
        (RpcError(5, NotFound("no such thing", "greeter").to_json()), 404, "no such thing"),
        (RpcError(2, '{"id":"x","code":418,"detail":"tea","status":""}'), 418, "tea"),
        (RpcError(2, '{"id":"x","code":7,"detail":"odd","status":""}'), 500, "odd"),
        (RpcError(StatusCode.INVALID_ARGUMENT, "plain"), 400, "plain"),
        (RpcError(StatusCode.UNKNOWN, "plain"), 500, "plain"),
        (RpcError(StatusCode.UNAVAILABLE, "busy"), 503, "busy"),
        (RpcError(StatusCode.UNAUTHENTICATED, "who"), 401, "who"),
        (RpcError(StatusCode.DEADLINE_EXCEEDED, "mine"), 408, "mine"),
        (RpcError(StatusCode.UNIMPLEMENTED, "not yet"), 501, "not yet"),
    ],
)
def test_service_error(house: Any, error: RpcError, status: int, detail: str) -> None:
    """A service's own no is told with the status it says, and never tried elsewhere."""
    calls = []

    async def refusing(body: bytes, call: Any) -> bytes:
        calls.append(1)
        raise error

    for _ in range(2):
        house.serve("greeter", {"/greeter.Greeter/Hello": refusing})
    answer = house.client().ask("POST", "/greeter/hello", b"{}", JSON)
    assert answer.status == status
    assert orjson.loads(answer.body)["detail"] == detail
    assert calls == [1]


def test_next_node(house: Any) -> None:
    """A node that cannot be reached is passed over, for a unary call and for a stream."""
    house.serve("greeter", {}).refusing = True
    echo = Echo()
    house.serve("greeter", {"/greeter.Greeter/Hello": echo})
    assert house.client().ask("POST", "/greeter/hello", b"{}", JSON).status == 200
    assert len(echo.bodies) == 1


def test_no_node(house: Any) -> None:
    """When no node can be reached the call is a 503: it was not delivered."""
    for _ in range(2):
        house.serve("greeter", {}).refusing = True
    status, detail = problem(house.client().ask("POST", "/greeter/hello", b"{}", JSON))
    assert status == 503
    assert "no node of greeter could take the call" in detail


def test_broken_off(house: Any) -> None:
    """A node that is lost in the middle of a call is a 502 which says so, and the call is not made again."""
    calls = []

    async def dying(body: bytes, call: Any) -> bytes:
        calls.append(1)
        end.connections[-1][1].abortConnection()
        return await Deferred()

    end = house.serve("greeter", {"/greeter.Greeter/Hello": dying})
    house.serve("greeter", {"/greeter.Greeter/Hello": dying})
    status, detail = problem(house.client().ask("POST", "/greeter/hello", b"{}", JSON))
    assert status == 502
    assert "unknown" in detail
    assert calls == [1]


def _forever(house: Any) -> list[Any]:
    cancelled: list[Any] = []

    async def forever(body: bytes, call: Any) -> bytes:
        return await Deferred(cancelled.append)

    house.serve("slow", {"/slow.Slow/Call": forever})
    return cancelled


def test_late(house: Any) -> None:
    """A service that does not answer within the gateway's time is a 504, and its handler is cancelled."""
    cancelled = _forever(house)
    client = house.client()
    client.send(b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}")
    house.clock.pump([1.0] * 61)
    assert problem(client.received()[0]) == (504, "slow did not answer in time")
    assert len(cancelled) == 1


@pytest.mark.parametrize("header", ["timeout: 2000000000", "grpc-timeout: 2S"])
def test_time_asked_for(house: Any, header: str) -> None:
    """A client may ask for less time; when that is over it is a 408."""
    _forever(house)
    client = house.client()
    client.send(f"POST /slow HTTP/1.1\r\nHost: a\r\n{header}\r\nContent-Length: 2\r\n\r\n{{}}".encode())
    house.clock.pump([0.5] * 3)
    assert client.received() == []
    house.clock.pump([0.5] * 3)
    assert problem(client.received()[0])[0] == 408


def test_no_more_time_than_ours(tight: Any) -> None:
    """A client may not ask for more; the service is told how much there is."""
    echo = Echo()
    tight.serve("greeter", {"/greeter.Greeter/Hello": echo})
    tight.client().ask("POST", "/greeter/hello", b"{}", {"timeout": "999000000000"})
    assert echo.remaining == pytest.approx(20, abs=0.1)
    tight.client().ask("POST", "/greeter/hello", b"{}", {"timeout": "5000000000"})
    assert echo.remaining == pytest.approx(5, abs=0.1)
    assert problem(tight.client().ask("POST", "/greeter/hello", b"{}", {"grpc-timeout": "5 weeks"}))[0] == 400


def test_client_gone(house: Any) -> None:
    """When the client goes away the call is cancelled at the service."""
    cancelled = _forever(house)
    client = house.client()
    client.send(b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}")
    client.drop()
    assert len(cancelled) == 1


def test_empty_answer(house: Any) -> None:
    """A service that answers nothing at all is a 204."""

    async def nothing(body: bytes, call: Any) -> bytes:
        return b""

    house.serve("greeter", {"/greeter.Greeter/Hello": nothing})
    client = house.client()
    assert client.ask("POST", "/greeter/hello", b"{}", JSON).status == 204
    assert client.ask("GET", "/").status == 200


def _counting(house: Any, handler: Any) -> Any:
    house.shapes["micro", "greeter"] = (Described("Greeter.Count", metadata={"stream": "true"}),)
    return house.serve("greeter", {"/greeter.Greeter/Count": handler}, kind="unary_stream")


def test_stream(house: Any) -> None:
    """A service's streaming endpoint answers in lines, whichever node can be reached."""

    async def count(body: bytes, call: Any) -> AsyncIterator[bytes]:
        for number in range(3):
            yield b'{"n":%d}' % number

    _counting(house, count).refusing = True
    _counting(house, count)
    client = house.client()
    answer = client.ask("POST", "/greeter/count", b"{}", JSON)
    assert answer.body == b'{"n":0}\n{"n":1}\n{"n":2}\n'
    assert client.ask("GET", "/").status == 200


def test_stream_error(house: Any) -> None:
    """A service's stream that fails at once has the error's status."""

    async def refusing(body: bytes, call: Any) -> AsyncIterator[bytes]:
        raise RpcError(5, NotFound("no such log", "greeter").to_json())
        yield b""

    _counting(house, refusing)
    answer = house.client().ask("POST", "/greeter/count", b"{}", JSON)
    assert problem(answer) == (404, "no such log")


def test_stream_in_protobuf(house: Any) -> None:
    """A stream in protobuf has no form over HTTP/1.1, and is refused."""

    async def count(body: bytes, call: Any) -> AsyncIterator[bytes]:
        yield b""

    _counting(house, count)
    assert problem(house.client().ask("POST", "/greeter/count", b"", PROTO))[0] == 415


def test_limits_hold_for_answers(make: Any) -> None:
    """The time limit that the operator sets is the one which counts."""
    house = make(limits=Limits(call=3))
    _forever(house)
    client = house.client()
    client.send(b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}")
    house.clock.pump([1.0] * 4)
    assert client.received()[0].status == 504
