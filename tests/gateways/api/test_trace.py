"""The trace of a request: made at the door or taken over, told in the answer, passed on, and logged."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, capturedLogs

from microd.kernel import trace
from microd.kernel.endpoint import Endpoint
from microd.kernel.errors import MicroError, NotFound
from microd.txgrpc import RpcError, ServerCall, StatusCode
from microd.wire import store_pb2 as pb

ID, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{ID}-{SPAN}-01"
UUID = "0af76519-16cd-43dd-8448-eb211c80319c"
HELLO = "/greeter/hello"


class Greeter:
    """A service which notes its calls, and does as it is told."""

    def __init__(self) -> None:
        self.calls: list[ServerCall] = []
        self.error: Exception | None = None
        self.waiting: Deferred[None] | None = None

    async def __call__(self, body: bytes, call: ServerCall) -> bytes:
        self.calls.append(call)
        if self.waiting is not None:
            await self.waiting
        if self.error is not None:
            raise self.error
        return body

    @property
    def ids(self) -> dict[str, Any]:
        """What the last call said of its trace."""
        return {name: value for name, value in self.calls[-1].metadata if name in trace.NAMES}


@pytest.fixture
def greeter(house: Any) -> Greeter:
    """The one service."""
    greeter = Greeter()
    house.serve("greeter", {"/greeter.Greeter/Hello": greeter})
    return greeter


def lines(events: Any) -> list[Any]:
    return [event for event in events if event["log_namespace"] == "microd.calls"]


def test_begun(house: Any, greeter: Greeter) -> None:
    """A request without a trace begins one, which its answer tells and the service gets; the next begins another."""
    client = house.client()
    told = [client.ask("POST", HELLO, b"{}").headers["x-request-id"] for _ in range(2)]
    found = [trace.read(call.metadata) for call in greeter.calls]
    assert [each.id for each in found if each is not None] == told
    assert len(set(told)) == 2
    assert greeter.calls[0].head is greeter.calls[1].head
    assert trace.from_ids(greeter.ids["micro-trace-id"], greeter.ids["micro-span-id"]) == found[1]


@pytest.mark.parametrize(
    ("method", "url", "status"),
    [
        ("GET", "/", 200),
        ("OPTIONS", HELLO, 200),
        ("GET", "//greeter", 301),
        ("POST", "/nobody", 404),
        ("PURGE", "/", 405),
    ],
)
def test_every_answer(house: Any, method: str, url: str, status: int) -> None:
    """Every answer tells an id, whatever it answers."""
    if method == "PURGE":
        method, url = "PURGE", "/x"
    answer = house.client().ask(method, url)
    assert answer.status == status
    assert trace.exact_id(answer.headers["x-request-id"])


def test_unreadable(house: Any) -> None:
    """So does the answer to what is no request."""
    client = house.client()
    client.send(b"nonsense\r\n\r\n")
    (answer,) = client.received()
    assert answer.status == 400
    assert trace.exact_id(answer.headers["x-request-id"])


@pytest.mark.parametrize(
    ("sent", "id", "span"),
    [
        ({"traceparent": PARENT}, ID, SPAN),
        ({"Traceparent": f" {PARENT}  "}, ID, SPAN),
        ({"Micro-Trace-Id": UUID, "Micro-Span-Id": f"00000000-0000-0000-{SPAN[:4]}-{SPAN[4:]}"}, ID, SPAN),
        ({"X-Request-Id": ID.upper()}, ID, ID[16:]),
        ({"x-request-id": UUID}, ID, ID[16:]),
        ({"micro-id": UUID}, ID, ID[16:]),
        ({"X-Request-Id": "f" * 32, "traceparent": PARENT}, ID, SPAN),
    ],
)
def test_taken_over(house: Any, greeter: Greeter, sent: dict[str, str], id: str, span: str) -> None:
    """A request that names its trace, in any of the forms, stays in it; a traceparent wins."""
    answer = house.client().ask("POST", HELLO, b"{}", sent)
    assert answer.headers["x-request-id"] == id
    assert trace.read(list(greeter.ids.items())) == (id, span, 1, "")
    assert trace.exact_id(greeter.ids["micro-trace-id"]) == id


@pytest.mark.parametrize(
    "sent",
    [
        {"X-Request-Id": "me & you"},
        {"X-Request-Id": "12345"},
        {"traceparent": "00-" + "0" * 32 + f"-{SPAN}-01", "tracestate": "a=1"},
        {"traceparent": PARENT.upper()},
        {"Micro-Trace-Id": "caf\u00e9", "Tracestate": "caf\u00e9=1"},
    ],
)
def test_not_taken_over(house: Any, greeter: Greeter, sent: dict[str, str]) -> None:
    """What is no id of a trace is not taken for one."""
    answer = house.client().ask("POST", HELLO, b"{}", sent)
    found = trace.read(list(greeter.ids.items()))
    assert found is not None
    assert answer.headers["x-request-id"] == found.id
    assert found.id not in (ID, trace.trace_id("12345"))
    assert "tracestate" not in greeter.ids


def test_state(house: Any, greeter: Greeter) -> None:
    """A tracestate goes on untouched; several are one."""
    client = house.client()
    client.send(
        f"POST {HELLO} HTTP/1.1\r\nHost: a\r\ntracestate: a=1,b=2\r\ntraceparent: {PARENT}\r\n"
        "Tracestate: c=3\r\nContent-Length: 2\r\n\r\n{}".encode()
    )
    assert client.received()[0].headers["x-request-id"] == ID
    assert (greeter.ids["traceparent"], greeter.ids["tracestate"]) == (PARENT, "a=1,b=2,c=3")


def test_free_text(house: Any, greeter: Greeter) -> None:
    """An id of the reference's that is no uuid reaches the service as it came."""
    answer = house.client().ask("POST", HELLO, b"{}", {"Micro-Trace-Id": "order 66"})
    assert greeter.ids["micro-trace-id"] == "order 66"
    assert answer.headers["x-request-id"] == trace.trace_id("order 66")


def test_read_once(house: Any, greeter: Greeter) -> None:
    """Requests that differ in nothing but their traces share what is made of their headers."""
    client = house.client()
    for number in range(1, 5):
        client.ask("POST", HELLO, b"{}", {"X-A": "1", "traceparent": f"00-{ID[:31]}{number}-{SPAN}-01"})
        assert greeter.ids["traceparent"] == f"00-{ID[:31]}{number}-{SPAN}-01"
    assert len({id(call.head) for call in greeter.calls}) == 1


def test_another_node(house: Any, greeter: Greeter) -> None:
    """A call that goes on to the next node has the same trace there."""
    house.ends[house.places["micro", "greeter"][0].address].refusing = True
    house.serve("greeter", {"/greeter.Greeter/Hello": greeter})
    answer = house.client().ask("POST", HELLO, b"{}")
    assert answer.status == 200
    found = trace.read(greeter.calls[-1].metadata)
    assert found is not None
    assert found.id == answer.headers["x-request-id"]


def counted(house: Any) -> dict[tuple[str, str], float]:
    (requests,) = [each for each in house.gateway.figures() if each.name == "microd_requests_total"]
    return {(labels["service"], labels["code"]): value for labels, value in requests.samples}


def test_counts(house: Any, greeter: Greeter) -> None:
    """Requests are counted by service and status; names of services that there are not never become labels."""
    client = house.client()
    client.ask("POST", HELLO, b"{}")
    greeter.error = RpcError(StatusCode.UNKNOWN, MicroError("tea", "greeter", 418).to_json())
    client.ask("POST", HELLO, b"{}")
    greeter.error = RpcError(StatusCode.UNKNOWN, MicroError("odd", "greeter", 12345).to_json())
    client.ask("POST", HELLO, b"{}")
    greeter.error = RpcError(StatusCode.UNKNOWN, MicroError("odd", "greeter", 477).to_json())
    assert client.ask("POST", HELLO, b"{}").status == 477
    for number in range(3):
        client.ask("POST", f"/nobody{number}")
    assert counted(house) == {
        ("greeter", "200"): 1,
        ("greeter", "418"): 1,
        ("greeter", "500"): 1,
        ("greeter", "400"): 1,
        ("", "404"): 3,
    }


def test_unreadable_counts(house: Any) -> None:
    """What is no request is counted, too."""
    client = house.client()
    client.send(b"nonsense\r\n\r\n")
    assert counted(house) == {("", "400"): 1}


def test_gone(house: Any, greeter: Greeter) -> None:
    """A request whose client goes away is counted once, and its call is cancelled."""
    greeter.waiting = Deferred()
    client = house.client()
    client.send(f"POST {HELLO} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{{}}".encode())
    (flying,) = [each for each in house.gateway.figures() if each.name == "microd_requests_in_flight"]
    assert flying.samples[0][1] == 1
    client.drop()
    assert counted(house) == {("greeter", "499"): 1}
    assert greeter.calls[0].cancelled


def test_failed_service(house: Any, greeter: Greeter) -> None:
    """A service's failure is logged once, with the id that its client was told, and what its client was told."""
    greeter.error = RpcError(StatusCode.INTERNAL, MicroError("oops", "greeter", 500).to_json())
    client = house.client()
    with capturedLogs() as events:
        answer = client.ask("POST", HELLO, b"{}")
        greeter.error = RpcError(StatusCode.INTERNAL, NotFound("nothing", "greeter").to_json())
        client.ask("POST", HELLO, b"{}")
    (event,) = lines(events)
    assert event["log_level"] is LogLevel.warn
    assert event["trace"] == answer.headers["x-request-id"]
    assert (event["service"], event["endpoint"], event["code"]) == ("greeter", "Greeter.Hello", "500")
    assert (event["door"], event["namespace"], event["error"]) == ("api", "micro", "oops")


def test_defect(make: Any) -> None:
    """A defect of ours is logged once, with its traceback and the id which the client was told."""

    async def broken(request: Any, caller: Any) -> Any:
        raise ZeroDivisionError("oh")

    client = make([Endpoint("/t.T/Call", pb.ReadRequest, pb.ReadResponse, broken)]).client()
    with capturedLogs() as events:
        answer = client.ask("POST", "/t", b"{}")
    (event,) = lines(events)
    assert event["log_failure"].type is ZeroDivisionError
    assert event["trace"] == answer.headers["x-request-id"]
    assert b"Traceback" not in answer.body


def test_defect_of_routing(house: Any, greeter: Greeter) -> None:
    """So is one on the way to a service."""
    house.nodes = None
    house.gateway._router = house
    with capturedLogs() as events:
        answer = house.client().ask("POST", HELLO, b"{}")
    (event,) = lines(events)
    assert answer.status == 500
    assert event["log_failure"].type is TypeError
    assert event["trace"] == answer.headers["x-request-id"]


def test_every(house: Any, greeter: Greeter) -> None:
    """Asked to, the gateway logs every request, without its query and its secrets."""
    house.gateway.tally.every = True
    client = house.client()
    headers = {"Authorization": "Bearer s3cret", "Cookie": "micro-token=s3cret"}
    with capturedLogs() as events:
        client.ask("GET", HELLO + "?token=s3cret", headers=headers)
        client.ask("GET", "/nobody?token=s3cret", headers=headers)
    assert [(event["endpoint"], event["code"]) for event in lines(events)] == [
        ("Greeter.Hello", "200"),
        ("Nobody.Call", "404"),
    ]
    assert "s3cret" not in repr(lines(events))
