"""Whose an address is: no namespace names another's nodes as its own."""

from __future__ import annotations

import socket
from contextlib import suppress
from random import Random

import pytest
from twisted.internet.task import Clock

from microd.kernel.caller import Account
from microd.kernel.errors import Conflict
from microd.services.registry.model import Limits, Node, Registrant, Service
from microd.services.registry.places import doors_at, host_of, place_of
from microd.services.registry.service import Registry
from microd.testing.outcome import done

HERE, AWAY = "127.0.0.1:50000", "192.0.2.7:50000"
DOORS = ("127.0.0.1:8443", "0.0.0.0:8081", "unix:/run/microd.sock", "tls:8080:privateKey=key.pem")


class House:
    """A registry with two tenants."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.registry = Registry(self.clock, Limits(), doors=lambda: DOORS)
        self.watch = self.registry.watch("*")

    def put(
        self,
        namespace: str,
        address: str = "127.0.0.1:5001",
        *,
        id: str = "",
        peer: str = HERE,
        ttl: float = 90,
        owner: object = None,
        account: str = "svc",
    ) -> None:
        """Register a node."""
        by = Registrant(Account(account, "service", namespace, scopes=("service",)), peer)
        service = Service("greeter", nodes=(Node(id or f"{namespace}-1", address),))
        done(self.registry.register(namespace, service, ttl, owner=owner, by=by))

    def take(self, namespace: str) -> None:
        """Deregister its node."""
        service = Service("greeter", nodes=(Node(f"{namespace}-1", "127.0.0.1:5001"),))
        done(self.registry.deregister(namespace, service))

    def at(self, namespace: str) -> list[str]:
        """Where its nodes are."""
        return [node.address for node in self.registry.nodes(namespace, "greeter")]


@pytest.fixture
def house() -> House:
    return House()


WAYS = [
    "127.0.0.1:5001",
    "localhost:5001",
    "LOCALHOST.:5001",
    "x.localhost:5001",
    "127.0.0.1:05001",
    "127.1:5001",
    "127.9.9.9:5001",
    "2130706433:5001",
    "0x7f.1:5001",
    "0177.0.0.1:5001",
    "0.0.0.0:5001",
    "0:5001",
    "[::]:5001",
    "[::1]:5001",
    "[0:0::1]:5001",
    "[::ffff:127.0.0.1]:5001",
    f"{socket.gethostname()}:5001",
]


@pytest.mark.parametrize("address", WAYS)
def test_held(house: House, address: str) -> None:
    """An address where another namespace has a node is refused, however it is written, and nothing changes."""
    house.put("beta")
    with pytest.raises(Conflict) as refused:
        house.put("alpha", address)
    assert refused.value.code == 409
    assert address in refused.value.detail
    assert "MICRO_SERVICE_ADDRESS" in refused.value.detail
    assert "beta" not in refused.value.detail
    assert (house.at("alpha"), house.at("beta")) == ([], ["127.0.0.1:5001"])


@pytest.mark.parametrize(
    "address", ["127.0.0.1:5002", "192.0.2.1:5001", "[2001:db8::1]:5001", "node.example:5001"]
)
def test_elsewhere(house: House, address: str) -> None:
    """Another port is another place, and so is another host."""
    house.put("beta")
    house.put("alpha", address)
    assert house.at("alpha") == [address]


def test_own_host() -> None:
    """An address of one of this host's interfaces leads to the same as loopback; one of another host does not."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.fail("this host has no address")
        own = probe.getsockname()[0]
    assert host_of(own) == host_of("127.0.0.1")
    assert host_of("192.0.2.1") == "192.0.2.1"
    assert place_of("[2001:DB8:0::1%eth0]:01") == "2001:db8::1:1"


def test_own_restart(house: House) -> None:
    """A service which starts again on the same port in its own namespace is welcome, whatever became of the old node."""
    house.put("beta")
    house.put("beta", id="beta-2")
    assert house.at("beta") == ["127.0.0.1:5001"] * 2


@pytest.mark.parametrize("end", ["deregistered", "expired", "dropped", "moved", "process", "revoked"])
def test_free_again(house: House, end: str) -> None:
    """Once the node is gone, or somewhere else, its address is free."""
    house.put("beta", owner="connection")
    house.put("beta", owner="connection")
    if end == "deregistered":
        house.take("beta")
    elif end == "expired":
        house.clock.advance(91)
    elif end == "dropped":
        house.registry.forget_owner("connection")
    elif end == "moved":
        house.put("beta", "127.0.0.1:5009")
    elif end == "process":
        node = Node("beta-1", "127.0.0.1:5001", {"process": "p"})
        done(house.registry.register("beta", Service("greeter", nodes=(node,)), 90))
        house.registry.forget_process("beta", "greeter", "latest", "p")
    else:
        house.registry.revoked("beta", "svc")
    house.put("alpha")
    assert house.at("alpha") == ["127.0.0.1:5001"]
    if end == "moved":
        with pytest.raises(Conflict):
            house.put("alpha", "127.0.0.1:5009")


def test_move_onto(house: House) -> None:
    """A node cannot move to where another namespace has one either."""
    house.put("beta")
    house.put("alpha", "127.0.0.1:5002")
    with pytest.raises(Conflict):
        house.put("alpha")
    assert house.at("alpha") == ["127.0.0.1:5002"]


def test_from_afar(house: House) -> None:
    """Who claims an address from another host, gives way to who is on it; nobody can lock out others' services from afar."""
    for port in range(5001, 5020):
        house.put("alpha", f"127.0.0.1:{port}", peer=AWAY, id=str(port), ttl=0, owner="connection")
    house.put("beta")
    assert house.at("beta") == ["127.0.0.1:5001"]
    assert "127.0.0.1:5001" not in house.at("alpha")
    assert len(house.at("alpha")) == 18
    told = [house.watch._changes.popleft() for _ in range(len(house.watch._changes))]
    assert [(each.action, each.namespace) for each in told[-2:]] == [("update", "alpha"), ("create", "beta")]
    with pytest.raises(Conflict):
        house.put("alpha", peer=AWAY)


def test_both_from_afar(house: House) -> None:
    """Among those who claim from elsewhere, the first keeps the address."""
    house.put("beta", "192.0.2.1:5001", peer=AWAY)
    with pytest.raises(Conflict):
        house.put("alpha", "192.0.2.1:5001", peer=HERE)
    house.put("alpha", "192.0.2.1:5001", peer="192.0.2.1:40000")
    assert house.at("beta") == []


@pytest.mark.parametrize("address", ["127.0.0.1:8443", "localhost:8443", "[::1]:8081"])
def test_doors(house: House, address: str) -> None:
    """A door of the daemon is no node, whatever the namespace; only the platform itself lists itself there."""
    for namespace in ("alpha", "micro"):
        with pytest.raises(Conflict, match=r"is a door of this daemon.*register the one"):
            house.put(namespace, address)
    core = Service("store", nodes=(Node("store-1", address),))
    done(house.registry.register("micro", core, 0, owner="listing"))
    assert house.registry.nodes("micro", "store") == core.nodes


def test_no_doors() -> None:
    """Doors which are not on a port, or not open yet, are in nobody's way."""
    assert doors_at(DOORS) == {"localhost:8443", "localhost:8081"}


def test_deleted_account(house: House) -> None:
    """With an account go the nodes that it registered last, for ever as they may be; watchers are told, others' stay."""
    house.put("beta", ttl=0, owner="connection")
    house.put("beta", "127.0.0.1:5002", id="other", account="other")
    house.put("beta", "127.0.0.1:5003", id="handed over")
    house.put("beta", "127.0.0.1:5003", id="handed over", account="other")
    house.put("alpha", "127.0.0.1:5004")
    house.registry.revoked("beta", "svc")
    assert house.at("beta") == ["127.0.0.1:5002", "127.0.0.1:5003"]
    assert house.at("alpha") == ["127.0.0.1:5004"]
    last = house.watch._changes[-1]
    assert (last.action, last.namespace, len(last.service.nodes)) == ("update", "beta", 2)
    house.registry.revoked("beta", "other")
    assert house.watch._changes[-1].action == "delete"
    house.registry.forget_owner("connection")
    assert house.at("beta") == []


def test_new_secret(house: House) -> None:
    """Who logs in with the new secret, registers again."""
    house.put("beta")
    house.registry.revoked("beta", "svc")
    house.put("beta")
    assert house.at("beta") == ["127.0.0.1:5001"]


@pytest.mark.parametrize("seed", range(20))
def test_any_order(house: House, seed: int) -> None:
    """Whatever happens in whatever order, an address is never two namespaces', and all are free once all nodes are gone."""
    chance = Random(seed)
    for _ in range(300):
        namespace, address = (
            chance.choice(("alpha", "beta", "crew")),
            f"127.0.0.1:{chance.randint(5001, 5006)}",
        )
        match chance.randint(0, 9):
            case 0:
                house.registry.revoked(namespace, chance.choice("ab"))
            case 1:
                house.registry.forget_owner(chance.choice("xy"))
            case 2:
                house.clock.advance(chance.choice((1, 45)))
            case 3:
                nodes = (Node(chance.choice("123"), address),)
                done(house.registry.deregister(namespace, Service("greeter", nodes=nodes)))
            case _:
                with suppress(Conflict):
                    house.put(
                        namespace,
                        address,
                        id=chance.choice("123"),
                        peer=chance.choice((HERE, AWAY)),
                        owner=chance.choice(("x", "y", None)),
                        account=chance.choice("ab"),
                    )
        there = [address for space in ("alpha", "beta", "crew") for address in set(house.at(space))]
        assert len(there) == len(set(there))
    house.clock.advance(91)
    for port in range(5001, 5007):
        house.put("alpha", f"127.0.0.1:{port}", peer=AWAY, id=str(port))
    assert len(house.at("alpha")) == 6
