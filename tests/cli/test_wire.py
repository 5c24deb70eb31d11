"""The command as a process, over a real connection to a daemon in this process."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest_twisted
from twisted.internet import reactor as installed
from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.utils import getProcessOutputAndValue

from microd.framework import Service
from microd.testing.certificates import Authority
from microd.testing.daemon import FakeDaemon
from microd.testing.services import ServiceTester
from microd.txgrpc import GrpcServer, ServerCall
from microd.txgrpc.endpoints import server_endpoint
from microd.txgrpc.method import stream_unary, unary_stream, unary_unary
from microd.wire import runtime_pb2 as pb

_PROGRAM = "from microd.cli.main import main; main()"
reactor: Any = installed


@dataclass
class CountRequest:
    upto: int


@dataclass
class CountReply:
    number: int


def counter() -> Service:
    """A service with a unary and a streaming endpoint."""
    service = Service("counter")

    @service.endpoint
    async def double(request: CountRequest) -> CountReply:
        return CountReply(number=2 * request.upto)

    @service.endpoint
    async def count(request: CountRequest) -> AsyncIterator[CountReply]:
        for number in range(request.upto):
            yield CountReply(number=number)

    return service


class RuntimeOnTheWire:
    """Enough of a runtime for `micro run`; keeps the size of what was uploaded."""

    def __init__(self) -> None:
        self.size = 0
        self.server = GrpcServer(
            {
                "/runtime.Source/Upload": stream_unary(
                    self.upload, pb.UploadRequest.FromString, pb.UploadResponse.SerializeToString
                ),
                "/runtime.Runtime/Create": unary_unary(
                    self.create, pb.CreateRequest.FromString, pb.CreateResponse.SerializeToString
                ),
                "/runtime.Runtime/Read": unary_unary(
                    self.read, pb.ReadRequest.FromString, pb.ReadResponse.SerializeToString
                ),
                "/runtime.Runtime/Logs": unary_stream(
                    self.logs, pb.LogsRequest.FromString, pb.LogRecord.SerializeToString
                ),
            },
            clock=reactor,
        )

    async def upload(self, requests: AsyncIterator[pb.UploadRequest], call: ServerCall) -> pb.UploadResponse:
        async for request in requests:
            self.size += len(request.data)
        return pb.UploadResponse(id="source://large:latest")

    async def create(self, request: pb.CreateRequest, call: ServerCall) -> pb.CreateResponse:
        return pb.CreateResponse()

    async def read(self, request: pb.ReadRequest, call: ServerCall) -> pb.ReadResponse:
        service = pb.Service(
            name="large", version="latest", status=7, metadata={"error": "exited with code 1"}
        )
        return pb.ReadResponse(services=[service])

    async def logs(self, request: pb.LogsRequest, call: ServerCall) -> AsyncIterator[pb.LogRecord]:
        for number in range(request.count):
            yield pb.LogRecord(message=f"line {number}")


Micro = Callable[..., Coroutine[Any, Any, tuple[str, str, int]]]


async def ran(home: Path, *words: str, **more: str) -> tuple[str, str, int]:
    """What C{micro} printed and returned, as a process of the user with this home."""
    env = {"MICRO_HOME": str(home), "PATH": os.environ.get("PATH", ""), **more}
    out, err, code = await getProcessOutputAndValue(
        sys.executable, ["-c", _PROGRAM, *words], env, str(home.parent)
    )
    return out.decode(), err.decode(), code


@pytest_twisted.async_yield_fixture
async def micro(tmp_path: Path) -> AsyncIterator[Micro]:
    """Runs C{micro} as a process of the user whose daemon is in this process."""
    daemon = FakeDaemon(reactor)
    ServiceTester(counter(), reactor, daemon)
    daemon.services["runtime"] = RuntimeOnTheWire().server
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(daemon.server)
    data = tmp_path / "home" / "server"
    data.mkdir(parents=True)
    told = {"pid": os.getpid(), "doors": {"proxy": f"127.0.0.1:{port.getHost().port}"}}
    (data / "daemon.json").write_text(json.dumps(told))
    (data / "admin-secret").write_text("admin-secret\n")
    yield partial(ran, tmp_path / "home")
    await maybeDeferred(port.stopListening)
    await daemon.server.drain(1)


@pytest_twisted.ensureDeferred
async def test_store(micro: Micro) -> None:
    """With nobody typing anything a record is written, read, listed, and missed once it is deleted."""
    assert await micro("store", "write", "key", "välue") == ("", "", 0)
    assert await micro("store", "read", "key") == ("välue\n", "", 0)
    assert await micro("store", "list") == ("key\n", "", 0)
    assert await micro("store", "delete", "key") == ("", "", 0)
    assert await micro("store", "read", "key") == ("", "Not found\n", 1)


@pytest_twisted.ensureDeferred
async def test_json(micro: Micro) -> None:
    """A service written in Python answers in JSON, once or in a stream."""
    assert await micro("call", "counter", "Counter.Double", '{"upto": 4}') == (
        '{\n\t"number": "8"\n}\n',
        "",
        0,
    )
    out, err, code = await micro("stream", "counter", "Counter.Count", '{"upto": 3}', "--json")
    assert (out, err, code) == ('{"number": "0"}\n{"number": "1"}\n{"number": "2"}\n', "", 0)


@pytest_twisted.ensureDeferred
async def test_refused(micro: Micro) -> None:
    """What a service refuses is one sentence."""
    out, err, code = await micro("call", "counter", "Counter.Double", '{"upto": "x"}')
    assert (out, code) == ("", 127)
    assert "upto" in err
    assert len(err.splitlines()) == 1


@pytest_twisted.ensureDeferred
async def test_upload(micro: Micro, tmp_path: Path) -> None:
    """A folder larger than any window is uploaded; that its service fails is told with its last lines."""
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "data").write_bytes(os.urandom(3_000_000))
    out, err, code = await micro("run", "large")
    assert (out, code) == ("", 1)
    assert err.splitlines()[-2:] == [
        "line 19",
        "Service large is not running: exited with code 1. See `micro logs large`.",
    ]


@pytest_twisted.ensureDeferred
async def test_nobody_listens(micro: Micro) -> None:
    """A server that is not there is exit code 4, at once."""
    out, err, code = await micro("call", "--address=127.0.0.1:1", "counter", "Counter.Double")
    assert (out, err, code) == ("", "Failed to connect to micro server at 127.0.0.1:1\n", 4)


@pytest_twisted.ensureDeferred
async def test_tls(tmp_path: Path) -> None:
    """An https address is spoken to over TLS, whose certificate must be of an authority that the system trusts."""
    authority = Authority(tmp_path)
    issued = authority.issue("localhost", "127.0.0.1")
    daemon = FakeDaemon(reactor)
    description = f"tls:0:interface=127.0.0.1:certificate={issued.certificate}:privateKey={issued.key}"
    port: Any = await server_endpoint(reactor, description).listen(daemon.server)
    micro = partial(ran, tmp_path / "home", SSL_CERT_FILE=str(authority.root))
    await micro("env", "add", "far", f"https://localhost:{port.getHost().port}")
    await micro("env", "set", "far")
    assert await micro("login", "--username=admin", "--password=admin-secret") == (
        "Successfully logged in.\n",
        "",
        0,
    )
    assert await micro("store", "write", "key", "value") == ("", "", 0)
    out, err, code = await ran(tmp_path / "home", "store", "read", "key")
    assert (out, code) == ("", 4)
    assert err.startswith("Failed to connect to micro server at localhost:")
    await maybeDeferred(port.stopListening)
    await daemon.server.drain(1)
