"""The parties of the conformance tests, and the rule that nothing may be raised out of a connection."""

from collections.abc import Iterator

import pytest
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from microd.testing.http2_peer import Handshake, Peer
from microd.testing.http2_probe import ClientProbe, ServerProbe


@implementer(ILogObserver)
class Failures:
    """The tracebacks that were logged."""

    def __init__(self) -> None:
        self.events: list[LogEvent] = []

    def __call__(self, event: LogEvent) -> None:
        if "log_failure" in event:
            self.events.append(event)


@pytest.fixture(autouse=True)
def failures() -> Iterator[Failures]:
    """No test may leave a logged traceback behind: what a peer sends is never an error of ours."""
    observer = Failures()
    globalLogPublisher.addObserver(observer)
    yield observer
    globalLogPublisher.removeObserver(observer)
    assert not observer.events, observer.events[0]["log_failure"].getTraceback()


@pytest.fixture
def probe() -> Iterator[ServerProbe]:
    """A server with the probe's methods."""
    with ServerProbe() as probe:
        yield probe


@pytest.fixture
def fresh(probe: ServerProbe) -> Peer:
    """A connection to the server on which the client has said nothing."""
    return probe.connect()


@pytest.fixture
def peer(probe: ServerProbe) -> Peer:
    """A connection to the server with the prefaces exchanged."""
    return probe.peer()


@pytest.fixture
def client() -> Iterator[ClientProbe]:
    """A channel which has not connected yet."""
    with ClientProbe() as client:
        yield client


@pytest.fixture
def calling(client: ClientProbe) -> ClientProbe:
    """A channel with a connection whose prefaces are exchanged, ready for a call on stream 1."""
    outcome = client.call()
    client.peer.send(Handshake.server())
    assert outcome.pending
    return client
