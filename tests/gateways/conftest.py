"""A door with everything behind it in memory: services on memory endpoints, an auth that knows three tokens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from microd.gateways.door import Door
from microd.gateways.gate import Gate
from microd.kernel.caller import Account
from microd.kernel.endpoint import Endpoint
from microd.kernel.errors import MicroError
from microd.services.auth.model import Resource
from microd.services.network.dialer import Dialer
from microd.services.network.router import Router
from microd.services.registry.model import Node
from microd.txgrpc import Channel, GrpcServer, Limits, Method, RpcError
from microd.txgrpc.memory import MemoryEndpoint, connect


class Known:
    """An auth which knows three tokens, and forbids what it is told to."""

    def __init__(self) -> None:
        self.tokens = {
            "root": Account("root", "user", "micro", "root", ("admin",)),
            "user": Account("ada", "user", "micro", "ada"),
            "foo": Account("bob", "user", "foo", "bob", ("admin",)),
        }
        self.asked: list[tuple[Account | None, str, Resource]] = []
        self.refusal: MicroError | None = None

    def inspect_cached(self, token: str) -> Account | None:
        """Whose it is."""
        return self.tokens.get(token)

    def lasting(self, token: str | None) -> Callable[[], bool]:
        """Nothing lasts."""
        return lambda: False

    def authorize(self, account: Account | None, namespace: str, resource: Resource) -> None:
        """May they?"""
        self.asked.append((account, namespace, resource))
        if self.refusal is not None:
            raise self.refusal


class Town:
    """Services by namespace and name, each node a server in memory, and a door in front of them.

    @ivar endpoints: address to where it can be reached.
    """

    def __init__(self, core: list[Endpoint], limits: Limits, services_door: bool) -> None:
        self.clock = Clock()
        self.auth = Known()
        self.services: dict[tuple[str, str], tuple[Node, ...]] = {}
        self.endpoints: dict[str, MemoryEndpoint] = {}
        self.dialer = Dialer(self.clock, lambda address: self.endpoints[address])
        self.router = Router(self, self.dialer)
        gate = Gate(self.auth, services_door=services_door)
        self.door = Door(core, gate, self.router, self.dialer, clock=self.clock, limits=limits)
        self.client: Channel = connect(self.door, self.clock)

    def nodes(self, namespace: str, name: str) -> tuple[Node, ...]:
        """As a registry answers."""
        return self.services.get((namespace, name), ())

    def settle(self, service: str, methods: Mapping[str, Method], namespace: str = "micro") -> MemoryEndpoint:
        """Add a node of a service."""
        nodes = self.services.get((namespace, service), ())
        node = Node(f"{service}-{len(nodes)}", f"10.0.0.{len(self.endpoints) + 1}:80")
        self.services[namespace, service] = (*nodes, node)
        endpoint = MemoryEndpoint(GrpcServer(methods, clock=self.clock))
        self.endpoints[node.address] = endpoint
        return endpoint

    def call(self, path: str, message: bytes = b"", **options: Any) -> Any:
        """The outcome of a unary call which has nothing to wait for."""
        return self.outcome(self.client.unary_unary(path)(message, **options))

    def outcome(self, awaited: Awaitable[Any] | Deferred[Any]) -> Any:
        """What has happened by now: a value, or an error; None while it waits."""
        deferred: Deferred[Any] = (
            awaited if isinstance(awaited, Deferred) else Deferred.fromCoroutine(awaited)  # type: ignore[arg-type]
        )
        found: list[Any] = []
        deferred.addBoth(found.append)
        if not found:
            return None
        return getattr(found[0], "value", found[0])

    def refusal(self, path: str, message: bytes = b"", **options: Any) -> MicroError:
        """The error object which a call is refused with."""
        error = self.call(path, message, **options)
        assert isinstance(error, RpcError), error
        found = MicroError.from_json(error.message)
        assert found is not None, error.message
        return found


@pytest.fixture(scope="session")
def known() -> Callable[[], Known]:
    """Makes an auth which knows three tokens."""
    return Known


MakeTown = Callable[..., Town]


@pytest.fixture
def make_town() -> MakeTown:
    """Make a town."""

    def make(
        core: list[Endpoint] | None = None, *, limits: Limits | None = None, services_door: bool = False
    ) -> Town:
        return Town(core or [], limits or Limits(), services_door)

    return make


@pytest.fixture
def town(make_town: MakeTown) -> Town:
    """A town without core services."""
    return make_town()
