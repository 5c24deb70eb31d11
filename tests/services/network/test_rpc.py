"""What C{network} and C{router} answer, and to whom (spec micro-v3-server 6.8)."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from microd.kernel import protojson
from microd.kernel.caller import Account, Caller
from microd.kernel.errors import BadRequest, Forbidden, NotFound, Unauthorized, Unimplemented
from microd.services.network import rpc
from microd.services.network.dialer import DOWN
from microd.services.network.service import Network
from microd.services.registry.model import Limits, Node, Service
from microd.services.registry.service import Registry
from microd.services.store.backends.memory import MemoryStore
from microd.testing.outcome import done
from microd.wire import network_pb2 as pb
from microd.wire import router_pb2 as router_pb

ROOT = Account("admin", "user", "micro", scopes=("admin",))
ANN = Account("ann", "user", "acme", scopes=("admin",))
BOB = Account("bob", "user", "acme")
SVC = Account("svc", "service", "other", scopes=("service",))


class Lines:
    """How addresses are."""

    def __init__(self) -> None:
        self.down: set[str] = set()

    def load(self, address: str) -> int:
        return DOWN + 1 if address in self.down else 0


class Wire:
    """Asks the endpoints by name."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.registry = Registry(self.clock, Limits(backlog=4))
        self.store = MemoryStore(now=self.clock.seconds)
        self.lines = Lines()
        self.network = self.started()
        offered = [*rpc.endpoints(self.network), *rpc.router_endpoints(self.network)]
        self.endpoints = {each.name: each for each in offered}

    def started(self) -> Network:
        network = Network(self.store, self.registry, self.lines, lambda: "127.0.0.1:8443")
        done(network.startService())
        return network

    def register(
        self, namespace: str, name: str, *ports: int, version: str = "latest", **metadata: str
    ) -> None:
        nodes = tuple(Node(f"{name}-{port}", f"127.0.0.1:{port}", metadata) for port in ports)
        done(self.registry.register(namespace, Service(name, version, nodes=nodes), 60))

    def ask(self, name: str, request: object, account: Account | None = ROOT, namespace: str = "") -> Any:
        namespace = namespace or (account.issuer if account else "micro")
        return done(self.endpoints[name].handler(request, Caller(account, namespace)))

    def routes(
        self, account: Account | None = ROOT, namespace: str = "", **query: str
    ) -> list[tuple[str, str]]:
        request = pb.RoutesRequest(query=pb.Query(**query))
        reply = self.ask("Network.Routes", request, account, namespace)
        return [(route.service, route.address.partition(":")[2]) for route in reply.routes]


@pytest.fixture
def wire() -> Wire:
    found = Wire()
    found.register("micro", "store", 1)
    found.register("acme", "greeter", 3, 2, protocol="grpc")
    found.register("other", "greeter", 4)
    return found


def test_paths(wire: Wire) -> None:
    """The endpoints carry the names of the contract."""
    assert [each.path for each in wire.endpoints.values()] == [
        *(
            f"/network.Network/{name}"
            for name in ("Connect", "Graph", "Nodes", "Routes", "Services", "Status")
        ),
        *(f"/router.Router/{name}" for name in ("Lookup", "Watch")),
        *(f"/router.Table/{name}" for name in ("Create", "Delete", "Update", "Read")),
    ]


def test_id_stays(wire: Wire) -> None:
    """A daemon has the same id after a restart, and another than other daemons."""
    (node,) = wire.ask("Network.Nodes", pb.NodesRequest()).nodes
    assert len(node.id) == 36
    assert wire.started().daemon.id == node.id
    assert Wire().network.daemon.id != node.id


def test_nodes(wire: Wire) -> None:
    """A single daemon lists itself, with its id and address only."""
    (node,) = wire.ask("Network.Nodes", pb.NodesRequest(depth=9), BOB).nodes
    assert node == pb.Node(id=wire.network.daemon.id, address="127.0.0.1:8443")


def test_graph(wire: Wire) -> None:
    """The tree has this daemon as its root, and nobody around it; its JSON has the keys that the CLI looks for."""
    reply = wire.ask("Network.Graph", pb.GraphRequest(depth=7), BOB)
    assert reply.root.node.network == "micro"
    assert b'"peers":[]' in protojson.dump(reply)


def test_connect(wire: Wire) -> None:
    """An empty list is fine, any other is not there yet."""
    assert wire.ask("Network.Connect", pb.ConnectRequest(), BOB) == pb.ConnectResponse()
    some = pb.ConnectRequest(nodes=[pb.Node(address="10.0.0.1:8085")])
    with pytest.raises(Unimplemented, match="stands alone"):
        wire.ask("Network.Connect", some)
    with pytest.raises(Forbidden):
        wire.ask("Network.Connect", some, ANN)


@pytest.mark.parametrize("name", ["Connect", "Graph", "Nodes", "Routes", "Services", "Status"])
def test_strangers(wire: Wire, name: str) -> None:
    """Nobody is told anything without an account."""
    endpoint = wire.endpoints[f"Network.{name}"]
    with pytest.raises(Unauthorized, match=r"^an account is required$"):
        wire.ask(endpoint.name, endpoint.request(), None)


@pytest.mark.parametrize(
    "name", ["Router.Lookup", "Table.Create", "Table.Delete", "Table.Update", "Table.Read"]
)
def test_strangers_at_the_router(wire: Wire, name: str) -> None:
    """Nor about routes."""
    endpoint = wire.endpoints[name]
    request = router_pb.LookupRequest(service="x") if name == "Router.Lookup" else endpoint.request()
    with pytest.raises(Unauthorized):
        wire.ask(name, request, None)


def test_routes_of_a_namespace(wire: Wire) -> None:
    """The admin of a namespace sees its routes, and no other's, however it is asked for."""
    assert wire.routes(ANN) == [("greeter", "2"), ("greeter", "3")]
    assert wire.routes(ANN, network="acme") == [("greeter", "2"), ("greeter", "3")]
    for network in ("other", "micro", "*"):
        with pytest.raises(Forbidden):
            wire.routes(ANN, network=network)
    with pytest.raises(Forbidden):
        wire.routes(BOB)
    assert wire.routes(SVC) == [("greeter", "4")]


def test_routes_of_all(wire: Wire) -> None:
    """For the platform's admin, "micro" chooses every namespace."""
    every = [("greeter", "2"), ("greeter", "3"), ("greeter", "4"), ("store", "1")]
    assert wire.routes() == wire.routes(network="micro") == wire.routes(network="*") == every
    assert wire.routes(network="acme") == [("greeter", "2"), ("greeter", "3")]


def test_query(wire: Wire) -> None:
    """A query chooses by each of its fields; a star, and nothing, choose all."""
    assert wire.routes(service="greeter", address="127.0.0.1:4") == [("greeter", "4")]
    assert wire.routes(address="127.0.0.1:1") == [("store", "1")]
    assert wire.routes(router=wire.network.daemon.id, service="*", gateway="*") == wire.routes()
    assert wire.routes(router="other") == wire.routes(gateway="10.0.0.1:8085") == []
    with pytest.raises(BadRequest, match="the query's address is longer than 255"):
        wire.routes(address="x" * 256)
    with pytest.raises(BadRequest, match="the network"):
        wire.routes(network="a/b")


def test_no_route(wire: Wire) -> None:
    """A service without routes is told in the words that clients know."""
    with pytest.raises(NotFound, match=r"^failed to list routes: route not found$"):
        wire.routes(service="nope")
    with pytest.raises(NotFound):
        wire.routes(ANN, service="store")


def test_route(wire: Wire) -> None:
    """A route says all that is known of the way; its metric is text in JSON."""
    request = pb.RoutesRequest(query=pb.Query(network="acme", address="127.0.0.1:2"))
    reply = wire.ask("Network.Routes", request)
    assert list(reply.routes) == [
        router_pb.Route(
            service="greeter",
            address="127.0.0.1:2",
            network="acme",
            router=wire.network.daemon.id,
            link="local",
            metric=1,
            metadata={"protocol": "grpc"},
        )
    ]
    assert b'"metric":"1"' in protojson.dump(reply)


def test_one_route_for_two_versions(wire: Wire) -> None:
    """Where two versions are at one address, there is one route."""
    wire.register("acme", "greeter", 2, version="v2")
    assert wire.routes(ANN) == [("greeter", "2"), ("greeter", "3")]


def test_services(wire: Wire) -> None:
    """The platform's admins learn the names of all services, each once."""
    assert list(wire.ask("Network.Services", pb.ServicesRequest()).services) == ["greeter", "store"]
    with pytest.raises(Forbidden):
        wire.ask("Network.Services", pb.ServicesRequest(), ANN)


def test_status(wire: Wire) -> None:
    """The status counts the nodes that cannot be reached, and names the first."""
    assert wire.ask("Network.Status", pb.StatusRequest()).status.error.count == 0
    wire.lines.down = {"127.0.0.1:3", "127.0.0.1:4"}
    error = wire.ask("Network.Status", pb.StatusRequest()).status.error
    assert (error.count, error.msg) == (2, "greeter at 127.0.0.1:3 cannot be reached")
    with pytest.raises(Forbidden):
        wire.ask("Network.Status", pb.StatusRequest(), ANN)


def lookup(wire: Wire, account: Account, service: str, **options: str) -> list[str]:
    request = router_pb.LookupRequest(service=service, options=router_pb.LookupOptions(**options))
    return [route.address for route in wire.ask("Router.Lookup", request, account).routes]


def test_lookup(wire: Wire) -> None:
    """A member of a namespace finds the local routes to its services; other namespaces take more."""
    assert lookup(wire, BOB, "greeter") == ["127.0.0.1:2", "127.0.0.1:3"]
    assert lookup(wire, BOB, "greeter", address="127.0.0.1:3", link="*") == ["127.0.0.1:3"]
    assert lookup(wire, ROOT, "greeter", network="*") == ["127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:4"]
    for network in ("other", "*", "micro"):
        with pytest.raises(Forbidden):
            lookup(wire, BOB, "greeter", network=network)
    for service, options in (("nope", {}), ("greeter", {"link": "network"}), ("store", {})):
        with pytest.raises(NotFound, match=r"^route not found$"):
            lookup(wire, BOB, service, **options)
    for service in ("", "a/b", "x" * 5000):
        with pytest.raises(BadRequest, match="the service"):
            lookup(wire, BOB, service)


def test_table(wire: Wire) -> None:
    """The table is read; it is changed by registering."""
    reply = wire.ask("Table.Read", router_pb.ReadRequest(), BOB)
    assert [route.address for route in reply.routes] == ["127.0.0.1:2", "127.0.0.1:3"]
    assert not wire.ask("Table.Read", router_pb.ReadRequest(service="store"), BOB).routes
    for name in ("Create", "Delete", "Update"):
        with pytest.raises(Unimplemented, match="routes are made of registrations"):
            wire.ask(f"Table.{name}", router_pb.Route(), BOB)


class Watcher:
    """Reads the events of the router."""

    def __init__(self, wire: Wire, account: Account, namespace: str = "") -> None:
        self.events: list[router_pb.Event] = []
        self.ended: Any = None
        caller = Caller(account, namespace or account.issuer)
        self._stream = wire.endpoints["Router.Watch"].handler(router_pb.WatchRequest(), caller)
        self.reading = Deferred.fromCoroutine(self._read())
        self.reading.addBoth(self._end)

    async def _read(self) -> None:
        async for event in self._stream:
            self.events.append(event)

    def _end(self, outcome: Any) -> None:
        self.ended = outcome

    @property
    def told(self) -> list[tuple[str, str]]:
        kinds = router_pb.EventType.Name
        return [(kinds(event.type), event.route.address.partition(":")[2]) for event in self.events]


def test_watch(wire: Wire) -> None:
    """A watcher hears of each route that comes, goes or changes, and of nothing else."""
    watcher = Watcher(wire, BOB)
    wire.register("acme", "greeter", 2, protocol="grpc")
    wire.register("acme", "greeter", 5, protocol="grpc")
    wire.register("acme", "greeter", 5, protocol="http")
    wire.register("other", "greeter", 6)
    nodes = (Node("greeter-2", ""), Node("greeter-5", ""))
    done(wire.registry.deregister("acme", Service("greeter", nodes=nodes)))
    assert watcher.told == [("Create", "5"), ("Update", "5"), ("Delete", "2"), ("Delete", "5")]
    wire.clock.advance(61)
    assert watcher.told[4:] == [("Delete", "3")]
    event = watcher.events[0]
    assert event.timestamp == 1_700_000_000 * 10**9
    assert event.id.isdecimal()
    assert event.id == watcher.events[1].id != watcher.events[2].id
    watcher.reading.cancel()


def test_watch_is_checked(wire: Wire) -> None:
    """Another namespace's routes are watched by the platform's admins only."""
    assert Watcher(wire, BOB, "other").ended.check(Forbidden)
    assert Watcher(wire, BOB, "*").ended.check(Forbidden)
    every = Watcher(wire, ROOT, "*")
    wire.register("acme", "x", 7)
    wire.register("other", "y", 8)
    assert every.told == [("Create", "7"), ("Create", "8")]
    every.reading.cancel()


def test_watcher_leaves(wire: Wire) -> None:
    """A watcher who has gone is forgotten by the registry."""
    watcher = Watcher(wire, BOB)
    assert any(watch.watched for watch in wire.registry._watches)
    watcher.reading.cancel()
    assert not any(watch.watched for watch in wire.registry._watches)
