"""Over real sockets: what no transport in memory can show."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from microd.gateways.api.gateway import Gateway
from microd.gateways.api.limits import Limits
from microd.kernel.endpoint import Endpoint
from microd.wire import store_pb2 as pb


class Served:
    """A gateway on a port of the loopback interface."""

    def __init__(self, house: Any, endpoints: list[Endpoint], limits: Limits) -> None:
        self.gateway = Gateway(
            reactor,
            house.gate,
            house,
            house,
            house,
            endpoints,
            version="1",
            limits=limits,
        )
        self.port: Any = reactor.listenTCP(0, self.gateway.server, interface="127.0.0.1")

    def connect(self) -> socket.socket:
        """A client that blocks; to be used in a thread."""
        return socket.create_connection(("127.0.0.1", self.port.getHost().port), timeout=10)

    async def stop(self) -> None:
        await self.port.stopListening()
        await self.gateway.drain(5)


def _everything(client: socket.socket) -> bytes:
    parts = []
    while part := client.recv(65536):
        parts.append(part)
    return b"".join(parts)


@pytest.fixture
def serve(make: Any) -> Iterator[Callable[..., Served]]:
    """Makes gateways that listen, and stops them."""
    up: list[Served] = []

    def begin(*endpoints: Endpoint, limits: Limits | None = None) -> Served:
        served = Served(make(), list(endpoints), limits or Limits())
        up.append(served)
        return served

    yield begin
    for each in up:
        pytest_twisted.blockon(Deferred.fromCoroutine(each.stop()))


async def large(request: Any, caller: Any) -> Any:
    return pb.ReadResponse(records=[pb.Record(key="k", value=b"v" * 6_000_000)])


@pytest_twisted.ensureDeferred
async def test_refused_upload(serve: Any) -> None:
    """A client which sends all of a body that is too large still gets to read that it is."""
    served = serve(limits=Limits(body=1000))

    def upload() -> bytes:
        with served.connect() as client:
            client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n")
            try:
                client.sendall(b"x" * 3_000_000)
            except OSError:
                pytest.fail("the connection was reset")
            client.shutdown(socket.SHUT_WR)
            return _everything(client)

    assert (await deferToThread(upload)).startswith(b"HTTP/1.1 413 ")


@pytest_twisted.ensureDeferred
async def test_large_answer(serve: Any) -> None:
    """An answer larger than any buffer arrives whole, and so does the one to the next request."""
    served = serve(Endpoint("/t.T/Call", pb.ReadRequest, pb.ReadResponse, large))

    def download() -> bytes:
        with served.connect() as client:
            client.sendall(
                b"GET /t HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            )
            return _everything(client)

    said = await deferToThread(download)
    assert len(said) > 8_000_000
    assert said.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert said.endswith(b'{"version": "1"}')


@pytest_twisted.ensureDeferred
async def test_many_pipelined(serve: Any) -> None:
    """Thousands of requests sent without waiting are all answered."""
    served = serve()

    def flood() -> bytes:
        with served.connect() as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 4999)
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            return _everything(client)

    assert (await deferToThread(flood)).count(b"HTTP/1.1 200 OK") == 5000


@pytest_twisted.ensureDeferred
async def test_slow_reader_of_a_stream(serve: Any) -> None:
    """A stream goes on only as its reader does, and ends when the reader goes away."""
    made = 0
    ended: Deferred[None] = Deferred()

    async def endless(request: Any, caller: Any) -> AsyncIterator[Any]:
        nonlocal made
        try:
            while True:
                made += 1
                yield pb.ReadResponse(records=[pb.Record(value=b"v" * 50_000)])
        finally:
            ended.callback(None)

    served = serve(Endpoint("/t.T/Call", pb.ReadRequest, pb.ReadResponse, endless, server_streaming=True))

    def read_a_little() -> int:
        client = served.connect()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.sendall(b"GET /t HTTP/1.1\r\nHost: a\r\n\r\n")
        got = len(client.recv(100_000))
        kept.append(client)
        return got

    kept: list[socket.socket] = []
    assert await deferToThread(read_a_little) > 0
    assert made < 500
    kept[0].close()
    await ended


@pytest_twisted.ensureDeferred
async def test_client_gone(serve: Any) -> None:
    """A client that hangs up in the middle of its call has it cancelled."""
    begun: Deferred[None] = Deferred()
    cancelled: Deferred[None] = Deferred()

    async def forever(request: Any, caller: Any) -> Any:
        begun.callback(None)
        await Deferred(lambda _: cancelled.callback(None))

    served = serve(Endpoint("/t.T/Call", pb.ReadRequest, pb.ReadResponse, forever))
    client = served.connect()
    client.sendall(b"GET /t HTTP/1.1\r\nHost: a\r\n\r\n")
    await begun
    client.close()
    await cancelled
