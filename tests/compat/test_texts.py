"""The texts that the reference's CLI and framework match, letter by letter (spec micro-v3-server 2.2, 2.5, 9)."""

from __future__ import annotations

import json
import re
from pathlib import Path

import grpc
import pytest
from grpc_status import rpc_status

from tests.compat.conftest import Client, Daemon
from tests.compat.wires import JsonWire, ProtoWire, Refused, refused_from


@pytest.fixture(params=["proxy-proto", "network-proto"])
def wire(request: pytest.FixtureRequest, daemon: Daemon) -> ProtoWire:
    """Both gRPC doors."""
    found = daemon.wire(request.param)
    assert isinstance(found, ProtoWire)
    return found


def _error(
    wire: ProtoWire, path: str, metadata: dict[str, str] | None = None, timeout: float = 10
) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        wire.channel.unary_unary(path)(b"", metadata=list((metadata or {}).items()), timeout=timeout)
    return caught.value


def _refused(wire: ProtoWire, path: str) -> Refused:
    error = _error(wire, path)
    return refused_from(error.details(), error.code().name)


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/store.Nope/Read", "UNIMPLEMENTED", "unknown service Nope"),
        ("/store.Store/Nope", "UNIMPLEMENTED", "unknown service Store.Nope"),
        ("/a/b/c", "INVALID_ARGUMENT", 'malformed method name: "/a/b/c"'),
        ("/store.Store", "INVALID_ARGUMENT", 'malformed method name: "/store.Store"'),
    ],
)
def test_plain(wire: ProtoWire, path: str, status: str, text: str) -> None:
    """Plain texts: the CLI's exit statuses 3 and 5 hang on them."""
    assert _refused(wire, path) == Refused(0, "", text)
    assert _refused(wire, path).grpc == status


def test_no_route(wire: ProtoWire) -> None:
    """A service that nobody offers: the CLI's exit status 4."""
    refused = _refused(wire, "/nobody.Greeter/Hello")
    assert refused.id == "go.micro.client"
    assert refused.detail == "service nobody: route not found"


def test_blank_service(wire: ProtoWire) -> None:
    """A path which names no service."""
    assert _refused(wire, "/Store/Read") == Refused(400, "go.micro.proxy", "service name is blank")


def test_scheme(wire: ProtoWire) -> None:
    """An authorization which is neither Bearer nor Basic, or not readable."""
    for value, detail in (
        ("Digest x", "invalid authorization header. expected Bearer schema"),
        ("Basic !!!", "invalid authorization header. Incorrect format"),
    ):
        error = _error(wire, "/store.Store/Read", {"authorization": value})
        refused = refused_from(error.details())
        assert refused == Refused(401, "store", detail)


def test_error_object(wire: ProtoWire) -> None:
    """The JSON of an error: four keys in this order; beside it the same as protobuf (spec 2.5)."""
    error = _error(wire, "/auth.Auth/Inspect")
    text = error.details()
    assert text == (
        '{"id":"auth.Auth.Inspect","code":400,"detail":"invalid token provided","status":"Bad Request"}'
    )
    status = rpc_status.from_call(error)
    assert status is not None
    (detail,) = status.details
    assert detail.type_url == "type.googleapis.com/errors.Error"
    assert json.loads(text)["detail"].encode() in detail.value


def test_headers(wire: ProtoWire, daemon: Daemon) -> None:
    """Answers have the request's content type, and no headers but gRPC's."""
    call = wire.channel.unary_unary("/auth.Auth/Token")
    with pytest.raises(grpc.RpcError) as caught:
        call(b"", timeout=10)
    assert not [name for name, _ in caught.value.initial_metadata() if not name.startswith("grpc-")]
    named = {name for name, _ in caught.value.trailing_metadata()}
    assert named <= {"grpc-status-details-bin"}


@pytest.mark.parametrize("content_type", ["application/grpc+foo", "application/grpc+bytes"])
def test_content_types(daemon: Daemon, content_type: str) -> None:
    """Codecs that nobody knows."""
    wire = daemon.wire("proxy-json")
    assert isinstance(wire, JsonWire)
    with pytest.raises(Refused) as caught:
        wire.raw("/store.Store/Read", [b"{}"], {}, 1, content_type)
    assert caught.value.code in (0, 500)
    assert "Unsupported Content-Type" in caught.value.detail or "unmarshal" in caught.value.detail


def test_expired_deadline(daemon: Daemon, wire: ProtoWire) -> None:
    """A watch that is cut by its deadline ends as gRPC says."""
    call = wire.channel.unary_stream("/registry.Registry/Watch")
    metadata = list(Client(daemon, wire).headers("operator").items())
    with pytest.raises(grpc.RpcError) as caught:
        list(call(b"", metadata=metadata, timeout=0.3))
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_every_rpc_is_asked(daemon: Daemon) -> None:
    """Each RPC of each contract of ours stands in this suite, and in its tables of good requests."""
    from tests.compat.requests import good

    text = "".join(each.read_text() for each in sorted(Path(__file__).parent.glob("test_*.py")))
    listed = good("alpha", "x")
    for path in daemon.contracts.paths():
        service, method = path[1:].split("/")
        if service.startswith("debug."):
            assert f".Debug/{method}" in text
            continue
        assert path in listed, path
        prefix = re.escape(f"/{service}/")
        assert re.search(rf'{prefix}{method}"|f"{prefix}\{{', text), path
