"""C{micro services} and C{micro get service}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from microd.cli.catalogue import Endpoint, Service, every_service, look_up, not_found
from microd.cli.failure import MALFORMED
from microd.cli.lazy import MicroCommand, MicroGroup, pass_session
from microd.cli.session import Session
from microd.cli.shape import Shape


@click.command(cls=MicroCommand, short_help="List the registered services")
@pass_session
def services(session: Session) -> None:
    """List the services that are registered in the namespace, one line for each version."""
    found = every_service(session)
    session.answer(
        [
            {"name": service.name, "version": service.version, "nodes": len(service.nodes)}
            for service in found
        ],
        lambda: "\n".join(service.name for service in found),
    )


@click.group(cls=MicroGroup, misses=MALFORMED, short_help="Get one thing in detail")
def get() -> None:
    """Get one thing in detail."""


@get.command("service", short_help="Show a service's nodes and endpoints")
@click.argument("name", default="")
@click.pass_context
def get_service(context: click.Context, name: str) -> None:
    """Show the versions, nodes and endpoints of the service NAME."""
    session = context.ensure_object(Session)
    if not name:
        click.echo(context.get_help())
        return
    found = look_up(session, name)
    if found is None:
        raise not_found(name)
    session.answer([_plain(service) for service in found.versions], lambda: _described(found.versions))


def _plain(service: Service) -> dict[str, Any]:
    return {
        "name": service.name,
        "version": service.version,
        "metadata": dict(service.metadata),
        "nodes": [
            {"id": node.id, "address": node.address, "metadata": dict(node.metadata)}
            for node in service.nodes
        ],
        "endpoints": [
            {
                "name": endpoint.name,
                "metadata": dict(endpoint.metadata),
                "request": _tree(endpoint.request),
                "response": _tree(endpoint.response),
            }
            for endpoint in service.endpoints
        ],
    }


def _tree(shape: Shape) -> dict[str, Any]:
    return {"name": shape.name, "type": shape.type, "values": [_tree(field) for field in shape.fields]}


def _described(versions: tuple[Service, ...]) -> str:
    lines = [f"service  {versions[0].name}"]
    for service in versions:
        lines += ["", f"version {service.version}", "", "ID\tAddress\tMetadata"]
        lines += [f"{node.id}\t{node.address}\t{_pairs(node.metadata)}" for node in service.nodes]
    for endpoint in versions[0].endpoints:
        lines += _endpoint(endpoint)
    return "\n".join(lines)


def _endpoint(endpoint: Endpoint) -> list[str]:
    lines = ["", f"Endpoint: {endpoint.name}", ""]
    if endpoint.metadata:
        lines += [f"Metadata: {_pairs(endpoint.metadata)}", ""]
    lines += [f"Request: {_block(endpoint.request, 1)}", ""]
    lines += [f"Response: {_block(endpoint.response, 1)}"]
    return lines


def _block(shape: Shape, depth: int) -> str:
    if not shape.fields:
        return "{}"
    inside, after = "\t" * depth, "\t" * (depth - 1)
    fields = "\n".join(f"{inside}{field.name} {field.title}{_inner(field, depth)}" for field in shape.fields)
    return f"{{\n{fields}\n{after}}}"


def _inner(field: Shape, depth: int) -> str:
    return f" {_block(field, depth + 1)}" if field.fields else ""


def _pairs(metadata: Mapping[str, str]) -> str:
    return ",".join(f"{key}={' '.join(value.split())}" for key, value in sorted(metadata.items()))
