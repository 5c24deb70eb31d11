"""Core endpoints as the registry lists them."""

from __future__ import annotations

from collections.abc import Iterable

from microd.kernel.endpoint import Endpoint as Rpc
from microd.kernel.valuetree import tree
from microd.services.registry.model import Endpoint, Value


def described(endpoints: Iterable[Rpc]) -> tuple[Endpoint, ...]:
    """The endpoints of one core service, by name."""
    return tuple(sorted((_described(each) for each in endpoints), key=lambda each: each.name))


def _described(endpoint: Rpc) -> Endpoint:
    doc = (endpoint.handler.__doc__ or "").strip().partition("\n")[0]
    metadata = {"doc": doc} if doc else {}
    if endpoint.server_streaming or endpoint.client_streaming:
        metadata["stream"] = "true"
    return Endpoint(
        endpoint.name,
        tree(endpoint.request.DESCRIPTOR, lambda name, type, values: Value(name, type, tuple(values))),
        tree(endpoint.reply.DESCRIPTOR, lambda name, type, values: Value(name, type, tuple(values))),
        metadata,
    )
