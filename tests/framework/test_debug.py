"""What every service answers besides its own endpoints."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import pytest
from google.protobuf.message import Message

from microd.framework import BadRequest, Forbidden, Service, Unauthorized
from microd.framework.bridge import NoBridge
from microd.framework.debug import Debug
from microd.framework.failures import micro_error
from microd.framework.node import grpc_server
from microd.framework.workers import AtOnce
from microd.kernel.activity import Activity
from microd.kernel.logformat import Record
from microd.kernel.recent import Recent
from microd.kernel.vitals import Vitals
from microd.testing.outcome import done
from microd.testing.services import ServiceTester
from microd.txgrpc import RpcError
from microd.txgrpc.health import Health
from microd.txgrpc.memory import connect
from microd.txgrpc.noted import headers_of
from microd.wire import debug_pb2 as pb


@dataclass
class Text:
    text: str = ""


@pytest.fixture
def service() -> Service:
    """A service with an endpoint."""
    service = Service("foo-bar", environ={})

    @service.endpoint
    async def same(request: Text) -> Text:
        if request.text == "fail":
            raise BadRequest("as asked")
        return request

    return service


@pytest.fixture
def tester(service: Service) -> ServiceTester:
    """Calls it."""
    return ServiceTester(service)


def asked(tester: ServiceTester, method: str, request: Message, reply: Any, server: Any = None) -> Any:
    """Call the node itself, as nobody."""
    channel = connect(server or tester.server, tester.clock)
    path = f"/foo-bar.Debug/{method}"
    try:
        return reply.FromString(done(channel.unary_unary(path)(request.SerializeToString())))
    except RpcError as problem:
        raise micro_error(problem) from None


def test_health(tester: ServiceTester) -> None:
    """A service which is well says so, to everybody who reaches it."""
    assert asked(tester, "Health", pb.HealthRequest(), pb.HealthResponse).status == "ok"


def test_unwell(tester: ServiceTester, service: Service, log: list[dict[str, Any]]) -> None:
    """The author's checks are asked each time: what they say is what is wrong, and to raise is to be unwell."""
    wrong: list[str] = []

    @service.on_health
    def disk() -> str | None:
        return "; ".join(wrong)

    @service.on_health
    async def peer() -> None:
        if wrong:
            raise ValueError("secret")

    assert asked(tester, "Health", pb.HealthRequest(), pb.HealthResponse).status == "ok"
    wrong.append("no disk")
    assert asked(tester, "Health", pb.HealthRequest(), pb.HealthResponse).status == (
        "no disk; the health check peer failed; the service's log has more"
    )
    assert [event["name"] for event in log if "log_failure" in event] == ["peer"]


def test_stopping(service: Service, tester: ServiceTester) -> None:
    """A service that takes its leave does not call itself well."""
    debug = Debug([], "micro", Activity(headers_of), Recent(), Vitals(), NoBridge())
    debug.stopping = True
    server = grpc_server(
        service, service.published(), AtOnce(), NoBridge(), service.client, Health(), tester.clock, debug
    )
    status = asked(tester, "Health", pb.HealthRequest(), pb.HealthResponse, server).status
    assert status == "the service is stopping"


def test_stats(tester: ServiceTester) -> None:
    """Anybody may know what the process takes, how long it has been there, and how much was asked of it."""
    before = int(time.time())
    tester.call("FooBar.Same", Text(), Text)
    with pytest.raises(BadRequest):
        tester.call("FooBar.Same", Text("fail"), Text)
    asked(tester, "Health", pb.HealthRequest(), pb.HealthResponse)
    stats = asked(tester, "Stats", pb.StatsRequest(), pb.StatsResponse)
    assert (stats.requests, stats.errors) == (3, 1)
    assert before <= stats.timestamp <= time.time()
    assert 0 <= stats.timestamp - stats.started <= 10
    assert 1 << 20 < stats.memory < 1 << 34
    assert stats.threads >= 1


@pytest.mark.parametrize("method", ["Log", "Trace"])
def test_closed_to_strangers(tester: ServiceTester, method: str) -> None:
    """What others asked for is shown to nobody without an account, nor to another namespace's, nor to plain users."""
    request, reply = getattr(pb, f"{method}Request"), getattr(pb, f"{method}Response")
    with pytest.raises(Unauthorized):
        asked(tester, method, request(), reply)
    tester.daemon._tokens["theirs"] = ("acme", "spy")
    with pytest.raises(Forbidden):
        tester.call(f"Debug.{method}", request(), reply, metadata={"authorization": "Bearer theirs"})
    tester.daemon._tokens["plain"] = ("micro", "ada")
    tester.daemon.scopes["micro", "ada"] = []
    with pytest.raises(Forbidden, match="this needs an admin of the namespace micro"):
        tester.call(f"Debug.{method}", request(), reply, metadata={"authorization": "Bearer plain"})


def test_trace(tester: ServiceTester) -> None:
    """A service of the namespace reads the spans, all or one trace's; calls of Debug are none of them."""
    uuid = "0af76519-16cd-43dd-8448-eb211c80319c"
    tester.call("FooBar.Same", Text(), Text)
    tester.call("FooBar.Same", Text(), Text, metadata={"micro-trace-id": uuid})
    tester.call("Debug.Health", pb.HealthRequest(), pb.HealthResponse)
    every = tester.call("Debug.Trace", pb.TraceRequest(), pb.TraceResponse).spans
    assert [span.name for span in every] == ["foo-bar.FooBar.Same"] * 2
    [one] = tester.call("Debug.Trace", pb.TraceRequest(id=uuid.upper()), pb.TraceResponse).spans
    assert one == every[1]
    assert (one.trace, one.type) == (uuid.replace("-", ""), pb.INBOUND)
    assert tester.call("Debug.Trace", pb.TraceRequest(id="f" * 32), pb.TraceResponse).spans == []


def test_log(service: Service, tester: ServiceTester) -> None:
    """The last lines are there with their time, level and trace, as many and as new as was asked."""
    recent = Recent()
    for number in range(5):
        fields = {"number": number, "none": None}
        recent.add(Record(1000.5 + number, "warn", "shop", f"line {number}", fields, "", "ab" * 16, "cd" * 8))
    debug = Debug([], "micro", Activity(headers_of), recent, Vitals(), NoBridge())
    client = service.client
    tester.daemon.services["foo-bar"] = grpc_server(
        service, service.published(), AtOnce(), NoBridge(), client, Health(), tester.clock, debug
    )

    def messages(**asked: int) -> list[str]:
        answer = tester.call("Debug.Log", pb.LogRequest(**asked), pb.LogResponse)
        return [record.message for record in answer.records]

    assert messages() == [f"line {number}" for number in range(5)]
    assert messages(count=2) == ["line 3", "line 4"]
    assert messages(since=1003) == ["line 3", "line 4"]
    assert messages(since=1003, count=1) == ["line 4"]
    [record] = tester.call("Debug.Log", pb.LogRequest(count=1), pb.LogResponse).records
    assert record.timestamp == 1004
    assert dict(record.metadata) == {
        "level": "warn",
        "logger": "shop",
        "trace_id": "ab" * 16,
        "span_id": "cd" * 8,
        "time": "1970-01-01T00:16:44.500Z",
        "number": "4",
    }
    with pytest.raises(BadRequest, match="count"):
        messages(count=-1)


def test_json(tester: ServiceTester) -> None:
    """All of it is spoken in JSON as well."""
    assert tester.call("Debug.Health", {}) == {"status": "ok"}
    assert tester.call("Debug.Stats", {})["requests"] == "1"


def test_not_listed(service: Service) -> None:
    """Nothing of it is among the endpoints that the registry is told."""
    assert [entry.name for entry in service.published().registered()] == ["FooBar.Same"]


def test_author_wins() -> None:
    """A service named debug keeps its own endpoints, and answers the rest as well."""
    service = Service("debug", environ={})

    @service.endpoint
    async def health(request: Text) -> Text:
        return Text("mine")

    tester = ServiceTester(service)
    assert tester.call("Debug.Health", Text(), Text).text == "mine"
    assert tester.call("Debug.Stats", pb.StatsRequest(), pb.StatsResponse).requests == 1
