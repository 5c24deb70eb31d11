"""C{micro logs}."""

from __future__ import annotations

import json

import click

from microd.cli.counts import Count
from microd.cli.failure import REFUSED, CommandFailed
from microd.cli.lazy import MicroCommand
from microd.cli.moments import moment
from microd.cli.running import LATEST, Line, Runtime
from microd.cli.session import Session


@click.command(cls=MicroCommand, short_help="Read the output of a service")
@click.argument("name", default="")
@click.option(
    "--lines",
    "-n",
    default=15,
    show_default=True,
    type=Count(),
    metavar="N",
    help="How many of the newest lines; 0 for all.",
)
@click.option("--follow", "-f", is_flag=True, help="Go on with what will be written.")
@click.option("--output", "-o", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--version", metavar="VERSION", default="", help="The service's version, if not the latest.")
@click.option(
    "--since", metavar="WHEN", default="", help="Nothing older than this: 10m, or 2025-01-31T12:00:00Z."
)
@click.pass_context
def logs(
    context: click.Context, name: str, lines: int, follow: bool, output: str, version: str, since: str
) -> None:
    """Print what the service NAME (or NAME@VERSION) has written."""
    session = context.ensure_object(Session)
    if not name:
        click.echo(context.get_help())
        return
    service, _, ref = name.partition("@")
    found = Runtime(session.remote, session.namespace).logs(
        service,
        version or ref or LATEST,
        count=lines,
        follow=follow,
        since=moment(since, session.now()) if since else 0,
    )
    try:
        for line in found:
            session.say(_written(line) if output == "json" or session.json else line.message)
    except KeyboardInterrupt:
        if not follow:
            raise
    except CommandFailed as error:
        if error.code == REFUSED and "not found" in error.sentence:
            raise CommandFailed("Service not found", remedy="See `micro status`.") from error
        raise


def _written(line: Line) -> str:
    return json.dumps({"Message": line.message, "Metadata": dict(line.metadata)}, ensure_ascii=False)
