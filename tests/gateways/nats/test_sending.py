"""What is sent at once, and what goes the usual way, over a real pair of sockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from twisted.internet.abstract import FileDescriptor
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.testing import StringTransport

from microd.gateways.nats.sending import sender


class Reactor:
    """Notes who wants to write."""

    def __init__(self) -> None:
        self.writers: set[object] = set()

    def addWriter(self, writer: object) -> None:
        self.writers.add(writer)

    def removeWriter(self, writer: object) -> None:
        self.writers.discard(writer)


class Descriptor(FileDescriptor):
    """A transport on one end of a pair of sockets."""

    connected = 1

    def __init__(self, reactor: Reactor) -> None:
        super().__init__(reactor)  # type: ignore[arg-type]
        self.fake = reactor
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        self.lost = False

    def writeSomeData(self, data: bytes) -> int | Exception:
        if self.lost:
            return CONNECTION_LOST
        try:
            return self.near.send(data)
        except BlockingIOError:
            return 0

    def read(self, count: int) -> bytes:
        """Exactly so much, as the far end gets it; the reactor writes meanwhile."""
        data = b""
        while len(data) < count:
            data += self.far.recv(count - len(data))
            if self in self.fake.writers:
                self.doWrite()
        return data


@pytest.fixture
def descriptor() -> Iterator[Descriptor]:
    """See there."""
    made = Descriptor(Reactor())
    yield made
    made.near.close()
    made.far.close()


def test_at_once(descriptor: Descriptor) -> None:
    """What the socket takes is sent with no turn of the reactor."""
    sender(descriptor)(b"hello")
    assert not descriptor.fake.writers
    assert descriptor.far.recv(100) == b"hello"


def test_order(descriptor: Descriptor) -> None:
    """What the socket does not take now is sent later, and nothing overtakes it."""
    send = sender(descriptor)
    pieces = [bytes([number]) * 100_000 for number in range(20)]
    for piece in pieces:
        send(piece)
    assert descriptor.fake.writers
    assert descriptor.read(2_000_000) == b"".join(pieces)
    send(b"end")
    assert not descriptor.fake.writers
    assert descriptor.read(3) == b"end"


def test_lost(descriptor: Descriptor) -> None:
    """A lost connection is the reactor's to find; nothing is raised."""
    descriptor.lost = True
    sender(descriptor)(b"hello")
    assert descriptor.fake.writers


def test_tls(descriptor: Descriptor) -> None:
    """Nothing goes past TLS."""
    descriptor.TLS = True  # type: ignore[attr-defined]
    sender(descriptor)(b"secret")
    assert descriptor.fake.writers


def test_memory() -> None:
    """A transport without a socket is written to."""
    transport = StringTransport()
    sender(transport)(b"hello")
    assert transport.value() == b"hello"
