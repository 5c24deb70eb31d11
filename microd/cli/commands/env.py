"""C{micro env}: which deployment this CLI talks to."""

from __future__ import annotations

import click

from microd.cli.lazy import MicroGroup, pass_session
from microd.cli.session import Session


@click.group(cls=MicroGroup, alone=True, short_help="Get and set the environment that micro talks to")
@click.pass_context
def env(context: click.Context) -> None:
    """List the environments, or change them; `*` marks the one in use."""
    if context.invoked_subcommand is None:
        context.invoke(list_environments)


@env.command("list", short_help="List the environments")
@pass_session
def list_environments(session: Session) -> None:
    """List the environments; `*` marks the one in use."""
    known, current = session.environments.all(), session.environment_name
    named = max(len(each.name) for each in known) + 3
    addressed = max(len(each.address or "none") for each in known) + 4
    session.answer(
        [
            {
                "name": each.name,
                "address": each.address,
                "description": each.description,
                "current": each.name == current,
            }
            for each in known
        ],
        lambda: "\n".join(
            f"{'*' if each.name == current else ' '} {each.name:<{named}}{each.address or 'none':<{addressed}}"
            f"{each.description}"
            for each in known
        ),
    )


@env.command("get", short_help="Show the name of the current environment")
@pass_session
def get(session: Session) -> None:
    """Show the name of the current environment."""
    name = session.environment_name
    session.answer({"name": name}, lambda: name)


@env.command("set", short_help="Use another environment from now on", no_args_is_help=False)
@click.argument("name")
@pass_session
def choose(session: Session, name: str) -> None:
    """Use the environment NAME from now on."""
    session.environments.choose(name)


@env.command("add", short_help="Add an environment")
@click.argument("name")
@click.argument("address", default="")
@pass_session
def add(session: Session, name: str, address: str) -> None:
    """Add the environment NAME, whose proxy is at ADDRESS.

    That is host:port, or a host alone for port 443 with TLS.
    """
    from microd.cli.address import address_from

    if address:
        address_from(address)
    session.environments.add(name, address)


@env.command("del", short_help="Delete an environment")
@click.argument("name")
@pass_session
def delete(session: Session, name: str) -> None:
    """Delete the environment NAME."""
    session.environments.delete(name)
