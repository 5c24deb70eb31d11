"""C{micro debug}: how services are, what they take, what they were asked, and what they said."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click

from microd.cli.catalogue import Service, every_service, look_up, not_found
from microd.cli.counts import Count
from microd.cli.debugging import Answer, Debugged, went
from microd.cli.durations import go_duration
from microd.cli.failure import FAILED, MALFORMED, CommandFailed
from microd.cli.layout import bordered
from microd.cli.lazy import MicroGroup, pass_session
from microd.cli.moments import moment
from microd.cli.naming import CORE
from microd.cli.session import Session

_STATS = ("NODE", "ADDRESS:PORT", "STARTED", "UPTIME", "MEMORY", "THREADS", "GC", "REQUESTS", "ERRORS")
_SPANS = ("TRACE", "SPAN", "PARENT", "TYPE", "NAME", "TIME", "DURATION", "STATUS")


@click.group(
    cls=MicroGroup, misses=MALFORMED, short_help="See how services are: health, stats, calls and logs"
)
def debug() -> None:
    """See how services are: health, stats, calls and logs."""


@debug.command("health", short_help="Ask each node of a service how it is")
@click.argument("service", default="")
@pass_session
def health(session: Session, service: str) -> None:
    """Ask each node of SERVICE whether it can do its work; the exit code is 1 where one cannot."""
    if not service:
        raise CommandFailed("require service name", remedy="Write `micro debug health SERVICE`.")
    debugged = _debugged(session, service)
    answers = debugged.of_each_node("Health")
    states = [answer.failure or str(answer.said.get("status") or "ok") for answer in answers]
    session.answer(
        [_about(answer) | {"status": state} for answer, state in zip(answers, states, strict=True)],
        lambda: "\n".join([f"service  {service}", *_listed(answers, states)]),
    )
    ill = sum(state != "ok" for state in states)
    if ill:
        raise CommandFailed(f"{ill} of {len(states)} nodes of {service} are not well", FAILED)


@debug.command("stats", short_help="Show what services take, node by node")
@click.argument("services", nargs=-1)
@click.option(
    "--all",
    "all_",
    type=click.Choice(["builtin", "custom"]),
    help="All services of the platform, or of yours.",
)
@click.pass_context
def stats(context: click.Context, services: tuple[str, ...], all_: str | None) -> None:
    """Show what each node of SERVICES takes, and how much was asked of it since its start."""
    session = context.ensure_object(Session)
    names = [*services, *(_every(session, all_) if all_ else ())]
    if all_ and not names:
        raise CommandFailed(f"no {all_} service(s) found", FAILED)
    if not names:
        click.echo(context.get_help())
        return
    answers = [
        answer for name in dict.fromkeys(names) for answer in _debugged(session, name).of_each_node("Stats")
    ]
    session.answer(
        [_about(answer) | _numbers(answer) for answer in answers], lambda: "\n\n".join(_tables(answers))
    )


@debug.command("trace", short_help="Show the last calls which a service answered and made")
@click.argument("service", default="")
@click.option("--id", "id_", default="", metavar="TRACE", help="Only this trace: 32 hex digits, or a UUID.")
@click.pass_context
def trace(context: click.Context, service: str, id_: str) -> None:
    """Show the last calls which SERVICE answered and made, the oldest first. For admins of its namespace."""
    session = context.ensure_object(Session)
    if not service:
        click.echo(context.get_help())
        return
    spans = _debugged(session, service).spans(id_)
    session.answer(spans, lambda: bordered(_SPANS, [_span(span) for span in spans]))


@debug.command("logs", short_help="Show the last lines of a service's log, from its memory")
@click.argument("service", default="")
@click.option(
    "--lines",
    "-n",
    default=15,
    show_default=True,
    type=Count(),
    metavar="N",
    help="How many; 0 for all that are kept.",
)
@click.option("--since", default="", metavar="WHEN", help="Nothing older: 10m, or 2025-01-31T12:00:00Z.")
@click.pass_context
def logs(context: click.Context, service: str, lines: int, since: str) -> None:
    """Show the last lines of the log of SERVICE, wherever it runs: what it remembers, with the trace of each. For admins of
    its namespace.

    `micro logs` shows all that a service printed which the runtime runs.
    """
    session = context.ensure_object(Session)
    if not service:
        click.echo(context.get_help())
        return
    begin = moment(since, session.now()) if since else 0
    for record in _debugged(session, service).records(lines, begin):
        if session.json:
            click.echo(record.json)
        else:
            session.say(record.text)


def _debugged(session: Session, name: str) -> Debugged:
    found = look_up(session, name)
    if found is not None:
        return Debugged(session, found)
    if name in CORE:
        return Debugged.unlisted(session, name)
    raise not_found(name)


def _every(session: Session, kind: str) -> list[str]:
    builtin = kind == "builtin"
    return [each.name for each in every_service(session) if (each.name in CORE) is builtin]


def _about(answer: Answer) -> dict[str, Any]:
    return {
        "service": answer.service.name,
        "version": answer.service.version,
        "node": answer.node.id,
        "address": answer.node.address,
    }


def _numbers(answer: Answer) -> dict[str, Any]:
    if answer.failure:
        return {"error": answer.failure}
    names = ("timestamp", "started", "uptime", "memory", "threads", "gc", "requests", "errors")
    return {name: answer.number(name) for name in names}


def _listed(answers: Sequence[Answer], states: Sequence[str]) -> list[str]:
    lines: list[str] = []
    version: Service | None = None
    for answer, state in zip(answers, states, strict=True):
        if answer.service is not version:
            version = answer.service
            lines += ["", f"version {version.version}", "", "node\t\taddress:port\t\tstatus"]
        lines.append(f"{answer.node.id}\t\t{answer.node.address}\t\t{state}")
    return lines


def _tables(answers: Sequence[Answer]) -> list[str]:
    tables: list[str] = []
    for service in dict.fromkeys((answer.service.name, answer.service.version) for answer in answers):
        rows = [
            _row(answer) for answer in answers if (answer.service.name, answer.service.version) == service
        ]
        name, version = service
        tables.append(f"SERVICE {name}\n\nVERSION {version}\n\n{bordered(_STATS, rows)}")
    return tables


def _row(answer: Answer) -> tuple[str, ...]:
    where = (answer.node.id, answer.node.address)
    if answer.failure:
        return (*where, *[""] * (len(_STATS) - 2))
    started = datetime.fromtimestamp(answer.number("started")).astimezone()
    return (
        *where,
        f"{started:%b} {started.day} {started:%H:%M:%S}",
        go_duration(answer.number("uptime") * 10**9),
        f"{answer.number('memory') / (1 << 20):.2f}mb",
        str(answer.number("threads")),
        go_duration(answer.number("gc")),
        str(answer.number("requests")),
        str(answer.number("errors")),
    )


def _span(span: dict[str, Any]) -> tuple[str, ...]:
    started = datetime.fromtimestamp(span["started"] / 1e9, UTC)
    return (
        span["trace"],
        span["id"],
        span["parent"],
        "in" if span["type"] == "INBOUND" else "out",
        span["name"],
        f"{started:%Y-%m-%d %H:%M:%S}.{started.microsecond // 1000:03}",
        went(span["duration"]),
        " ".join(span["metadata"].get("error", "ok").split()),
    )
