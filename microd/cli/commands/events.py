"""C{micro events}."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from microd.cli.counts import Count
from microd.cli.eventing import OUTPUT, ask, plain, require, show, time_of
from microd.cli.failure import CommandFailed
from microd.cli.layout import age, spaced
from microd.cli.lazy import MicroGroup, pass_session
from microd.cli.session import Session

if TYPE_CHECKING:
    from microd.wire.events_pb2 import Event, Group, ReadRequest, Topic

_ELSEWHERE = {
    "publish": ("microd.cli.commands.events_publish:publish", "Store events"),
    "consume": ("microd.cli.commands.events_consume:consume", "Print events as they come"),
    "dlq": ("microd.cli.commands.events_dlq:dlq", "See and mend what groups gave up"),
    "seek": ("microd.cli.commands.events_admin:seek", "Have a group replay events, or skip some"),
    "configure": ("microd.cli.commands.events_admin:configure", "Set how long events are kept"),
    "delete": ("microd.cli.commands.events_admin:delete", "Delete a topic with its events and groups"),
    "groups": ("microd.cli.commands.events_admin:groups", "Forget groups"),
}
#: How many events, and topics, are asked for at once.
PAGE = 250
_TABLE = click.option(
    "--output", "-o", type=click.Choice(["table", "json"]), default="table", show_default=True
)


@click.group(cls=MicroGroup, table=_ELSEWHERE, short_help="Publish events, consume and replay them")
def events() -> None:
    """Publish events, consume and replay them.

    A topic keeps its events, numbered 1, 2, 3 ... by their offsets. A group of consumers shares the events of a topic and
    remembers how far it is; what it was given and did not acknowledge comes again.

    \b
    Example:
      micro events publish orders '{"id": 7}'
      micro events consume orders --group billing
    """


@events.command("read", short_help="Print events which are kept")
@click.argument("topic", default="")
@click.option("--after", default=0, type=Count(), metavar="OFFSET", help="Only events behind this one.")
@click.option("--since", default="", metavar="WHEN", help="Nothing older: 10m, or 2025-01-31T12:00:00Z.")
@click.option(
    "--limit", "-l", default=100, show_default=True, type=Count(1), metavar="N", help="At most so many."
)
@click.option("--last", "-n", default=0, type=Count(), metavar="N", help="The newest N.")
@click.option("--all", "all_", is_flag=True, help="All, however many there are.")
@OUTPUT
@click.pass_context
def read(
    context: click.Context,
    topic: str,
    after: int,
    since: str,
    limit: int,
    last: int,
    all_: bool,
    output: str,
) -> None:
    """Print the events of TOPIC which are kept, in their order, beginning with the oldest. No group is the wiser.

    \b
    Example:
      micro events read orders --last 10
      micro events read orders --since 1h --output payload
    """
    from microd.cli.positions import milliseconds
    from microd.wire.events_pb2 import ReadRequest

    session = context.ensure_object(Session)
    require(topic, "read TOPIC")
    limited = context.get_parameter_source("limit") is not click.core.ParameterSource.DEFAULT
    if last and (after or since or all_ or limited):
        raise CommandFailed("--last goes without --after, --since, --limit and --all")
    if all_ and limited:
        raise CommandFailed("--all and --limit exclude each other", remedy="Choose one of them.")
    start = milliseconds(since, session.now(), "--since") if since else 0
    if last:
        after, limit = max(0, _last(session, topic) - last), last
    request = ReadRequest(topic=topic, after=after, start_time=start)
    reading = _Reading(session, request, 0 if all_ else limit)
    if output == "json":
        session.choose(json=True)
    if session.json:
        session.answer_list(map(plain, reading))
    else:
        for event in reading:
            show(session, event, output)
    if not reading.count:
        session.tell(f"There are no such events in {topic}." if after or since else f"{topic} has no events.")
    elif reading.next and not last:
        session.tell(f"There are more: add --after {reading.next}, or --all.")


@events.command("topics", short_help="List the topics")
@_TABLE
@pass_session
def topics(session: Session, output: str) -> None:
    """List the topics of the namespace, with what each keeps.

    \b
    Example:
      micro events topics
    """
    if output == "json":
        session.choose(json=True)
    found = every_topic(session)
    if session.json:
        session.answer_list(map(described, found))
        return
    first = next(found, None)
    if first is None:
        session.tell("There are no topics. `micro events publish TOPIC MESSAGE` makes one.")
        return
    head = ("TOPIC", "EVENTS", "OFFSETS", "SIZE", "KEPT FOR", "UP TO", "GROUPS", "CREATED")
    session.say(spaced([head, *map(_row, chain([first], found))]))


@events.command("lag", short_help="Show how far each group is")
@click.argument("topic", default="")
@_TABLE
@pass_session
def lag(session: Session, topic: str, output: str) -> None:
    """Show how far each group of TOPIC is, or the groups of all topics.

    \b
    ACKED      all events up to this offset are done with
    LAG        events which are not done with; of these
    IN FLIGHT  are at a consumer, and
    WAITING    wait to come again
    OLDEST     how long ago the oldest of them was published
    AGAIN      how many were given more than once, and
    DEAD       how many were given up, since the server started
    MISSED     how many were gone before the group had seen them

    \b
    Example:
      micro events lag orders
    """
    from microd.wire.events_pb2 import LagRequest, LagResponse

    if output == "json":
        session.choose(json=True)
    found = list(ask(session, "Topics/Lag", LagRequest(topic=topic), LagResponse).groups)
    found.sort(key=lambda group: (group.topic, group.name))
    head = (
        *("TOPIC", "GROUP", "CONSUMERS", "ACKED", "LAG", "IN FLIGHT", "WAITING"),
        *("OLDEST", "AGAIN", "DEAD", "MISSED"),
    )
    session.answer(
        [far(group) for group in found],
        lambda: spaced([head, *map(_far_row, found)]) if found else "",
    )
    if not found:
        session.tell(f"Nobody consumes {topic}." if topic else "There are no groups.")


class _Reading:
    """The events which are asked for, page after page, so that there may be any number of them.

    @ivar count: how many there were.
    @ivar next: behind which offset there are more; 0: there are none.
    """

    def __init__(self, session: Session, request: ReadRequest, limit: int) -> None:
        self._session = session
        self._request = request
        self._limit = limit
        self.count = self.next = 0

    def __iter__(self) -> Iterator[Event]:
        from microd.wire.events_pb2 import ReadResponse

        request, limit = self._request, self._limit
        while True:
            request.limit = min(limit - self.count, PAGE) if limit else PAGE
            page = ask(self._session, "Store/Read", request, ReadResponse)
            self.next = page.next
            for event in page.events:
                self.count += 1
                yield event
            if not page.next or self.count == limit:
                return
            request.after, request.start_time = page.next, 0


def _last(session: Session, topic: str) -> int:
    """The last offset; 0 where nothing is kept."""
    from microd.wire.events_pb2 import ReadRequest, ReadResponse

    request = ReadRequest(topic=topic, newest=True, limit=1)
    return max(
        (event.offset for event in ask(session, "Store/Read", request, ReadResponse).events), default=0
    )


def every_topic(session: Session, after: str = "") -> Iterator[Topic]:
    """The topics of the namespace by name, those behind C{after}."""
    from microd.wire.events_pb2 import TopicsRequest, TopicsResponse

    while True:
        page = ask(session, "Topics/List", TopicsRequest(after=after, limit=PAGE), TopicsResponse)
        yield from page.topics
        after = page.next
        if not after:
            return


def described(topic: Topic) -> dict[str, Any]:
    """A topic, for programs."""
    return {
        "topic": topic.name,
        "first": topic.first,
        "last": topic.last,
        "size": topic.size,
        "groups": topic.groups,
        "max_age": topic.max_age,
        "max_size": topic.max_size,
        "created": time_of(topic.created),
    }


def kept_for(seconds: int) -> str:
    """How long events are kept, as C{configure} takes it."""
    if seconds <= 0:
        return "unlimited" if seconds else "default"
    return age(seconds).replace("d0h0m0s", "d").replace("h0m0s", "h")


def up_to(size: int) -> str:
    """Up to what size events are kept, likewise."""
    from microd.cli.sizes import written

    return written(size) if size > 0 else "unlimited" if size else "default"


def far(group: Group) -> dict[str, Any]:
    """How far a group is, for programs; C{oldest} is in milliseconds."""
    names = (
        *("topic", "consumers", "acknowledged", "delivered", "lag", "in_flight", "waiting"),
        *("oldest", "missed", "redelivered", "dead"),
    )
    return {"topic": group.topic, "group": group.name} | {name: getattr(group, name) for name in names}


def _row(topic: Topic) -> tuple[str, ...]:
    from microd.cli.sizes import written

    count = topic.last - topic.first + 1
    return (
        topic.name,
        str(count),
        f"{topic.first}-{topic.last}" if count else "-",
        written(topic.size),
        kept_for(topic.max_age),
        up_to(topic.max_size),
        str(topic.groups),
        time_of(topic.created),
    )


def _far_row(group: Group) -> tuple[str, ...]:
    numbers = (group.consumers, group.acknowledged, group.lag, group.in_flight, group.waiting)
    return (
        group.topic,
        group.name or "(private)",
        *map(str, numbers),
        age(group.oldest / 1000) if group.oldest else "-",
        str(group.redelivered),
        str(group.dead),
        str(group.missed),
    )
