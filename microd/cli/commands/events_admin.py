"""C{micro events seek}, C{configure}, C{delete} and C{groups}."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from microd.cli.commands.events import described, every_topic, far, kept_for, up_to
from microd.cli.eventing import ask, require
from microd.cli.failure import CommandFailed
from microd.cli.lazy import MicroCommand, MicroGroup, pass_session
from microd.cli.session import Session

if TYPE_CHECKING:
    from microd.wire.events_pb2 import Topic

_MOST = (1 << 63) - 1


@click.command(cls=MicroCommand, short_help="Have a group replay events, or skip some")
@click.argument("topic", default="")
@click.argument("group", default="")
@click.option(
    "--to",
    default="",
    metavar="WHERE",
    help="earliest, latest, an offset, a moment, or a time ago such as 5m.",
)
@pass_session
def seek(session: Session, topic: str, group: str, to: str) -> None:
    """Have GROUP go on somewhere else in TOPIC: it gets the events from there on, whatever it had before. For admins.

    \b
    Example:
      micro events seek orders billing --to earliest
      micro events seek orders billing --to 1h
    """
    from microd.cli.positions import position
    from microd.wire.events_pb2 import Group, SeekRequest

    if not topic or not group or not to:
        raise CommandFailed(
            "missing topic, group or place", remedy="Write `micro events seek TOPIC GROUP --to WHERE`."
        )
    where = position(to, session.now(), "--to")
    request = SeekRequest(
        topic=topic, group=group, start=where.start, start_offset=where.offset, start_time=where.time
    )
    found = ask(session, "Groups/Seek", request, Group)
    session.answer(
        far(found),
        lambda: f"{group} goes on with offset {found.acknowledged + 1} of {topic}: {_left(found.lag)}.",
    )


@click.command(cls=MicroCommand, short_help="Set how long events are kept")
@click.argument("topic", default="")
@click.option(
    "--max-age",
    default="",
    metavar="DURATION",
    help="For how long, such as 36h or 7d; or default, or unlimited.",
)
@click.option(
    "--max-size", default="", metavar="SIZE", help="Up to which size, such as 500MiB or 1GiB; likewise."
)
@pass_session
def configure(session: Session, topic: str, max_age: str, max_size: str) -> None:
    """Set for how long, and up to what size, the events of TOPIC are kept; the oldest go first. For admins.

    What is not given stays as it is. Without either, show what is set.

    \b
    Example:
      micro events configure orders --max-age 7d --max-size 1GiB
    """
    from microd.wire.events_pb2 import ConfigureRequest, Topic

    require(topic, "configure TOPIC --max-age 7d --max-size 1GiB")
    age, size = _age(max_age), _size(max_size)
    found = _topic(session, topic)
    if age is not None or size is not None:
        request = ConfigureRequest(
            topic=topic,
            max_age=found.max_age if age is None else age,
            max_size=found.max_size if size is None else size,
        )
        found = ask(session, "Topics/Configure", request, Topic)
    session.answer(
        described(found), lambda: f"max-age:  {kept_for(found.max_age)}\nmax-size: {up_to(found.max_size)}"
    )


@click.command(cls=MicroCommand, short_help="Delete a topic with its events and groups")
@click.argument("topic", default="")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@pass_session
def delete(session: Session, topic: str, yes: bool) -> None:
    """Delete TOPIC with its events and groups; there is no way back. At a terminal you are asked first. For admins.

    \b
    Example:
      micro events delete orders
    """
    from microd.wire.events_pb2 import Done, TopicRequest

    require(topic, "delete TOPIC")
    if not yes and session.terminal.interactive:
        found = _topic(session, topic)
        kept = f"{found.last - found.first + 1} events and {found.groups} groups"
        if session.terminal.ask(f"Delete {topic} with its {kept}? (yes or no): ").strip().lower() not in (
            "y",
            "yes",
        ):
            raise CommandFailed(f"The topic {topic} stays as it is")
    ask(session, "Topics/Delete", TopicRequest(topic=topic), Done)


@click.group(cls=MicroGroup, short_help="Forget groups")
def groups() -> None:
    """Forget groups. `micro events lag` lists them."""


@groups.command("delete", short_help="Forget a group")
@click.argument("topic", default="")
@click.argument("group", default="")
@pass_session
def delete_group(session: Session, topic: str, group: str) -> None:
    """Forget how far GROUP is in TOPIC; its name can be used anew. Nobody may consume for it. For admins.

    \b
    Example:
      micro events groups delete orders billing
    """
    from microd.wire.events_pb2 import Done, GroupRequest

    if not topic or not group:
        raise CommandFailed(
            "missing topic or group", remedy="Write `micro events groups delete TOPIC GROUP`."
        )
    ask(session, "Groups/Delete", GroupRequest(topic=topic, group=group), Done)


def _topic(session: Session, name: str) -> Topic:
    """What is known about a topic."""
    for found in every_topic(session, after=name[:-1]):
        if found.name >= name:
            if found.name == name:
                return found
            break
    raise CommandFailed(f'Topic "{name}" not found', remedy="See `micro events topics`.")


def _age(text: str) -> int | None:
    from microd.cli.durations import seconds_from

    if (word := _word(text)) is not None or not text:
        return word
    try:
        found = round(seconds_from(text))
    except (ValueError, OverflowError) as error:
        raise CommandFailed(
            f"--max-age wants a duration such as 36h or 7d, default or unlimited, not {text}"
        ) from error
    return _bounded("--max-age", found, text)


def _size(text: str) -> int | None:
    from microd.cli.sizes import bytes_from

    if (word := _word(text)) is not None or not text:
        return word
    try:
        found = bytes_from(text)
    except ValueError as error:
        raise CommandFailed(
            f"--max-size wants a size such as 500MiB or 1GiB, default or unlimited, not {text}"
        ) from error
    return _bounded("--max-size", found, text)


def _word(text: str) -> int | None:
    return {"default": 0, "unlimited": -1}.get(text.lower())


def _bounded(option: str, found: int, text: str) -> int:
    if not 0 < found <= _MOST:
        raise CommandFailed(f"{option} {text} is too {'large' if found > 0 else 'small'}")
    return found


def _left(lag: int) -> str:
    return "1 event is to come" if lag == 1 else f"{lag} events are to come"
