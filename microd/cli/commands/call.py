"""C{micro call} and C{micro stream}: any endpoint of any service, with JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from microd.cli.failure import MALFORMED, NOT_AUTHORIZED, CommandFailed
from microd.cli.layout import indented
from microd.cli.lazy import MicroCommand, pass_session
from microd.cli.naming import CORE, DEFAULT_NAMESPACE, path_of
from microd.cli.remote import PATIENCE, Remote
from microd.cli.session import Session

_OUTPUT = click.Choice(["json", "raw"])


@click.command(cls=MicroCommand, short_help="Call a service's endpoint with JSON")
@click.argument("words", nargs=-1)
@click.option("--address", metavar="HOST:PORT", help="Call this node, past the server.")
@click.option("--output", "-o", type=_OUTPUT, default="json", envvar="MICRO_OUTPUT", show_default=True)
@click.option("--metadata", multiple=True, metavar="KEY=VALUE", help="A header of the request; repeat it.")
@click.option(
    "--request-timeout",
    "--request_timeout",
    "--timeout",
    "timeout",
    metavar="DURATION",
    help="10s by default.",
)
@pass_session
@click.pass_context
def call(
    context: click.Context,
    session: Session,
    words: tuple[str, ...],
    address: str | None,
    output: str,
    metadata: tuple[str, ...],
    timeout: str | None,
) -> None:
    """Call an endpoint: micro call SERVICE STRUCT.METHOD [JSON].

    The request may also be @FILE, or - for standard input.
    """
    if not _complete(context, words):
        return
    patience = _patience(timeout)
    reply = _remote(session, address).call_json(
        _path(words),
        _request(session, words[2:]),
        namespace=_namespace(session, words[0]),
        metadata=pairs_from(metadata),
        timeout=PATIENCE if patience is None else patience,
    )
    click.echo(reply if output == "raw" else _laid_out(reply))


@click.command(cls=MicroCommand, short_help="Call a service's streaming endpoint with JSON")
@click.argument("words", nargs=-1)
@click.option("--address", metavar="HOST:PORT", help="Call this node, past the server.")
@click.option("--output", "-o", type=_OUTPUT, default="json", envvar="MICRO_OUTPUT", show_default=True)
@click.option("--metadata", multiple=True, metavar="KEY=VALUE", help="A header of the request; repeat it.")
@click.option(
    "--request-timeout",
    "--request_timeout",
    "--timeout",
    "timeout",
    metavar="DURATION",
    help="No limit by default.",
)
@pass_session
@click.pass_context
def stream(
    context: click.Context,
    session: Session,
    words: tuple[str, ...],
    address: str | None,
    output: str,
    metadata: tuple[str, ...],
    timeout: str | None,
) -> None:
    """Print each reply of a streaming endpoint: micro stream SERVICE STRUCT.METHOD [JSON].

    With --json each reply is one line. The request may also be @FILE, or - for standard input.
    """
    if not _complete(context, words):
        return
    for reply in _remote(session, address).stream_json(
        _path(words),
        _request(session, words[2:]),
        namespace=_namespace(session, words[0]),
        metadata=pairs_from(metadata),
        timeout=_patience(timeout),
    ):
        if session.json:
            click.echo(json.dumps(json.loads(reply), ensure_ascii=False))
        else:
            click.echo(reply if output == "raw" else _laid_out(reply))


def _complete(context: click.Context, words: tuple[str, ...]) -> bool:
    """Whether the words name an endpoint; else there is help, and an error where a service stands alone."""
    if len(words) < 2:
        click.echo(context.get_help())
    if len(words) == 1:
        raise CommandFailed(
            f"the endpoint of {words[0]} is missing",
            remedy=f"Write `{context.command_path} {words[0]} STRUCT.METHOD`; `micro get service {words[0]}` lists them.",
        )
    return len(words) > 1


def pairs_from(words: tuple[str, ...]) -> list[tuple[str, str]]:
    """Headers from C{key=value}; a value may hold C{=}."""
    found = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise CommandFailed(f"Metadata must be of the form key=value, unlike {word}")
        found.append((key.strip().lower(), value))
    return found


def _path(words: tuple[str, ...]) -> str:
    service, endpoint = words[0], words[1]
    if endpoint.count(".") != 1:
        raise CommandFailed(f'Method name "{endpoint}" invalid format. Expecting service.endpoint', MALFORMED)
    return path_of(service, endpoint)


def _namespace(session: Session, service: str) -> str:
    return DEFAULT_NAMESPACE if service in CORE else session.namespace


def _remote(session: Session, address: str | None) -> Remote:
    return session.node(address) if address else session.remote


def _patience(text: str | None) -> float | None:
    from microd.cli.durations import seconds_from

    if text is None:
        return None
    try:
        return seconds_from(text)
    except ValueError:
        raise CommandFailed(
            "Invalid format for request_timeout duration. Try 500ms or 5s", NOT_AUTHORIZED
        ) from None


def _request(session: Session, words: tuple[str, ...]) -> bytes:
    """The request's JSON as it was given: numbers keep every digit."""
    text = " ".join(words) or "{}"
    try:
        if text == "-":
            text = sys.stdin.read()
        elif text.startswith("@"):
            text = Path(text[1:]).expanduser().read_text()
        found: Any = json.loads(text)
    except (ValueError, OSError) as error:
        raise CommandFailed(f"Error creating request {error}") from error
    if not isinstance(found, dict):
        raise CommandFailed("Error creating request: it is not a JSON object")
    return text.encode()


def _laid_out(reply: bytes) -> str:
    try:
        json.loads(reply)
    except ValueError:
        raise CommandFailed("Error while trying to format the response", MALFORMED) from None
    return indented(reply.decode())
