"""The registry on the wire: spec 6.1 and Appendix A."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Hashable
from time import time

from microd.kernel.access import require_admin, require_member
from microd.kernel.caller import DEFAULT_NAMESPACE, Caller
from microd.kernel.endpoint import Endpoint as Rpc
from microd.kernel.errors import BadRequest, Forbidden, NotFound, Unauthorized
from microd.kernel.names import require_name
from microd.services.registry.interface import IRegistry
from microd.services.registry.model import EVERYWHERE, Endpoint, Node, Registrant, Service, Value
from microd.wire import registry_pb2 as pb

#: A request header: C{connection} says that the nodes vanish when the connection drops.
LEASE_HEADER = "micro-lease"


def endpoints(registry: IRegistry, reserved: Collection[str] = ()) -> list[Rpc]:
    """What the registry answers.

    @param reserved: names in the platform's own namespace which nobody may register from outside.
    """
    wire = RegistryWire(registry, frozenset(reserved))
    path = "/registry.Registry/"
    return [
        Rpc(path + "GetService", pb.GetRequest, pb.GetResponse, wire.get_service),
        Rpc(path + "Register", pb.Service, pb.EmptyResponse, wire.register),
        Rpc(path + "Deregister", pb.Service, pb.EmptyResponse, wire.deregister),
        Rpc(path + "ListServices", pb.ListRequest, pb.ListResponse, wire.list_services),
        Rpc(path + "Watch", pb.WatchRequest, pb.Result, wire.watch, server_streaming=True, endless=True),
    ]


class RegistryWire:
    """Turns messages into questions to the registry, and its answers into messages."""

    def __init__(self, registry: IRegistry, reserved: frozenset[str]) -> None:
        self._registry = registry
        self._reserved = reserved
        self._connections: set[Hashable] = set()

    async def get_service(self, request: pb.GetRequest, caller: Caller) -> pb.GetResponse:
        namespace = _readable(request.options.domain, caller)
        if not request.service:
            raise BadRequest("the service's name is missing")
        if namespace == EVERYWHERE:
            found = [each for each in await self._registry.list(EVERYWHERE) if each.name == request.service]
        else:
            found = list(await self._registry.get(namespace, request.service))
        if not found:
            raise NotFound("service not found")
        return pb.GetResponse(services=[message_from(service) for service in found])

    async def list_services(self, request: pb.ListRequest, caller: Caller) -> pb.ListResponse:
        namespace = _readable(request.options.domain, caller)
        return pb.ListResponse(services=[message_from(each) for each in await self._registry.list(namespace)])

    async def register(self, request: pb.Service, caller: Caller) -> pb.EmptyResponse:
        namespace = self._writable(request, caller)
        owner = self._owner(caller) if caller.metadata.get(LEASE_HEADER) == "connection" else None
        ttl = float(request.options.ttl)
        by = Registrant(caller.account, caller.peer) if caller.account is not None else None
        await self._registry.register(namespace, service_from(request), ttl, owner=owner, by=by)
        return pb.EmptyResponse()

    async def deregister(self, request: pb.Service, caller: Caller) -> pb.EmptyResponse:
        await self._registry.deregister(self._writable(request, caller), service_from(request))
        return pb.EmptyResponse()

    async def watch(self, request: pb.WatchRequest, caller: Caller) -> AsyncIterator[pb.Result]:
        """Read what changes, as it changes."""
        namespace = _readable(request.options.domain, caller)
        if request.service:
            require_name("the service's name", request.service)
        watch = self._registry.watch(
            namespace, request.service, present=request.current, reader=caller.account
        )
        try:
            if request.current:
                now = int(time())
                for service in watch.present:
                    yield pb.Result(action="create", service=message_from(service), timestamp=now)
                watch.present = ()
                yield pb.Result(action="synced", timestamp=now)
            async for change in watch:
                yield pb.Result(
                    action=change.action, service=message_from(change.service), timestamp=int(change.at)
                )
        finally:
            watch.close()

    def _writable(self, request: pb.Service, caller: Caller) -> str:
        namespace = require_name("the namespace", request.options.domain or DEFAULT_NAMESPACE)
        require_admin(caller, namespace)
        if namespace == DEFAULT_NAMESPACE and request.name in self._reserved:
            raise Forbidden(f"the name {request.name} belongs to the platform")
        return namespace

    def _owner(self, caller: Caller) -> Hashable:
        """The caller's connection, which from now on takes its nodes with it; asked to tell only once."""
        connection = caller.peer if caller.connection is None else caller.connection
        if connection not in self._connections:
            self._connections.add(connection)
            caller.on_disconnect(lambda: self._dropped(connection))
        return connection

    def _dropped(self, connection: Hashable) -> None:
        self._connections.discard(connection)
        self._registry.forget_owner(connection)


def _readable(domain: str, caller: Caller) -> str:
    """The namespace which the caller may read; C{*} only for those who administer the platform.

    @raise BadRequest: there can be no such namespace.
    """
    namespace = domain or DEFAULT_NAMESPACE
    if namespace != EVERYWHERE:
        require_member(caller, require_name("the namespace", namespace))
        return namespace
    account = caller.account
    if account is None:
        raise Unauthorized("an account is required")
    if account.issuer != DEFAULT_NAMESPACE or not account.is_admin:
        raise Forbidden("access denied to namespace")
    return namespace


def service_from(message: pb.Service) -> Service:
    """What a registration says."""
    return Service(
        name=message.name,
        version=message.version or "latest",
        metadata=dict(message.metadata),
        endpoints=tuple(_endpoint_from(each) for each in message.endpoints),
        nodes=tuple(Node(each.id, each.address, dict(each.metadata)) for each in message.nodes),
    )


def message_from(service: Service) -> pb.Service:
    """A service as answers have it: the options are there, and empty."""
    return pb.Service(
        name=service.name,
        version=service.version,
        metadata=service.metadata,
        endpoints=[_endpoint_message(each) for each in service.endpoints],
        nodes=[pb.Node(id=node.id, address=node.address, metadata=node.metadata) for node in service.nodes],
        options=pb.Options(),
    )


def _endpoint_from(message: pb.Endpoint) -> Endpoint:
    return Endpoint(
        name=message.name,
        request=_value_from(message.request) if message.HasField("request") else None,
        response=_value_from(message.response) if message.HasField("response") else None,
        metadata=dict(message.metadata),
    )


def _endpoint_message(endpoint: Endpoint) -> pb.Endpoint:
    return pb.Endpoint(
        name=endpoint.name,
        request=_value_message(endpoint.request) if endpoint.request is not None else None,
        response=_value_message(endpoint.response) if endpoint.response is not None else None,
        metadata=endpoint.metadata,
    )


def _value_from(message: pb.Value) -> Value:
    return Value(message.name, message.type, tuple(_value_from(each) for each in message.values))


def _value_message(value: Value) -> pb.Value:
    return pb.Value(name=value.name, type=value.type, values=[_value_message(each) for each in value.values])
