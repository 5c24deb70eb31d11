"""C{micro network}."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from microd.cli.failure import MALFORMED
from microd.cli.layout import bordered, indented
from microd.cli.lazy import MicroGroup, pass_session
from microd.cli.session import Session

if TYPE_CHECKING:
    from microd.wire import network_pb2, router_pb2

#: The metric of a way which is not there.
_FAR = 2**63 - 1


@click.group(cls=MicroGroup, misses=MALFORMED, short_help="Show the network: daemons, routes and services")
def network() -> None:
    """Show the network: daemons, routes and services."""


@network.command("connect", short_help="Connect the daemon to another one")
@click.argument("address", default="")
@pass_session
def connect(session: Session, address: str) -> None:
    """Connect the daemon to the one at ADDRESS, host:port."""
    from microd.wire.network_pb2 import ConnectRequest, ConnectResponse, Node

    if not address:
        return
    request = ConnectRequest(nodes=[Node(address=address)])
    session.remote.unary("/network.Network/Connect", request, ConnectResponse)
    session.answer({}, lambda: "{}")


@network.command("connections", short_help="List the daemons that ours is connected to")
@pass_session
def connections(session: Session) -> None:
    """List the daemons that ours is connected to."""
    peers = [peer.node for peer in _graph(session, depth=1).peers]
    _list_nodes(session, peers, "NODE")


@network.command("graph", short_help="Print the daemons around ours as a tree")
@pass_session
def graph(session: Session) -> None:
    """Print the daemons around ours as a tree, in JSON."""
    import json

    tree = {"root": _tree(_graph(session, depth=3))}
    session.answer(tree, lambda: indented(json.dumps(tree, ensure_ascii=False)))


@network.command("nodes", short_help="List the daemons of the network")
@pass_session
def nodes(session: Session) -> None:
    """List the daemons of the network."""
    from microd.wire.network_pb2 import NodesRequest, NodesResponse

    found = session.remote.unary("/network.Network/Nodes", NodesRequest(depth=3), NodesResponse)
    _list_nodes(session, found.nodes, "ID")


@network.command("routes", short_help="List the ways to services")
@click.option("--service", default="", metavar="NAME", help="To this service only.")
@click.option("--address", default="", metavar="HOST:PORT", help="To this node only.")
@click.option("--gateway", default="", metavar="ADDRESS", help="Through this daemon only.")
@click.option("--router", default="", metavar="ID", help="Known by this daemon only.")
@click.option(
    "--network", "network_", default="", metavar="NAME", help="In this namespace, instead of the current one."
)
@pass_session
def routes(session: Session, service: str, address: str, gateway: str, router: str, network_: str) -> None:
    """List the ways to the services of the namespace; from micro, those of every namespace."""
    from microd.wire.network_pb2 import Query, RoutesRequest, RoutesResponse

    query = Query(
        service=service,
        address=address,
        gateway=gateway,
        router=router,
        network=network_ or session.namespace,
    )
    answer = session.remote.unary("/network.Network/Routes", RoutesRequest(query=query), RoutesResponse)
    found = sorted(answer.routes, key=lambda route: (route.service, route.network, route.address))
    head = ("SERVICE", "ADDRESS", "GATEWAY", "ROUTER", "NETWORK", "METRIC", "LINK")
    session.answer([_route(route) for route in found], lambda: bordered(head, [_row(each) for each in found]))


@network.command("services", short_help="List the services of every namespace")
@pass_session
def services(session: Session) -> None:
    """List the services of every namespace, each once."""
    from microd.wire.network_pb2 import ServicesRequest, ServicesResponse

    answer = session.remote.unary("/network.Network/Services", ServicesRequest(), ServicesResponse)
    found = sorted(answer.services)
    session.answer(found, lambda: "\n".join(found))


def _graph(session: Session, depth: int) -> network_pb2.Peer:
    from microd.wire.network_pb2 import GraphRequest, GraphResponse

    return session.remote.unary("/network.Network/Graph", GraphRequest(depth=depth), GraphResponse).root


def _list_nodes(session: Session, found: Sequence[network_pb2.Node], title: str) -> None:
    rows = sorted((node.id, node.address) for node in found)
    session.answer(
        [{"id": id, "address": address} for id, address in rows], lambda: bordered((title, "ADDRESS"), rows)
    )


def _tree(peer: network_pb2.Peer) -> dict[str, Any]:
    node = peer.node
    error = node.status.error
    return {
        "node": {
            "id": node.id,
            "address": node.address,
            "network": node.network,
            "metadata": dict(node.metadata),
            "status": {"error": {"count": error.count, "msg": error.msg}},
        },
        "peers": [_tree(each) for each in peer.peers],
    }


def _route(route: router_pb2.Route) -> dict[str, Any]:
    return {
        "service": route.service,
        "address": route.address,
        "gateway": route.gateway,
        "router": route.router,
        "network": route.network,
        "metric": route.metric,
        "link": route.link,
        "metadata": dict(route.metadata),
    }


def _row(route: router_pb2.Route) -> tuple[str, ...]:
    metric = "\N{INFINITY}" if route.metric == _FAR else str(route.metric)
    return (
        route.service,
        route.address,
        route.gateway,
        route.router,
        route.network,
        metric,
        route.link,
    )
