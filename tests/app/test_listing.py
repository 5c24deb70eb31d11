"""The core services as entries of the registry."""

from __future__ import annotations

from twisted.internet.task import Clock

from microd.app.listing import CoreListing
from microd.services.registry import rpc
from microd.services.registry.service import Registry


def test_listed() -> None:
    """A core service is found under the platform's address, described, for as long as the daemon is up."""
    clock = Clock()
    registry = Registry(clock)
    listing = CoreListing(registry, rpc.endpoints(registry), lambda: "127.0.0.1:8443")
    listing.startService()
    assert [node.address for node in registry.nodes("micro", "registry")] == ["127.0.0.1:8443"]
    found = {endpoint.name: endpoint for endpoint in registry.endpoints_of("micro", "registry")}
    request = found["Registry.GetService"].request
    assert request is not None
    assert [value.name for value in request.values] == ["service", "options"]
    assert found["Registry.Watch"].metadata["stream"] == "true"
    clock.advance(86400)
    assert registry.nodes("micro", "registry")
    listing.stopService()
    assert not registry.nodes("micro", "registry")


def test_bare() -> None:
    """A door which answers no more than Debug is found as well, with no endpoints."""
    registry = Registry(Clock())
    listing = CoreListing(registry, [], lambda: "127.0.0.1:8443", bare=["proxy"])
    listing.startService()
    assert [node.address for node in registry.nodes("micro", "proxy")] == ["127.0.0.1:8443"]
    assert list(registry.endpoints_of("micro", "proxy")) == []
    listing.stopService()
