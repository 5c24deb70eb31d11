"""gRPC calls over what endpoint strings make: TLS with other stacks at the far end, and an inherited socket."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from microd.testing.certificates import Authority
from microd.txgrpc import Channel, GrpcServer, Method, RpcError, ServerCall, StatusCode
from microd.txgrpc.blocking import BlockingChannel
from microd.txgrpc.endpoints import client_endpoint, server_endpoint

PATIENCE = 20.0


async def echo(request: bytes, call: ServerCall) -> bytes:
    """Say it back."""
    return request


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A certificate authority of this test's own."""
    return Authority(tmp_path)


@pytest_twisted.async_yield_fixture
async def port(authority: Authority) -> AsyncIterator[int]:
    """The port of our server with TLS."""
    server = GrpcServer({"/t.T/Echo": Method("unary_unary", echo)}, clock=reactor)
    issued = authority.issue("localhost")
    description = f"tls:0:interface=127.0.0.1:certificate={issued.certificate}:privateKey={issued.key}"
    listening: Any = await server_endpoint(reactor, description).listen(server)
    yield listening.getHost().port
    await listening.stopListening()
    await server.drain(0)


async def echoed(description: str, message: bytes) -> bytes:
    """What our client gets back from a server."""
    channel = Channel(client_endpoint(reactor, description), reactor, secure=True)
    try:
        reply: bytes = await channel.unary_unary("/t.T/Echo")(message, timeout=PATIENCE)
        return reply
    finally:
        await channel.close()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("size", [0, 1, 1_000_000])
async def test_ours(port: int, authority: Authority, size: int) -> None:
    """Our client and our server understand each other over TLS, whatever the size."""
    described = f"tls:localhost:{port}:trustRoots={authority.root}"
    assert await echoed(described, bytes(size)) == bytes(size)


@pytest_twisted.ensureDeferred
async def test_untrusted(port: int) -> None:
    """A server that is not trusted was not sent anything, and the call says why."""
    with pytest.raises(RpcError, match="certificate") as caught:
        await echoed(f"tls:localhost:{port}", b"secret")
    assert caught.value.code is StatusCode.UNAVAILABLE
    assert caught.value.undelivered


@pytest.mark.peer
@pytest_twisted.ensureDeferred
async def test_grpcio_client(port: int, authority: Authority) -> None:
    """grpcio's client, which insists on ALPN, speaks TLS with our server."""

    def call() -> Any:
        credentials = grpc.ssl_channel_credentials(authority.root.read_bytes())
        with grpc.secure_channel(f"localhost:{port}", credentials) as channel:
            return channel.unary_unary("/t.T/Echo")(b"hello", timeout=PATIENCE)

    assert await deferToThread(call) == b"hello"


@contextmanager
def grpcio_server(authority: Authority) -> Iterator[int]:
    """grpcio's server with TLS; its port."""
    issued = authority.issue("localhost")
    server = grpc.server(ThreadPoolExecutor(1))
    handler = grpc.unary_unary_rpc_method_handler(lambda request, context: request)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("t.T", {"Echo": handler})])
    pair = (issued.key.read_bytes(), issued.certificate.read_bytes())
    port: int = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


@pytest.mark.peer
@pytest_twisted.ensureDeferred
async def test_grpcio_server(authority: Authority) -> None:
    """Our clients, with Twisted and without, speak TLS with grpcio's server."""
    with grpcio_server(authority) as port:
        assert await echoed(f"tls:localhost:{port}:trustRoots={authority.root}", b"hello") == b"hello"

        def call() -> Any:
            with BlockingChannel(f"localhost:{port}", tls=authority.root) as channel:
                return channel.unary_unary("/t.T/Echo")(b"hello", timeout=PATIENCE)

        assert await deferToThread(call) == b"hello"


INHERITING = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="door")
from twisted.internet import reactor
from microd.txgrpc import GrpcServer, Method
from microd.txgrpc.endpoints import server_endpoint

async def echo(request, call):
    return request

server = GrpcServer({"/t.T/Echo": Method("unary_unary", echo)}, clock=reactor)
server_endpoint(reactor, "systemd:domain=INET:index=0").listen(server)
reactor.run()
"""


def test_systemd() -> None:
    """A server takes over a socket that was opened for it before it was started, as systemd does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.fileno()
        process = subprocess.Popen([sys.executable, "-c", INHERITING, str(number)], pass_fds=[number])
        try:
            address = f"127.0.0.1:{listener.getsockname()[1]}"
            # The kernel accepts for it from the beginning: the call waits until it is up.
            with BlockingChannel(address, connect_timeout=PATIENCE) as channel:
                assert channel.unary_unary("/t.T/Echo")(b"hello", timeout=PATIENCE) == b"hello"
        finally:
            process.terminate()
            process.wait()
