"""What operators and their tools read at the ops door."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs

from microd.gateways.ops.pages import OpsSite
from microd.kernel.health import Figure, gauge


class Operator:
    """Asks an ops door about two parts.

    @ivar ills: what the parts say.
    """

    def __init__(self, token: str = "") -> None:
        self.ills: dict[str, str | None] = {"store": None, "api": None}
        self.broken = False
        reasons = {name: lambda name=name: self.ills[name] for name in self.ills}
        self.site = OpsSite(Clock(), reasons, [self.figures], token)

    def figures(self) -> Iterator[Figure]:
        """One figure, or a defect."""
        yield gauge("microd_answer", "The answer.", 42)
        if self.broken:
            raise KeyError("oops")

    def ask(
        self, path: str, *headers: str, request: str = "GET {} HTTP/1.1", body: str = ""
    ) -> tuple[int, str]:
        """The status and the whole answer."""
        protocol = self.site.buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        lines = [request.format(path), "Host: here", "Connection: close", *headers, "", body]
        protocol.dataReceived("\r\n".join(lines).encode())
        answer = transport.value().decode()
        return int(answer.split(" ")[1]), answer

    def body(self, path: str, *headers: str) -> str:
        """The body of the answer."""
        return self.ask(path, *headers)[1].partition("\r\n\r\n")[2]


@pytest.fixture
def operator() -> Operator:
    """Asks a door that demands nothing."""
    return Operator()


def test_healthy(operator: Operator) -> None:
    """A daemon whose reactor turns is alive, however ill its parts are."""
    operator.ills["store"] = "cannot write: disk full"
    assert operator.ask("/healthz")[0] == 200
    assert operator.body("/healthz") == "ok\n"


def test_ready(operator: Operator) -> None:
    """A daemon is ready when all parts are well."""
    status, answer = operator.ask("/readyz")
    assert status == 200
    assert answer.endswith("\r\n\r\nready\n")
    assert "\r\nContent-Type: text/plain; charset=utf-8\r\n" in answer


def test_not_ready(operator: Operator) -> None:
    """One ill part makes the daemon unready, and is named with its reason on one line."""
    operator.ills["store"] = "cannot write:\n  disk full"
    assert operator.ask("/readyz")[0] == 503
    assert operator.body("/readyz") == "not ready\nstore: cannot write: disk full\n"


def test_not_ready_json(operator: Operator) -> None:
    """Programs that ask for JSON are told about every part."""
    operator.ills["store"] = "disk full"
    said = json.loads(operator.body("/readyz", "Accept: application/json"))
    assert said == {"status": "not ready", "parts": {"store": "disk full", "api": "ok"}}
    assert json.loads(operator.body("/healthz", "Accept: application/json")) == {"status": "ok"}


def test_preference(operator: Operator) -> None:
    """Of text and JSON, who accepts both gets what stands first."""
    assert operator.body("/readyz", "Accept: text/plain, application/json") == "ready\n"


def test_speechless(operator: Operator) -> None:
    """A part which cannot say how it is is not well."""
    del operator.ills["store"]
    assert operator.ask("/readyz")[0] == 503
    assert operator.body("/readyz") == "not ready\nstore: cannot say how it is: KeyError: 'store'\n"


def test_metrics(operator: Operator) -> None:
    """Metrics come as Prometheus reads them, with what readiness says as figures."""
    operator.ills["store"] = "disk full"
    assert "Content-Type: text/plain; version=0.0.4" in operator.ask("/metrics")[1]
    families = {each.name: each for each in text_string_to_metric_families(operator.body("/metrics"))}
    assert families["microd_answer"].samples[0].value == 42
    ready = {sample.labels["part"]: sample.value for sample in families["microd_part_ready"].samples}
    assert ready == {"store": 0, "api": 1}


def test_broken_figures(operator: Operator) -> None:
    """A part whose figures fail costs only its own, which is counted and logged."""
    operator.broken = True
    with capturedLogs() as events:
        text = operator.body("/metrics")
    assert "microd_scrape_failures_total 1" in text
    assert "microd_part_ready" in text
    assert [event["log_format"] for event in events] == ["the figures of {part} are missing"]


def test_token() -> None:
    """Where a token is demanded, the bare status is all that others get."""
    operator = Operator("s3cret")
    operator.ills["store"] = "disk full"
    assert operator.ask("/metrics")[0] == 401
    assert operator.ask("/metrics", "Authorization: Bearer wrong")[0] == 401
    assert operator.body("/readyz") == "not ready\n"
    assert json.loads(operator.body("/readyz", "Accept: application/json")) == {
        "status": "not ready",
        "parts": {},
    }
    assert operator.ask("/healthz")[0] == 200
    shown = "Authorization: Bearer s3cret"
    assert operator.ask("/metrics", shown)[0] == 200
    assert operator.body("/readyz", shown) == "not ready\nstore: disk full\n"


@pytest.mark.parametrize(("path", "status"), [("/", 200), ("/nothing", 404), ("/metrics/more", 404)])
def test_others(operator: Operator, path: str, status: int) -> None:
    """The root lists what there is; there is nothing else."""
    assert operator.ask(path)[0] == status


def test_only_reading(operator: Operator) -> None:
    """Nothing can be changed here, and a body is not waited for."""
    assert operator.ask("/metrics", request="DELETE {} HTTP/1.1")[0] == 405
    assert operator.ask("/healthz", request="HEAD {} HTTP/1.1")[0] == 200
    protocol = operator.site.buildProtocol(None)
    transport = StringTransport()
    protocol.makeConnection(transport)
    protocol.dataReceived(b"POST /metrics HTTP/1.1\r\nHost: here\r\nContent-Length: 99999999\r\n\r\n")
    assert transport.disconnected
