"""Network and router on the wire: spec 6.8 and Appendix A."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import NoReturn

from microd.kernel.access import require_admin, require_member
from microd.kernel.caller import DEFAULT_NAMESPACE, Account, Caller
from microd.kernel.endpoint import Endpoint as Rpc
from microd.kernel.errors import Forbidden, NotFound, Unauthorized, Unimplemented
from microd.kernel.names import require_name
from microd.services.network import rules
from microd.services.network.interface import INetwork
from microd.services.network.model import ANY, LOCAL, NETWORK, Event, Query, Route
from microd.wire import network_pb2 as pb
from microd.wire import router_pb2 as router_pb

_EVENTS = {"create": router_pb.Create, "update": router_pb.Update, "delete": router_pb.Delete}


def endpoints(network: INetwork) -> list[Rpc]:
    """What C{network} answers."""
    wire = NetworkWire(network)
    path = "/network.Network/"
    return [
        Rpc(path + "Connect", pb.ConnectRequest, pb.ConnectResponse, wire.connect),
        Rpc(path + "Graph", pb.GraphRequest, pb.GraphResponse, wire.graph),
        Rpc(path + "Nodes", pb.NodesRequest, pb.NodesResponse, wire.nodes),
        Rpc(path + "Routes", pb.RoutesRequest, pb.RoutesResponse, wire.routes),
        Rpc(path + "Services", pb.ServicesRequest, pb.ServicesResponse, wire.services),
        Rpc(path + "Status", pb.StatusRequest, pb.StatusResponse, wire.status),
    ]


def router_endpoints(network: INetwork) -> list[Rpc]:
    """What C{router} answers."""
    routing = RouterWire(network)
    router, table = "/router.Router/", "/router.Table/"
    return [
        Rpc(router + "Lookup", router_pb.LookupRequest, router_pb.LookupResponse, routing.lookup),
        Rpc(
            router + "Watch",
            router_pb.WatchRequest,
            router_pb.Event,
            routing.watch,
            server_streaming=True,
            endless=True,
        ),
        Rpc(table + "Create", router_pb.Route, router_pb.CreateResponse, routing.create),
        Rpc(table + "Delete", router_pb.Route, router_pb.DeleteResponse, routing.delete),
        Rpc(table + "Update", router_pb.Route, router_pb.UpdateResponse, routing.update),
        Rpc(table + "Read", router_pb.ReadRequest, router_pb.ReadResponse, routing.read),
    ]


class NetworkWire:
    """Answers about the network. The reference tells strangers as well; here it takes an account."""

    def __init__(self, network: INetwork) -> None:
        self._network = network

    async def connect(self, request: pb.ConnectRequest, caller: Caller) -> pb.ConnectResponse:
        """Connect to other daemons."""
        _require_account(caller)
        if request.nodes:
            require_admin(caller, DEFAULT_NAMESPACE)
            raise Unimplemented("this daemon stands alone: it cannot be connected to others yet")
        return pb.ConnectResponse()

    async def graph(self, request: pb.GraphRequest, caller: Caller) -> pb.GraphResponse:
        """Show the daemons around this one as a tree."""
        _require_account(caller)
        node = self._self()
        node.network = NETWORK
        node.status.SetInParent()
        return pb.GraphResponse(root=pb.Peer(node=node))

    async def nodes(self, request: pb.NodesRequest, caller: Caller) -> pb.NodesResponse:
        """List this daemon and those which it knows."""
        _require_account(caller)
        return pb.NodesResponse(nodes=[self._self()])

    async def routes(self, request: pb.RoutesRequest, caller: Caller) -> pb.RoutesResponse:
        """List the routes which a query chooses."""
        asked = request.query
        network = _namespace(asked.network or caller.namespace)
        require_admin(caller, DEFAULT_NAMESPACE if network == ANY else network)
        query = Query(
            asked.service or ANY,
            asked.address or ANY,
            asked.gateway or ANY,
            # Whoever administers the platform sees all of it (spec 6.8).
            ANY if network == DEFAULT_NAMESPACE else network,
            asked.router or ANY,
        )
        found = await self._network.routes(rules.checked(query))
        if asked.service and not found:
            raise NotFound("failed to list routes: route not found")
        return pb.RoutesResponse(routes=[route_message(route) for route in found])

    async def services(self, request: pb.ServicesRequest, caller: Caller) -> pb.ServicesResponse:
        """List the names of all services."""
        require_admin(caller, DEFAULT_NAMESPACE)
        return pb.ServicesResponse(services=await self._network.services())

    async def status(self, request: pb.StatusRequest, caller: Caller) -> pb.StatusResponse:
        """Say how many nodes cannot be reached at the moment."""
        require_admin(caller, DEFAULT_NAMESPACE)
        lost = await self._network.unreachable()
        error = pb.Error(count=len(lost))
        if lost:
            error.msg = f"{lost[0].service} at {lost[0].address} cannot be reached"
        return pb.StatusResponse(status=pb.Status(error=error))

    def _self(self) -> pb.Node:
        daemon = self._network.daemon
        return pb.Node(id=daemon.id, address=daemon.address)


class RouterWire:
    """Answers about routes. Members of a namespace see its own; C{*} is for the platform's admins and services."""

    def __init__(self, network: INetwork) -> None:
        self._network = network

    async def lookup(self, request: router_pb.LookupRequest, caller: Caller) -> router_pb.LookupResponse:
        """Find the routes to a service."""
        asked = request.options
        service = request.service if request.service == ANY else require_name("the service", request.service)
        query = Query(
            service,
            asked.address or ANY,
            asked.gateway or ANY,
            _readable(asked.network, caller),
            asked.router or ANY,
            asked.link or LOCAL,
        )
        found = await self._network.routes(rules.checked(query))
        if not found:
            raise NotFound("route not found")
        return router_pb.LookupResponse(routes=[route_message(route) for route in found])

    async def watch(self, request: router_pb.WatchRequest, caller: Caller) -> AsyncIterator[router_pb.Event]:
        """Read how routes change, as they change."""
        async with aclosing(self._network.watch(_readable("", caller), caller.account)) as events:
            async for event in events:
                yield event_message(event)

    async def read(self, request: router_pb.ReadRequest, caller: Caller) -> router_pb.ReadResponse:
        """Read the table of routes."""
        query = Query(request.service or ANY, network=_readable("", caller))
        found = await self._network.routes(rules.checked(query))
        return router_pb.ReadResponse(routes=[route_message(route) for route in found])

    async def create(self, request: router_pb.Route, caller: Caller) -> router_pb.CreateResponse:
        """Routes are made of registrations."""
        self._refuse(caller, "register a node instead")

    async def delete(self, request: router_pb.Route, caller: Caller) -> router_pb.DeleteResponse:
        """Routes are made of registrations."""
        self._refuse(caller, "deregister the node instead")

    async def update(self, request: router_pb.Route, caller: Caller) -> router_pb.UpdateResponse:
        """Routes are made of registrations."""
        self._refuse(caller, "register the node again instead")

    def _refuse(self, caller: Caller, remedy: str) -> NoReturn:
        _require_account(caller)
        raise Unimplemented(f"routes are made of registrations: {remedy}")


def route_message(route: Route) -> router_pb.Route:
    """A route as answers have it."""
    return router_pb.Route(
        service=route.service,
        address=route.address,
        gateway=route.gateway,
        network=route.network,
        router=route.router,
        link=route.link,
        metric=route.metric,
        metadata=route.metadata,
    )


def event_message(event: Event) -> router_pb.Event:
    """A change as watchers get it; the time is in nanoseconds."""
    return router_pb.Event(
        id=rules.identity(event.route),
        type=_EVENTS[event.action],
        timestamp=int(event.at * 1e9),
        route=route_message(event.route),
    )


def _require_account(caller: Caller) -> Account:
    if caller.account is None:
        raise Unauthorized("an account is required")
    return caller.account


def _namespace(network: str) -> str:
    return network if network == ANY else require_name("the network", network)


def _readable(network: str, caller: Caller) -> str:
    """The namespace that is asked for, or the request's; C{*} takes an admin or a service of the platform."""
    found = _namespace(network or caller.namespace)
    if found != ANY:
        require_member(caller, found)
        return found
    account = _require_account(caller)
    if account.issuer != DEFAULT_NAMESPACE or not account.is_admin:
        raise Forbidden("access denied to namespace")
    return found
