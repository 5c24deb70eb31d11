"""C{buf curl}, a gRPC client in Go that knows a server's messages only from its reflection."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.utils import getProcessOutputAndValue

BUF = Path(__file__).parents[2] / "peers" / "node_modules" / ".bin" / "buf"

pytestmark = pytest.mark.peer

Buf = Callable[..., Coroutine[Any, Any, tuple[list[Any], str, int]]]


@pytest.fixture
def buf(tmp_path: Path) -> Buf:
    """Runs C{buf curl}: the replies, what it said of an error, its exit code."""

    async def run(*arguments: str) -> tuple[list[Any], str, int]:
        command = ["curl", "--protocol", "grpc", *arguments]
        env = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin:/usr/local/bin"}
        out, err, code = await getProcessOutputAndValue(str(BUF), command, env=env, reactor=reactor)
        text, replies, decoder = out.decode().strip(), [], json.JSONDecoder()
        while text.startswith("{"):
            reply, end = decoder.raw_decode(text)
            replies.append(reply)
            text = text[end:].lstrip()
        return replies or text.splitlines(), err.decode(), code

    return run


def at(served: Any, method: str) -> list[str]:
    """The arguments that name a method on the plain port."""
    return ["--http2-prior-knowledge", f"http://127.0.0.1:{served.plain}/{method}"]


@pytest_twisted.ensureDeferred
async def test_unary(buf: Buf, served: Any) -> None:
    """A unary call is made with messages learned from reflection."""
    request = json.dumps({"response_size": 3})
    replies, err, code = await buf("-d", request, *at(served, "grpc.testing.TestService/UnaryCall"))
    assert (replies, err, code) == ([{"payload": {"body": "AAAA"}}], "", 0)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("version", ["grpc-v1", "grpc-v1alpha"])
async def test_reflection_versions(buf: Buf, served: Any, version: str) -> None:
    """Both versions of reflection describe the server."""
    names, _, code = await buf("--reflect-protocol", version, "--list-services", *at(served, ""))
    assert code == 0
    assert "grpc.testing.TestService" in names
    assert "grpc.health.v1.Health" in names


@pytest_twisted.ensureDeferred
async def test_streams(buf: Buf, served: Any) -> None:
    """Requests and replies stream."""
    requests = [{"response_parameters": [{"size": 1}, {"size": 2}]}, {"response_parameters": [{"size": 3}]}]
    body = "".join(map(json.dumps, requests))
    replies, _, code = await buf("-d", body, *at(served, "grpc.testing.TestService/FullDuplexCall"))
    assert ([reply["payload"]["body"] for reply in replies], code) == (["AA==", "AAA=", "AAAA"], 0)


@pytest_twisted.ensureDeferred
async def test_status(buf: Buf, served: Any) -> None:
    """A status arrives with its code and its text."""
    request = json.dumps({"response_status": {"code": 5, "message": "no such thing: ä"}})
    _, err, code = await buf("-d", request, *at(served, "grpc.testing.TestService/UnaryCall"))
    assert (json.loads(err), code) == ({"code": "not_found", "message": "no such thing: ä"}, 5 << 3)


@pytest_twisted.ensureDeferred
async def test_health(buf: Buf, served: Any) -> None:
    """The health service answers."""
    replies, _, code = await buf(*at(served, "grpc.health.v1.Health/Check"))
    assert (replies, code) == ([{"status": "SERVING"}], 0)


@pytest_twisted.ensureDeferred
async def test_tls(buf: Buf, served: Any) -> None:
    """TLS is agreed upon, with the server's certificate verified."""
    url = f"https://localhost:{served.secure}/grpc.testing.TestService/EmptyCall"
    replies, err, code = await buf("--cacert", str(served.root), url)
    assert (replies, err, code) == ([{}], "", 0)
