"""Whether the daemon is there, as a service sees it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from microd.framework import Service
from microd.framework.bridge import NoBridge
from microd.framework.client import Client
from microd.framework.identity import Credentials
from microd.framework.link import DaemonChannel
from microd.framework.presence import Presence
from microd.testing.daemon import FakeDaemon
from microd.testing.outcome import done
from microd.testing.services import ServiceTester


class Link:
    """A client with a presence, as a service has them."""

    def __init__(self, service: Service) -> None:
        self.clock = Clock()
        self.daemon = FakeDaemon(self.clock)
        self.daemon.accounts["micro", "a"] = "secret"
        self.presence = Presence(
            self.clock, NoBridge(), "127.0.0.1:1", service.connected, service.disconnected
        )
        channel = DaemonChannel(
            self.daemon.endpoint, self.clock, lambda: None, self.presence.lost, self.found, random=lambda: 1.0
        )
        identity = Credentials("a", "secret", "micro")
        self.client = Client(channel, lambda: identity, self.clock.seconds, namespace="micro", table="a")
        done(self.client.reachable())
        self.presence.begin()

    def found(self) -> None:
        """As running.py has it."""
        self.presence.found()
        self.client.connected()

    def reach(self) -> bool:
        """Look for the daemon."""
        return done(self.client.reachable())


def said(log: list[dict[str, Any]]) -> list[str]:
    """What the log has about the connection."""
    return [
        event["log_format"].format(**event) for event in log if "daemon at {where}" in event["log_format"]
    ]


def test_told(log: list[dict[str, Any]]) -> None:
    """Who wants to know is told at the start, when the daemon is lost, and when it is back; the log has how long it was away."""
    service = Service("a", environ={})
    told: list[str] = []
    waiting: Deferred[None] = Deferred()

    @service.on_connected
    async def here() -> None:
        told.append("here")
        await waiting

    @service.on_disconnected
    def away() -> None:
        told.append("away")

    link = Link(service)
    assert told == ["here"]
    link.daemon.endpoint.refusing = True
    link.daemon.restart()
    for _ in range(4):
        link.clock.advance(3)
        assert not link.reach()
    assert told == ["here", "away"]
    link.daemon.endpoint.refusing = False
    link.clock.advance(6)
    assert link.reach()
    assert told == ["here", "away", "here"]
    lost, found = said(log)
    assert lost.startswith("lost the daemon at 127.0.0.1:1: the connection was lost")
    assert found == "connected to the daemon at 127.0.0.1:1 again, after 18.0 s"
    link.presence.end()
    link.daemon.restart()
    assert told == ["here", "away", "here"]


def test_hook_fails(log: list[dict[str, Any]]) -> None:
    """A function that fails is logged, and the others are told all the same."""
    service = Service("a", environ={})
    told: list[str] = []

    @service.on_connected
    def fails() -> None:
        raise ZeroDivisionError

    @service.on_connected
    def here() -> None:
        told.append("here")

    Link(service)
    assert told == ["here"]
    assert [event["name"] for event in log if "log_failure" in event] == ["fails"]


def test_gone_without_a_word() -> None:
    """A daemon which has gone without a word is missed within half a minute, and counts as lost."""
    service = Service("a", environ={})
    told: list[str] = []
    service.on_disconnected(lambda: told.append("away"))
    link = Link(service)
    ours, _ = link.daemon.endpoint.connections[-1]
    ours.pauseProducing()
    link.clock.pump([1.0] * 25)
    assert told == []
    link.clock.pump([1.0] * 16)
    assert told == ["away"]


def test_subscriptions_go_on_at_once() -> None:
    """Once somebody has found the daemon again, all subscriptions are opened anew within a quarter of a second."""
    service = Service("a", environ={})

    @service.subscribe("news")
    def news(text: str) -> None: ...

    tester = ServiceTester(service)
    client = tester._subscriptions._all[0]._client
    tester.daemon.endpoint.refusing = True
    tester.daemon.restart()
    tester.clock.pump([0.25] * 400)
    tester.daemon.endpoint.refusing = False
    client._channel._rested()  # type: ignore[attr-defined]
    assert tester.daemon.broker.subscriptions == 0
    client.connected()  # type: ignore[attr-defined]
    tester.clock.pump([0.05] * 6)
    assert tester.daemon.broker.subscriptions == 1
