"""Rules at every door: a service of a user and one of the platform, behind the HTTP door and both gRPC doors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from twisted.internet.task import Clock

from microd.gateways.api.gateway import Gateway
from microd.gateways.door import Door
from microd.gateways.gate import Gate
from microd.kernel.caller import Account, Caller
from microd.kernel.endpoint import Endpoint
from microd.kernel.errors import MicroError
from microd.services.auth import rpc
from microd.services.auth.admin import FirstAdmin
from microd.services.auth.backends.memory import MemoryVault
from microd.services.auth.model import Draft, Resource, Rule
from microd.services.auth.scrypt import Cost, ScryptHasher
from microd.services.auth.service import Auth
from microd.services.network.dialer import Dialer
from microd.services.network.router import Router
from microd.services.registry.model import Node
from microd.testing.outcome import done
from microd.txgrpc import GrpcServer, Method, RpcError, ServerCall
from microd.txgrpc.memory import MemoryEndpoint, connect
from microd.wire import store_pb2 as pb

ADMIN = Account("admin", "user", "micro", "admin", ("admin",))
DOORS = ("proxy", "network", "http")


async def _at_once(work: Callable[[], bytes]) -> bytes:
    return work()


class House:
    """An auth, a store of the platform, a greeter of foo's, and three doors in front of them."""

    def __init__(self, data: Path, key: RSAPrivateKey, http: Any) -> None:
        self.clock = Clock()
        self.clock.advance(1_800_000_000)
        hasher = ScryptHasher(_at_once, Cost(2, 1, 1))
        self.auth = Auth(
            self.clock, MemoryVault(), hasher, lambda: key, FirstAdmin(data / "admin-secret", "first")
        )
        done(self.auth.startService())
        self.asked = 0
        methods = {
            "/greeter.Greeter/Hello": Method("unary_unary", self.hello),
            "/greeter.Greeter/Count": Method("unary_stream", self.count),
        }
        node = MemoryEndpoint(GrpcServer(methods, clock=self.clock))
        dialer = Dialer(self.clock, lambda address: node)
        router = Router(self, dialer)
        endpoints = [
            *rpc.endpoints(self.auth),
            Endpoint("/store.Store/Read", pb.ReadRequest, pb.ReadResponse, self.read),
            Endpoint("/store.Store/List", pb.ListRequest, pb.ListResponse, self.list, server_streaming=True),
        ]
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
        self.gateway = Gateway(self.clock, Gate(self.auth), router, dialer, self, endpoints, version="1")
        for id, namespace, type in (
            ("ada", "foo", "user"),
            ("bob", "foo", "service"),
            ("eve", "bar", "user"),
        ):
            draft = Draft(id, secret="s3cret", type=type, scopes=("service",) if type == "service" else ())
            done(self.auth.generate(namespace, draft))
        self._http = http

    def nodes(self, namespace: str, name: str) -> tuple[Node, ...]:
        """As a registry answers."""
        return (Node("greeter-1", "10.0.0.1:80"),) if (namespace, name) == ("foo", "greeter") else ()

    def endpoints_of(self, namespace: str, name: str) -> tuple[Any, ...]:
        """Nothing is known of them."""
        return ()

    async def hello(self, request: bytes, call: ServerCall) -> bytes:
        """The greeter's."""
        self.asked += 1
        return b"{}"

    async def count(self, request: bytes, call: ServerCall) -> AsyncIterator[bytes]:
        """The greeter's."""
        self.asked += 1
        yield b"{}"

    async def read(self, request: pb.ReadRequest, caller: Caller) -> pb.ReadResponse:
        """The store's."""
        self.asked += 1
        return pb.ReadResponse()

    async def list(self, request: pb.ListRequest, caller: Caller) -> AsyncIterator[pb.ListResponse]:
        """The store's."""
        self.asked += 1
        yield pb.ListResponse()

    def token(self, who: str) -> str:
        """Somebody's token."""
        namespace = {"ada": "foo", "bob": "foo", "eve": "bar", "admin": "micro"}[who]
        secret = "first" if who == "admin" else "s3cret"
        return str(done(self.auth.token(namespace, id=who, secret=secret, lifetime=600)).access)

    def call(self, door: str, path: str, headers: dict[str, str]) -> MicroError | None:
        """How a call is refused; None where it is not."""
        if door == "http":
            client = self._http(self)
            service, _, rest = path[1:].partition(".")
            answer = client.ask("POST", f"/{service}/{rest}", b"{}", headers)
            return None if answer.status in (200, 204) else MicroError.from_json(answer.body.decode())
        channel = self.doors[door]
        try:
            if path.endswith(("Count", "List")):
                done(_all(channel.unary_stream(path)(b"", metadata=headers)))
            else:
                done(channel.unary_unary(path)(b"", metadata=headers))
        except RpcError as error:
            return MicroError.from_json(error.message)
        return None

    def outcome(self, door: str, path: str, who: str = "", namespace: str = "foo") -> int:
        """200, or the code of the refusal."""
        headers = {"micro-namespace": namespace} if namespace else {}
        if who:
            headers["authorization"] = f"Bearer {self.token(who)}"
        before = self.asked
        refused = self.call(door, path, headers)
        assert self.asked == before + (refused is None)
        return 200 if refused is None else refused.code

    def deny(self, resource: str, namespace: str, id: str = "deny-x") -> None:
        """Add a rule that keeps everybody out."""
        type, name, endpoint = resource.split(":")
        rule = Rule(id, "", Resource(type, name, endpoint), granted=False)
        done(self.auth.create_rule(namespace, rule))


async def _all(replies: Any) -> list[Any]:
    async with replies as found:
        return [each async for each in found]


@pytest.fixture(scope="module")
def key() -> RSAPrivateKey:
    """A key to sign with."""
    return generate_private_key(65537, 2048)


@pytest.fixture
def house(tmp_path: Path, key: RSAPrivateKey, http_client: Any) -> House:
    """A house."""
    return House(tmp_path, key, http_client)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("path", ["/greeter.Greeter/Hello", "/greeter.Greeter/Count"])
def test_users_service(house: House, door: str, path: str) -> None:
    """A rule about a user's service holds with the next call, whether or not that comes often, and ends with the rule."""
    for _ in range(3):
        assert house.outcome(door, path, "ada") == 200
    house.deny("service:greeter:*", "foo")
    for _ in range(3):
        assert house.outcome(door, path, "ada") == 403
    done(house.auth.delete_rule("foo", "deny-x"))
    assert house.outcome(door, path, "ada") == 200


@pytest.mark.parametrize("door", DOORS)
def test_closed(house: House, door: str) -> None:
    """A namespace without rules is closed: to its own, to the platform's admin, and to who is nobody."""
    assert house.outcome(door, "/greeter.Greeter/Hello", "admin") == 200
    done(house.auth.delete_rule("foo", "default"))
    for who in ("ada", "bob", "admin"):
        assert house.outcome(door, "/greeter.Greeter/Hello", who) == 403
    assert house.outcome(door, "/greeter.Greeter/Hello") == 401


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("path", ["/store.Store/Read", "/store.Store/List"])
def test_core_service(house: House, door: str, path: str) -> None:
    """The platform's services answer accounts only; a rule of its namespace keeps those out as well."""
    assert [house.outcome(door, path, who, "") for who in ("", "ada", "eve", "admin")] == [401, 200, 200, 200]
    house.deny("service:store:*", "foo")
    assert house.outcome(door, path, "ada", "") == 200
    house.deny("service:store:*", "micro")
    assert [house.outcome(door, path, who, "") for who in ("", "ada", "eve", "admin")] == [401, 403, 403, 403]


@pytest.mark.parametrize("door", DOORS)
def test_named(house: House, door: str) -> None:
    """A refusal is in the called service's name, names the rule and its namespace, and the command that shows it."""
    house.deny("service:greeter:Greeter.Hello", "foo")
    headers = {"authorization": f"Bearer {house.token('ada')}"}
    refused = house.call(door, "/greeter.Greeter/Hello", headers)
    assert refused is not None
    assert (refused.id, refused.code, refused.detail) == (
        "greeter",
        403,
        "Forbidden call made to greeter:Greeter.Hello by ada: rule `deny-x` of namespace foo; "
        "see `micro auth list rules --namespace foo`",
    )


@pytest.mark.parametrize("door", DOORS)
def test_never_locked_out(house: House, door: str) -> None:
    """Whatever the rules say, anybody may log in, and the platform's admins manage the rules."""
    house.deny("*:*:*", "micro")
    unknown = house.call(door, "/auth.Auth/Token", {})
    assert unknown is not None
    assert unknown.detail == "Credentials or a refresh token required"
    headers = {"authorization": f"Bearer {house.token('admin')}"}
    assert house.call(door, "/auth.Rules/List", headers) is None
    assert house.call(door, "/auth.Accounts/List", headers) is None
    mine = {"authorization": f"Bearer {house.token('ada')}"}
    refused = house.call(door, "/auth.Rules/List", mine)
    assert refused is not None
    assert refused.detail.startswith("Forbidden call made to auth:Rules.List by ada: rule `deny-x`")


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("path", ["/greeter.Greeter/Hello", "/store.Store/Read"])
def test_deleted_account(house: House, door: str, path: str) -> None:
    """A deleted account's token is nobody's with the next call, however often it was let in before."""
    headers = {"authorization": f"Bearer {house.token('ada')}", "micro-namespace": "foo"}
    for _ in range(3):
        assert house.call(door, path, headers) is None
    done(house.auth.delete("foo", "ada", ADMIN))
    for _ in range(3):
        refused = house.call(door, path, headers)
        assert refused is not None
        assert refused.code == 401


def test_services_without_a_token(house: House) -> None:
    """A service that shows no token reaches its namespace through the services' door from the host where one has shown
    its own; as long as that is good, and as long as strangers may."""
    strange = {"micro-namespace": "foo"}
    for door in DOORS:
        refused = house.call(door, "/greeter.Greeter/Hello", strange)
        assert refused is not None
        assert (refused.code, refused.detail) == (401, "an account is required")
    house.call("network", "/auth.Rules/List", {"authorization": f"Bearer {house.token('bob')}"})
    assert house.call("network", "/greeter.Greeter/Hello", strange) is None
    assert house.call("proxy", "/greeter.Greeter/Hello", strange) is not None
    assert house.call("network", "/greeter.Greeter/Hello", {"micro-namespace": "bar"}) is not None
    house.deny("service:greeter:*", "foo")
    assert house.call("network", "/greeter.Greeter/Hello", strange) is not None
    done(house.auth.delete_rule("foo", "deny-x"))
    assert house.call("network", "/greeter.Greeter/Hello", strange) is None
    house.clock.advance(700)
    assert house.call("network", "/greeter.Greeter/Hello", strange) is not None
