"""A running daemon, as operators' tools see it."""

from __future__ import annotations

import http.client
import json
import signal
import socket

import pytest
from prometheus_client.parser import text_string_to_metric_families

from microd.testing.platform import Platform

pytestmark = pytest.mark.e2e


def get(door: str, path: str, **headers: str) -> tuple[int, str]:
    """Status and body of a page of the ops door."""
    host, _, port = door.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_ops(platform: Platform) -> None:
    """A daemon that is up is alive and ready, and tells its figures; one that drains is alive and not ready."""
    daemon = platform.start("--drain", "20s")
    ops = platform.door("ops")
    assert get(ops, "/healthz") == (200, "ok\n")
    assert get(ops, "/readyz") == (200, "ready\n")
    status, text = get(ops, "/metrics")
    assert status == 200
    families = {each.name: each for each in text_string_to_metric_families(text)}
    ready = {sample.labels["part"] for sample in families["microd_part_ready"].samples}
    assert {"daemon", "api", "proxy", "network", "nats", "ops"} <= ready
    assert families["microd_build_info"].samples[0].value == 1

    host, _, port = platform.door("api").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(b"POST /store/read HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\n{")
        # The daemon has read the beginning once it has answered somebody who came later.
        get(ops, "/healthz")
        daemon.signal(signal.SIGTERM)
        daemon.output.wait_for("draining")
        assert get(ops, "/healthz")[0] == 200
        status, said = get(ops, "/readyz", Accept="application/json")
        assert status == 503
        assert json.loads(said)["parts"]["daemon"].startswith("the daemon is draining")
    assert daemon.wait() == 0


GREETER = """
from dataclasses import dataclass
from microd.framework import Service
from twisted.logger import Logger

@dataclass
class Request:
    name: str

@dataclass
class Reply:
    msg: str

service = Service("SERVICE")
log = Logger()

@service.endpoint
async def hello(request: Request) -> Reply:
    log.info("hello {who}", who=request.name)
    if request.name == "nobody":
        raise ValueError("who?")
    BODY

service.run()
"""


def test_one_id(platform: Platform) -> None:
    """One id, which the client is told, finds a request in the logs of the daemon and of all services that it went through."""
    daemon = platform.start("--log-format", "json", "--access-log", "true")
    bodies = {
        "front": 'return await service.client.call("back", "Back.Hello", request, Reply)',
        "back": 'return Reply(f"hello {request.name}")',
    }
    services = {}
    for name, body in bodies.items():
        folder = platform.service(name, GREETER.replace("SERVICE", name).replace("BODY", body))
        services[name] = platform.spawn("python", str(folder / "main.py"), MICRO_LOG_FORMAT="json")
    for service in services.values():
        service.output.wait_for("registered")

    def ask(name: str) -> tuple[int, str]:
        host, _, port = platform.door("api").rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=10)
        body = json.dumps({"name": name})
        connection.request("POST", "/front/hello", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status, answer.headers["X-Request-Id"]

    status, id = ask("Ada")
    assert status == 200
    for service in services.values():
        (line,) = [json.loads(service.output.wait_for("hello Ada"))]
        assert (line["trace_id"], line["level"]) == (id, "info")
    seen = [json.loads(daemon.output.wait_for(id)) for _ in range(2)]
    # The service's own call came in at the door for services.
    assert [(line["door"], line["service"], line["code"]) for line in seen] == [
        ("network", "back", "OK"),
        ("api", "front", "200"),
    ]

    status, id = ask("nobody")
    assert status == 500
    (line,) = [json.loads(services["front"].output.wait_for("who?"))]
    assert line["trace_id"] == id
    assert "ValueError" in line["stack"]
    (line,) = [json.loads(daemon.output.wait_for(id))]
    assert (line["level"], line["service"], line["code"], line["trace_id"]) == ("warn", "front", "500", id)


def test_systemd(platform: Platform) -> None:
    """systemd hears that the daemon is ready, and from then on, as often as it wants to, that it is alive."""
    path = platform.home / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(path))
        channel.settimeout(10)
        platform.start(NOTIFY_SOCKET=str(path), WATCHDOG_USEC="200000")
        heard = [channel.recv(100)]
        while heard[-1] != b"READY=1":
            heard.append(channel.recv(100))
        assert [channel.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3


def test_beyond_loopback(platform: Platform) -> None:
    """Beyond loopback the daemon does not start without a token for its operators."""
    daemon = platform.launch("--ops-address", ":0")
    assert daemon.wait() == 1
    assert "ops.address: :0 is beyond loopback, so ops.token must be set" in str(daemon.output)
