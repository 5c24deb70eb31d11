"""The registry's answers, and who may ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from microd.kernel.caller import PLATFORM, Account, Caller
from microd.kernel.errors import BadRequest, Forbidden, NotFound, Unauthorized
from microd.services.registry import rpc
from microd.services.registry.service import Registry
from microd.testing.outcome import done
from microd.wire import registry_pb2 as pb

ADMIN = Caller(Account("ann", "user", "micro", scopes=("admin",)))
MEMBER = Caller(Account("bob", "user", "acme"))
OWN_SERVICE = Caller(Account("svc", "service", "acme", scopes=("service",)))
NOBODY = Caller()


def greeter(domain: str = "") -> pb.Service:
    port = 4001 if domain in ("", "micro") else 4002
    return pb.Service(
        name="greeter",
        nodes=[pb.Node(id="g-1", address=f"127.0.0.1:{port}", metadata={"protocol": "grpc"})],
        endpoints=[
            pb.Endpoint(
                name="Greeter.Hello",
                request=pb.Value(name="Req", type="Req", values=[pb.Value(name="name", type="string")]),
                metadata={"stream": "true"},
            )
        ],
        metadata={"team": "a"},
        options=pb.Options(ttl=90, domain=domain),
    )


class Wire:
    """Asks the registry's endpoints by name."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.registry = Registry(self.clock)
        self.endpoints = {each.name: each for each in rpc.endpoints(self.registry, reserved={"store"})}

    def ask(self, name: str, request: object, caller: Caller = ADMIN) -> Any:
        return done(self.endpoints[name].handler(request, caller))


@pytest.fixture
def wire() -> Wire:
    return Wire()


def test_paths(wire: Wire) -> None:
    """The endpoints carry the names of the contract."""
    assert set(wire.endpoints) == {
        "Registry.GetService",
        "Registry.Register",
        "Registry.Deregister",
        "Registry.ListServices",
        "Registry.Watch",
    }
    assert wire.endpoints["Registry.Watch"].path == "/registry.Registry/Watch"


@pytest.mark.parametrize("domain", ["../x", "a/b", "x" * 5000, "\u00e4", " "])
def test_no_such_namespace(wire: Wire, domain: str) -> None:
    """What can be no namespace is refused in a sentence, to an admin too, rather than found empty."""
    options = pb.Options(domain=domain)
    for name, request in (
        ("Registry.GetService", pb.GetRequest(service="greeter", options=options)),
        ("Registry.ListServices", pb.ListRequest(options=options)),
        ("Registry.Register", greeter(domain)),
        ("Registry.Deregister", greeter(domain)),
    ):
        with pytest.raises(BadRequest, match=r"^the namespace (may hold|is longer than)"):
            wire.ask(name, request)
    watching = wire.endpoints["Registry.Watch"].handler(pb.WatchRequest(options=options), ADMIN)
    with pytest.raises(BadRequest, match=r"^the namespace"):
        done(Deferred.fromCoroutine(anext(watching)))


def test_round_trip(wire: Wire) -> None:
    """What was registered comes back whole, with the domain, and with options which are there and empty."""
    wire.ask("Registry.Register", greeter())
    answer = wire.ask("Registry.GetService", pb.GetRequest(service="greeter"))
    want = greeter()
    want.version = "latest"
    want.metadata["domain"] = "micro"
    want.options.Clear()
    assert list(answer.services) == [want]
    assert answer.services[0].HasField("options")


def test_unknown(wire: Wire) -> None:
    """A service which nobody registered is a 404 with the text that clients know."""
    with pytest.raises(NotFound, match=r"^service not found$"):
        wire.ask("Registry.GetService", pb.GetRequest(service="nope"))


def test_deregister(wire: Wire) -> None:
    """A deregistered node is gone."""
    wire.ask("Registry.Register", greeter())
    wire.ask("Registry.Deregister", greeter())
    assert not wire.ask("Registry.ListServices", pb.ListRequest()).services


def test_lists_every_domain(wire: Wire) -> None:
    """An admin of the platform lists all domains at once, and finds a service in any of them."""
    wire.ask("Registry.Register", greeter())
    wire.ask("Registry.Register", greeter("acme"), OWN_SERVICE)
    everywhere = pb.Options(domain="*")
    answer = wire.ask("Registry.ListServices", pb.ListRequest(options=everywhere))
    assert [each.metadata["domain"] for each in answer.services] == ["micro", "acme"]
    answer = wire.ask("Registry.GetService", pb.GetRequest(service="greeter", options=everywhere))
    assert len(answer.services) == 2


@pytest.mark.parametrize(
    ("name", "request_", "caller", "error"),
    [
        ("Registry.ListServices", pb.ListRequest(), NOBODY, Unauthorized),
        ("Registry.ListServices", pb.ListRequest(), MEMBER, Forbidden),
        ("Registry.ListServices", pb.ListRequest(options=pb.Options(domain="*")), NOBODY, Unauthorized),
        ("Registry.ListServices", pb.ListRequest(options=pb.Options(domain="*")), OWN_SERVICE, Forbidden),
        ("Registry.GetService", pb.GetRequest(service="x"), NOBODY, Unauthorized),
        ("Registry.GetService", pb.GetRequest(service="x"), MEMBER, Forbidden),
        ("Registry.Register", greeter("acme"), NOBODY, Unauthorized),
        ("Registry.Register", greeter("acme"), MEMBER, Forbidden),
        ("Registry.Register", greeter("micro"), OWN_SERVICE, Forbidden),
        ("Registry.Deregister", greeter("acme"), MEMBER, Forbidden),
        ("Registry.Deregister", greeter("micro"), OWN_SERVICE, Forbidden),
    ],
)
def test_refused(wire: Wire, name: str, request_: object, caller: Caller, error: type[Exception]) -> None:
    """Reading takes a member of the namespace, writing an admin of it, and C{*} an admin of the platform."""
    with pytest.raises(error):
        wire.ask(name, request_, caller)


def test_reserved(wire: Wire) -> None:
    """Nobody registers under the name of a core service in the platform's namespace."""
    taken = greeter()
    taken.name = "store"
    with pytest.raises(Forbidden, match="belongs to the platform"):
        wire.ask("Registry.Register", taken)
    taken.options.domain = "acme"
    wire.ask("Registry.Register", taken)


def test_member_reads(wire: Wire) -> None:
    """A plain member of a namespace reads its services."""
    wire.ask("Registry.Register", greeter("acme"), OWN_SERVICE)
    options = pb.Options(domain="acme")
    assert wire.ask("Registry.GetService", pb.GetRequest(service="greeter", options=options), MEMBER)


class Connection:
    """A connection that can be dropped."""

    def __init__(self) -> None:
        self.lost: list[Callable[[], None]] = []

    def caller(self, **headers: str) -> Caller:
        return Caller(
            account=ADMIN.account,
            metadata={name.replace("_", "-"): value for name, value in headers.items()},
            peer="unix",
            on_disconnect=self.lost.append,
            connection=self,
        )

    def drop(self) -> None:
        for callback in self.lost:
            callback()


def test_connection_lease(wire: Wire) -> None:
    """A node registered with a lease on its connection vanishes with that, and is asked for only once."""
    connection = Connection()
    for _ in range(5):
        wire.ask("Registry.Register", greeter(), connection.caller(micro_lease="connection"))
    assert len(connection.lost) == 1
    assert wire.registry.nodes("micro", "greeter")
    connection.drop()
    assert not wire.registry.nodes("micro", "greeter")


def test_connection_taken_over(wire: Wire) -> None:
    """When a node has registered over a new connection, the end of the old one does not touch it."""
    old, new = Connection(), Connection()
    wire.ask("Registry.Register", greeter(), old.caller(micro_lease="connection"))
    wire.ask("Registry.Register", greeter(), new.caller(micro_lease="connection"))
    old.drop()
    assert wire.registry.nodes("micro", "greeter")


def test_no_connection_lease(wire: Wire) -> None:
    """A node that did not ask for it outlives its connection, until its lease ends."""
    connection = Connection()
    wire.ask("Registry.Register", greeter(), connection.caller())
    connection.drop()
    assert wire.registry.nodes("micro", "greeter")
    wire.clock.advance(91)
    assert not wire.registry.nodes("micro", "greeter")


def test_watch(wire: Wire) -> None:
    """A watcher gets the changes as messages, and is forgotten when it goes."""
    results: list[pb.Result] = []
    stream = wire.endpoints["Registry.Watch"].handler(pb.WatchRequest(service="greeter"), PLATFORM)

    async def read() -> None:
        async for result in stream:
            results.append(result)

    reading = Deferred.fromCoroutine(read())
    reading.addErrback(lambda failure: None)
    wire.ask("Registry.Register", greeter())
    wire.ask("Registry.Deregister", greeter())
    assert [(each.action, each.service.name) for each in results] == [
        ("create", "greeter"),
        ("delete", "greeter"),
    ]
    assert results[0].timestamp == 1_700_000_000
    assert results[0].service.metadata["domain"] == "micro"
    reading.cancel()
    wire.ask("Registry.Register", greeter())
    assert len(results) == 2
    assert not any(watch.watched for watch in wire.registry._watches)


def test_watch_from_the_present(wire: Wire) -> None:
    """Who asks for it gets the present state first, then the word that it was all, then what changes."""
    wire.ask("Registry.Register", greeter())
    results: list[pb.Result] = []
    stream = wire.endpoints["Registry.Watch"].handler(pb.WatchRequest(current=True), PLATFORM)

    async def read() -> None:
        async for result in stream:
            results.append(result)

    Deferred.fromCoroutine(read())
    wire.ask("Registry.Deregister", greeter())
    assert [(each.action, each.service.name) for each in results] == [
        ("create", "greeter"),
        ("synced", ""),
        ("delete", "greeter"),
    ]
    assert results[0].service.nodes[0].id == "g-1"
    assert not results[1].HasField("service")


def test_watch_names(wire: Wire) -> None:
    """A name which no service can have is not waited for."""
    stream = wire.endpoints["Registry.Watch"].handler(pb.WatchRequest(service="a/b"), PLATFORM)
    with pytest.raises(BadRequest, match="the service's name may hold"):
        done(Deferred.fromCoroutine(anext(stream)))


def test_nameless(wire: Wire) -> None:
    """Asking for no service in particular is a mistake; one that cannot be is just not there."""
    with pytest.raises(BadRequest, match="the service's name is missing"):
        wire.ask("Registry.GetService", pb.GetRequest())
    for name in ("a/b", "x" * 100_000, "\0"):
        with pytest.raises(NotFound, match=r"^service not found$"):
            wire.ask("Registry.GetService", pb.GetRequest(service=name))


@pytest.mark.parametrize("ttl", [0, -1, -(2**63), 2**63 - 1])
def test_leases_out_of_bounds(wire: Wire, ttl: int) -> None:
    """A lease of nothing or less is the default one, and none is longer than an hour."""
    request = greeter()
    request.options.ttl = ttl
    wire.ask("Registry.Register", request)
    wire.clock.advance(89)
    assert wire.registry.nodes("micro", "greeter")
    wire.clock.advance(3600)
    assert not wire.registry.nodes("micro", "greeter")


def test_too_many_endpoints(wire: Wire) -> None:
    """Ten thousand endpoints are refused, and nothing of them is kept."""
    request = greeter()
    request.endpoints.extend(pb.Endpoint(name=f"E.{number}") for number in range(10_000))
    with pytest.raises(BadRequest, match="a version may have at most 1024 endpoints"):
        wire.ask("Registry.Register", request)
    assert not wire.ask("Registry.ListServices", pb.ListRequest()).services


def test_watch_is_checked(wire: Wire) -> None:
    """Watching a namespace takes a member of it."""
    stream = wire.endpoints["Registry.Watch"].handler(pb.WatchRequest(), MEMBER)
    with pytest.raises(Forbidden):
        stream.__anext__().send(None)
