"""Leases, versions and namespaces, under a clock of the test's own."""

from __future__ import annotations

import functools
from dataclasses import replace

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from microd.kernel.caller import Account
from microd.kernel.errors import BadRequest, Unavailable
from microd.services.registry.model import Change, Endpoint, Limits, Node, Service, Value
from microd.services.registry.service import Registry
from microd.testing.outcome import done

ONE = Node("greeter-1", "127.0.0.1:4001")
TWO = Node("greeter-2", "127.0.0.1:4002")
GREETER = Service("greeter", nodes=(ONE,), endpoints=(Endpoint("Greeter.Hello"),))


class Reader:
    """Collects what a watch says, as soon as it says it."""

    def __init__(self, watch: object) -> None:
        self.changes: list[Change] = []
        self.ended: object = None
        self._watch = watch
        Deferred.fromCoroutine(self._read()).addBoth(self._end)

    async def _read(self) -> None:
        async for change in self._watch:  # type: ignore[attr-defined]
            self.changes.append(change)

    def _end(self, outcome: object) -> None:
        self.ended = outcome if outcome is not None else "stopped"

    @property
    def actions(self) -> list[str]:
        return [change.action for change in self.changes]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(clock: Clock) -> Registry:
    return Registry(clock)


def test_found(registry: Registry) -> None:
    """A registered node is found at once, with its service's namespace in the metadata."""
    done(registry.register("micro", GREETER, 90))
    (found,) = done(registry.get("micro", "greeter"))
    assert found.nodes == (ONE,)
    assert found.metadata == {"domain": "micro"}
    assert registry.nodes("micro", "greeter") == (ONE,)


def test_lease_runs_out(registry: Registry, clock: Clock) -> None:
    """A node is forgotten once its lease has run out, and watchers are told that its version is gone."""
    reader = Reader(registry.watch("micro"))
    done(registry.register("micro", GREETER, 30))
    clock.advance(29.9)
    assert registry.nodes("micro", "greeter") == (ONE,)
    clock.advance(0.2)
    assert registry.nodes("micro", "greeter") == ()
    assert done(registry.get("micro", "greeter")) == []
    assert reader.actions == ["create", "delete"]
    assert reader.changes[-1].service.nodes == (ONE,)


def test_lease_is_renewed(registry: Registry, clock: Clock) -> None:
    """A node registered again in time lives on, and nothing is told of it."""
    reader = Reader(registry.watch("micro"))
    for _ in range(10):
        done(registry.register("micro", GREETER, 90))
        clock.advance(60)
    assert registry.nodes("micro", "greeter") == (ONE,)
    assert reader.actions == ["create"]


def test_shorter_lease_counts(registry: Registry, clock: Clock) -> None:
    """A renewal for a shorter time ends the lease at the earlier time."""
    done(registry.register("micro", GREETER, 90))
    done(registry.register("micro", GREETER, 10))
    clock.advance(10)
    assert registry.nodes("micro", "greeter") == ()


def test_one_timer(registry: Registry, clock: Clock) -> None:
    """However many leases there are, one timer waits for them."""
    for number in range(50):
        node = Node(f"n{number}", f"127.0.0.1:{4000 + number}")
        done(registry.register("micro", replace(GREETER, nodes=(node,)), 10 + number))
    assert len(clock.getDelayedCalls()) == 1
    clock.advance(30)
    assert len(registry.nodes("micro", "greeter")) == 29
    assert len(clock.getDelayedCalls()) == 1


@pytest.mark.parametrize("ttl", [0, -1])
def test_no_ttl(registry: Registry, clock: Clock, ttl: float) -> None:
    """Who asks for no lease gets the default one, never an eternal one."""
    done(registry.register("micro", GREETER, ttl))
    clock.advance(89)
    assert registry.nodes("micro", "greeter")
    clock.advance(2)
    assert not registry.nodes("micro", "greeter")


def test_no_ttl_with_owner(registry: Registry, clock: Clock) -> None:
    """A node that dies with its owner may do without a lease."""
    done(registry.register("micro", GREETER, 0, owner="connection"))
    clock.advance(1e9)
    assert registry.nodes("micro", "greeter") == (ONE,)


def test_longest_ttl(registry: Registry, clock: Clock) -> None:
    """A lease over the limit is cut to it."""
    done(registry.register("micro", GREETER, 10**9))
    clock.advance(3601)
    assert not registry.nodes("micro", "greeter")


def test_update(registry: Registry) -> None:
    """A registration with other endpoints, address or metadata replaces them, and says so."""
    reader = Reader(registry.watch("micro"))
    done(registry.register("micro", GREETER, 90))
    moved = replace(ONE, address="127.0.0.1:5001")
    done(registry.register("micro", replace(GREETER, nodes=(moved,)), 90))
    more = (*GREETER.endpoints, Endpoint("Greeter.Bye"))
    done(registry.register("micro", replace(GREETER, nodes=(moved,), endpoints=more), 90))
    (found,) = done(registry.get("micro", "greeter"))
    assert found.nodes == (moved,)
    assert found.endpoints == more
    assert registry.nodes("micro", "greeter") == (moved,)
    assert [each.name for each in registry.endpoints_of("micro", "greeter")] == [
        "Greeter.Hello",
        "Greeter.Bye",
    ]
    assert reader.actions == ["create", "update", "update"]
    assert reader.changes[-1].service == found


def test_second_node(registry: Registry) -> None:
    """A second node is an update which shows both; losing one is an update which shows the other."""
    reader = Reader(registry.watch("micro"))
    done(registry.register("micro", GREETER, 90))
    done(registry.register("micro", replace(GREETER, nodes=(TWO,)), 90))
    done(registry.deregister("micro", GREETER))
    assert reader.actions == ["create", "update", "update"]
    assert [change.service.nodes for change in reader.changes] == [(ONE,), (ONE, TWO), (TWO,)]


def test_deregister_unknown(registry: Registry) -> None:
    """Taking out what is not there is no error, and no change."""
    reader = Reader(registry.watch("*"))
    done(registry.deregister("micro", GREETER))
    assert reader.actions == []


def test_versions(registry: Registry) -> None:
    """Versions of a service stand side by side; its nodes are those of all of them."""
    done(registry.register("micro", GREETER, 90))
    done(registry.register("micro", replace(GREETER, version="v2", nodes=(TWO,)), 90))
    assert [each.version for each in done(registry.get("micro", "greeter"))] == ["latest", "v2"]
    assert registry.nodes("micro", "greeter") == (ONE, TWO)
    done(registry.deregister("micro", replace(GREETER, version="v2", nodes=(TWO,))))
    assert [each.version for each in done(registry.get("micro", "greeter"))] == ["latest"]


def test_namespaces(registry: Registry) -> None:
    """What is registered in one namespace is not seen from another; C{*} lists all."""
    reader = Reader(registry.watch("acme"))
    everywhere = Reader(registry.watch("*"))
    done(registry.register("micro", GREETER, 90))
    done(registry.register("acme", replace(GREETER, nodes=(TWO,)), 90))
    assert registry.nodes("micro", "greeter") == (ONE,)
    assert registry.nodes("acme", "greeter") == (TWO,)
    assert [each.metadata["domain"] for each in done(registry.list("*"))] == ["micro", "acme"]
    assert len(done(registry.list("acme"))) == 1
    assert [change.namespace for change in reader.changes] == ["acme"]
    assert len(everywhere.changes) == 2


def test_forget_owner(registry: Registry) -> None:
    """The nodes of an owner vanish with it; one that was since registered by another stays."""
    reader = Reader(registry.watch("micro"))
    done(registry.register("micro", GREETER, 90, owner="first"))
    done(registry.register("micro", replace(GREETER, nodes=(TWO,)), 90, owner="first"))
    done(registry.register("micro", replace(GREETER, nodes=(TWO,)), 90, owner="second"))
    registry.forget_owner("first")
    assert registry.nodes("micro", "greeter") == (TWO,)
    registry.forget_owner("second")
    assert registry.nodes("micro", "greeter") == ()
    assert reader.actions == ["create", "update", "update", "delete"]


def test_forget_process(registry: Registry) -> None:
    """The nodes which ran in a process vanish with it, and no others."""
    here = replace(ONE, metadata={"process": "p1"})
    there = replace(TWO, metadata={"process": "p2"})
    done(registry.register("micro", replace(GREETER, nodes=(here, there)), 90))
    registry.forget_process("micro", "greeter", "latest", "p1")
    assert registry.nodes("micro", "greeter") == (there,)


def test_nodes_is_remembered(registry: Registry) -> None:
    """Asking for nodes twice gives the very same tuple, until a node comes or goes."""
    done(registry.register("micro", GREETER, 90))
    first = registry.nodes("micro", "greeter")
    done(registry.register("micro", GREETER, 90))
    assert registry.nodes("micro", "greeter") is first


def test_nodes_everywhere(registry: Registry) -> None:
    """C{*} finds the nodes of a service in every namespace, and no other service's."""
    done(registry.register("micro", replace(GREETER, nodes=(ONE,)), 90))
    done(registry.register("foo", replace(GREETER, nodes=(TWO,)), 90))
    done(registry.register("foo", replace(GREETER, name="other"), 90))
    assert registry.nodes("*", "greeter") == (ONE, TWO)
    assert registry.nodes("*", "nobody") == ()


def test_watch_one_service(registry: Registry) -> None:
    """A watcher of one service hears of that one only."""
    reader = Reader(registry.watch("micro", "greeter"))
    done(registry.register("micro", replace(GREETER, name="other"), 90))
    done(registry.register("micro", GREETER, 90))
    assert [change.service.name for change in reader.changes] == ["greeter"]


def test_slow_watcher(clock: Clock) -> None:
    """A watcher that does not read is cut off with an error, rather than missing changes unknowingly."""
    registry = Registry(clock, Limits(backlog=3))
    watch = registry.watch("micro")
    for number in range(4):
        done(registry.register("micro", replace(GREETER, name=f"s{number}"), 90))
    reader = Reader(watch)
    assert reader.changes == []
    assert reader.ended.check(Unavailable)  # type: ignore[attr-defined]


def test_closed_watch(registry: Registry) -> None:
    """A closed watch ends, and its reader with it."""
    watch = registry.watch("micro")
    reader = Reader(watch)
    watch.close()
    done(registry.register("micro", GREETER, 90))
    assert reader.changes == []
    assert reader.ended == "stopped"


def test_cancelled_reader(registry: Registry) -> None:
    """A reader cancelled while it waits leaves the watch as it was."""
    watch = registry.watch("micro")
    waiting = Deferred.fromCoroutine(watch.__anext__())
    waiting.addErrback(lambda failure: None)
    waiting.cancel()
    done(registry.register("micro", GREETER, 90))
    assert done(watch.__anext__()).action == "create"


def test_stop(registry: Registry, clock: Clock) -> None:
    """Stopping leaves no timer behind, and tells watchers."""
    reader = Reader(registry.watch("micro"))
    done(registry.register("micro", GREETER, 90))
    registry.startService()
    registry.stopService()
    assert clock.getDelayedCalls() == []
    assert reader.ended.check(Unavailable)  # type: ignore[attr-defined]


def test_abandoned_leases_cost_nothing(registry: Registry, clock: Clock) -> None:
    """Registering and deregistering over and over does not fill the queue of expiries."""
    for number in range(2000):
        service = replace(GREETER, nodes=(replace(ONE, id=f"n{number}"),))
        done(registry.register("micro", service, 3600))
        done(registry.deregister("micro", service))
    assert len(registry._catalogue._queue) < 200


@pytest.mark.parametrize(
    ("service", "says"),
    [
        (replace(GREETER, name=""), "name is missing"),
        (replace(GREETER, name="a/b"), "letters, digits"),
        (replace(GREETER, name="a..b"), "letters, digits"),
        (replace(GREETER, name="x" * 129), "longer than 128"),
        (replace(GREETER, name="caf\u00e9"), "letters, digits"),
        (replace(GREETER, version="v\n1"), "control characters"),
        (replace(GREETER, nodes=()), "at least one node"),
        (replace(GREETER, nodes=(Node("", "h:1"),)), "id is missing"),
        (replace(GREETER, nodes=(Node("a", "nowhere"),)), "host:port"),
        (replace(GREETER, nodes=(Node("a", "h:0"),)), "host:port"),
        (replace(GREETER, nodes=(Node("a", "h:65536"),)), "host:port"),
        (replace(GREETER, nodes=(Node("a", "h h:1"),)), "host:port"),
        (replace(GREETER, nodes=(Node("a", ":80"),)), "host:port"),
        (replace(GREETER, nodes=(Node("a", "h:+80"),)), "host:port"),
        (replace(GREETER, nodes=(Node("a", "h:\u0661"),)), "host:port"),
        (replace(GREETER, nodes=(Node("a", "h:" + "0" * 200 + "1"),)), "host:port"),
        (replace(GREETER, nodes=(Node("a", "http://h:80"),)), "host:port"),
        (replace(GREETER, nodes=(Node("a", "u@h:80"),)), "host:port"),
        (replace(GREETER, nodes=(Node("a", "::1:80"),)), "an IPv6 host stands in brackets"),
        (replace(GREETER, nodes=(Node("a", "[::1:80"),)), "an IPv6 host stands in brackets"),
        (replace(GREETER, nodes=(Node("a", "caf\u00e9:80"),)), "host:port"),
        (replace(GREETER, nodes=(Node("a", "x" * 300 + ":80"),)), "longer than 255"),
        (replace(GREETER, nodes=tuple(Node(f"n{i}", "h:1") for i in range(1025))), "at most 1024 nodes"),
        (replace(GREETER, endpoints=tuple(Endpoint(f"E.{i}") for i in range(1025))), "1024 endpoints"),
        (replace(GREETER, metadata={"k": "v" * 20000}), "metadata"),
        (replace(GREETER, nodes=(replace(ONE, metadata={"k": "v" * 20000}),)), "metadata"),
    ],
)
def test_out_of_bounds(registry: Registry, service: Service, says: str) -> None:
    """A name, an address or a size out of bounds is refused with a sentence which says what is wrong."""
    with pytest.raises(BadRequest, match=says):
        done(registry.register("micro", service, 90))
    assert done(registry.list("*")) == []


def test_nodes_add_up(clock: Clock) -> None:
    """The limit on nodes holds for all registrations of a version together."""
    registry = Registry(clock, Limits(nodes=2))
    done(registry.register("micro", replace(GREETER, nodes=(ONE, TWO)), 90))
    with pytest.raises(BadRequest, match="at most 2 nodes"):
        done(registry.register("micro", replace(GREETER, nodes=(Node("three", "h:3"),)), 90))
    done(registry.register("micro", GREETER, 90))


@pytest.mark.parametrize("address", ["h:1", "10.0.0.1:65535", "[::1]:80", "[fe80::1%eth0]:80", "a_b-c.d:80"])
def test_addresses(registry: Registry, address: str) -> None:
    """Names, IPv4 and bracketed IPv6 hosts are addresses."""
    done(registry.register("micro", replace(GREETER, nodes=(Node("a", address),)), 90))


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (Value("v", "T", (Value("x" * 256, "string"),)), "longer than 255"),
        (Value("v", "T", tuple(Value("f", "string") for _ in range(16385))), "too many fields"),
        (
            functools.reduce(lambda inner, _: Value("v", "T", (inner,)), range(20), Value("v", "T")),
            "too deep",
        ),
    ],
)
def test_messages_out_of_bounds(registry: Registry, value: Value, says: str) -> None:
    """So are the shapes of messages."""
    endpoint = Endpoint("Greeter.Hello", request=value)
    with pytest.raises(BadRequest, match=says):
        done(registry.register("micro", replace(GREETER, endpoints=(endpoint,)), 90))
    assert done(registry.list("*")) == []


@pytest.mark.parametrize(("name", "version"), [("", ""), ("a/b", ""), ("x" * 129, ""), ("a", "v\n1")])
def test_bad_deregistration(registry: Registry, name: str, version: str) -> None:
    """Taking out what can have no such name is refused as well."""
    with pytest.raises(BadRequest, match="the service's"):
        done(registry.deregister("micro", Service(name, version)))


def test_full(clock: Clock) -> None:
    """The number of versions in a namespace is bounded, and another namespace has room of its own."""
    registry = Registry(clock, Limits(versions=1))
    done(registry.register("micro", GREETER, 90))
    with pytest.raises(BadRequest, match=r"^the registry is full: micro has 1 versions"):
        done(registry.register("micro", replace(GREETER, name="other"), 90))
    done(registry.register("acme", GREETER, 90))
    clock.advance(91)
    done(registry.register("micro", replace(GREETER, name="other"), 90))


def test_memory(clock: Clock) -> None:
    """What a namespace has registered is bounded in memory; renewing goes on, and whoever goes makes room."""
    registry = Registry(clock, Limits(memory=50_000))
    large = {"k": "v" * 15_000}
    nodes = [Node(f"n{number}", "h:1", large) for number in range(4)]
    for node in nodes[:3]:
        done(registry.register("micro", replace(GREETER, nodes=(node,)), 90))
    before = done(registry.get("micro", "greeter"))
    for refused in (
        replace(GREETER, nodes=(nodes[3],)),
        replace(GREETER, name="other", metadata=large),
        replace(GREETER, metadata=large, nodes=(nodes[0],)),
    ):
        with pytest.raises(
            BadRequest, match="the registry is full: what micro has in it may take 50000 bytes"
        ):
            done(registry.register("micro", refused, 90))
    assert done(registry.get("micro", "greeter")) == before
    done(registry.register("acme", replace(GREETER, nodes=(nodes[3],)), 90))
    for node in nodes[:3]:
        done(registry.register("micro", replace(GREETER, nodes=(node,)), 90))
    done(registry.deregister("micro", replace(GREETER, nodes=(nodes[0],))))
    done(registry.register("micro", replace(GREETER, nodes=(nodes[3],)), 90))
    done(registry.register("micro", replace(GREETER, nodes=(replace(nodes[3], metadata={}),)), 90))
    done(registry.register("micro", replace(GREETER, nodes=(nodes[0],)), 90))


def test_memory_comes_back(clock: Clock) -> None:
    """Nothing is left over of what has come and gone."""
    registry = Registry(clock)
    for number in range(50):
        service = replace(GREETER, version=f"v{number % 3}", metadata={"n": "x" * number}, nodes=(ONE, TWO))
        done(registry.register("micro", service, 1 + number % 7))
        done(registry.deregister("micro", replace(service, nodes=(ONE,))))
        clock.advance(1)
    assert registry._catalogue._spaces["micro"].weight > 0
    clock.advance(10)
    assert not registry._catalogue._spaces


def test_too_many_watchers(clock: Clock) -> None:
    """Watchers are bounded for each namespace."""
    registry = Registry(clock, Limits(watchers=2))
    first, _ = registry.watch("micro"), registry.watch("micro")
    with pytest.raises(Unavailable, match="there are 2 watchers of micro already"):
        registry.watch("micro")
    registry.watch("acme")
    first.close()
    registry.watch("micro")


def test_present(registry: Registry) -> None:
    """A watch may begin with what is there; every change since follows, and none is in both."""
    done(registry.register("micro", GREETER, 90))
    done(registry.register("acme", replace(GREETER, name="other"), 90))
    watch = registry.watch("micro", present=True)
    everywhere = registry.watch("*", "other", present=True)
    done(registry.register("micro", replace(GREETER, nodes=(TWO,)), 90))
    assert [service.nodes for service in watch.present] == [(ONE,)]
    assert [service.name for service in everywhere.present] == ["other"]
    reader = Reader(watch)
    assert [change.service.nodes for change in reader.changes] == [(ONE, TWO)]
    assert not registry.watch("micro").present


def test_slow_after_present(clock: Clock) -> None:
    """Who falls behind while still reading the present state is told."""
    registry = Registry(clock, Limits(backlog=1))
    watch = registry.watch("micro", present=True)
    for node in (ONE, TWO):
        done(registry.register("micro", replace(GREETER, nodes=(node,)), 90))
    with pytest.raises(Unavailable, match=r"changes were lost: watch anew.*\(current\)"):
        done(watch.__anext__())


def test_figures(clock: Clock) -> None:
    """What is there, and what happened, is counted."""
    registry = Registry(clock, Limits(backlog=1))
    watch = registry.watch("micro")
    registry.watch("micro").close()
    done(registry.register("micro", replace(GREETER, nodes=(ONE, TWO)), 90))
    done(registry.register("acme", GREETER, 30))
    clock.advance(31)
    done(registry.deregister("micro", GREETER))
    done(registry.deregister("micro", replace(GREETER, nodes=(TWO,))))
    found = {
        figure.name.removeprefix("microd_registry_"): figure.samples[0][1] for figure in registry.figures()
    }
    assert found == {
        "versions": 0,
        "nodes": 0,
        "memory_bytes": 0,
        "changes_total": 5,
        "expirations_total": 1,
        "watchers": 0,
        "watchers_cut_total": 1,
    }
    assert not watch.watched


def test_revoked(registry: Registry) -> None:
    """A watch ends when its reader's account is revoked; others go on, those of the same id elsewhere too."""
    ann, namesake = Account("ann", "user", "micro"), Account("ann", "user", "acme")
    gone, stays, own = (Reader(registry.watch("micro", reader=reader)) for reader in (ann, namesake, None))
    registry.revoked("micro", "ann")
    done(registry.register("micro", GREETER, 90))
    assert "the account ann was revoked" in str(gone.ended)
    assert (gone.actions, stays.actions, own.actions) == ([], ["create"], ["create"])
