"""C{micro status}."""

from __future__ import annotations

from datetime import datetime

import click

from microd.cli.layout import age, tabbed
from microd.cli.lazy import MicroCommand, pass_session
from microd.cli.running import LATEST, Running, Runtime
from microd.cli.session import Session

_HEAD = ("NAME", "VERSION", "SOURCE", "STATUS", "BUILD", "UPDATED", "METADATA")


@click.command(cls=MicroCommand, short_help="Show how the running services are")
@click.argument("name", default="")
@click.argument("version", default="")
@click.option("--name", "named", default="", metavar="NAME", help="The same as the argument.")
@click.option("--type", "type_", default="", metavar="TYPE", help="Only services of this type.")
@pass_session
def status(session: Session, name: str, version: str, named: str, type_: str) -> None:
    """Show the services that run in the namespace: all, or one by NAME and VERSION (the latest if not given)."""
    name, _, ref = (name or named).partition("@")
    wanted = version or ref or (LATEST if name else "")
    found = Runtime(session.remote, session.namespace).read(name, wanted, type_)
    now = session.now()
    session.answer(
        [
            {
                "name": service.name,
                "version": service.version,
                "source": service.metadata.get("source") or service.source,
                "status": service.status,
                "metadata": dict(service.metadata),
            }
            for service in found
        ],
        lambda: tabbed([_HEAD, *(_row(service, now) for service in found)]) if found else "",
    )


def _row(service: Running, now: float) -> list[str]:
    metadata = service.metadata
    notes = f"owner={metadata.get('owner') or 'n/a'}, group={metadata.get('group') or 'n/a'}"
    if service.status == "error" or service.trouble:
        notes += f", error={service.trouble or 'n/a'}"
    if service.status == "error" and service.last_line:
        notes += f" ({service.last_line})"
    cells = [
        service.name,
        service.version,
        metadata.get("source") or service.source,
        service.status,
        metadata.get("build", "")[:7],
        _since(metadata.get("started", ""), now),
        notes,
    ]
    return [cell or "n/a" for cell in cells]


def _since(started: str, now: float) -> str:
    if not started:
        return "unknown"
    try:
        moment = datetime.fromisoformat(started)
    except ValueError:
        return started
    return f"{age(now - moment.timestamp())} ago"
