"""A gateway with no network: an HTTP client over an in-memory transport, a gate that lets everybody in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import ILogObserver, globalLogPublisher
from zope.interface import implementer

from microd.gateways.api.gateway import Gateway
from microd.gateways.api.limits import Limits
from microd.kernel.caller import Account, Caller
from microd.kernel.endpoint import Endpoint
from microd.kernel.errors import MicroError
from microd.services.registry.model import Endpoint as Described
from microd.services.registry.model import Node
from microd.txgrpc import Channel, GrpcServer, Method, RpcError, StatusCode
from microd.txgrpc.memory import MemoryEndpoint


@implementer(ITCPTransport)
class Wire(StringTransport):  # type: ignore[misc]
    """A transport that remembers how it was closed."""

    aborted = False
    half_closed = False

    def abortConnection(self) -> None:
        self.aborted = True
        self.loseConnection()

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass


@dataclass
class Answer:
    """One answer, taken apart."""

    status: int
    headers: dict[str, str]
    body: bytes


def answers(data: bytes) -> list[Answer]:
    """All answers in what a server has sent."""
    found = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        status = int(first.split(" ")[1])
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        if status == 100:
            found.append(Answer(status, headers, b""))
            continue
        if headers.get("transfer-encoding") == "chunked":
            body, data = _dechunked(data)
        else:
            length = int(headers.get("content-length", 0))
            body, data = data[:length], data[length:]
        found.append(Answer(status, headers, body))
    return found


def _dechunked(data: bytes) -> tuple[bytes, bytes]:
    body = b""
    while True:
        size, _, data = data.partition(b"\r\n")
        if not size:
            return body, b""
        length = int(size, 16)
        body, data = body + data[:length], data[length + 2 :]
        if length == 0:
            return body, data


class Client:
    """One connection to the gateway."""

    def __init__(self, house: House) -> None:
        self._clock = house.clock
        self.transport = Wire(peerAddress=IPv4Address("TCP", "192.0.2.7", 5555))
        self.protocol: Any = house.gateway.server.buildProtocol(None)
        self.protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        self.protocol.dataReceived(data)
        self._clock.advance(0)

    def received(self) -> list[Answer]:
        return answers(self.transport.value())

    def ask(
        self, method: str, url: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        self.transport.clear()
        self.send(request(method, url, body, headers))
        (answer,) = self.received() if method != "HEAD" else answers(_headless(self.transport.value()))
        return answer

    def drop(self) -> None:
        self.protocol.connectionLost(None)


def _headless(data: bytes) -> bytes:
    head, _, rest = data.partition(b"\r\n\r\n")
    assert rest == b""
    kept = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
    return b"\r\n".join(kept) + b"\r\n\r\n"


def request(method: str, url: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a request."""
    lines = [f"{method} {url} HTTP/1.1", "Host: micro.test"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass
class OpenGate:
    """Lets everybody in, or nobody; remembers who came."""

    refuse: MicroError | None = None
    account: Account | None = None
    seen: list[tuple[dict[str, str], str, str]] = field(default_factory=list)

    def check(
        self, headers: Mapping[str, str], service: str, endpoint: str, *, core: bool = False
    ) -> tuple[Account | None, str]:
        self.seen.append((dict(headers), service, endpoint))
        if self.refuse is not None:
            raise self.refuse
        return self.account, headers.get("micro-namespace", "micro")

    def allow(
        self, account: Account | None, namespace: str, service: str, endpoint: str, *, core: bool
    ) -> None:
        if self.refuse is not None:
            raise self.refuse

    def admit(
        self,
        headers: Mapping[str, str],
        peer: str,
        service: str,
        endpoint: str,
        on_disconnect: Callable[[Callable[[], None]], None] | None = None,
        *,
        core: bool = False,
    ) -> Caller:
        account, namespace = self.check(headers, service, endpoint, core=core)
        assert on_disconnect is not None
        return Caller(account, namespace, headers, peer, on_disconnect)


class House:
    """A gateway, the services behind it, and the time."""

    def __init__(self, endpoints: Sequence[Endpoint] = (), **options: Any) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.gate = OpenGate()
        self.places: dict[tuple[str, str], list[Node]] = {}
        self.shapes: dict[tuple[str, str], tuple[Described, ...]] = {}
        self.ends: dict[str, MemoryEndpoint] = {}
        self._channels: dict[str, Channel] = {}
        self.gateway = Gateway(self.clock, self.gate, self, self, self, endpoints, version="1.2.3", **options)

    def nodes(self, namespace: str, service: str) -> list[Node]:
        return self.places.get((namespace, service), [])

    def endpoints_of(self, namespace: str, name: str) -> tuple[Described, ...]:
        return self.shapes.get((namespace, name), ())

    def channel(self, address: str) -> Channel:
        if address not in self._channels:
            self._channels[address] = Channel(self.ends[address], self.clock)
        return self._channels[address]

    def serve(
        self, service: str, methods: Mapping[str, Any], *, namespace: str = "micro", kind: str = "unary_unary"
    ) -> MemoryEndpoint:
        """Add a node of a service; C{methods} are handlers by their paths."""

        def unknown(call: Any) -> Method:
            raise RpcError(StatusCode.UNIMPLEMENTED, f"unknown service {call.path[1:].partition('.')[2]}")

        table: Any = {path: Method(kind, handler, None, None) for path, handler in methods.items()}  # type: ignore[arg-type]
        server = GrpcServer(table, clock=self.clock, fallback=unknown)
        address = f"192.0.2.1:{4000 + len(self.ends)}"
        end = self.ends[address] = MemoryEndpoint(server)
        self.places.setdefault((namespace, service), []).append(Node(f"{service}-{len(self.ends)}", address))
        return end

    def client(self) -> Client:
        return Client(self)


@pytest.fixture
def http_client() -> type[Client]:
    """Connects to whatever has a gateway and a clock."""
    return Client


@pytest.fixture
def make() -> type[House]:
    """Makes gateways."""
    return House


@pytest.fixture
def house() -> House:
    """A gateway with its usual limits and no core services."""
    return House()


@pytest.fixture
def tight() -> House:
    """A gateway with small limits."""
    return House(limits=Limits(body=1000, bodies=1500, url=200, head=500, headers=10, pipelined=4, call=20))


@pytest.fixture
def ask() -> Callable[..., bytes]:
    """The bytes of a request."""
    return request


@pytest.fixture
def caught() -> Iterator[list[Any]]:
    """The failures which are logged meanwhile."""
    events: list[Any] = []

    @implementer(ILogObserver)
    def keep(event: Any) -> None:
        if "log_failure" in event:
            events.append(event)

    globalLogPublisher.addObserver(keep)
    yield events
    globalLogPublisher.removeObserver(keep)
