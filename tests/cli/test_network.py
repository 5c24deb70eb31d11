"""`micro network`."""

from __future__ import annotations

import pytest

from microd.wire import network_pb2 as pb
from microd.wire import router_pb2

from .conftest import Daemon, User

PATH = "/network.Network/"


def route(service: str, port: int, metric: int = 1, network: str = "micro") -> router_pb2.Route:
    return router_pb2.Route(
        service=service,
        address=f"127.0.0.1:{port}",
        network=network,
        router="r1",
        link="local",
        metric=metric,
        metadata={"protocol": "grpc"},
    )


def test_nodes(user: User, daemon: Daemon) -> None:
    """Daemons are listed in a frame: titles in the middle, cells to the left."""
    daemon.answers(PATH + "Nodes", pb.NodesResponse(nodes=[pb.Node(id="node-b", address="10.0.0.1:8443")]))
    assert user.micro("network", "nodes").out == (
        "+--------+---------------+\n"
        "|   ID   |    ADDRESS    |\n"
        "+--------+---------------+\n"
        "| node-b | 10.0.0.1:8443 |\n"
        "+--------+---------------+\n"
    )
    assert user.micro("network", "nodes", "--json").json == [{"id": "node-b", "address": "10.0.0.1:8443"}]


def test_connections(user: User, daemon: Daemon) -> None:
    """Connections are the first peers of the graph; without any the frame is empty."""
    root = pb.Peer(node=pb.Node(id="self"), peers=[pb.Peer(node=pb.Node(id="b", address="10.0.0.2:1"))])
    daemon.answers(PATH + "Graph", pb.GraphResponse(root=root))
    assert user.micro("network", "connections").out.splitlines()[1:4] == [
        "| NODE |  ADDRESS   |",
        "+------+------------+",
        "| b    | 10.0.0.2:1 |",
    ]
    assert pb.GraphRequest.FromString(daemon.asked(PATH + "Graph")[0].body).depth == 1
    daemon.answers(PATH + "Graph", pb.GraphResponse(root=pb.Peer(node=pb.Node(id="self"))))
    assert user.micro("network", "connections").out == (
        "+------+---------+\n| NODE | ADDRESS |\n+------+---------+\n+------+---------+\n"
    )


def test_graph(user: User, daemon: Daemon) -> None:
    """The graph is JSON, laid out with tabs."""
    root = pb.Peer(node=pb.Node(id="self", address="127.0.0.1:8443", network="micro"))
    daemon.answers(PATH + "Graph", pb.GraphResponse(root=root))
    got = user.micro("network", "graph")
    assert got.out.startswith('{\n\t"root": {\n\t\t"node": {\n\t\t\t"id": "self",')
    assert got.json["root"]["node"]["network"] == "micro"
    assert got.json["root"]["peers"] == []
    assert user.micro("network", "graph", "--json").json == got.json


def test_routes(user: User, daemon: Daemon) -> None:
    """Routes are sorted by service; a metric without end is shown as such."""
    found = [route("store", 2), route("greeter", 1, metric=2**63 - 1)]
    daemon.answers(PATH + "Routes", pb.RoutesResponse(routes=found))
    assert user.micro("network", "routes").out == (
        "+---------+-------------+---------+--------+---------+--------+-------+\n"
        "| SERVICE |   ADDRESS   | GATEWAY | ROUTER | NETWORK | METRIC | LINK  |\n"
        "+---------+-------------+---------+--------+---------+--------+-------+\n"
        "| greeter | 127.0.0.1:1 |         | r1     | micro   | \u221e      | local |\n"
        "| store   | 127.0.0.1:2 |         | r1     | micro   | 1      | local |\n"
        "+---------+-------------+---------+--------+---------+--------+-------+\n"
    )
    assert user.micro("network", "routes", "--json").json[1] == {
        "service": "store",
        "address": "127.0.0.1:2",
        "gateway": "",
        "router": "r1",
        "network": "micro",
        "metric": 1,
        "link": "local",
        "metadata": {"protocol": "grpc"},
    }


def test_query(user: User, daemon: Daemon) -> None:
    """Flags choose among the routes; the namespace is the current one unless told otherwise."""
    daemon.answers(PATH + "Routes", pb.RoutesResponse())
    flags = ("--service=a", "--address=b:1", "--gateway=c", "--router=d")
    user.micro("network", "routes", *flags, "--namespace", "acme")
    user.micro("network", "routes", "--network", "other")
    one, two = (pb.RoutesRequest.FromString(call.body).query for call in daemon.asked(PATH + "Routes"))
    assert one == pb.Query(service="a", address="b:1", gateway="c", router="d", network="acme")
    assert two == pb.Query(network="other")


def test_services(user: User, daemon: Daemon) -> None:
    """Services are sorted, one in a line."""
    daemon.answers(PATH + "Services", pb.ServicesResponse(services=["b", "a"]))
    assert user.micro("network", "services").out == "a\nb\n"


def test_connect(user: User, daemon: Daemon) -> None:
    """Connecting names the other daemon, and shows what was answered; without an address nothing is done."""
    daemon.answers(PATH + "Connect", pb.ConnectResponse())
    assert user.micro("network", "connect").out == ""
    assert not daemon.calls
    assert user.micro("network", "connect", "10.0.0.1:8443").out == "{}\n"
    request = pb.ConnectRequest.FromString(daemon.calls[-1].body)
    assert [node.address for node in request.nodes] == ["10.0.0.1:8443"]


def test_cannot_connect(user: User, daemon: Daemon) -> None:
    """What the daemon says is told, and the command fails."""
    daemon.refuses(PATH + "Connect", 501, "this daemon stands alone")
    got = user.micro("network", "connect", "10.0.0.1:8443")
    assert (got.code, got.out) == (127, "")
    assert "his daemon stands alone" in got.err


@pytest.mark.parametrize("words", [("network",), ("network", "--help")])
def test_help(user: User, words: tuple[str, ...]) -> None:
    """The group alone shows its help."""
    got = user.micro(*words)
    assert got.code == 0
    assert "routes" in got.out


def test_unknown(user: User) -> None:
    """A word that is no command of it is told with exit code 3."""
    got = user.micro("network", "nope")
    assert got.code == 3
    assert got.err.startswith("No help topic for 'nope'")
