"""C{micro events dlq}."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from microd.cli.counts import Count
from microd.cli.eventing import ask, one_line, plain, require, short, time_of
from microd.cli.failure import CommandFailed
from microd.cli.layout import spaced
from microd.cli.lazy import MicroGroup, pass_session
from microd.cli.session import Session

if TYPE_CHECKING:
    from microd.wire.events_pb2 import DeadLetter

_PAGE = 250
_ADDED = "Micro-Dead-"
_GROUP = click.option("--group", "-g", default="", metavar="NAME", help="Only what this group gave up.")
_ALL = click.option("--all", "all_", is_flag=True, help="All of them.")


@click.group(cls=MicroGroup, short_help="See and mend what groups gave up")
def dlq() -> None:
    """See and mend what groups gave up: dead letters.

    An event that failed too often, or was dropped, lies in the topic TOPIC.dlq with the error, until somebody has it tried
    again or calls it dealt with.

    \b
    Example:
      micro events dlq list orders
      micro events dlq retry orders --group billing --all
    """


@dlq.command("list", short_help="List dead letters")
@click.argument("topic", default="")
@_GROUP
@click.option("--after", default=0, type=Count(), metavar="N", help="Go on behind this one.")
@click.option(
    "--limit", "-l", default=100, show_default=True, type=Count(1), metavar="N", help="At most so many."
)
@click.option("--output", "-o", type=click.Choice(["table", "json"]), default="table", show_default=True)
@pass_session
def list_letters(session: Session, topic: str, group: str, after: int, limit: int, output: str) -> None:
    """List the dead letters of TOPIC which nobody has dealt with, the oldest first.

    \b
    Example:
      micro events dlq list orders --group billing
    """
    require(topic, "dlq list TOPIC")
    if output == "json":
        session.choose(json=True)
    found = list(islice(_letters(session, topic, group, after), limit + 1))
    more, found = found[limit:], found[:limit]
    head = ("ID", "GROUP", "OFFSET", "ATTEMPTS", "DIED", "ERROR", "PAYLOAD")
    session.answer(
        [_plain(letter) for letter in found], lambda: spaced([head, *map(_row, found)]) if found else ""
    )
    if not found:
        session.tell(f"There are no dead letters of {topic}.")
    elif more:
        session.tell(f"There are more: add --after {found[-1].event.offset}.")


@dlq.command("retry", short_help="Have dead letters tried again")
@click.argument("topic", default="")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@_GROUP
@_ALL
@pass_session
def retry(session: Session, topic: str, ids: tuple[str, ...], group: str, all_: bool) -> None:
    """Give dead letters of TOPIC once more to the group that gave them up, with all their attempts. For admins.

    \b
    Example:
      micro events dlq retry orders --all
    """
    count = _settle(session, "Retry", topic, ids, group, all_)
    session.answer({"count": count}, lambda: f"{_counted(count)} of {topic} will be tried again.")


@dlq.command("drop", short_help="Call dead letters dealt with")
@click.argument("topic", default="")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@_GROUP
@_ALL
@pass_session
def drop(session: Session, topic: str, ids: tuple[str, ...], group: str, all_: bool) -> None:
    """Call dead letters of TOPIC dealt with. They can still be read in TOPIC.dlq. For admins.

    \b
    Example:
      micro events dlq drop orders 0b0f7a3e-5d5c-4c58-0000-000000000007
    """
    count = _settle(session, "Drop", topic, ids, group, all_)
    was = "was" if count == 1 else "were"
    session.answer({"count": count}, lambda: f"{_counted(count)} of {topic} {was} dropped.")


def _settle(session: Session, method: str, topic: str, ids: tuple[str, ...], group: str, all_: bool) -> int:
    from microd.wire.events_pb2 import DeadLettersRequest, Done

    verb = method.lower()
    require(topic, f"dlq {verb} TOPIC ID")
    if not ids and not all_:
        raise CommandFailed(
            f"Which ones? Name their ids, or give --all to {verb} all",
            remedy=f"See `micro events dlq list {topic}`.",
        )
    if ids and all_:
        raise CommandFailed("--all and ids exclude each other", remedy="Choose one of them.")
    request = DeadLettersRequest(topic=topic, group=group, ids=ids)
    count = ask(session, f"DeadLetters/{method}", request, Done).count
    if ids and not count:
        raise CommandFailed("Not found", remedy=f"See `micro events dlq list {topic}`.")
    return count


def _letters(session: Session, topic: str, group: str, after: int) -> Iterator[DeadLetter]:
    from microd.wire.events_pb2 import DeadLettersRequest, DeadLettersResponse

    while True:
        request = DeadLettersRequest(topic=topic, group=group, after=after, limit=_PAGE)
        page = ask(session, "DeadLetters/List", request, DeadLettersResponse)
        yield from page.letters
        after = page.next
        if not after:
            return


def _counted(count: int) -> str:
    return "1 dead letter" if count == 1 else f"{count} dead letters"


def _plain(letter: DeadLetter) -> dict[str, Any]:
    """For programs. Of the metadata, what the platform added is told by the other fields."""
    event = plain(letter.event)
    said = event.pop("metadata")
    return {
        "id": event.pop("id"),
        "offset": event.pop("offset"),
        "topic": event.pop("topic").removesuffix(".dlq"),
        "event": {"id": letter.id, "offset": letter.offset},
        "group": letter.group,
        "attempts": letter.attempts,
        "error": letter.error,
        "died": event.pop("timestamp"),
        "metadata": {key: value for key, value in said.items() if not key.startswith(_ADDED)},
        **event,
    }


def _row(letter: DeadLetter) -> tuple[str, ...]:
    event = letter.event
    return (
        event.id,
        letter.group,
        str(letter.offset),
        str(letter.attempts),
        time_of(event.timestamp_ms or event.timestamp * 1000),
        _cut(one_line(letter.error.strip())),
        short(event.payload, 60),
    )


def _cut(text: str, longest: int = 60) -> str:
    return text if len(text) <= longest else text[: longest - 3] + "..."
