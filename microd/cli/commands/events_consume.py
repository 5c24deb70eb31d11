"""C{micro events consume}."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import click

from microd.cli.counts import Count
from microd.cli.durations import seconds_from
from microd.cli.eventing import OUTPUT, ask, require, show
from microd.cli.failure import CommandFailed
from microd.cli.lazy import MicroCommand, pass_session
from microd.cli.positions import EARLIEST, LATEST, OFFSET, Position, position
from microd.cli.session import Session

if TYPE_CHECKING:
    from microd.cli.remote import Remote, Replies
    from microd.wire.events_pb2 import AckRequest, ConsumeRequest, Event

#: How many events may come before the first of them is acknowledged.
_WINDOW = 64
_MEANWHILE = "Events are kept; trying again."


@click.command(cls=MicroCommand, short_help="Print events as they come")
@click.argument("topic", default="")
@click.option(
    "--group", "-g", default="", metavar="NAME", help="Consume for this group, which remembers how far it is."
)
@click.option(
    "--from",
    "start",
    default="",
    metavar="WHERE",
    help="Where a new group begins: earliest, latest, an offset, a moment, or a time ago such as 5m."
    "  [default: earliest; without --group: latest]",
)
@click.option(
    "--ack",
    type=click.Choice(["manual", "auto"]),
    help="When an event is done with: manual, once it was printed; auto, once it was sent.  [default: manual with --group]",
)
@click.option(
    "--ack-wait",
    default="30s",
    show_default=True,
    metavar="DURATION",
    help="An event which was not printed by then comes again.",
)
@click.option("--count", "-n", default=0, type=Count(), metavar="N", help="End after so many.")
@OUTPUT
@pass_session
def consume(
    session: Session,
    topic: str,
    group: str,
    start: str,
    ack: str | None,
    ack_wait: str,
    count: int,
    output: str,
) -> None:
    """Print the events of TOPIC as they come, until Ctrl-C; through restarts of the server, too.

    All who consume for one group share its events, and each event is acknowledged once it was printed. Without a group you
    get all events, and nothing is remembered. With --json each event is one line.

    \b
    Example:
      micro events consume orders --from 1h
      micro events consume orders --group billing --output payload | ./bill
    """
    require(topic, "consume TOPIC")
    if ack == "manual" and not group:
        raise CommandFailed("--ack manual wants a group to acknowledge for", remedy="Add --group NAME.")
    try:
        patience = seconds_from(ack_wait)
    except ValueError as error:
        raise CommandFailed(f"--ack-wait: {error}") from error
    if not patience:
        raise CommandFailed("--ack-wait must be more than nothing: no event could be printed in time")
    where = position(start, session.now(), "--from") if start else Position(EARLIEST if group else LATEST)
    consuming = _Consuming(session, topic, group, where, ack != "auto" and bool(group), patience)
    if group and start:
        consuming.say_where_it_goes_on()
    try:
        consuming.run(count, output)
    except KeyboardInterrupt:
        return


class _Consuming:
    """Events on their way to the terminal."""

    def __init__(
        self, session: Session, topic: str, group: str, start: Position, manual: bool, ack_wait: float
    ) -> None:
        self._session = session
        self._topic = topic
        self._group = group
        self._start = start
        self._manual = manual
        self._ack_wait = ack_wait
        self._left = 0
        # The ids of what was printed and is not acknowledged yet, and of what was acknowledged last.
        self._printed: list[str] = []
        self._said: list[str] = []

    def say_where_it_goes_on(self) -> None:
        """A group that is not new goes on where it was, whatever the user has in mind."""
        from microd.wire.events_pb2 import LagRequest, LagResponse

        with suppress(CommandFailed):
            found = ask(self._session, "Topics/Lag", LagRequest(topic=self._topic), LagResponse)
            for each in found.groups:
                if each.name == self._group:
                    self._session.warn(
                        f"{self._group} goes on where it was, behind offset {each.acknowledged}. To move it: "
                        f"`micro events seek {self._topic} {self._group} --to ...`"
                    )

    def run(self, count: int, output: str) -> None:
        """Print so many events; 0: without end."""
        from microd.cli.following import follow

        if self._start.start == LATEST and not self._group:
            self._start = self._end()
        shown, self._left = 0, count
        stream = follow(self._session, self._begin, _MEANWHILE)
        try:
            for replies, event in stream:
                show(self._session, event, output)
                shown += 1
                self._left = max(0, count - shown)
                self._done(replies, event, last=shown == count)
                if shown == count:
                    break
        except CommandFailed:
            # Why it ended says more than that the last words were not heard.
            with suppress(CommandFailed):
                self._settle()
            raise
        except BaseException:
            self._settle()
            raise
        else:
            self._settle()
        finally:
            stream.close()

    def _begin(self, remote: Remote) -> Replies[Event]:
        from microd.wire.events_pb2 import Event

        # What was not acknowledged on the last connection will come again.
        self._printed, self._said = [], []
        return remote.follow(
            "/events.Stream/Consume",
            self._request(),
            Event,
            namespace=self._session.namespace,
            talks=self._manual,
        )

    def _request(self) -> ConsumeRequest:
        from microd.wire.events_pb2 import ConsumeRequest

        return ConsumeRequest(
            topic=self._topic,
            group=self._group,
            auto_ack=not self._manual,
            ack_wait=round(self._ack_wait * 1_000_000_000) if self._manual else 0,
            retry_limit=-1,
            start=self._start.start,
            start_offset=self._start.offset,
            start_time=self._start.time,
            max_in_flight=_WINDOW,
            count=self._left,
        )

    def _end(self) -> Position:
        """The place of what comes from now on, so that nothing of it is missed while the connection is lost."""
        from microd.wire.events_pb2 import ReadRequest, ReadResponse

        request = ReadRequest(topic=self._topic, limit=1, newest=True)
        try:
            newest = ask(self._session, "Store/Read", request, ReadResponse).events
        except CommandFailed as failure:
            if failure.passing:
                raise
            # Who may consume may not read, perhaps.
            return self._start
        return Position(OFFSET, newest[-1].offset + 1) if newest else Position(EARLIEST)

    def _done(self, replies: Replies[Event], event: Event, last: bool) -> None:
        """An event was printed."""
        if not self._group:
            self._start = Position(OFFSET, event.offset + 1)
        if not self._manual:
            return
        self._printed.append(event.id)
        if not last and (not replies.ready or len(self._printed) * 2 > _WINDOW):
            self._said, self._printed = self._printed, []
            try:
                for each in self._said:
                    replies.write(_done(each))
            except CommandFailed as failure:
                # Reading on tells the same.
                if not failure.passing:
                    raise

    def _settle(self) -> None:
        """Say what was printed, and wait until that is on disk; what has come and was not printed goes back with the stream.

        That includes what was said last: the stream ends before the server has read it, perhaps.
        """
        from microd.wire.events_pb2 import AckManyRequest, AckManyResponse

        if acks := [_done(each) for each in (*self._said, *self._printed)]:
            request = AckManyRequest(topic=self._topic, group=self._group, acks=acks)
            ask(self._session, "Stream/Ack", request, AckManyResponse)


def _done(id: str) -> AckRequest:
    from microd.wire.events_pb2 import AckRequest

    return AckRequest(id=id, success=True)
