"""A listener with a name."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from microd.gateways.listen import CannotListen, Listener


async def _nothing() -> None:
    """Nothing is in flight."""


def listener(endpoint: Any, drain: Any = _nothing) -> Listener:
    return Listener(
        "api",
        endpoint,
        Factory(),
        wanted="127.0.0.1:8080",
        remedy="choose another with --api-address",
        drain=drain,
    )


class Taken:
    """An endpoint whose address somebody else has."""

    def listen(self, factory: Factory) -> Deferred[Any]:
        problem = CannotListenError("127.0.0.1", 8080, OSError(errno.EADDRINUSE, "Address already in use"))
        return fail(Failure(problem))


def test_taken() -> None:
    """A taken address is a sentence with the listener, the address, the reason and the remedy."""
    outcome: list[BaseException] = []

    def failed(reason: Failure) -> None:
        assert reason.value is not None
        outcome.append(reason.value)

    listener(Taken()).startService().addErrback(failed)
    (problem,) = outcome
    assert isinstance(problem, CannotListen)
    assert (
        str(problem)
        == "api cannot listen on 127.0.0.1:8080: Address already in use; choose another with --api-address"
    )


class Port:
    """A bound port which writes down that it was let go."""

    def __init__(self, log: list[str], host: str = "127.0.0.1") -> None:
        self.log = log
        self.host = host
        self.connected = True

    def listen(self, factory: Factory) -> Deferred[Any]:
        return succeed(self)

    def getHost(self) -> IPv4Address | IPv6Address:
        kind = IPv6Address if ":" in self.host else IPv4Address
        return kind("TCP", self.host, 8080)

    def stopReading(self) -> None:
        self.log.append("bound")

    def startReading(self) -> None:
        self.log.append("open")

    def stopListening(self) -> None:
        self.log.append("closed")


@pytest.mark.parametrize(
    ("host", "address", "reachable"),
    [
        ("10.0.0.1", "10.0.0.1:8080", "10.0.0.1:8080"),
        ("0.0.0.0", "0.0.0.0:8080", "127.0.0.1:8080"),
        ("::", "[::]:8080", "[::1]:8080"),
    ],
)
def test_address(host: str, address: str, reachable: str) -> None:
    """What is announced is where it really listens; callers on this host are told loopback for "everywhere"."""
    started = listener(Port([], host))
    started.startService()
    assert (started.address, started.reachable) == (address, reachable)


def test_drain() -> None:
    """A door takes nobody in before it is opened; closing it, it accepts nothing new, and waits for what is in flight."""
    log: list[str] = []
    finished = Deferred[None]()

    async def drain() -> None:
        log.append("draining")
        await finished

    started = listener(Port(log), drain)
    started.startService()
    assert log == ["bound"]
    opening = started.opening
    opening.startService()
    stopped = opening.stopService()
    assert log == ["bound", "open", "closed", "draining"]
    assert isinstance(stopped, Deferred)
    assert not stopped.called
    finished.callback(None)
    assert stopped.called


def test_stop_unopened() -> None:
    """A listener whose door never opened lets go of its address, and has nothing to drain."""
    log: list[str] = []
    started = listener(Port(log))
    started.startService()
    assert started.stopService().called
    assert log == ["bound", "closed"]


def test_ill() -> None:
    """An open door whose port is lost says so; before it opens and after it closes, there is nothing to lose."""
    port = Port([])
    started = listener(port)
    assert started.ill() is None
    started.startService()
    port.connected = False
    assert started.ill() is None
    started.opening.startService()
    assert started.ill() == "the listener on 127.0.0.1:8080 is lost: restart the daemon"
    port.connected = True
    assert started.ill() is None
    started.opening.stopService()
    assert started.ill() is None
