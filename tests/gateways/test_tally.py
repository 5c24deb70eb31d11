"""What doors count, and what they log."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from typing import Any, NoReturn

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, capturedLogs

from microd.gateways.tally import MOST_SERVICES, OTHERS, Tally
from microd.kernel import trace
from microd.kernel.caller import Caller
from microd.kernel.endpoint import Endpoint
from microd.kernel.errors import Internal, MicroError, NotFound, Unimplemented
from microd.kernel.health import Spread
from microd.txgrpc import Method, RpcError, ServerCall, StatusCode, tail
from microd.wire import store_pb2 as pb

READ, LIST = "/store.Store/Read", "/store.Store/List"


class Core:
    """A core service that does as it is told."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.waiting: Deferred[None] | None = None

    async def read(self, request: pb.ReadRequest, caller: Caller) -> pb.ReadResponse:
        """Answer, or fail."""
        if self.waiting is not None:
            await self.waiting
        if self.error is not None:
            raise self.error
        return pb.ReadResponse()

    async def listed(self, request: pb.ListRequest, caller: Caller) -> AsyncIterator[pb.ListResponse]:
        """Answer once, then fail."""
        yield pb.ListResponse()
        if self.error is not None:
            raise self.error

    def endpoints(self) -> list[Endpoint]:
        """What it offers."""
        return [
            Endpoint(READ, pb.ReadRequest, pb.ReadResponse, self.read),
            Endpoint(LIST, pb.ListRequest, pb.ListResponse, self.listed, server_streaming=True),
        ]


@pytest.fixture
def core() -> Core:
    """A core service."""
    return Core()


@pytest.fixture
def town(make_town: Any, core: Core) -> Any:
    """A town with a core service, and one of users."""
    town = make_town(core.endpoints())

    async def hello(request: bytes, call: ServerCall) -> bytes:
        if request.isdigit():
            raise RpcError(StatusCode.UNKNOWN, MicroError("no more", "greeter", int(request)).to_json())
        return request

    town.settle("greeter", {"/greeter.Greeter/Hello": Method("unary_unary", hello)})
    return town


def counted(town: Any) -> dict[tuple[str, str], float]:
    (requests,) = [each for each in town.door.figures() if each.name == "microd_requests_total"]
    assert all(labels["door"] == "grpc" for labels, _ in requests.samples)
    return {(labels["service"], labels["code"]): value for labels, value in requests.samples}


def lines(events: Iterable[Any]) -> list[Any]:
    return [event for event in events if event["log_namespace"] == "microd.calls"]


def test_counts(town: Any, core: Core) -> None:
    """Calls are counted by service and outcome, whoever answers them."""
    town.call(READ)
    core.error = NotFound("not found")
    town.call(READ)
    town.call(LIST)
    town.call("/greeter.Greeter/Hello", b"x")
    town.call("/greeter.Greeter/Hello", b"409")
    assert counted(town) == {
        ("store", "OK"): 1,
        ("store", "NOT_FOUND"): 2,
        ("greeter", "OK"): 1,
        ("greeter", "UNKNOWN"): 1,
    }


def test_strangers(town: Any) -> None:
    """Names of services that there are not never become labels."""
    for number in range(5):
        town.call(f"/nobody{number}.Nobody/Hello")
    town.call("/store.Store/Nothing")
    town.call("/store.Nothing/Read")
    assert counted(town) == {("", "NOT_FOUND"): 5, ("store", "UNIMPLEMENTED"): 2}


def test_lost_service(town: Any) -> None:
    """What is asked of a service that was there is counted as its own, wherever it is refused."""
    town.call("/greeter.Greeter/Hello", b"x")
    town.services.clear()
    town.call("/greeter.Greeter/Hello", b"x")
    assert counted(town) == {("greeter", "OK"): 1, ("greeter", "NOT_FOUND"): 1}


def test_many_services() -> None:
    """Beyond a number of services, all others are counted as one."""
    tally = Tally("api", lambda: 0.0)
    for number in range(2 * MOST_SERVICES):
        tally.count(tally.row(f"s{number}"), 200, 0.0)
    requests, _ = tally.figures()
    assert len(requests.samples) <= MOST_SERVICES + 2
    others = [value for labels, value in requests.samples if labels["service"] == OTHERS]
    assert others == [MOST_SERVICES]


def test_time(town: Any, core: Core) -> None:
    """A call takes as long as its answer takes to come."""
    core.waiting = Deferred()
    call = town.client.unary_unary(READ)(b"")
    (flying,) = [each for each in town.door.figures() if each.name == "microd_requests_in_flight"]
    assert flying.samples[0][1] == 1
    town.clock.advance(3)
    core.waiting.callback(None)
    assert call.result == b""
    (spread,) = [each for each in town.door.figures() if each.name == "microd_request_duration_seconds"]
    value = spread.samples[0][1]
    assert isinstance(value, Spread)
    assert (sum(value.counts), value.total) == (1, 3.0)


def test_bytes(town: Any) -> None:
    """The relay counts what it passes on, both ways."""
    town.call("/greeter.Greeter/Hello", b"x" * 1000)
    (relayed,) = [each for each in town.door.figures() if each.name == "microd_relayed_bytes_total"]
    assert [(labels["direction"], value) for labels, value in relayed.samples] == [
        ("to_service", 1000),
        ("from_service", 1000),
    ]


def test_cancelled(town: Any, core: Core) -> None:
    """A call whose client leaves is counted as cancelled, once."""
    core.waiting = Deferred()
    for path in (READ, "/greeter.Greeter/Hello"):
        call = town.client.unary_unary(path)(b"x" if path != READ else b"")
        call.addErrback(lambda _: None)
        call.cancel()
    assert counted(town)["store", "CANCELLED"] == 1


def test_quiet(town: Any, core: Core) -> None:
    """A call that went well, or failed by its caller's fault, is not worth a line."""
    with capturedLogs() as events:
        town.call(READ)
        for error in (NotFound("not found"), Unimplemented("not here")):
            core.error = error
            town.call(READ)
        town.call("/greeter.Greeter/Hello", b"429")
        town.call("/nobody.Nobody/Hello")
    assert lines(events) == []


def test_defect(town: Any, core: Core) -> None:
    """A defect of ours is logged once, with its traceback and the id of the call's trace; the client gets a sentence."""
    core.error = KeyError("oops")
    sent = tail.begin()
    with capturedLogs() as events:
        error = town.refusal(READ, tail=sent, metadata={"authorization": "Bearer user"})
    (event,) = lines(events)
    assert event["log_failure"].value is core.error
    assert event["log_level"] is LogLevel.error
    assert event["trace"] == tail.trace_of(sent).decode()
    assert (event["service"], event["endpoint"], event["account"]) == ("store", "Store.Read", "micro/ada")
    assert (event["namespace"], event["code"], event["door"]) == ("micro", "INTERNAL", "grpc")
    assert event["duration"] == 0.0
    assert error.detail == "KeyError: 'oops'"


def test_defect_of_a_stream(town: Any, core: Core) -> None:
    """So is one in the middle of a stream."""
    core.error = KeyError("oops")
    with capturedLogs() as events:
        town.call(LIST)
    (event,) = lines(events)
    assert event["log_failure"].value is core.error
    assert trace.exact_id(event["trace"])


def test_defect_afterwards(town: Any, core: Core) -> None:
    """A defect after the client has gone reaches the log all the same, once."""

    class Stubborn(Deferred[None]):
        def cancel(self) -> None:
            self.errback(KeyError("oops"))

    core.waiting = Stubborn()
    call = town.client.unary_unary(READ)(b"")
    call.addErrback(lambda _: None)
    with capturedLogs() as events:
        call.cancel()
    assert [event["log_failure"].type for event in lines(events)] == [KeyError]


@pytest.mark.parametrize("code", [500, 502, 503])
def test_failed_service(town: Any, code: int) -> None:
    """A service's failure is logged once by the door, as a warning: it is no defect of ours."""
    sent = tail.begin()
    with capturedLogs() as events:
        town.call(
            "/greeter.Greeter/Hello", b"%d" % code, tail=sent, metadata={"authorization": "Bearer user"}
        )
    (event,) = lines(events)
    assert event["log_level"] is LogLevel.warn
    assert event["trace"] == tail.trace_of(sent).decode()
    assert (event["service"], event["endpoint"], event["account"]) == (
        "greeter",
        "Greeter.Hello",
        "micro/ada",
    )
    assert json.loads(event["error"])["detail"] == "no more"


@pytest.mark.parametrize("code", [501, 507])
def test_said_elsewhere(town: Any, code: int) -> None:
    """That there is no such thing, or that a disk is full, is not logged for everybody who is told."""
    with capturedLogs() as events:
        town.call("/greeter.Greeter/Hello", b"%d" % code, metadata={"authorization": "Bearer user"})
    assert lines(events) == []


def test_lost_node(town: Any) -> None:
    """A node that cannot be reached is a line with the id which the call would have had there."""
    for endpoint in town.endpoints.values():
        endpoint.refusing = True
    with capturedLogs() as events:
        error = town.refusal("/greeter.Greeter/Hello")
    (event,) = lines(events)
    assert error.code == 503
    assert trace.exact_id(event["trace"])
    assert (event["code"], event["service"]) == ("UNAVAILABLE", "greeter")


def test_defect_of_routing(town: Any) -> None:
    """A defect on the way to a service is logged once, and is that call's only."""

    def broken(namespace: str, service: str) -> NoReturn:
        raise KeyError("oops")

    town.door.routes.nodes = broken
    with capturedLogs() as events:
        error = town.refusal(
            "/greeter.Greeter/Hello", metadata={"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}
        )
    (event,) = lines(events)
    assert error.code == Internal.code
    assert event["log_failure"].type is KeyError
    assert event["trace"] == "ab" * 16


def test_every(town: Any, core: Core) -> None:
    """Asked to, a door logs every call, without what was said in it."""
    town.door.tally.every = True
    secret = {"authorization": "Bearer user"}
    with capturedLogs() as events:
        for _ in range(3):
            town.call(READ, pb.ReadRequest(key="k").SerializeToString(), metadata=secret)
        town.call("/greeter.Greeter/Hello", b"x", metadata=secret)
        town.call("/nobody.Nobody/Hello", metadata=secret)
    said = [(event["service"], event["code"], event["account"]) for event in lines(events)]
    assert said == [("store", "OK", "micro/ada")] * 3 + [
        ("greeter", "OK", "micro/ada"),
        ("nobody", "NOT_FOUND", "nobody"),
    ]
    assert all(event["log_level"] is LogLevel.info for event in lines(events))
    assert all(trace.exact_id(event["trace"]) for event in lines(events)[:4])
    assert "Bearer" not in repr(lines(events))
