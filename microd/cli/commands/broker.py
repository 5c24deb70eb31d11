"""C{micro broker}."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from microd.cli.counts import Count
from microd.cli.failure import CommandFailed
from microd.cli.lazy import MicroGroup, pass_session
from microd.cli.session import Session

if TYPE_CHECKING:
    from microd.wire.broker_pb2 import Message


@click.group(cls=MicroGroup, short_help="Publish messages and read them")
def broker() -> None:
    """Publish messages and read them. Topics are those of the namespace which the account belongs to."""


@broker.command("publish", short_help="Send a message to whoever is subscribed")
@click.argument("topic", default="")
@click.argument("words", nargs=-1)
@click.option(
    "--header", "-H", multiple=True, metavar="KEY=VALUE", help="A header of the message; repeat it."
)
@pass_session
def publish(session: Session, topic: str, words: tuple[str, ...], header: tuple[str, ...]) -> None:
    """Send a message to all who are subscribed to TOPIC: micro broker publish TOPIC MESSAGE.

    Words are joined with spaces; - stands for standard input. What is JSON is sent as such.

    \b
    Example:
      micro broker publish orders.paid '{"id": 7}'
    """
    from microd.wire.broker_pb2 import Empty, Message, PublishRequest

    if not topic or not words:
        raise CommandFailed("missing topic or message", remedy="Write `micro broker publish TOPIC MESSAGE`.")
    body = sys.stdin.buffer.read() if words == ("-",) else " ".join(words).encode()
    kind = "application/json" if _is_json(body) else "text/plain"
    said = {"Micro-Topic": topic, "Content-Type": kind, **_pairs(header)}
    request = PublishRequest(topic=topic, message=Message(header=said, body=body))
    session.remote.unary("/broker.Broker/Publish", request, Empty)


@broker.command("subscribe", short_help="Print the messages of a topic as they come")
@click.argument("topic", default="")
@click.option(
    "--queue", "-q", default="", metavar="NAME", help="Share the messages with others of the same queue."
)
@click.option("--count", "-n", default=0, type=Count(), metavar="N", help="End after so many.")
@pass_session
def subscribe(session: Session, topic: str, queue: str, count: int) -> None:
    """Print the messages of TOPIC as they come, until Ctrl-C. With --json each is one line.

    In TOPIC, * stands for any one word between dots, and > at the end for any number of them. It subscribes again by itself
    when the server was away; what was sent meanwhile is lost, which it says.

    \b
    Example:
      micro broker subscribe 'orders.*' --queue billing
    """
    from microd.cli.following import follow
    from microd.wire.broker_pb2 import Message, SubscribeRequest

    if not topic:
        raise CommandFailed("missing topic", remedy="Write `micro broker subscribe TOPIC`.")
    request = SubscribeRequest(topic=topic, queue=queue)
    messages = follow(
        session,
        lambda remote: remote.follow("/broker.Broker/Subscribe", request, Message),
        "What is sent meanwhile is lost; trying again.",
    )
    try:
        for number, (_, message) in enumerate(messages, 1):
            session.say(_plain(message) if session.json else message.body.decode(errors="replace"))
            if number == count:
                return
    except KeyboardInterrupt:
        return
    finally:
        messages.close()


def _plain(message: Message) -> str:
    """One line of JSON; a body which is no text as base64."""
    import binascii

    found: dict[str, object] = {"header": dict(sorted(message.header.items()))}
    try:
        found["body"] = message.body.decode()
    except UnicodeDecodeError:
        found["body_base64"] = binascii.b2a_base64(message.body, newline=False).decode()
    return json.dumps(found, ensure_ascii=False)


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except ValueError:
        return False
    return True


def _pairs(words: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise CommandFailed(f"A header must be of the form key=value, unlike {word}")
        found[key] = value
    return found
