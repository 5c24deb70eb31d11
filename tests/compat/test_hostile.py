"""Bad input to every RPC: a clear error with the right code, nothing changed, nothing in the log without a cause."""

from __future__ import annotations

import re
from collections.abc import Iterator

import grpc
import pytest
from google.protobuf import message_factory

from tests.compat.conftest import Client, Daemon
from tests.compat.hostility import bad_texts, bad_types, bad_values
from tests.compat.requests import ENDLESS, good
from tests.compat.wires import JsonWire, ProtoWire, Refused, Shown, refused_from

PATHS = sorted(good("alpha", "x"))
#: What a bad request may be told.
CODES = {400, 401, 403, 404, 409, 412, 413, 501}
#: RPCs which change nothing.
READING = re.compile(
    r"/(Get|Read|List|Watch|Inspect|Token|Subscribe|Logs|Health|Stats|Log|Trace|History|Lookup|Graph|Nodes|Routes|Services|Status|Tables|Databases|GetService|ListServices|ReadBlockList|Publish|Lag)$"
)
_ERROR = re.compile(r"#(error|critical)\]|Traceback|Unhandled")
#: Seconds which a call that is accepted may go on.
PATIENCE = 0.15


@pytest.fixture(scope="module")
def wire(daemon: Daemon) -> ProtoWire:
    """The proxy, in protobuf."""
    found = daemon.wire("proxy-proto")
    assert isinstance(found, ProtoWire)
    return found


@pytest.fixture(autouse=True)
def _nothing_logged(daemon: Daemon) -> Iterator[None]:
    """Nothing is logged as an error."""
    process = daemon.platform.daemon
    assert process is not None
    before = len(process.output.lines)
    yield
    said = [line for line in process.output.lines[before:] if _ERROR.search(line)]
    assert not said, said[:5]
    assert process.popen.poll() is None


def _outcome(wire: ProtoWire, path: str, request: Shown, headers: dict[str, str]) -> Refused | None:
    """How a request is refused; None where it is not."""
    try:
        limit = PATIENCE if path in ENDLESS else 20.0
        wire.replies(path, [request], headers, 1, limit)
    except Refused as refused:
        return None if refused.grpc in ("DEADLINE_EXCEEDED", "CANCELLED") and path in ENDLESS else refused
    return None


def _census(client: Client) -> Shown:
    """What there is in the namespaces."""
    found: Shown = {}
    for namespace in ("alpha", "micro"):
        options = {"namespace": namespace}
        asked: dict[str, Shown] = {
            "/auth.Accounts/List": {"options": options},
            "/auth.Rules/List": {"options": options},
            "/registry.Registry/ListServices": {"options": {"domain": namespace}},
            "/store.Store/Tables": {"database": namespace},
            "/store.BlobStore/List": {"options": options},
            "/api.Api/ReadBlockList": {},
            "/config.Config/History": {"namespace": namespace, "limit": 1},
            "/events.Topics/List": {"limit": 1000},
        }
        for path, request in asked.items():
            found[f"{namespace} {path}"] = client.attempt(
                path, request, by="admin", headers={"micro-namespace": namespace}
            )
        groups = client("/events.Topics/Lag", by="admin", headers={"micro-namespace": namespace})
        # How old things are, and how programs fare, changes by itself.
        found[f"{namespace} groups"] = [{**each, "oldest": ""} for each in groups["groups"]]
        programs = client("/runtime.Runtime/Read", {"options": options}, by="admin")["services"]
        found[f"{namespace} programs"] = [(each["name"], each["version"]) for each in programs]
        keys = client.stream(
            "/store.Store/List", [{"options": {"database": namespace, "table": "hostile"}}], by="admin"
        )
        found[f"{namespace} keys"] = keys
    return found


@pytest.mark.parametrize("path", PATHS)
def test_bad_values(daemon: Daemon, wire: ProtoWire, path: str) -> None:
    """Senseless values are accepted or refused with a code that blames who asked; what is refused changes nothing."""
    client = Client(daemon, wire)
    headers = client.headers("operator")
    changes = not READING.search(path)
    census = _census(client) if changes else {}
    request = good("alpha", client.unique)[path]
    kind = daemon.contracts.method(path).input_type
    wrong: list[object] = []
    for bad in bad_values(request, kind):
        refused = _outcome(wire, path, bad.request, headers)
        if refused is None:
            census = _census(client) if changes else {}
        elif (
            refused.code not in CODES
            or not refused.detail
            or len(refused.detail) > 2000
            or not refused.detail.isprintable()
        ):
            wrong.append((bad.what, refused))
        elif changes and (now := _census(client)) != census:
            changed = [(census[name], now[name]) for name in now if now[name] != census[name]]
            wrong.append((bad.what, refused, "and yet something changed", changed))
            census = now
    assert not wrong, "\n".join(map(str, wrong[:10]))


@pytest.mark.parametrize("path", PATHS)
def test_bad_types(daemon: Daemon, path: str) -> None:
    """JSON of the wrong types is 400 and names the field, over gRPC and over HTTP."""
    wire = daemon.wire("proxy-json")
    assert isinstance(wire, JsonWire)
    client = Client(daemon, wire)
    headers = client.headers("operator")
    kind = daemon.contracts.method(path).input_type
    wrong: list[object] = []
    for name, body in bad_types(good("alpha", client.unique)[path], kind):
        try:
            found = wire.raw(path, [body], headers, 1)
        except Refused as refused:
            if refused.code != 400 or name not in refused.detail:
                wrong.append((name, body[-80:], refused))
        else:
            wrong.append((name, body[-80:], found))
    assert not wrong, "\n".join(map(str, wrong[:10]))


@pytest.mark.parametrize(
    "body", [b"[1]", b'"x"', b"7", b"{", b'{"a":}', b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000]
)
@pytest.mark.parametrize("path", ["/store.Store/Write", "/auth.Auth/Token", "/registry.Registry/Register"])
def test_no_object(daemon: Daemon, path: str, body: bytes) -> None:
    """A body which is no JSON object is 400."""
    wire = daemon.wire("proxy-json")
    assert isinstance(wire, JsonWire)
    with pytest.raises(Refused) as caught:
        wire.raw(path, [body], Client(daemon, wire).headers("operator"), 1)
    assert caught.value.code == 400


@pytest.mark.parametrize("path", PATHS)
def test_bad_protobuf(daemon: Daemon, wire: ProtoWire, path: str) -> None:
    """What is no message, or has a text that is not UTF-8, is refused as such."""
    method = daemon.contracts.method(path)
    headers = list(Client(daemon, wire).headers("operator").items())
    bodies = [("no message", b"\xff\xff\xff\xff\x0f\x01"), ("cut", b"\x0a\x7fabc")]
    if method.input_type.fields:
        bodies += [(f"{name} not UTF-8", body) for name, body in bad_texts(method.input_type)]
    wrong: list[object] = []
    for what, body in bodies:
        refused = _raw(wire.channel, path, body, headers, streams_in=method.client_streaming)
        if refused.grpc not in ("INVALID_ARGUMENT", "INTERNAL") or "unmarshal" not in refused.detail:
            wrong.append((what, refused))
    assert not wrong, wrong[:5]


def _raw(
    channel: grpc.Channel, path: str, body: bytes, headers: list[tuple[str, str]], *, streams_in: bool
) -> Refused:
    kind = channel.stream_stream if streams_in else channel.unary_stream
    call = kind(path, request_serializer=None, response_deserializer=None)
    try:
        found = list(call(iter([body]) if streams_in else body, metadata=headers, timeout=10))
    except grpc.RpcError as error:
        return refused_from(error.details(), error.code().name)
    return Refused(0, "", f"accepted: {found}")


@pytest.mark.parametrize("path", ["/store.Store/Write", "/broker.Broker/Publish", "/auth.Auth/Generate"])
def test_too_large(daemon: Daemon, wire: ProtoWire, path: str) -> None:
    """A message over the limit is refused, and the daemon stays well."""
    kind = message_factory.GetMessageClass(daemon.contracts.method(path).input_type)
    body = kind().SerializeToString() + b"\xba\x06" + b"\x80\x80\x80\x12" + b"x" * (36 << 20)
    refused = _raw(
        wire.channel, path, body, list(Client(daemon, wire).headers("operator").items()), streams_in=False
    )
    assert refused.grpc == "RESOURCE_EXHAUSTED", refused


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer " + "x" * 7000},
        {"authorization": "Bearer a.b.c"},
        {"authorization": "Basic !!!"},
        {"authorization": "Digest x"},
        {"micro-namespace": "../alpha"},
        {"micro-namespace": "x" * 4000},
        {"micro-namespace": "*"},
        {"traceparent": "ff-zz-1"},
        {"traceparent": "00-" + "0" * 32 + "-" + "0" * 16 + "-01"},
        {"micro-trace-id": "x" * 4000},
        {"tracestate": "x" * 4000},
        {"timeout": "-5"},
        {"timeout": "9" * 400},
        {"micro-hops": "9" * 400},
    ],
)
def test_bad_headers(call: Client, headers: dict[str, str]) -> None:
    """Hostile headers never break a call which anybody may make, but for those which are said to be unreadable."""
    path, request = "/auth.Auth/Inspect", {"token": "a.b.c"}
    refused = call.refused(path, request, headers=headers)
    if headers.get("timeout") == "-5" and call.wire.name != "http":
        assert refused.grpc == "DEADLINE_EXCEEDED"
    else:
        assert refused.code in (400, 401, 403), refused
