"""Debug of the platform's own services: spec micro-v3-server 6.9, Appendix A."""

from __future__ import annotations

import time

import pytest

from tests.compat.conftest import Client
from tests.compat.requests import DEBUGGED


@pytest.fixture(params=DEBUGGED)
def service(request: pytest.FixtureRequest) -> str:
    """Each core service."""
    name: str = request.param
    return name


def test_health(call: Client, service: str) -> None:
    """Whoever asks is told how it is."""
    assert call(f"/{service}.Debug/Health") == {"status": "ok"}


def test_stats(call: Client, service: str) -> None:
    """Figures that can be true."""
    stats = {name: int(value) for name, value in call(f"/{service}.Debug/Stats", by="operator").items()}
    assert set(stats) == {"timestamp", "started", "uptime", "memory", "threads", "gc", "requests", "errors"}
    assert abs(stats["timestamp"] - time.time()) < 60
    assert abs(stats["timestamp"] - stats["started"] - stats["uptime"]) <= 2
    assert stats["memory"] > 1 << 20
    assert stats["threads"] >= 1
    assert stats["requests"] >= stats["errors"]


def test_requests_are_counted(call: Client) -> None:
    """Requests and errors are counted."""
    before = call("/auth.Debug/Stats", by="operator")
    call.refused("/auth.Auth/Inspect", {"token": "a.b.c"})
    after = call("/auth.Debug/Stats", by="operator")
    assert int(after["requests"]) > int(before["requests"])
    assert int(after["errors"]) > int(before["errors"])


@pytest.mark.parametrize("header", ["traceparent", "micro-trace-id"])
def test_trace(call: Client, header: str) -> None:
    """A call is found by the trace that its caller said, in either form of saying it."""
    trace = f"{int(time.time() * 1e6):032x}"[-32:]
    parent = "00f067aa0ba902b7"
    headers = {"traceparent": f"00-{trace}-{parent}-01"}
    if header == "micro-trace-id":
        headers = {header: f"{trace[:8]}-{trace[8:12]}-{trace[12:16]}-{trace[16:20]}-{trace[20:]}"}
    call("/auth.Rules/List", {"options": {"namespace": "alpha"}}, by="alpha-user", headers=headers)
    spans = call("/auth.Debug/Trace", {"id": trace}, by="operator")["spans"]
    assert [span["name"] for span in spans] == ["auth.Rules.List"]
    assert spans[0]["trace"].replace("-", "") == trace
    assert spans[0]["type"] == "INBOUND"
    assert abs(int(spans[0]["started"]) / 1e9 - time.time()) < 60
    if header == "traceparent":
        assert spans[0]["parent"] == parent


def test_log(call: Client, service: str) -> None:
    """The last lines of the log (defect 11.15)."""
    reply = call(f"/{service}.Debug/Log", {"count": 5}, by="operator")
    assert len(reply["records"]) <= 5


def test_unknown(call: Client) -> None:
    """Debug has no other methods; the text is one that clients match."""
    import grpc

    from tests.compat.wires import ProtoWire

    if isinstance(call.wire, ProtoWire):
        with pytest.raises(grpc.RpcError) as caught:
            call.wire.channel.unary_unary("/store.Debug/Cache")(b"", timeout=10)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert caught.value.details() == "unknown service Debug.Cache"
