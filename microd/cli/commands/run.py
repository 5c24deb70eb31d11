"""C{micro run}, C{micro update} and C{micro kill}."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from microd.cli.counts import Count
from microd.cli.deploying import Source, deploy, source_from, wait
from microd.cli.durations import seconds_from
from microd.cli.failure import INTERRUPTED, REFUSED, CommandFailed
from microd.cli.lazy import MicroCommand
from microd.cli.running import LATEST, Order, Running, Runtime, name_and_version
from microd.cli.session import Session


def _duration(context: click.Context, parameter: click.Parameter, value: str) -> float:
    """A duration as Go writes it, in seconds."""
    try:
        return seconds_from(value)
    except ValueError as error:
        raise click.BadParameter(str(error), context, parameter) from error


_PATIENCE = click.option(
    "--timeout",
    "patience",
    default="60s",
    callback=_duration,
    metavar="DURATION",
    help="How long it may take to start; 60s by default.",
)
_NO_WAIT = click.option("--no-wait", is_flag=True, help="Do not wait until it runs.")
_INSTANCES = click.option(
    "--instances", "-i", default=0, type=Count(), metavar="N", help="How many processes."
)


@click.command(cls=MicroCommand, short_help="Run a service from its source")
@click.argument("source", default="")
@click.option("--name", default="", help="The service's name; the folder's by default.")
@click.option("--version", default=LATEST, show_default=True, help="The service's version.")
@click.option("--command", default="", metavar="WORDS", help="Run this instead of the folder's main.py.")
@click.option("--args", default="", metavar="WORDS", help="Arguments for the program.")
@click.option(
    "--env-vars",
    "--env_vars",
    "env_vars",
    multiple=True,
    metavar="NAME=VALUE",
    help="Into the service's environment; repeat it, or give a comma list.",
)
@click.option(
    "--metadata", multiple=True, metavar="KEY=VALUE", help="A note to keep with the service; repeat it."
)
@click.option("--type", "type_", default="", metavar="TYPE", help="The service's type.")
@click.option(
    "--image", default="", metavar="IMAGE", help="The container image, where the server runs containers."
)
@click.option("--force", is_flag=True, hidden=True)
@click.option("--watch", is_flag=True, help="Run it anew whenever a file changes, until Ctrl-C.")
@click.option(
    "--watch-delay",
    "--watch_delay",
    "delay",
    default=1000,
    metavar="MS",
    help="How often to look, in milliseconds; 1000 by default.",
)
@_INSTANCES
@_PATIENCE
@_NO_WAIT
@click.pass_context
def run(
    context: click.Context,
    source: str,
    name: str,
    version: str,
    command: str,
    args: str,
    env_vars: tuple[str, ...],
    metadata: tuple[str, ...],
    type_: str,
    image: str,
    force: bool,
    watch: bool,
    delay: int,
    instances: int,
    patience: float,
    no_wait: bool,
) -> None:
    """Run the service in the folder SOURCE, and wait until it has registered.

    What runs already under that name and version is replaced: the new one is started first, and the old one stays if
    the new one fails.
    """
    session = context.ensure_object(Session)
    if not source:
        click.echo(context.get_help())
        return
    found = source_from(source, Path.cwd())
    order = Order(
        name=name or found.name,
        version=version,
        source="",
        metadata=_metadata(metadata),
        command=tuple(_words(command)),
        args=tuple(_words(args)),
        env=_variables(env_vars),
        type=type_,
        image=image,
        instances=instances,
    )
    runtime = Runtime(session.remote, session.namespace)
    again = lambda: _bring(session, runtime, found, order, runtime.create, patience, no_wait)  # noqa: E731
    if watch:
        from microd.cli.watching import watch as look

        look(session, found.folder, again, delay / 1000)
    else:
        again()


@click.command(cls=MicroCommand, short_help="Replace a running service by its present source")
@click.argument("source", default="")
@click.option("--name", default="", help="The service's name; the folder's by default.")
@_INSTANCES
@_PATIENCE
@_NO_WAIT
@click.pass_context
def update(
    context: click.Context, source: str, name: str, instances: int, patience: float, no_wait: bool
) -> None:
    """Replace a running service by what is now in SOURCE: a folder, or the name of a service that was run from one."""
    session = context.ensure_object(Session)
    if not source:
        click.echo(context.get_help())
        return
    runtime = Runtime(session.remote, session.namespace)
    known, version = name_and_version(source)
    running = runtime.read(known, version) if not Path(source).exists() else []
    text = running[0].metadata.get("source", "") if running else source
    found = source_from(text, Path.cwd())
    order = Order(
        name=name or (running[0].name if running else found.name),
        version=running[0].version if running else LATEST,
        source="",
        metadata={},
        instances=instances,
    )
    _bring(session, runtime, found, order, runtime.update, patience, no_wait)


@click.command(cls=MicroCommand, short_help="Stop services and forget them")
@click.argument("names", nargs=-1)
@click.option("--name", "named", multiple=True, metavar="NAME", help="The same as an argument.")
@click.pass_context
def kill(context: click.Context, names: tuple[str, ...], named: tuple[str, ...]) -> None:
    """Stop and forget the services NAMES; each is name or name@version, or the folder it was run from."""
    session = context.ensure_object(Session)
    wanted = (*names, *named)
    if not wanted:
        click.echo(context.get_help())
        return
    runtime = Runtime(session.remote, session.namespace)
    failed: list[CommandFailed] = []
    for text in wanted:
        name, version = _named(text)
        try:
            runtime.delete(name, version)
        except CommandFailed as error:
            failed.append(_not_killed(name, version, error))
    if failed:
        for failure in failed[:-1]:
            session.tell(failure.text)
        raise failed[-1]


def _bring(
    session: Session,
    runtime: Runtime,
    source: Source,
    order: Order,
    place: Callable[[Order], None],
    patience: float,
    no_wait: bool,
) -> None:
    placed = deploy(session, runtime, source, order, place)
    if no_wait:
        return
    try:
        running = wait(session, runtime, placed, patience)
    except KeyboardInterrupt:
        raise CommandFailed(
            f"Stopped waiting; {order.name} goes on starting",
            INTERRUPTED,
            remedy=f"See `micro status {order.name}`.",
        ) from None
    _tell(session, running)


def _tell(session: Session, running: Running) -> None:
    """What a program reads is JSON; a person is told on stderr, so that stdout stays empty as in the reference."""
    if session.json:
        told = {"name": running.name, "version": running.version, "status": running.status}
        session.answer({**told, "metadata": dict(running.metadata)}, str)
    else:
        session.tell(f"{running.name} is running. See what it can do: `micro {running.name} --help`.")


def _metadata(words: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise CommandFailed("invalid metadata string, must be of form foo=bar")
        if key == "source":
            raise CommandFailed("invalid metadata string, 'source' is a reserved key")
        found[key] = value
    return found


def _words(text: str) -> list[str]:
    import shlex

    try:
        return shlex.split(text)
    except ValueError as error:
        raise CommandFailed(f"{text!r} cannot be parted into words: {error}") from error


def _variables(given: tuple[str, ...]) -> tuple[str, ...]:
    """C{a=b,c=d}, once or more often; a piece without C{=} belongs to the value before it."""
    found: list[str] = []
    for text in given:
        start = len(found)
        for piece in text.split(","):
            if "=" in piece:
                found.append(piece)
            elif len(found) > start:
                found[-1] += f",{piece}"
            else:
                raise CommandFailed(f"--env-vars wants NAME=VALUE, not {text}")
    return tuple(found)


def _named(text: str) -> tuple[str, str]:
    """A service by its name, or by the folder it was run from."""
    if text == "." or "/" in text.partition("@")[0]:
        return Path(text).expanduser().resolve().name, LATEST
    return name_and_version(text)


def _not_killed(name: str, version: str, error: CommandFailed) -> CommandFailed:
    if error.code == REFUSED and "not found" in error.sentence.lower():
        shown = name if version == LATEST else f"{name}@{version}"
        return CommandFailed(f'Service "{shown}" not found', REFUSED, remedy="See `micro status`.")
    return error
