"""The registry on the wire: spec micro-v3-server 6.1, 7.3, 8, Appendix A."""

from __future__ import annotations

from typing import Any

import pytest

from tests.compat.conftest import Client
from tests.compat.wires import Refused, Shown

GET, LIST, REGISTER, DEREGISTER, WATCH = (
    f"/registry.Registry/{name}" for name in ("GetService", "ListServices", "Register", "Deregister", "Watch")
)
HELLO = {
    "name": "Greeter.Hello",
    "request": {
        "name": "Request",
        "type": "Request",
        "values": [{"name": "name", "type": "string", "values": []}],
    },
    "response": {"name": "Reply", "type": "Reply", "values": []},
    "metadata": {"stream": "false"},
}


def _service(call: Client, **more: Any) -> Shown:
    node = {"id": f"{call.unique}-1", "address": "127.0.0.1:4000", "metadata": {"protocol": "grpc"}}
    return {
        "name": call.unique,
        "version": "latest",
        "endpoints": [HELLO],
        "nodes": [node],
        "options": {"ttl": 60, "domain": "alpha"},
        **more,
    }


def _get(call: Client, domain: str = "alpha", by: str = "alpha-user") -> list[Shown]:
    reply = call(GET, {"service": call.unique, "options": {"domain": domain}}, by=by)
    services: list[Shown] = reply["services"]
    return services


def test_register_and_get(call: Client) -> None:
    """A registration is found as it was made, with its domain and empty options; the port is in the address."""
    assert call(REGISTER, _service(call), by="alpha-service") == {}
    (found,) = _get(call)
    assert (found["name"], found["version"]) == (call.unique, "latest")
    assert found["metadata"]["domain"] == "alpha"
    assert found["endpoints"] == [HELLO]
    (node,) = found["nodes"]
    assert (node["id"], node["address"], node["port"]) == (f"{call.unique}-1", "127.0.0.1:4000", "0")
    assert node["metadata"]["protocol"] == "grpc"
    assert found["options"] == {"ttl": "0", "domain": ""}


def test_endpoints_of_a_live_version(call: Client) -> None:
    """What a version says of itself is what its last registration said (the reference keeps the first)."""
    call(REGISTER, _service(call, endpoints=[]), by="alpha-service")
    call(REGISTER, _service(call), by="alpha-service")
    assert _get(call)[0]["endpoints"] == [HELLO]


def test_versions(call: Client) -> None:
    """Each version is listed by itself."""
    for version in ("v1", "v2"):
        node = {"id": f"{call.unique}-{version}", "address": "127.0.0.1:4001"}
        call(REGISTER, _service(call, version=version, nodes=[node]), by="alpha-service")
    assert sorted(each["version"] for each in _get(call)) == ["v1", "v2"]
    reply = call(LIST, {"options": {"domain": "alpha"}}, by="alpha-user")
    assert [each["name"] for each in reply["services"]].count(call.unique) == 2


def test_deregister(call: Client) -> None:
    """The last node takes the version with it; what is unknown is no error."""
    call(REGISTER, _service(call), by="alpha-service")
    for _ in range(2):
        assert call(DEREGISTER, _service(call), by="alpha-service") == {}
    request = {"service": call.unique, "options": {"domain": "alpha"}}
    refused = call.refused(GET, request, by="alpha-user")
    assert refused == Refused(404, "registry.Registry.GetService", "service not found")


def test_core_services(call: Client) -> None:
    """The platform's own services are in the namespace micro."""
    reply = call(LIST, {}, by="operator")
    assert {"registry", "store", "auth", "runtime"} <= {each["name"] for each in reply["services"]}


def test_everywhere(call: Client) -> None:
    """C{*} is every namespace, for the platform's admins only."""
    call(REGISTER, _service(call), by="alpha-service")
    assert [each["metadata"]["domain"] for each in _get(call, "*", "operator")] == ["alpha"]
    request = {"service": call.unique, "options": {"domain": "*"}}
    assert call.refused(GET, request, by="alpha-admin").code == 403
    assert call.refused(LIST, {"options": {"domain": "*"}}, by="alpha-admin").code == 403
    assert call.refused(WATCH, {"options": {"domain": "*"}}, by="alpha-admin").code == 403


def test_watch(call: Client) -> None:
    """A watcher hears of the first node, of others, and of the last one's end."""
    second = {"id": f"{call.unique}-2", "address": "127.0.0.1:4002"}

    def act(_: int) -> None:
        call(REGISTER, _service(call), by="alpha-service")
        call(REGISTER, _service(call, nodes=[second]), by="alpha-service")
        call(DEREGISTER, _service(call), by="alpha-service")
        call(DEREGISTER, _service(call, nodes=[second]), by="alpha-service")

    request = {"service": call.unique, "options": {"domain": "alpha"}}
    (heard,) = call.heard(WATCH, [request], act, by="alpha-user", most=3)
    assert len(heard) == 3
    assert {each["action"] for each in heard} <= {"create", "update", "delete"}
    assert {each["service"]["name"] for each in heard} == {call.unique}
    assert all(each["service"]["metadata"]["domain"] == "alpha" for each in heard)
    assert all(int(each["timestamp"]) > 0 for each in heard)


@pytest.mark.parametrize(
    ("path", "service"), [(REGISTER, True), (DEREGISTER, True), (GET, False), (LIST, False)]
)
def test_who(call: Client, path: str, service: bool) -> None:
    """A namespace's own members read, its services and admins write, nobody else does anything."""
    request = _service(call) if service else {"service": "x", "options": {"domain": "alpha"}}
    if not service and path == LIST:
        request = {"options": {"domain": "alpha"}}
    assert call.refused(path, request).code == 401
    assert call.refused(path, request, by="beta-admin").brief == (403, "access denied to namespace")
    if service:
        assert call.refused(path, request, by="alpha-user").code == 403


def test_reserved(call: Client) -> None:
    """Nobody registers under the name of a core service."""
    request = _service(call, name="store", options={"ttl": 60, "domain": "micro"})
    assert call.refused(REGISTER, request, by="operator").code == 403
