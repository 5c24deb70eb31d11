"""What the registry knows, as the commands want it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from microd.cli.failure import UNREACHABLE, CommandFailed, Unreachable
from microd.cli.naming import CORE, DEFAULT_NAMESPACE
from microd.cli.session import Session
from microd.cli.shape import Shape

if TYPE_CHECKING:
    from microd.wire import registry_pb2


class Node(NamedTuple):
    """A running copy of a service."""

    id: str
    address: str
    metadata: Mapping[str, str]


class Endpoint(NamedTuple):
    """What a service can be asked."""

    name: str
    request: Shape
    response: Shape
    metadata: Mapping[str, str]

    @property
    def streams(self) -> bool:
        """Whether replies are many."""
        return self.metadata.get("stream") == "true"

    @property
    def doc(self) -> str:
        """What it does, in the words of its author; may be empty."""
        return (self.metadata.get("doc") or self.metadata.get("description") or "").strip()

    @property
    def summary(self) -> str:
        """The first paragraph of that, as one line."""
        return " ".join(self.doc.partition("\n\n")[0].split())


class Service(NamedTuple):
    """One version of a service."""

    name: str
    version: str
    metadata: Mapping[str, str]
    nodes: tuple[Node, ...]
    endpoints: tuple[Endpoint, ...]


class Found(NamedTuple):
    """A service's versions, and the namespace which they are in."""

    namespace: str
    versions: tuple[Service, ...]


def every_service(session: Session) -> list[Service]:
    """The services of the namespace, by name and version."""
    from microd.wire.registry_pb2 import ListRequest, ListResponse, Options

    request = ListRequest(options=Options(domain=session.namespace))
    answer = session.remote.unary("/registry.Registry/ListServices", request, ListResponse)
    return sorted(map(_service_from, answer.services), key=lambda service: (service.name, service.version))


def look_up(session: Session, name: str) -> Found | None:
    """Find a service where it may be: the core's in the platform's namespace, others in ours, then in the platform's."""
    namespaces = [DEFAULT_NAMESPACE] if name in CORE else [session.namespace, DEFAULT_NAMESPACE]
    for namespace in dict.fromkeys(namespaces):
        versions = _versions(session, namespace, name)
        if versions:
            return Found(namespace, versions)
    return None


def not_found(name: str) -> CommandFailed:
    """Nothing of that name is registered."""
    return CommandFailed(f'Service "{name}" not found', UNREACHABLE, remedy="See `micro services`.")


def _versions(session: Session, namespace: str, name: str) -> tuple[Service, ...]:
    from microd.wire.registry_pb2 import GetRequest, GetResponse, Options

    request = GetRequest(service=name, options=Options(domain=namespace))
    try:
        answer = session.remote.unary("/registry.Registry/GetService", request, GetResponse)
    except Unreachable:
        raise
    except CommandFailed as error:
        # The reference's detail for an unknown name; or we may not look into the platform's namespace.
        if error.sentence.lower() == "service not found" or namespace != session.namespace:
            return ()
        raise
    return tuple(map(_service_from, answer.services))


def _service_from(message: registry_pb2.Service) -> Service:
    return Service(
        name=message.name,
        version=message.version,
        metadata=dict(message.metadata),
        nodes=tuple(Node(node.id, node.address, dict(node.metadata)) for node in message.nodes),
        endpoints=tuple(_endpoint_from(endpoint) for endpoint in message.endpoints),
    )


def _endpoint_from(message: registry_pb2.Endpoint) -> Endpoint:
    return Endpoint(
        message.name, _shape_from(message.request), _shape_from(message.response), dict(message.metadata)
    )


def _shape_from(message: registry_pb2.Value) -> Shape:
    return Shape(message.name, message.type, tuple(map(_shape_from, message.values)))
