"""Being found, and staying so."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from microd.framework.client import Client
from microd.framework.identity import Credentials
from microd.framework.link import DaemonChannel
from microd.framework.registration import Registration
from microd.kernel.errors import MicroError, Unavailable
from microd.testing.daemon import FakeDaemon
from microd.testing.outcome import done
from microd.wire.registry_pb2 import Node, Options, Service


def run(waiting: Awaitable[Any]) -> Any:
    """What a coroutine of ours comes to, at once."""

    async def wait() -> Any:
        return await waiting

    return done(Deferred.fromCoroutine(wait()))


class Link:
    """A service's registration at a daemon in memory."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.daemon = FakeDaemon(self.clock)
        self.daemon.accounts["micro", "greeter"] = "secret"
        identity = Credentials("greeter", "secret", "micro")
        channel = DaemonChannel(self.daemon.endpoint, self.clock, lambda: self.registration.connection_lost())
        self.client = Client(
            channel, lambda: identity, self.clock.seconds, namespace="micro", table="greeter"
        )
        entry = Service(
            name="greeter",
            version="latest",
            nodes=[Node(id="greeter-1", address="127.0.0.1:1")],
            options=Options(ttl=90, domain="micro"),
        )
        self.registration = Registration(self.client.ask, entry, self.clock, lambda low, high: high)

    def begin(self) -> None:
        """Register."""
        run(self.registration.begin())


@pytest.fixture
def link() -> Link:
    """A registration that has not begun."""
    return Link()


def test_registers(link: Link) -> None:
    """A service registers with its lease bound to its connection, as itself, in the platform's namespace."""
    link.begin()
    path, metadata = link.daemon.calls[-1]
    assert path == "/registry.Registry/Register"
    assert metadata["micro-lease"] == "connection"
    assert metadata["micro-namespace"] == "micro"
    assert metadata["authorization"] == "Bearer token-greeter-0"
    assert list(link.daemon.nodes) == ["greeter-1"]


def test_renews(link: Link) -> None:
    """A registration is renewed every thirty seconds."""
    link.begin()
    link.clock.pump([10] * 9)
    assert link.daemon.registrations == 4


def test_refused(link: Link) -> None:
    """A first registration that is refused is told to whoever began it."""
    link.daemon.accounts.clear()
    with pytest.raises(MicroError, match="Account not found"):
        link.begin()


def test_nobody_there(link: Link) -> None:
    """So is one which finds nobody."""
    link.daemon.endpoint.refusing = True
    with pytest.raises(Unavailable):
        link.begin()


def test_after_restart(link: Link) -> None:
    """When the daemon has restarted, a service registers as soon as it can, not when the next renewal is due."""
    link.begin()
    link.daemon.restart()
    link.clock.advance(1)
    assert list(link.daemon.nodes) == ["greeter-1"]


def test_after_an_outage(link: Link, log: list[dict[str, Any]]) -> None:
    """While the daemon is away it is tried again and again; once it is back, the service is soon registered."""
    link.begin()
    link.daemon.endpoint.refusing = True
    link.daemon.restart()
    link.clock.pump([1] * 120)
    assert not link.daemon.nodes
    link.daemon.endpoint.refusing = False
    link.clock.pump([0.5] * 20)
    assert list(link.daemon.nodes) == ["greeter-1"]
    formats = [event["log_format"] for event in log if "log_format" in event]
    assert sum("does not answer" in text for text in formats) == 1
    assert sum("again" in text for text in formats) == 1


def test_after_revocation(link: Link) -> None:
    """A token that is refused is replaced, and the registration goes on."""
    link.begin()
    link.daemon.revoke()
    link.daemon.nodes.clear()
    link.clock.advance(30)
    assert list(link.daemon.nodes) == ["greeter-1"]


def test_ends(link: Link) -> None:
    """In the end the node is deregistered, and nothing is left to do for the clock."""
    link.begin()
    run(link.registration.end())
    assert not link.daemon.nodes
    link.clock.pump([30] * 4)
    assert link.daemon.registrations == 1


def test_ends_without_daemon(link: Link) -> None:
    """The end does not depend on the daemon."""
    link.begin()
    link.daemon.endpoint.refusing = True
    link.daemon.restart()
    ending = Deferred.fromCoroutine(link.registration.end())
    link.clock.pump([1] * 5)
    assert done(ending) is None
