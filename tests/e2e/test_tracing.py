"""One request is one trace, wherever it comes by."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from microd.testing.platform import Platform

pytestmark = pytest.mark.e2e

BACK = """
from dataclasses import dataclass
from twisted.logger import Logger
from microd.framework import Service

service, log = Service("back"), Logger()

@dataclass
class Text:
    text: str = ""

@service.endpoint
async def keep(request: Text) -> Text:
    log.info("keeping {text}", text=request.text)
    await service.client.store.write("kept", request.text)
    return request

service.run()
"""

FRONT = """
import logging
from dataclasses import dataclass
from microd.framework import Call, Service

service = Service("front")

@dataclass
class Text:
    text: str = ""

@service.endpoint
def send(request: Text, call: Call) -> Text:
    logging.getLogger("front").info("sending %s", request.text)
    service.blocking.call("back", "Back.Keep", request, Text)
    return Text(call.trace_id)

service.run()
"""

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def running(platform: Platform) -> Platform:
    """Two services, of which one calls the other, whose logs are JSON."""
    platform.start("--log-format", "json", "--access-log", "true")
    for name, text in (("back", BACK), ("front", FRONT)):
        platform.service(name, text)
        platform.ok("run", name)
    return platform


def post(platform: Platform, path: str, body: str, *headers: str) -> Any:
    """Ask at the HTTP door."""
    words = [word for header in headers for word in ("-H", header)]
    url = f"http://{platform.door('api')}{path}"
    done = subprocess.run(
        ["curl", "-sS", "--fail-with-body", *words, "--json", body, url],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def said(platform: Platform, service: str) -> list[dict[str, Any]]:
    """What a service has logged about the trace, as its log file has it."""
    lines = [
        json.loads(line) for line in platform.ok("logs", service, "-n", "0").splitlines() if line[:1] == "{"
    ]
    return [line for line in lines if line.get("trace_id") == TRACE]


def spans(platform: Platform, service: str) -> list[dict[str, Any]]:
    """The trace's spans that a service remembers."""
    found = json.loads(platform.ok("debug", "trace", service, "--id", TRACE, "--json"))
    assert isinstance(found, list)
    return found


def test_one_trace(running: Platform) -> None:
    """From the HTTP door by one service and another to the store, all logs and spans bear the caller's trace, chained."""
    got = post(running, "/front/send", '{"text":"hat"}', f"traceparent: 00-{TRACE}-{CALLER}-01")
    assert got == {"text": TRACE}

    [sending], [keeping] = said(running, "front"), said(running, "back")
    assert (sending["msg"], sending["logger"], sending["service"]) == ("sending hat", "front", "front")
    assert (keeping["msg"], keeping["text"], keeping["service"]) == ("keeping hat", "hat", "back")

    front, asked_back = spans(running, "front")
    back, asked_store = spans(running, "back")
    [store] = spans(running, "store")
    chain = [front, asked_back, back, asked_store, store]
    assert [(span["name"], span["type"]) for span in chain] == [
        ("front.Front.Send", "INBOUND"),
        ("back.Back.Keep", "OUTBOUND"),
        ("back.Back.Keep", "INBOUND"),
        ("store.Store.Write", "OUTBOUND"),
        ("store.Store.Write", "INBOUND"),
    ]
    assert [span["parent"] for span in chain] == [CALLER, *(span["id"] for span in chain[:-1])]
    assert (sending["span_id"], keeping["span_id"]) == (front["id"], back["id"])

    assert running.daemon is not None
    daemon = [json.loads(line) for line in running.daemon.output.lines if TRACE in line]
    doors = {(line["door"], line["endpoint"]) for line in daemon if line.get("trace_id") == TRACE}
    assert {("api", "Front.Send"), ("network", "Back.Keep"), ("network", "Store.Write")} <= doors


def test_debug(running: Platform) -> None:
    """Every service, the platform's as well, says how it is, what it takes, and what it said."""
    post(running, "/front/send", '{"text":"hat"}', f"traceparent: 00-{TRACE}-{CALLER}-01")
    for name in ("front", "store", "proxy", "api"):
        assert "\t\tok" in running.ok("debug", "health", name)
    front, store = json.loads(running.ok("debug", "stats", "front", "store", "--json"))
    assert (front["requests"] >= 1, front["errors"], front["memory"] > 1 << 20) == (True, 0, True)
    assert store["requests"] >= 1
    assert f"sending hat trace_id={TRACE}" in running.ok("debug", "logs", "front")
    assert " is ready: " in running.ok("debug", "logs", "store", "-n", "0")
    with running.client() as client:
        assert client.call("back", "Debug.Health", {}) == {"status": "ok"}
    assert "Debug" not in running.ok("get", "service", "front")
