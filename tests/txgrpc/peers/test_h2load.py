"""C{h2load}, which knows HTTP/2 (nghttp2) and nothing of gRPC: many calls at once, none of them lost."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.utils import getProcessOutputAndValue

from microd.testing.wire import interop_pb2 as pb

pytestmark = pytest.mark.peer


async def load(url: str, method: str, message: bytes, folder: Path, *, calls: int) -> tuple[int, int, int]:
    """Make calls on four connections, ten at once on each: how many succeeded, failed; the bytes of data."""
    body = folder / "body"
    body.write_bytes(b"\x00" + struct.pack(">I", len(message)) + message)
    arguments = [
        f"-n{calls}",
        "-c4",
        "-m10",
        f"-d{body}",
        "-H",
        "content-type: application/grpc",
        "-H",
        "te: trailers",
    ]
    out, err, code = await getProcessOutputAndValue(
        "h2load", [*arguments, f"{url}/grpc.testing.TestService/{method}"], env=None, reactor=reactor
    )
    counted = re.search(rb"(\d+) succeeded, (\d+) failed", out)
    data = re.search(rb"space savings [^)]+\), [^(]+\((\d+)\) data", out)
    assert counted, (out, err, code)
    assert data, out
    return int(counted[1]), int(counted[2]), int(data[1])


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("secure", [False, True])
async def test_unary(served: Any, tmp_path: Path, secure: bool) -> None:
    """Every one of thousands of calls is answered in full, with and without TLS."""
    url = f"https://127.0.0.1:{served.secure}" if secure else f"http://127.0.0.1:{served.plain}"
    request = pb.SimpleRequest(response_size=100)
    reply = 5 + len(pb.SimpleResponse(payload=pb.Payload(body=bytes(100))).SerializeToString())
    outcome = await load(url, "UnaryCall", request.SerializeToString(), tmp_path, calls=2000)
    assert outcome == (2000, 0, 2000 * reply)


@pytest_twisted.ensureDeferred
async def test_streams(served: Any, tmp_path: Path) -> None:
    """Streams far larger than the windows share their connections to the last byte."""
    request = pb.StreamingOutputCallRequest(response_parameters=[pb.ResponseParameters(size=50_000)] * 10)
    reply = pb.StreamingOutputCallResponse(payload=pb.Payload(body=bytes(50_000))).SerializeToString()
    url = f"http://127.0.0.1:{served.plain}"
    outcome = await load(url, "StreamingOutputCall", request.SerializeToString(), tmp_path, calls=80)
    assert outcome == (80, 0, 80 * 10 * (5 + len(reply)))
