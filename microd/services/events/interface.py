"""What others may ask of events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Hashable, Mapping, Sequence
from typing import Protocol

from microd.kernel.caller import Account
from microd.kernel.errors import MicroError
from microd.services.events.model import (
    Ack,
    DeadLetter,
    Delivery,
    Draft,
    Event,
    GroupFacts,
    Limits,
    Position,
    Retention,
    Terms,
    TopicFacts,
)


class Receipt(Protocol):
    """Who is told what became of an event, without a Deferred for each. Must not wait or raise."""

    def stored(self, token: object, topic: str, offset: int) -> None:
        """The event is on disk."""

    def refused(self, token: object, error: MicroError) -> None:
        """It is not, or it is not known."""


class IConsumer(Protocol):
    """The events of a group as one consumer takes them; iteration ends with it.

    Events come in the order of their offsets, but for those which come again; these come before any that nobody has had. An event that waits for its turn to come again
    holds back those which nobody has had yet.
    """

    def __aiter__(self) -> AsyncIterator[Delivery]:
        """The consumer itself."""

    async def __anext__(self) -> Delivery:
        """Wait for the next event.

        @raise MicroError: the consumer was ended: its topic or group is gone, the daemon stops.
        """

    def ack(self, ack: Ack) -> bool:
        """Say what became of an event; whether anybody was waiting for that word. What is done with is on disk a moment later."""

    def finish(self) -> None:
        """As C{close}, while the event given last is still being sent: C{close} is to follow."""

    def close(self) -> None:
        """Consume no more; what was not acknowledged goes to others of the group. May be called twice."""


class IEvents(Protocol):
    """Keeps events, and hands them out.

    All names are checked, and belong to a namespace; all methods raise L{microd.kernel.errors.BadRequest} for bad ones,
    C{NotFound} for a topic or group that is not there. The first event makes the topic; so does the first consumer.
    """

    @property
    def limits(self) -> Limits:
        """How much there may be."""

    async def publish(self, namespace: str, topic: str, drafts: Sequence[Draft]) -> Sequence[Event]:
        """Store events, all or none, with consecutive offsets; they are on disk when this returns.

        @raise TooLarge: one is larger than is allowed, or all together.
        @raise Unavailable: more waits for the disk than is allowed, or the disk has failed before.
        @raise OutOfSpace: the disk is full, or the namespace's share of it is (507).
        """

    def begin_publish(
        self, namespace: str, topic: str, metadata: Mapping[str, str], payload: bytes, timestamp: int = 0
    ) -> Awaitable[tuple[str, int]]:
        """The same for one event, for those who want its id and offset only; what is wrong with it may be raised at once."""

    def submit(
        self,
        namespace: str,
        topic: str,
        metadata: Mapping[str, str],
        payload: bytes,
        receipt: Receipt,
        token: object,
    ) -> None:
        """The same for one event, for those who count microseconds; C{receipt} is told with C{token}.

        @raise MicroError: it is refused at once.
        """

    async def read(
        self,
        namespace: str,
        topic: str,
        *,
        after: int = 0,
        skip: int = 0,
        since: int = 0,
        newest: bool = False,
        limit: int = 250,
    ) -> tuple[Sequence[Event], bool]:
        """A page of the events which are kept, and whether there are more now; none for a topic that is not there.

        @param after: behind this offset.
        @param skip: without so many of the oldest.
        @param since: Unix milliseconds; begin with the first that is not older.
        @param newest: the last ones.
        """

    async def topics(
        self, namespace: str, *, after: str = "", limit: int = 250
    ) -> tuple[Sequence[TopicFacts], str]:
        """The topics by name, and where to go on; "" where that was all."""

    async def configure(self, namespace: str, topic: str, retention: Retention) -> TopicFacts:
        """Keep a topic's events for as long as this; what is beyond it goes soon."""

    async def delete_topic(self, namespace: str, topic: str) -> None:
        """Delete a topic with its events and groups; its consumers end."""

    async def consume(
        self,
        namespace: str,
        topic: str,
        terms: Terms,
        *,
        reader: Account | None = None,
        connection: Hashable = None,
    ) -> IConsumer:
        """Consume a topic, for a group.

        @param connection: what to count by; None: it is not counted.
        """

    async def ack(self, namespace: str, topic: str, group: str, acks: Sequence[Ack]) -> int:
        """Say what became of events; on disk when this returns. How many of them were waited for."""

    async def lag(self, namespace: str, topic: str = "") -> Sequence[GroupFacts]:
        """How far each group is."""

    async def seek(self, namespace: str, topic: str, group: str, position: Position) -> GroupFacts:
        """Have a group go on somewhere else."""

    async def delete_group(self, namespace: str, topic: str, group: str) -> None:
        """Forget a group.

        @raise Conflict: somebody consumes for it.
        """

    async def dead_letters(
        self, namespace: str, topic: str, *, group: str = "", after: int = 0, limit: int = 250
    ) -> tuple[Sequence[DeadLetter], int]:
        """Those which nobody has dealt with, and where to go on; 0 where that was all."""

    async def retry(self, namespace: str, topic: str, *, group: str = "", ids: Sequence[str] = ()) -> int:
        """Give dead letters to their groups once more; how many."""

    async def drop(self, namespace: str, topic: str, *, group: str = "", ids: Sequence[str] = ()) -> int:
        """Call dead letters dealt with; how many."""
