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
    assert {"daemon", "api", "proxy", "network", "ops"} <= ready
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


def test_beyond_loopback(platform: Platform) -> None:
    """Beyond loopback the daemon does not start without a token for its operators."""
    daemon = platform.launch("--ops-address", ":0")
    assert daemon.wait() == 1
    assert "ops.address: :0 is beyond loopback, so ops.token must be set" in str(daemon.output)
