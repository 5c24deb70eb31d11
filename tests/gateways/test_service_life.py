"""What a Go service does over its life, on the wire, as the reference's framework does it (spec micro-v3-server 10)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from google.protobuf.message import Message
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from microd.gateways.door import Door
from microd.gateways.gate import Gate
from microd.kernel.caller import Account
from microd.kernel.errors import MicroError
from microd.services.auth import rpc as auth_rpc
from microd.services.auth.admin import FirstAdmin
from microd.services.auth.backends.memory import MemoryVault
from microd.services.auth.scrypt import Cost, ScryptHasher
from microd.services.auth.service import Auth
from microd.services.network.dialer import Dialer
from microd.services.network.router import Router
from microd.services.registry import rpc as registry_rpc
from microd.services.registry.service import Registry
from microd.testing.outcome import done
from microd.txgrpc import GrpcServer, Method, RpcError, ServerCall
from microd.txgrpc.memory import MemoryEndpoint, connect
from microd.wire import auth_pb2, registry_pb2

M = TypeVar("M", bound=Message)
YEAR = 365 * 24 * 3600.0


async def at_once(work: Any) -> bytes:
    """Hash here and now."""
    made: bytes = work()
    return made


class Daemon:
    """Auth and registry behind the two gRPC doors."""

    def __init__(self, data: Path) -> None:
        self.clock = Clock()
        self.clock.advance(1_800_000_000)
        self.auth = Auth(
            self.clock,
            MemoryVault(),
            ScryptHasher(at_once, Cost(2, 1, 1)),
            lambda: generate_private_key(65537, 2048),
            FirstAdmin(data / "admin-secret", "first"),
        )
        done(self.auth.startService())
        self.registry = Registry(self.clock)
        self.seen: list[ServerCall] = []
        node = MemoryEndpoint(
            GrpcServer({"/greeter.Greeter/Hello": Method("unary_unary", self.hello)}, clock=self.clock)
        )
        dialer = Dialer(self.clock, lambda address: node)
        endpoints = [*auth_rpc.endpoints(self.auth), *registry_rpc.endpoints(self.registry)]
        router = Router(self.registry, dialer)
        self.doors = {
            name: connect(
                Door(
                    endpoints,
                    Gate(self.auth, services_door=name == "network"),
                    router,
                    dialer,
                    clock=self.clock,
                ),
                self.clock,
            )
            for name in ("proxy", "network")
        }

    async def hello(self, request: bytes, call: ServerCall) -> bytes:
        """The service's own endpoint."""
        self.seen.append(call)
        return b"hello"

    def call(self, path: str, request: Message, reply: type[M], token: str = "") -> M:
        """Call a core service as the reference's clients do."""
        metadata = {
            "micro-namespace": "micro",
            "timeout": "10000000000",
            "x-content-type": "application/grpc+proto",
        }
        if token:
            metadata["authorization"] = f"Bearer {token}"
        method = self.doors["network"].unary_unary(path)
        return reply.FromString(done(method(request.SerializeToString(), metadata=metadata)))


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    """A daemon."""
    return Daemon(tmp_path)


def logged_in(daemon: Daemon) -> auth_pb2.Token:
    """Step 1: the secret which the runtime gave is exchanged for a token."""
    account = Account("greeter-latest", "service", "foo", "greeter-latest", ("service",))
    request = auth_pb2.TokenRequest(
        id="greeter-latest",
        secret=daemon.auth.issue(account, YEAR),
        token_expiry=600,
        options=auth_pb2.Options(namespace="foo"),
    )
    return daemon.call("/auth.Auth/Token", request, auth_pb2.TokenResponse).token


def register(daemon: Daemon, token: str) -> None:
    """Step 3: it registers."""
    service = registry_pb2.Service(
        name="greeter",
        version="latest",
        nodes=[registry_pb2.Node(id="greeter-1", address="10.0.0.1:4000")],
        options=registry_pb2.Options(ttl=90, domain="foo"),
    )
    daemon.call("/registry.Registry/Register", service, registry_pb2.EmptyResponse, token)


def test_login_and_refresh(daemon: Daemon) -> None:
    """A service logs in with the credential that the runtime gave it, and stays logged in by refreshing."""
    token = logged_in(daemon)
    for _ in range(3):
        daemon.clock.advance(550)
        request = auth_pb2.TokenRequest(
            refresh_token=token.refresh_token, token_expiry=600, options=auth_pb2.Options(namespace="foo")
        )
        token = daemon.call("/auth.Auth/Token", request, auth_pb2.TokenResponse).token
    inspect = auth_pb2.InspectRequest(token=token.access_token)
    account = daemon.call("/auth.Auth/Inspect", inspect, auth_pb2.InspectResponse).account
    assert (account.id, account.type, account.issuer, list(account.scopes)) == (
        "greeter-latest",
        "service",
        "foo",
        ["service"],
    )


def test_registers_and_is_called(daemon: Daemon) -> None:
    """It registers in its namespace; another service there, which shows no token, finds it through the network door."""
    register(daemon, logged_in(daemon).access_token)
    metadata = {"micro-namespace": "foo"}
    call = daemon.doors["network"].unary_unary("/greeter.Greeter/Hello")
    assert done(call(b"", metadata=metadata)) == b"hello"
    assert daemon.seen[0].metadata.get("micro-namespace") == "foo"


def test_vanishes_with_its_connection(daemon: Daemon) -> None:
    """What was registered for as long as the connection lasts vanishes with it, and nothing else does."""
    token = logged_in(daemon).access_token
    register(daemon, token)
    service = registry_pb2.Service(
        name="greeter",
        nodes=[registry_pb2.Node(id="greeter-2", address="10.0.0.2:4000")],
        options=registry_pb2.Options(domain="foo"),
    )
    metadata = {"micro-lease": "connection", "authorization": f"Bearer {token}"}
    method = daemon.doors["proxy"].unary_unary("/registry.Registry/Register")
    done(method(service.SerializeToString(), metadata=metadata))
    assert [node.id for node in daemon.registry.nodes("foo", "greeter")] == ["greeter-1", "greeter-2"]
    closing = Deferred.fromCoroutine(daemon.doors["proxy"].close())
    daemon.clock.advance(0)
    done(closing)
    assert [node.id for node in daemon.registry.nodes("foo", "greeter")] == ["greeter-1"]


def test_is_not_reached_from_outside(daemon: Daemon) -> None:
    """Through the clients' door nobody anonymous reaches into the namespace, nor does another namespace's account."""
    register(daemon, logged_in(daemon).access_token)
    other = Account("eve", "service", "bar", "eve", ("service",))
    request = auth_pb2.TokenRequest(
        id="eve", secret=daemon.auth.issue(other, YEAR), options=auth_pb2.Options(namespace="bar")
    )
    eve = daemon.call("/auth.Auth/Token", request, auth_pb2.TokenResponse).token.access_token
    call = daemon.doors["proxy"].unary_unary("/greeter.Greeter/Hello")
    for headers, code in (({}, 401), ({"authorization": f"Bearer {eve}"}, 403)):
        with pytest.raises(RpcError) as caught:
            done(call(b"", metadata={"micro-namespace": "foo", **headers}))
        refused = MicroError.from_json(caught.value.message)
        assert refused is not None
        assert refused.code == code
    assert daemon.seen == []


def test_asks_for_rules(daemon: Daemon) -> None:
    """At its first inbound call it asks for the rules of its namespace, and may go on."""
    token = logged_in(daemon).access_token
    request = auth_pb2.ListRequest(options=auth_pb2.Options(namespace="foo"))
    (rule,) = daemon.call("/auth.Rules/List", request, auth_pb2.ListResponse, token).rules
    assert (rule.id, rule.scope, rule.access) == ("default", "", auth_pb2.GRANTED)


def test_stopped(daemon: Daemon) -> None:
    """Once the runtime has revoked it, its tokens are worth nothing: it cannot register again."""
    token = logged_in(daemon).access_token
    done(daemon.auth.revoke("foo", "greeter-latest"))
    with pytest.raises(RpcError) as caught:
        register(daemon, token)
    refused = MicroError.from_json(caught.value.message)
    assert refused is not None
    assert (refused.code, refused.detail) == (401, "an account is required")
