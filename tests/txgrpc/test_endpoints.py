"""Endpoints from strings: what is understood, what is refused, and what TLS guarantees before a protocol exists."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread

from microd.testing.certificates import Authority, Issued
from microd.txgrpc.alpn import HandshakeFailed
from microd.txgrpc.endpoints import client_endpoint, server_endpoint


class Echo(Protocol):
    """Says back what it hears."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)


class Ear(Protocol):
    """Keeps the first thing that it hears."""

    def __init__(self) -> None:
        self.heard: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.heard.callback(data)


Listen = Callable[[str], Coroutine[Any, Any, Any]]


@pytest_twisted.async_yield_fixture
async def listen() -> AsyncIterator[Listen]:
    """Listens with an echo server until the test is over."""
    ports = []

    async def begin(description: str) -> Any:
        port = await server_endpoint(reactor, description).listen(Factory.forProtocol(Echo))
        ports.append(port)
        return port.getHost()

    yield begin
    for port in ports:
        await maybeDeferred(port.stopListening)


async def echoed(description: str) -> bytes:
    """What comes back of a greeting sent to an endpoint."""
    ear: Any = await client_endpoint(reactor, description).connect(Factory.forProtocol(Ear))
    ear.transport.write(b"hello")
    heard: bytes = await ear.heard
    ear.transport.loseConnection()
    return heard


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A certificate authority of this test's own."""
    return Authority(tmp_path)


def tls_server(authority: Authority, *names: str, more: str = "") -> str:
    """An endpoint string with a certificate for some names."""
    issued = authority.issue(*(names or ("localhost", "127.0.0.1")))
    return f"tls:0:interface=127.0.0.1:certificate={issued.certificate}:privateKey={issued.key}{more}"


@pytest_twisted.ensureDeferred
async def test_tcp(listen: Listen) -> None:
    """A TCP server is reached by its host and port."""
    host = await listen("tcp:0:interface=127.0.0.1")
    assert await echoed(f"tcp:127.0.0.1:{host.port}") == b"hello"


@pytest_twisted.ensureDeferred
async def test_bare_address(listen: Listen) -> None:
    """An address as registries keep it, with no word before it, means TCP."""
    host = await listen("tcp:0:interface=127.0.0.1")
    assert await echoed(f"localhost:{host.port}") == b"hello"


@pytest_twisted.ensureDeferred
async def test_ipv6(listen: Listen, authority: Authority) -> None:
    """An IPv6 address stands in brackets."""
    host = await listen(r"tcp:0:interface=\:\:1")
    assert await echoed(f"[::1]:{host.port}") == b"hello"


@pytest_twisted.ensureDeferred
async def test_unix(listen: Listen, tmp_path: Path) -> None:
    """A unix socket is reached by its path."""
    await listen(f"unix:{tmp_path}/door.sock")
    assert await echoed(f"unix:{tmp_path}/door.sock") == b"hello"


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("word", ["tls", "ssl"])
async def test_tls(listen: Listen, authority: Authority, word: str) -> None:
    """TLS is spoken with a server whose certificate the given authority signed for the name that was called."""
    host = await listen(tls_server(authority).replace("tls", word, 1))
    assert await echoed(f"{word}:localhost:{host.port}:trustRoots={authority.root}") == b"hello"


@pytest_twisted.ensureDeferred
async def test_tls_by_address(listen: Listen, authority: Authority) -> None:
    """A certificate for an address is verified against that address."""
    host = await listen(tls_server(authority, "127.0.0.1"))
    assert await echoed(f"tls:127.0.0.1:{host.port}:trustRoots={authority.root}") == b"hello"


@pytest_twisted.ensureDeferred
async def test_tls_roots_in_a_folder(listen: Listen, authority: Authority, tmp_path: Path) -> None:
    """The trusted authorities may be a folder of PEM files."""
    host = await listen(tls_server(authority))
    assert await echoed(f"tls:localhost:{host.port}:trustRoots={tmp_path}") == b"hello"


@pytest_twisted.ensureDeferred
async def test_unknown_authority(listen: Listen, authority: Authority, tmp_path: Path) -> None:
    """A server whose certificate somebody else signed is not connected to."""
    stranger = Authority(tmp_path, "stranger")
    host = await listen(tls_server(authority))
    with pytest.raises(HandshakeFailed, match="certificate verify failed"):
        await echoed(f"tls:localhost:{host.port}:trustRoots={stranger.root}")


@pytest_twisted.ensureDeferred
async def test_system_authorities_by_default(listen: Listen, authority: Authority) -> None:
    """A client that names no authority trusts those of the system, thus not a throwaway one."""
    host = await listen(tls_server(authority))
    with pytest.raises(HandshakeFailed, match="verif"):
        await echoed(f"tls:localhost:{host.port}")


@pytest_twisted.ensureDeferred
async def test_wrong_name(listen: Listen, authority: Authority) -> None:
    """A certificate for another name is refused, by whichever name the server is dialled."""
    host = await listen(tls_server(authority, "elsewhere.example"))
    with pytest.raises(HandshakeFailed, match="not for the name"):
        await echoed(f"tls:localhost:{host.port}:trustRoots={authority.root}")


@pytest_twisted.ensureDeferred
async def test_hostname_given(listen: Listen, authority: Authority) -> None:
    """The name to verify may differ from the one to dial."""
    host = await listen(tls_server(authority, "elsewhere.example"))
    described = f"tls:localhost:{host.port}:trustRoots={authority.root}:hostname=elsewhere.example"
    assert await echoed(described) == b"hello"


@pytest_twisted.ensureDeferred
async def test_client_certificate_demanded(listen: Listen, authority: Authority) -> None:
    """A server with trust roots speaks to clients which have a certificate of theirs."""
    host = await listen(tls_server(authority, more=f":trustRoots={authority.root}"))
    issued = authority.issue("client.example")
    credentials = f"certificate={issued.certificate}:privateKey={issued.key}"
    described = f"tls:localhost:{host.port}:trustRoots={authority.root}:{credentials}"
    assert await echoed(described) == b"hello"


def alpn_with(port: int, authority: Authority, protocols: list[str]) -> tuple[str | None, bytes]:
    """What Python's own TLS client negotiates, and what it hears afterwards."""
    context = ssl.create_default_context(cafile=str(authority.root))
    if protocols:
        context.set_alpn_protocols(protocols)
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            connection.sendall(b"hello")
            return connection.selected_alpn_protocol(), connection.recv(100)
    except OSError:
        return None, b""


@pytest_twisted.ensureDeferred
async def test_server_chooses_h2(listen: Listen, authority: Authority) -> None:
    """A client which offers HTTP/2 among others gets HTTP/2."""
    host = await listen(tls_server(authority))
    assert await deferToThread(alpn_with, host.port, authority, ["http/1.1", "h2"]) == ("h2", b"hello")


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("offered", [["http/1.1"], []])
async def test_server_refuses_others(listen: Listen, authority: Authority, offered: list[str]) -> None:
    """A client which does not offer HTTP/2 is hung up on, and no protocol ever sees it."""
    host = await listen(tls_server(authority))
    assert await deferToThread(alpn_with, host.port, authority, offered) == (None, b"")


def serve_without_alpn(listener: socket.socket, issued: Issued) -> None:
    """One TLS connection of Python's own, which knows nothing of HTTP/2; until the client leaves."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(issued.certificate, issued.key)
    plain, _ = listener.accept()
    with suppress(OSError), context.wrap_socket(plain, server_side=True) as connection:
        connection.recv(1)


@pytest_twisted.ensureDeferred
async def test_client_refuses_others(authority: Authority) -> None:
    """A server which does not choose HTTP/2 is no server of gRPC: connecting to it fails."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        served = deferToThread(serve_without_alpn, listener, authority.issue("localhost"))
        with pytest.raises(HandshakeFailed, match="HTTP/2 is wanted"):
            await echoed(f"tls:localhost:{listener.getsockname()[1]}:trustRoots={authority.root}")
        await served


@pytest_twisted.ensureDeferred
async def test_slow_handshake(listen: Listen, authority: Authority) -> None:
    """Connecting ends with its time, though the other side accepted and then said nothing."""
    port: Any = await server_endpoint(reactor, "tcp:0:interface=127.0.0.1").listen(
        Factory.forProtocol(Protocol)
    )
    with pytest.raises(HandshakeFailed, match="too long"):
        await echoed(f"tls:localhost:{port.getHost().port}:trustRoots={authority.root}:timeout=0.05")
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_refused(listen: Listen, authority: Authority) -> None:
    """Where nobody listens, TLS or not, the refusal is seen as such."""
    port: Any = await server_endpoint(reactor, "tcp:0:interface=127.0.0.1").listen(
        Factory.forProtocol(Protocol)
    )
    number = port.getHost().port
    await port.stopListening()
    for description in (f"tcp:127.0.0.1:{number}", f"tls:127.0.0.1:{number}:trustRoots={authority.root}"):
        with pytest.raises(ConnectError, match="refused"):
            await echoed(description)


@pytest_twisted.ensureDeferred
async def test_cancelled_connect(listen: Listen, authority: Authority) -> None:
    """Giving up while the handshake is on closes the connection."""
    gone: Deferred[None] = Deferred()
    accepted: Deferred[None] = Deferred()

    class Silent(Protocol):
        def connectionMade(self) -> None:
            accepted.callback(None)

        def connectionLost(self, reason: object = None) -> None:
            gone.callback(None)

    port: Any = await server_endpoint(reactor, "tcp:0:interface=127.0.0.1").listen(
        Factory.forProtocol(Silent)
    )
    described = f"tls:127.0.0.1:{port.getHost().port}:trustRoots={authority.root}"
    connecting = client_endpoint(reactor, described).connect(Factory.forProtocol(Ear))
    failed: list[Any] = []
    connecting.addErrback(failed.append)
    await accepted
    connecting.cancel()
    await gone
    assert len(failed) == 1
    await port.stopListening()


@pytest.mark.parametrize(
    ("description", "complaint"),
    [
        ("tls:8443", "needs certificate=FILE"),
        ("tls:certificate=x.pem", "the port as a number"),
        ("tls:eight:certificate=x.pem", "the port as a number"),
        ("tls:8443:certificate=/nowhere/x.pem", "/nowhere/x.pem"),
        ("systemd:domain=INET:index=7", "systemd passed no such socket"),
        ("tcp:8443:colour=red", "colour"),
        ("carrier-pigeon:8443", "carrier-pigeon"),
    ],
)
def test_bad_server_string(description: str, complaint: str) -> None:
    """A string that cannot be used is refused with what is wrong about it."""
    with pytest.raises(ValueError, match=complaint):
        server_endpoint(reactor, description)


@pytest.mark.parametrize(
    ("description", "complaint"),
    [
        ("", "empty"),
        ("tcp:localhost", "the port as a number"),
        ("localhost", "the port as a number"),
        ("tcp:localhost:99999", "the port as a number"),
        ("tls:localhost:1:colour=red", "colour"),
        ("tcp:localhost:1:trustRoots=x", "trustRoots"),
        ("tls:localhost:1:trustRoots=/nowhere", "/nowhere"),
        ("unix:", "no path"),
    ],
)
def test_bad_client_string(description: str, complaint: str) -> None:
    """A string that cannot be used is refused with what is wrong about it."""
    with pytest.raises(ValueError, match=complaint):
        client_endpoint(reactor, description)


def test_not_a_certificate(tmp_path: Path) -> None:
    """A file which holds no certificate is named."""
    file = tmp_path / "notes.pem"
    file.write_text("not a certificate")
    with pytest.raises(ValueError, match=r"notes\.pem"):
        client_endpoint(reactor, f"tls:localhost:1:trustRoots={file}")


def test_key_of_another(authority: Authority) -> None:
    """A key that does not belong to the certificate is refused before anybody connects."""
    one, other = authority.issue("one.example"), authority.issue("other.example")
    with pytest.raises(ValueError, match=r"one\.example"):
        server_endpoint(reactor, f"tls:0:certificate={one.certificate}:privateKey={other.key}")
