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
    if service.status == "error" and metadata.get("retry"):
        notes += f", restarts={metadata.get('restarts', '0')}, retry={_until(metadata['retry'], now)}"
    if metadata.get("instances"):
        notes += f", instances={metadata['instances']}"
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
    moment = _moment(started)
    return started if moment is None else f"{age(now - moment)} ago"


def _until(due: str, now: float) -> str:
    moment = _moment(due)
    return due if moment is None else f"in {age(moment - now)}"


def _moment(said: str) -> float | None:
    try:
        return datetime.fromisoformat(said).timestamp()
    except ValueError:
        return None
