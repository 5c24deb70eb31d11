"""Network, router and blocklist on the wire: spec micro-v3-server 4.8, 6.8, 8, Appendix A."""

from __future__ import annotations

import pytest

from tests.compat.conftest import Client
from tests.compat.wires import Refused, Shown


def _register(call: Client) -> None:
    service = {
        "name": call.unique,
        "version": "latest",
        "nodes": [{"id": f"{call.unique}-1", "address": "127.0.0.1:4000"}],
        "options": {"ttl": 60, "domain": "alpha"},
    }
    call("/registry.Registry/Register", service, by="alpha-service")


def _route(call: Client, routes: list[Shown]) -> Shown:
    (route,) = [each for each in routes if each["service"] == call.unique]
    return route


def test_nodes(call: Client) -> None:
    """A daemon by itself is the only node."""
    (node,) = call("/network.Network/Nodes", {"depth": 1}, by="operator")["nodes"]
    assert node["id"]
    assert node["address"]
    root = call("/network.Network/Graph", {"depth": 1}, by="operator")["root"]
    assert root["node"]["id"] == node["id"]
    assert root["peers"] == []


def test_status(call: Client) -> None:
    """Status is there (defect 11.15)."""
    status = call("/network.Network/Status", {}, by="operator")["status"]
    assert int(status.get("error", {}).get("count", 0)) == 0


def test_services(call: Client) -> None:
    """The names of all services, for admins of the platform."""
    _register(call)
    services = call("/network.Network/Services", {}, by="operator")["services"]
    assert {"registry", call.unique} <= set(services)


def test_routes(call: Client) -> None:
    """A route for each node: metric 1, link local, as text in JSON."""
    _register(call)
    reply = call("/network.Network/Routes", {"query": {"network": "alpha"}}, by="alpha-admin")
    route = _route(call, reply["routes"])
    assert (route["address"], route["network"], route["link"]) == ("127.0.0.1:4000", "alpha", "local")
    assert (route["metric"], route["gateway"]) == ("1", "")
    assert route["router"]
    request = {"query": {"service": call.unique, "network": "alpha"}}
    assert _route(call, call("/network.Network/Routes", request, by="alpha-admin")["routes"]) == route


def test_no_route(call: Client) -> None:
    """The text which clients match."""
    request = {"query": {"service": call.unique, "network": "alpha"}}
    refused = call.refused("/network.Network/Routes", request, by="alpha-admin")
    assert refused.id == "network.Network.Routes"
    assert refused.detail == "failed to list routes: route not found"


def test_lookup(call: Client) -> None:
    """The router knows the same routes."""
    _register(call)
    request = {"service": call.unique, "options": {"network": "alpha"}}
    assert _route(call, call("/router.Router/Lookup", request, by="alpha-service")["routes"])["metric"] == "1"
    reply = call("/router.Table/Read", {"service": call.unique}, by="alpha-service")
    assert _route(call, reply["routes"])["address"] == "127.0.0.1:4000"


def test_links(call: Client) -> None:
    """One daemon alone is connected to nothing: to connect nothing is fine, to connect something is not there yet."""
    assert call("/network.Network/Connect", {}, by="operator") == {}
    refused = call.refused("/network.Network/Connect", {"nodes": [{"address": "127.0.0.1:1"}]}, by="operator")
    assert refused.code == 501


@pytest.mark.parametrize("method", ["Nodes", "Graph", "Routes", "Services", "Status", "Connect"])
def test_accounts_only(call: Client, method: str) -> None:
    """Nothing of the network is open to somebody without an account (defect 11.6)."""
    assert call.refused(f"/network.Network/{method}").code == 401


def test_blocklist(call: Client) -> None:
    """Accounts are put on the blocklist and taken off."""
    entry = {"id": call.unique, "namespace": "alpha"}
    assert call("/api.Api/AddToBlockList", entry, by="operator") == {}
    assert f"alpha:{call.unique}" in call("/api.Api/ReadBlockList", {}, by="operator")["ids"]
    assert call("/api.Api/RemoveFromBlockList", entry, by="operator") == {}
    assert f"alpha:{call.unique}" not in call("/api.Api/ReadBlockList", {}, by="operator")["ids"]


@pytest.mark.parametrize("method", ["AddToBlockList", "RemoveFromBlockList"])
def test_blocklist_refused(call: Client, method: str) -> None:
    """Both the id and the namespace are needed; the ids of errors are those of their RPCs (defect 11.17)."""
    path = f"/api.Api/{method}"
    refused = call.refused(path, {"namespace": "alpha"}, by="operator")
    assert refused == Refused(400, f"api.Api.{method}", "Missing ID field")
    refused = call.refused(path, {"id": "x"}, by="operator")
    assert refused == Refused(400, f"api.Api.{method}", "Missing Namespace field")


@pytest.mark.parametrize("method", ["Create", "Delete", "Update"])
def test_table(call: Client, method: str) -> None:
    """Routes come from registrations: nobody writes them by hand, and it is said how they are made."""
    route = {"service": call.unique, "address": "127.0.0.1:1", "network": "alpha"}
    refused = call.refused(f"/router.Table/{method}", route, by="operator")
    assert refused.code == 501
    assert "register" in refused.detail
