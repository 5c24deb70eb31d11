"""The pair in memory behaves as a connection does."""

from __future__ import annotations

from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from microd.txgrpc.memory import BUFFER, MemoryTransport, pair


class Ear(Protocol):
    """Notes what happens."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.lost: Failure | None = None
        self.pauses: list[bool] = []

    def dataReceived(self, data: bytes) -> None:
        self.heard.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason

    def pauseProducing(self) -> None:
        self.pauses.append(True)

    def resumeProducing(self) -> None:
        self.pauses.append(False)


def ears() -> tuple[MemoryTransport, Ear, MemoryTransport, Ear]:
    one, two = pair()
    first, second = Ear(), Ear()
    one.protocol, two.protocol = first, second
    return one, first, two, second


def test_at_once() -> None:
    """What one end writes the other has heard when the write returns."""
    one, _, _, second = ears()
    one.write(b"hello")
    assert second.heard == [b"hello"]


def test_nobody_is_interrupted() -> None:
    """An end which answers is not told more before it is done."""
    one, first, two, second = ears()
    order: list[str] = []

    def answer(data: bytes) -> None:
        order.append("begin")
        two.write(b"answer")
        order.append("end")

    second.dataReceived = answer  # type: ignore[method-assign]
    first.dataReceived = lambda data: order.append("heard")  # type: ignore[method-assign]
    one.write(b"question")
    assert order == ["begin", "end", "heard"]


def test_a_full_buffer_pushes_back() -> None:
    """Who writes to an end that does not read is paused, and resumed when it reads."""
    one, first, two, second = ears()
    one.registerProducer(first, True)
    two.pauseProducing()
    one.write(bytes(BUFFER))
    assert first.pauses == []
    one.write(b"x")
    assert first.pauses == [True]
    two.resumeProducing()
    assert first.pauses == [True, False]
    assert sum(map(len, second.heard)) == BUFFER + 1


def test_hanging_up() -> None:
    """What was written arrives before the end does; both ends are told once."""
    one, first, _, second = ears()
    one.write(b"bye")
    one.loseConnection()
    assert second.heard == [b"bye"]
    for ear in (first, second):
        assert ear.lost is not None
        assert ear.lost.check(ConnectionDone)


def test_aborting() -> None:
    """Nothing is heard after an abort."""
    one, first, two, second = ears()
    one.abortConnection()
    two.write(b"late")
    assert first.heard == []
    assert second.lost is not None
    assert second.lost.check(ConnectionAborted)
