"""Events as the commands ask for them and show them."""

from __future__ import annotations

import json
from binascii import b2a_base64
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from microd.cli.failure import CommandFailed
from microd.cli.remote import MessageT
from microd.cli.session import Session

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from microd.wire.events_pb2 import Event

#: How events can be shown.
OUTPUT = click.option(
    "--output",
    "-o",
    type=click.Choice(["text", "payload", "json"]),
    default="text",
    show_default=True,
    help="A line with offset, time and payload; the bare payload; or everything.",
)
_SHOWN = 20


def ask(session: Session, method: str, request: Message, reply: type[MessageT]) -> MessageT:
    """Ask the events service; C{method} is such as C{Topics/List}."""
    return session.remote.unary(f"/events.{method}", request, reply, namespace=session.namespace)


def require(topic: str, usage: str) -> None:
    """Have a topic, or say what to write."""
    if not topic:
        raise CommandFailed("missing topic", remedy=f"Write `micro events {usage}`.")


def pairs(words: Iterable[str]) -> dict[str, str]:
    """Metadata from C{key=value}."""
    found = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise CommandFailed(f"Metadata must be of the form key=value, unlike {word}")
        found[key] = value
    return found


def time_of(milliseconds: int) -> str:
    """A moment in UTC, as C{--from} takes it."""
    from datetime import UTC, datetime, timedelta

    try:
        found = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return str(milliseconds)
    return found.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def plain(event: Event) -> dict[str, Any]:
    """For programs: a payload which is a JSON object or array as such, other text as text, other bytes in base64."""
    found: dict[str, Any] = {
        "topic": event.topic,
        "offset": event.offset,
        "id": event.id,
        "timestamp": time_of(event.timestamp_ms or event.timestamp * 1000),
        "metadata": dict(sorted(event.metadata.items())),
        **payload(event.payload),
    }
    if event.attempt:
        found |= {"attempt": event.attempt, "redelivered": event.redelivered}
    return found


def payload(data: bytes) -> dict[str, Any]:
    """A payload, for programs."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return {"payload_base64": b2a_base64(data, newline=False).decode()}
    if text[:1] in ("{", "["):
        try:
            found = json.loads(text)
            json.dumps(found, allow_nan=False)
        except (ValueError, RecursionError):
            return {"payload": text}
        return {"payload": found}
    return {"payload": text}


def show(session: Session, event: Event, output: str) -> None:
    """Print an event, as one line or as the bytes of its payload, and see that it is written."""
    if output == "json" or session.json:
        click.echo(json.dumps(plain(event), ensure_ascii=False))
    elif output == "payload":
        click.echo(event.payload)
    else:
        click.echo(_line(event))


def short(data: bytes, longest: int = 0) -> str:
    """A payload on a line of a terminal, which nothing in it can move.

    @param longest: characters; 0: all.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError:
        more = "..." if len(data) > _SHOWN else ""
        return f"({len(data)} bytes) {data[:_SHOWN].hex()}{more}"
    text = one_line(text.strip())
    return text if not longest or len(text) <= longest else text[: longest - 3] + "..."


def one_line(text: str) -> str:
    """Text without what would end the line or move the cursor."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _line(event: Event) -> str:
    when = time_of(event.timestamp_ms or event.timestamp * 1000)
    parts = [str(event.offset), when, short(event.payload)]
    if event.metadata:
        said = " ".join(f"{key}={value}" for key, value in sorted(event.metadata.items()))
        parts.append(one_line(f"[{said}]"))
    if event.redelivered:
        parts.append(f"(attempt {event.attempt})" if event.attempt > 1 else "(again)")
    return "  ".join(parts)
