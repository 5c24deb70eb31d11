"""Namespaces are walls: whatever alpha's accounts try to reach of beta's, in every way that the API offers, they do not."""

from __future__ import annotations

import base64
import io
import json
import re
import sys
import tarfile
from collections.abc import Iterator, Mapping

import grpc
import pytest

from tests.compat.conftest import Client, Daemon
from tests.compat.requests import DEBUGGED, good
from tests.compat.wires import HttpWire, JsonWire, ProtoWire, Refused, Shown, refused_from

STRANGERS = ("alpha-admin", "alpha-service", "alpha-user", "guest")

#: RPCs which have no namespace in their request, and why they are no way to another's.
WITHOUT = {
    "/auth.Auth/Token": "a secret or a token of that namespace is what it asks for: test_login",
    "/auth.Auth/Inspect": "who shows a token knows all that it says",
    "/auth.Auth/Logout": "who has a token may end what it is good for",
    "/store.Store/Databases": "admins of the platform only: test_platform_only",
    "/broker.Broker/Publish": "topics belong to the caller's namespace: test_topics",
    "/broker.Broker/Subscribe": "topics belong to the caller's namespace: test_topics",
    **{
        f"/events.{each}": "topics belong to the caller's namespace: test_events.test_others_topics"
        for each in (
            *(
                "Stream/Publish",
                "Stream/PublishMany",
                "Stream/Consume",
                "Stream/Ack",
                "Store/Read",
                "Store/Write",
            ),
            *(
                "Topics/List",
                "Topics/Lag",
                "Topics/Configure",
                "Topics/Delete",
                "Groups/Seek",
                "Groups/Delete",
            ),
            *("DeadLetters/List", "DeadLetters/Retry", "DeadLetters/Drop"),
        )
    },
    "/runtime.Source/Upload": "source belongs to the caller's namespace: test_sources",
    "/runtime.Build/Read": "builds belong to the caller's namespace; there are none",
    "/network.Network/Connect": "test_platform_only",
    "/network.Network/Graph": "the daemons are everybody's",
    "/network.Network/Nodes": "the daemons are everybody's",
    "/network.Network/Status": "the daemons are everybody's",
    "/network.Network/Services": "test_platform_only",
    "/router.Router/Watch": "test_routes",
    "/router.Table/Read": "test_routes",
    **{
        f"/router.Table/{each}": "nobody writes routes: 501 for all"
        for each in ("Create", "Delete", "Update")
    },
    "/api.Api/AddToBlockList": "test_platform_only",
    "/api.Api/RemoveFromBlockList": "test_platform_only",
    "/api.Api/ReadBlockList": "test_platform_only",
    **{
        f"/{service}.Debug/{method}": "test_debug"
        for service in DEBUGGED
        for method in ("Health", "Stats", "Log", "Trace")
    },
}
FIELDS = sorted(set(good("beta", "x")) - set(WITHOUT))
PLATFORM_ONLY = (
    "/store.Store/Databases",
    "/network.Network/Services",
    "/network.Network/Connect",
    "/api.Api/AddToBlockList",
    "/api.Api/RemoveFromBlockList",
    "/api.Api/ReadBlockList",
)
TREASURE = "beta's treasure"
PROGRAM = """
from dataclasses import dataclass

from microd.framework import Service

service = Service("secretary")


@dataclass
class Said:
    text: str = ""


@service.endpoint
async def hello(request: Said) -> Said:
    return Said("beta's secret")


service.run()
"""


@pytest.fixture(scope="module", autouse=True)
def treasure(daemon: Daemon) -> Iterator[None]:
    """Something of beta's of every kind, called C{treasure}."""
    beta = Client(daemon, daemon.wire("proxy-proto"))
    requests = good("beta", "treasure")
    for path in (
        "/auth.Auth/Generate",
        "/auth.Rules/Create",
        "/registry.Registry/Register",
        "/store.Store/Write",
        "/config.Config/Set",
    ):
        beta(path, requests[path], by="beta-admin")
    blob = {**requests["/store.BlobStore/Write"], "blob": TREASURE.encode()}
    beta.stream("/store.BlobStore/Write", [blob], by="beta-admin")
    program = requests["/runtime.Runtime/Create"]
    endless = {**program["options"], "command": ["sleep", "600"], "args": []}
    beta("/runtime.Runtime/Create", {**program, "options": endless}, by="beta-admin")
    yield
    beta("/runtime.Runtime/Delete", requests["/runtime.Runtime/Delete"], by="beta-admin")


@pytest.fixture(scope="module")
def secretary(daemon: Daemon) -> Iterator[str]:
    """The address of a running service of beta's."""
    program = daemon.platform.work / "secretary.py"
    program.write_text(PROGRAM)
    own = {
        "MICRO_NAMESPACE": "beta",
        "MICRO_AUTH_ID": "beta-service",
        "MICRO_AUTH_SECRET": "beta-service's secret",
    }
    process = daemon.platform.spawn(sys.executable, str(program), **own)
    process.output.wait_for("registered secretary at")
    beta = Client(daemon, daemon.wire("proxy-proto"))
    request = {"service": "secretary", "options": {"domain": "beta"}}
    (service,) = beta("/registry.Registry/GetService", request, by="beta-admin")["services"]
    address: str = service["nodes"][0]["address"]
    yield address
    process.end()


@pytest.mark.parametrize("stranger", STRANGERS)
@pytest.mark.parametrize("path", FIELDS)
def test_by_field(call: Client, path: str, stranger: str) -> None:
    """To name another's namespace in the request is refused, as is to name all of them."""
    if path.endswith(("/Write", "/Upload")) and "Blob" in path and not call.wire.streams_in:
        path = "/store.BlobStore/Read"
    for namespace in ("beta", "*"):
        refused = call.refused(path, good(namespace, "treasure")[path], by=stranger)
        assert refused.code in ((403,) if namespace == "beta" else (400, 403)), (namespace, refused)
        assert "treasure" not in refused.detail


@pytest.mark.parametrize("path", FIELDS)
def test_nobody(call: Client, path: str) -> None:
    """Somebody without an account gets nowhere."""
    if "Blob" in path and path.endswith("/Write") and not call.wire.streams_in:
        path = "/store.BlobStore/Read"
    refused = call.refused(path, good("beta", "treasure")[path])
    assert refused.code == 401, refused


@pytest.mark.parametrize("stranger", ["alpha-admin", "alpha-service", "alpha-user"])
@pytest.mark.parametrize("path", FIELDS)
def test_by_header(call: Client, path: str, stranger: str) -> None:
    """To name it in the header is refused; to leave the field out then does not help."""
    request = _without_namespace(good("beta", "treasure")[path])
    if "Blob" in path and path.endswith("/Write") and not call.wire.streams_in:
        path = "/store.BlobStore/Read"
    for namespace in ("beta", "*"):
        refused = call.refused(path, request, by=stranger, headers={"micro-namespace": namespace})
        assert refused.code == 403, refused


@pytest.mark.parametrize("path", FIELDS)
def test_by_tricks(call: Client, path: str) -> None:
    """Names that look like another's after some cleaning are no names."""
    if "Blob" in path and path.endswith("/Write") and not call.wire.streams_in:
        path = "/store.BlobStore/Read"
    for trick in (
        "alpha/../beta",
        "../beta",
        "alpha/beta",
        "beta\0",
        " beta",
        "beta ",
        "alpha,beta",
        "%62eta",
    ):
        refused = call.refused(path, good(trick, "treasure")[path], by="alpha-admin")
        assert refused.code in (400, 403), (trick, refused)


@pytest.mark.parametrize("path", PLATFORM_ONLY)
def test_platform_only(call: Client, path: str) -> None:
    """What shows or changes everybody's is for admins of the platform."""
    for stranger in STRANGERS:
        assert call.refused(path, good("alpha", call.unique)[path], by=stranger).code == 403
    assert call.refused(path, good("alpha", call.unique)[path]).code == 401


def test_login(call: Client) -> None:
    """A secret or a refresh token is good in its own namespace only."""
    secret = {"id": "beta-admin", "secret": "beta-admin's secret"}
    assert call.refused("/auth.Auth/Token", {**secret, "options": {"namespace": "alpha"}}).code == 400
    mine = call("/auth.Auth/Token", {**secret, "options": {"namespace": "beta"}})["token"]
    for namespace in ("alpha", "micro", "*"):
        request = {"refresh_token": mine["refresh_token"], "options": {"namespace": namespace}}
        refused = call.refused("/auth.Auth/Token", request)
        assert refused.brief == (400, "invalid token provided"), namespace


def test_forged(call: Client) -> None:
    """A token whose claims were changed is nobody's."""
    token = call.daemon.people["alpha-admin"].token
    header, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    unsigned = _part({"alg": "none", "typ": "JWT"})
    for forged in (
        f"{header}.{_part({**claims, 'iss': 'beta'})}.{signature}",
        f"{unsigned}.{_part({**claims, 'iss': 'beta'})}.",
        f"{unsigned}.{payload}.{signature}",
        f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{payload}.{signature}",
    ):
        headers = {"authorization": f"Bearer {forged}"}
        assert (
            call.refused("/auth.Accounts/List", {"options": {"namespace": "beta"}}, headers=headers).code
            == 401
        )


@pytest.mark.parametrize("header", ["beta", "*"])
def test_calls(call: Client, header: str) -> None:
    """A call to another's service is refused; in one's own namespace it is not there."""
    path = "/treasure.A/B"
    for stranger in ("alpha-admin", "alpha-service", "alpha-user", "guest"):
        with pytest.raises(Refused) as caught:
            _called(call, path, call.headers(stranger, {"micro-namespace": header}))
        assert caught.value.code == 403, caught.value
        with pytest.raises(Refused) as caught:
            _called(call, path, call.headers(stranger))
        assert "not found" in caught.value.detail


def test_registered_as_mine(call: Client, secretary: str) -> None:
    """To register another's node as one's own is refused, however its address is written; no call arrives there."""
    port = secretary.rpartition(":")[2]
    for host in ("127.0.0.1", "localhost", "127.1", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]"):
        for stranger in ("alpha-admin", "alpha-service"):
            _require_taken(call, f"{host}:{port}", stranger)
    _called(call, "/secretary.Secretary/Hello", call.headers("beta-user"))
    for caller in ("alpha-admin", "alpha-user"):
        with pytest.raises(Refused, match="not found"):
            _called(call, f"/{call.unique}.Secretary/Hello", call.headers(caller))


def test_doors_as_mine(call: Client) -> None:
    """Nor is a door of the daemon anybody's node."""
    for door in ("api", "proxy", "network", "ops"):
        _require_taken(call, call.daemon.platform.door(door), "alpha-admin")


@pytest.mark.parametrize("namespace", ["alpha", "micro"])
def test_routed_elsewhere(daemon: Daemon, secretary: str, namespace: str) -> None:
    """Where a call arrives at a service all the same, routed in another namespace, that refuses it."""
    path = "/secretary.Secretary/Hello"
    for wire in (ProtoWire("node", secretary, daemon.contracts), JsonWire("node", secretary)):
        node = Client(daemon, wire)
        _called(node, path, node.headers("beta-user", {"micro-namespace": "beta"}))
        for caller in ("operator", "alpha-admin", "beta-admin", ""):
            with pytest.raises(Refused) as caught:
                _called(node, path, node.headers(caller, {"micro-namespace": namespace}))
            assert caught.value.code == 403, caught.value
            assert "beta" not in caught.value.detail
        wire.close()


def test_registered_by_the_deleted(call: Client) -> None:
    """What an account has registered goes with it."""
    options = {"namespace": "beta"}
    draft = {"id": call.unique, "type": "service", "scopes": ["service"], "secret": "a secret"}
    call("/auth.Auth/Generate", {**draft, "options": options}, by="beta-admin")
    token = call.token("beta", call.unique, "a secret")
    mine = {**good("beta", call.unique)["/registry.Registry/Register"]}
    call("/registry.Registry/Register", mine, headers={"authorization": f"Bearer {token}"})
    request = {"service": call.unique, "options": {"domain": "beta"}}
    assert call("/registry.Registry/GetService", request, by="beta-admin")["services"]
    call("/auth.Accounts/Delete", {"id": call.unique, "options": options}, by="beta-admin")
    assert call.refused("/registry.Registry/GetService", request, by="beta-admin").code == 404


def test_topics(call: Client) -> None:
    """What is published in one namespace is not heard in another, whatever the topic is called."""
    publish = {"topic": call.unique, "message": {"header": {"from": "alpha"}, "body": b"x"}}
    own = {"topic": call.unique, "message": {"header": {"from": "beta"}, "body": b"x"}}
    prefixed = {**own, "topic": f"alpha.{call.unique}"}

    def act(tries: int) -> None:
        call("/broker.Broker/Publish", publish, by="alpha-admin")
        call("/broker.Broker/Publish", {**publish, "topic": f"beta.{call.unique}"}, by="alpha-admin")
        if tries > 10:
            call("/broker.Broker/Publish", own, by="beta-admin")
            call("/broker.Broker/Publish", prefixed, by="beta-admin")

    topics = [{"topic": call.unique}, {"topic": f"alpha.{call.unique}"}]
    heard = call.heard("/broker.Broker/Subscribe", topics, act, by="beta-user")
    assert {message["header"]["from"] for (message,) in heard} == {"beta"}
    headers = {"micro-namespace": "beta"}
    assert call.refused("/broker.Broker/Publish", publish, by="alpha-admin", headers=headers).code == 403
    assert (
        call.refused("/broker.Broker/Subscribe", {"topic": "t"}, by="alpha-admin", headers=headers).code
        == 403
    )


def test_sources(grpc_call: Client) -> None:
    """Source is uploaded to one's own namespace, and a service cannot be made of another's."""
    packed = io.BytesIO()
    tarfile.open(fileobj=packed, mode="w").close()
    upload = {"service": {"name": "treasure", "version": "secret"}, "data": packed.getvalue()}
    grpc_call.stream("/runtime.Source/Upload", [upload], by="beta-admin")
    service = {"name": "treasure", "version": "secret", "source": "source://treasure:secret"}
    request = {"resource": {"service": service}, "options": {"namespace": "alpha"}}
    assert grpc_call.refused("/runtime.Runtime/Create", request, by="alpha-admin").code == 404


def test_routes(call: Client) -> None:
    """Routes of another's services are not shown."""
    for path in ("/router.Table/Read", "/router.Router/Lookup"):
        for stranger in ("alpha-admin", "alpha-service"):
            outcome = call.attempt(path, {"service": "treasure"}, by=stranger)
            if isinstance(outcome, Refused):
                assert outcome.code in (403, 404) or "not found" in outcome.detail, outcome
            else:
                assert outcome.get("routes", []) == []


@pytest.mark.parametrize("service", DEBUGGED)
def test_debug(call: Client, service: str) -> None:
    """What the platform's services did for everybody, is shown to admins of the platform only."""
    for method in ("Log", "Trace"):
        for stranger in STRANGERS:
            assert call.refused(f"/{service}.Debug/{method}", by=stranger).code == 403
        assert call.refused(f"/{service}.Debug/{method}").code == 401


@pytest.mark.parametrize(
    "request_",
    [
        {"key": "", "options": {"database": database, "table": table, "prefix": True}}
        for database in ("micro", "auth", "system", "alpha")
        for table in ("auth", "config", "accounts", "../system", "../../system.db", "system.db", "rules")
    ],
)
def test_hashes(call: Client, request_: Shown) -> None:
    """No store API shows the tables which hold secrets and tokens, whoever asks (defect 11.5)."""
    outcome = call.attempt("/store.Store/Read", request_, by="admin")
    if isinstance(outcome, Refused):
        assert outcome.code == 400
    else:
        assert outcome["records"] == []


def test_treasure(call: Client) -> None:
    """After all that, everything of beta's is as it was."""
    by = "beta-admin"
    requests = good("beta", "treasure")
    assert call("/store.Store/Read", requests["/store.Store/Read"], by=by)["records"][0]["key"] == "treasure"
    assert (
        call("/config.Config/Get", {"namespace": "beta", "path": "treasure"}, by=by)["value"]["data"] == "1"
    )
    pieces = call.stream("/store.BlobStore/Read", [requests["/store.BlobStore/Read"]], by=by)
    assert b"".join(base64.b64decode(each["blob"]) for each in pieces) == TREASURE.encode()
    assert call(
        "/registry.Registry/GetService", {"service": "treasure", "options": {"domain": "beta"}}, by=by
    )
    assert call("/runtime.Runtime/Read", {"options": {"namespace": "beta"}}, by=by)["services"]
    rules = call("/auth.Rules/List", {"options": {"namespace": "beta"}}, by=by)["rules"]
    assert "treasure" in {rule["id"] for rule in rules}
    assert call("/auth.Auth/Token", requests["/auth.Auth/Token"])["token"]


def _without_namespace(request: Shown) -> Shown:
    """A request which leaves its namespace to the header."""
    made = json.dumps(request, default=lambda raw: base64.b64encode(raw).decode())
    found: Shown = json.loads(re.sub(r'"(namespace|domain|database|network)": "beta"', r'"\1": ""', made))
    return found


def _part(claims: Mapping[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()


def _require_taken(call: Client, address: str, stranger: str) -> None:
    mine = {
        "name": call.unique,
        "nodes": [{"id": "x", "address": address}],
        "options": {"ttl": 60, "domain": "alpha"},
    }
    refused = call.refused("/registry.Registry/Register", mine, by=stranger)
    assert refused.code == 409, (address, refused)
    assert address in refused.detail
    assert "beta" not in refused.detail


def _called(call: Client, path: str, headers: Mapping[str, str]) -> None:
    """Call a user's service, of which there is no contract."""
    wire = call.wire
    if isinstance(wire, ProtoWire):
        try:
            wire.channel.unary_unary(path)(b"", metadata=list(headers.items()), timeout=10)
        except grpc.RpcError as error:
            raise refused_from(error.details(), error.code().name) from None
    elif isinstance(wire, JsonWire | HttpWire):
        body = b"{}"
        if isinstance(wire, HttpWire):
            wire.raw(path, body, headers)
        else:
            wire.raw(path, [body], headers)
