"""What a registration may say. Pure: nothing here waits, and nothing is kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from microd.kernel.errors import BadRequest
from microd.kernel.names import require_name, require_text
from microd.services.registry.model import Endpoint, Limits, Node, Service, Value

_HOST = re.compile(r"[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?\]")
#: What a thing in memory weighs beyond its text.
_OVERHEAD = 200


def checked(namespace: str, service: Service, limits: Limits) -> Service:
    """Let a registration pass, with its version filled in and its namespace in the metadata.

    @raise BadRequest: a name, an address or a size is out of bounds.
    """
    check_names(namespace, service)
    version = service.version or "latest"
    if not service.nodes:
        raise BadRequest("a registration needs at least one node")
    if len(service.nodes) > limits.nodes:
        raise BadRequest(f"a version may have at most {limits.nodes} nodes")
    if len(service.endpoints) > limits.endpoints:
        raise BadRequest(f"a version may have at most {limits.endpoints} endpoints")
    for node in service.nodes:
        _check_node(node, limits)
    budget = limits.values
    for endpoint in service.endpoints:
        budget = _check_endpoint(endpoint, limits, budget)
    _check_metadata("the service's metadata", service.metadata, limits)
    return replace(service, version=version, metadata={**service.metadata, "domain": namespace})


def check_names(namespace: str, service: Service) -> None:
    """Let the names of a registration pass.

    @raise BadRequest: one of them can be none.
    """
    require_name("the namespace", namespace)
    require_name("the service's name", service.name)
    require_text("the service's version", service.version or "latest", 128)


def lease_end(ttl: float, owned: bool, now: float, limits: Limits) -> float:
    """When a lease asked for at C{now} runs out; only one with an owner may last forever."""
    if ttl <= 0:
        return float("inf") if owned else now + limits.default_ttl
    return now + min(ttl, limits.longest_ttl)


def _check_node(node: Node, limits: Limits) -> None:
    require_text("a node's id", node.id, 255)
    require_text("a node's address", node.address, 255)
    host, _, port = node.address.rpartition(":")
    if not (port.isdecimal() and port.isascii() and len(port) < 6 and 0 < int(port) < 65536):
        raise BadRequest("a node's address must be host:port")
    if _HOST.fullmatch(host) is None:
        raise BadRequest("a node's address must be host:port, where an IPv6 host stands in brackets")
    _check_metadata("a node's metadata", node.metadata, limits)


def _check_endpoint(endpoint: Endpoint, limits: Limits, budget: int) -> int:
    require_text("an endpoint's name", endpoint.name, 255)
    _check_metadata("an endpoint's metadata", endpoint.metadata, limits)
    for value in (endpoint.request, endpoint.response):
        if value is not None:
            budget = _check_value(value, limits.depth, budget)
    return budget


def _check_value(value: Value, depth: int, budget: int) -> int:
    if depth == 0:
        raise BadRequest("an endpoint's message is nested too deep")
    if budget <= 0:
        raise BadRequest("the endpoints' messages have too many fields")
    if len(value.name) > 255 or len(value.type) > 255:
        raise BadRequest("a field's name or type is longer than 255 characters")
    budget -= 1
    for inner in value.values:
        budget = _check_value(inner, depth - 1, budget)
    return budget


def _check_metadata(what: str, metadata: Mapping[str, str], limits: Limits) -> None:
    if sum(len(name) + len(value) for name, value in metadata.items()) > limits.metadata:
        raise BadRequest(f"{what} is larger than {limits.metadata} characters")


def weight_of_version(service: Service) -> int:
    """What a version takes in memory without its nodes, in bytes, roughly."""
    found = _OVERHEAD + len(service.name) + len(service.version) + _weight(service.metadata)
    for endpoint in service.endpoints:
        found += _OVERHEAD + len(endpoint.name) + _weight(endpoint.metadata)
        for value in (endpoint.request, endpoint.response):
            if value is not None:
                found += _weight_of_value(value)
    return found


def weight_of_node(node: Node) -> int:
    """What a node takes in memory, in bytes, roughly."""
    return 2 * _OVERHEAD + len(node.id) + len(node.address) + _weight(node.metadata)


def _weight(metadata: Mapping[str, str]) -> int:
    return sum(_OVERHEAD + len(name) + len(value) for name, value in metadata.items())


def _weight_of_value(value: Value) -> int:
    inner = sum(_weight_of_value(each) for each in value.values)
    return _OVERHEAD + len(value.name) + len(value.type) + inner
