"""Events, running: the logs of all topics, and the groups which consume them."""

from __future__ import annotations

from collections.abc import Coroutine, Hashable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from twisted.application.service import Service as TwistedService
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from microd.kernel.caller import Account
from microd.kernel.errors import BadRequest, NotFound
from microd.kernel.health import Figure
from microd.services.events import rules
from microd.services.events.interface import IConsumer, IEvents, Receipt
from microd.services.events.log.log import Log
from microd.services.events.log.meta import GROUPS
from microd.services.events.logs import Logs
from microd.services.events.model import (
    Ack,
    DeadLetter,
    Draft,
    Event,
    GroupFacts,
    Limits,
    Position,
    Retention,
    Terms,
    TopicFacts,
)
from microd.services.store.interface import IStore
from microd.services.store.model import Query

T = TypeVar("T")


class IConsumption(Protocol):
    """The groups of all topics; the methods are those of L{IEvents}, but for the last ones."""

    async def consume(
        self, namespace: str, topic: str, terms: Terms, *, reader: Account | None, connection: Hashable
    ) -> IConsumer:
        """Consume a topic."""

    async def ack(self, namespace: str, topic: str, group: str, acks: Sequence[Ack]) -> int:
        """Say what became of events."""

    async def lag(self, namespace: str, topic: str = "") -> Sequence[GroupFacts]:
        """How far each group is."""

    async def seek(self, namespace: str, topic: str, group: str, position: Position) -> GroupFacts:
        """Have a group go on somewhere else."""

    async def delete_group(self, namespace: str, topic: str, group: str) -> None:
        """Forget a group."""

    async def dead_letters(
        self, namespace: str, topic: str, *, group: str = "", after: int = 0, limit: int = 250
    ) -> tuple[Sequence[DeadLetter], int]:
        """Those which nobody has dealt with."""

    async def retry(self, namespace: str, topic: str, *, group: str = "", ids: Sequence[str] = ()) -> int:
        """Give dead letters to their groups once more."""

    async def drop(self, namespace: str, topic: str, *, group: str = "", ids: Sequence[str] = ()) -> int:
        """Call dead letters dealt with."""

    async def forget(self, namespace: str, topic: str) -> None:
        """A topic was deleted: end its consumers, and write nothing more about its groups."""

    def start(self) -> None:
        """Forget, from time to time, groups which nobody uses."""

    async def stop(self) -> None:
        """End all consumers, and keep how far each group is."""

    def revoked(self, namespace: str, id: str) -> None:
        """End the consumers of an account."""

    def figures(self) -> Iterable[Figure]:
        """What was done."""


class Events(TwistedService, IEvents):
    """Keeps events in a store, and hands them out."""

    def __init__(self, store: IStore, logs: Logs, consumption: IConsumption) -> None:
        self._store = store
        self._logs = logs
        self._consumption = consumption
        self._deeds: set[Deferred[Any]] = set()
        # A call less for each event.
        self.submit = logs.submit  # type: ignore[method-assign]

    def startService(self) -> Deferred[None]:
        """Learn which topics there are."""
        super().startService()
        return Deferred.fromCoroutine(self._start())

    def stopService(self) -> Deferred[None]:
        """Take nothing more; what was taken is on disk, or refused, when this fires."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _start(self) -> None:
        await self._logs.start()
        self._consumption.start()

    async def _stop(self) -> None:
        for deed in list(self._deeds):
            await _told(deed)
        await self._consumption.stop()
        await self._logs.stop()

    async def _wholly(self, work: Coroutine[Deferred[Any], Any, T]) -> T:
        """Do something to its end, also where who asked for it goes away meanwhile: half of it on disk would be none of it in memory."""
        deed: Deferred[T] = Deferred.fromCoroutine(work)
        self._deeds.add(deed)

        def over(outcome: T | Failure) -> T | Failure:
            self._deeds.discard(deed)
            return outcome

        deed.addBoth(over)
        waiter: Deferred[T] = Deferred()
        # One who went away has fired it before, which is once no error.
        deed.addCallbacks(waiter.callback, waiter.errback)
        return await waiter

    @property
    def limits(self) -> Limits:
        return self._logs.limits

    def figures(self) -> Iterable[Figure]:
        """What was done (L{microd.kernel.health.Figures})."""
        yield from self._logs.figures()
        yield from self._consumption.figures()

    # -- events

    async def publish(self, namespace: str, topic: str, drafts: Sequence[Draft]) -> Sequence[Event]:
        return await self._logs.join(namespace, topic, drafts)

    def begin_publish(
        self, namespace: str, topic: str, metadata: Mapping[str, str], payload: bytes, timestamp: int = 0
    ) -> Deferred[tuple[str, int]]:
        return self._logs.put(namespace, topic, metadata, payload, timestamp)

    def submit(
        self,
        namespace: str,
        topic: str,
        metadata: Mapping[str, str],
        payload: bytes,
        receipt: Receipt,
        token: object,
    ) -> None:
        self._logs.submit(namespace, topic, metadata, payload, receipt, token)

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
        limits = self.limits
        if min(after, skip, since) < 0:
            raise BadRequest("after, skip and since are to be 0 or more")
        if not 0 < limit <= limits.page:
            raise BadRequest(f"limit is to be from 1 to {limits.page}")
        log = self._logs.find(namespace, topic)
        if log is None:
            return (), False
        try:
            await log.ready()
            begin = max(log.first, after + 1)
            if since:
                begin = max(begin, await log.offset_at(since))
            begin += skip
            if newest:
                begin = max(begin, log.next - limit)
            events = await log.read(begin, limit, limits.answer)
        except NotFound:
            return (), False
        return events, bool(events) and events[-1].offset + 1 < log.next

    # -- topics

    async def topics(
        self, namespace: str, *, after: str = "", limit: int = 250
    ) -> tuple[Sequence[TopicFacts], str]:
        if not 0 < limit <= self.limits.page:
            raise BadRequest(f"limit is to be from 1 to {self.limits.page}")
        names, next = self._logs.names(namespace, after, limit)
        facts = []
        for name in names:
            log = self._logs.find(namespace, name)
            if log is not None:
                try:
                    facts.append(await self._facts(log))
                except NotFound:
                    continue
        return facts, next

    async def _facts(self, log: Log) -> TopicFacts:
        await log.ready()
        groups = await self._store.list(log.space.name, GROUPS + log.topic, Query())
        return TopicFacts(
            log.topic,
            log.first,
            log.next - 1,
            log.size,
            log.created,
            log.retention,
            sum(1 for group in groups if not group.startswith("$")),
        )

    async def configure(self, namespace: str, topic: str, retention: Retention) -> TopicFacts:
        rules.check_retention(retention)
        return await self._wholly(self._configure(namespace, topic, retention))

    async def _configure(self, namespace: str, topic: str, retention: Retention) -> TopicFacts:
        log = await self._logs.open(namespace, topic, create=False)
        await log.configure(retention)
        self._logs.tidy_soon(log)
        return await self._facts(log)

    async def delete_topic(self, namespace: str, topic: str) -> None:
        await self._wholly(self._delete_topic(namespace, topic))

    async def _delete_topic(self, namespace: str, topic: str) -> None:
        log = await self._logs.delete(namespace, topic)
        await self._consumption.forget(namespace, topic)
        await log.settled()
        self._logs.clear(log)

    # -- groups

    async def consume(
        self,
        namespace: str,
        topic: str,
        terms: Terms,
        *,
        reader: Account | None = None,
        connection: Hashable = None,
    ) -> IConsumer:
        return await self._consumption.consume(namespace, topic, terms, reader=reader, connection=connection)

    async def ack(self, namespace: str, topic: str, group: str, acks: Sequence[Ack]) -> int:
        return await self._consumption.ack(namespace, topic, group, acks)

    async def lag(self, namespace: str, topic: str = "") -> Sequence[GroupFacts]:
        return await self._consumption.lag(namespace, topic)

    async def seek(self, namespace: str, topic: str, group: str, position: Position) -> GroupFacts:
        return await self._wholly(self._consumption.seek(namespace, topic, group, position))

    async def delete_group(self, namespace: str, topic: str, group: str) -> None:
        await self._wholly(self._consumption.delete_group(namespace, topic, group))

    async def dead_letters(
        self, namespace: str, topic: str, *, group: str = "", after: int = 0, limit: int = 250
    ) -> tuple[Sequence[DeadLetter], int]:
        return await self._consumption.dead_letters(namespace, topic, group=group, after=after, limit=limit)

    async def retry(self, namespace: str, topic: str, *, group: str = "", ids: Sequence[str] = ()) -> int:
        return await self._wholly(self._consumption.retry(namespace, topic, group=group, ids=ids))

    async def drop(self, namespace: str, topic: str, *, group: str = "", ids: Sequence[str] = ()) -> int:
        return await self._wholly(self._consumption.drop(namespace, topic, group=group, ids=ids))

    def revoked(self, namespace: str, id: str) -> None:
        """End the consumers of an account, whose tokens are void."""
        self._consumption.revoked(namespace, id)


async def _told(deed: Deferred[Any]) -> None:
    """Wait until something is over, however it ends."""
    over: Deferred[None] = Deferred()

    def tell(outcome: object) -> object:
        over.callback(None)
        return outcome

    deed.addBoth(tell)
    await over
