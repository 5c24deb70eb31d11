"""The dead letters of a topic: C{NAME.dlq} keeps them, and the reserved group C{$dlq} of it says which are dealt with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from twisted.internet.defer import DeferredLock

from microd.kernel.errors import BadRequest, Internal, NotFound, TooLarge
from microd.services.events import rules
from microd.services.events.groups import burial
from microd.services.events.groups.dealt import Dealt
from microd.services.events.groups.state import Damaged
from microd.services.events.log.log import Log
from microd.services.events.log.meta import GROUPS
from microd.services.events.logs import Logs
from microd.services.events.model import DEAD, DeadLetter, Event
from microd.services.store.model import Put, Record

#: The group of a topic of dead letters whose state says which are dealt with.
GROUP = "$dlq"

#: Letters which are read, or dealt with, in one step; and their bytes, but for the last.
_STEP, _STEP_BYTES = 200, 2 << 20
#: Letters which are looked at for one page.
_LOOKED_AT = 10_000
#: Ids which one call may name.
_MOST_IDS = 1000


class Letters:
    """Lists dead letters, and deals with them."""

    def __init__(self, logs: Logs) -> None:
        self._logs = logs
        self._store = logs.store
        self._locks: dict[tuple[str, str], tuple[DeferredLock, list[None]]] = {}

    async def page(
        self, namespace: str, topic: str, group: str, after: int, limit: int
    ) -> tuple[Sequence[DeadLetter], int]:
        """Those which nobody has dealt with, and where to go on; 0 where that was all."""
        limits = self._logs.limits
        if not 0 < limit <= limits.page:
            raise BadRequest(f"limit is to be from 1 to {limits.page}")
        if after < 0:
            raise BadRequest("after is to be 0 or more")
        log = await self._open(namespace, topic)
        if log is None:
            return (), 0
        dealt = await self._dealt(log)
        letters: list[DeadLetter] = []
        offset, looked, size = max(after + 1, log.first), 0, 0
        while True:
            offset = dealt.behind(offset)
            if offset >= log.next:
                return letters, 0
            events = await log.read(offset, _STEP, _STEP_BYTES)
            if not events:
                return letters, 0
            for event in events:
                looked += 1
                if event.offset in dealt:
                    continue
                letter = letter_from(event)
                if group and letter.group != group:
                    continue
                size += len(event.payload)
                if letters and size > limits.answer:
                    return letters, event.offset - 1
                letters.append(letter)
                if len(letters) == limit:
                    return letters, event.offset if event.offset + 1 < log.next else 0
            offset = events[-1].offset + 1
            if looked >= _LOOKED_AT:
                return letters, offset - 1

    async def retry(self, namespace: str, topic: str, group: str, ids: Sequence[str]) -> int:
        """Give some to their groups once more: they are published again, for these groups only."""
        log = await self._open(namespace, topic)
        origin = await self._logs.open(namespace, topic, create=False)
        if log is None:
            return self._none(ids)
        count = 0
        is_chosen = bool(group or ids)
        async with _held(self._locks, (namespace, topic)):
            dealt = await self._dealt(log)
            async for letters in self._chosen(log, dealt, group, ids):
                chosen = [each for each in letters if await self._has_group(each, origin, is_chosen)]
                if not chosen:
                    continue
                for letter in chosen:
                    dealt.add(letter.event.offset)
                drafts = [burial.reborn(letter.event) for letter in chosen]
                await origin.append(drafts, [self._put(log, dealt)])
                count += len(chosen)
        return count

    async def drop(self, namespace: str, topic: str, group: str, ids: Sequence[str]) -> int:
        """Call some dealt with."""
        log = await self._open(namespace, topic)
        if log is None:
            return self._none(ids)
        count = 0
        async with _held(self._locks, (namespace, topic)):
            dealt = await self._dealt(log)
            async for letters in self._chosen(log, dealt, group, ids):
                for letter in letters:
                    dealt.add(letter.event.offset)
                await self._store.apply([self._put(log, dealt)])
                count += len(letters)
        return count

    async def _open(self, namespace: str, topic: str) -> Log | None:
        if topic.endswith(DEAD):
            raise BadRequest(f"name the topic that was consumed, without {DEAD}")
        rules.require_topic(topic, self._logs.limits.topic)
        log = self._logs.find(namespace, topic + DEAD)
        if log is not None:
            await log.ready()
        elif self._logs.find(namespace, topic) is None:
            raise NotFound(f"there is no topic {topic}")
        return log

    def _none(self, ids: Sequence[str]) -> int:
        if ids:
            raise _unknown(ids[0])
        return 0

    async def _chosen(
        self, log: Log, dealt: Dealt, group: str, ids: Sequence[str]
    ) -> AsyncIterator[Sequence[DeadLetter]]:
        """The letters which are meant and not dealt with, in steps.

        @param ids: their own, or those which their events had when they were given up.
        @raise NotFound: an id is no letter's; nothing was given yet.
        """
        if ids:
            letters = await self._named(log, dealt, group, ids)
            for begin in range(0, len(letters), _STEP):
                yield letters[begin : begin + _STEP]
            return
        offset, end = log.first, log.next
        while (offset := dealt.behind(offset)) < end:
            events = await log.read(offset, _STEP, _STEP_BYTES)
            if not events:
                return
            letters = [letter_from(event) for event in events if event.offset not in dealt]
            yield [each for each in letters if not group or each.group == group]
            offset = events[-1].offset + 1

    async def _named(self, log: Log, dealt: Dealt, group: str, ids: Sequence[str]) -> list[DeadLetter]:
        if len(ids) > _MOST_IDS:
            raise BadRequest(f"ids may have at most {_MOST_IDS} of them")
        found: dict[int, DeadLetter] = {}
        others: set[str] = set()
        size = 0
        for id in ids:
            offset = log.offset_of(id)
            if offset is None:
                others.add(id.lower())
                continue
            events = await log.read(offset, 1, 1) if offset not in dealt else ()
            if not events or events[0].offset != offset:
                raise _unknown(id)
            letter = letter_from(events[0])
            if group and letter.group != group:
                raise _unknown(id)
            size = _weighed(size, events[0], self._logs.limits.answer)
            found[offset] = letter
        if others:
            missing = set(others)
            async for letters in self._chosen(log, dealt, group, ()):
                for letter in letters:
                    if letter.id.lower() in others:
                        missing.discard(letter.id.lower())
                        size = _weighed(size, letter.event, self._logs.limits.answer)
                        found[letter.event.offset] = letter
            if missing:
                raise _unknown(min(missing))
        return [found[offset] for offset in sorted(found)]

    async def _has_group(self, letter: DeadLetter, origin: Log, is_chosen: bool) -> bool:
        """Whether a letter can be given to its group; one that was asked for by name must be."""
        if letter.group:
            table = GROUPS + origin.topic
            if await self._store.read_one(origin.space.name, table, letter.group) is not None:
                return True
        if is_chosen:
            raise NotFound(
                f"there is no group {letter.group} of the topic {origin.topic} any more, to give {letter.event.id} to"
                if letter.group
                else f"{letter.event.id} was given up by no group"
            )
        return False

    async def _dealt(self, log: Log) -> Dealt:
        record = await self._store.read_one(log.space.name, GROUPS + log.topic, GROUP)
        try:
            dealt = Dealt() if record is None else Dealt.from_bytes(record.value)
        except Damaged as problem:
            raise Internal(
                f"which dead letters of {log.topic} are dealt with cannot be read: {problem}"
            ) from problem
        dealt.forget(log.first)
        return dealt

    def _put(self, log: Log, dealt: Dealt) -> Put:
        return Put(log.space.name, GROUPS + log.topic, Record(GROUP, dealt.to_bytes()))


class _held:  # noqa: N801 - a context, named as it reads
    """Holds the lock of a topic; it is forgotten when nobody wants it."""

    def __init__(
        self, locks: dict[tuple[str, str], tuple[DeferredLock, list[None]]], key: tuple[str, str]
    ) -> None:
        self._locks = locks
        self._key = key

    async def __aenter__(self) -> None:
        self._lock, self._wanted = self._locks.setdefault(self._key, (DeferredLock(), []))
        self._wanted.append(None)
        try:
            await self._lock.acquire()
        except BaseException:
            self._leave()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()
        self._leave()

    def _leave(self) -> None:
        self._wanted.pop()
        if not self._wanted:
            self._locks.pop(self._key, None)


def letter_from(event: Event) -> DeadLetter:
    """What lies with the dead letters; one that somebody published there himself says nothing about a group."""
    said = event.metadata
    return DeadLetter(
        event=event,
        group=said.get(burial.GROUP, ""),
        id=said.get(burial.ID, ""),
        offset=_number(said.get(burial.OFFSET, "")),
        attempts=_number(said.get(burial.ATTEMPTS, "")),
        error=said.get(burial.ERROR, ""),
    )


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 20 else 0


def _weighed(size: int, event: Event, most: int) -> int:
    size += len(event.payload)
    if size > most:
        raise TooLarge(f"these dead letters have more than {most} bytes together: name fewer ids")
    return size


def _unknown(id: str) -> NotFound:
    return NotFound(f"there is no dead letter {id[:100]}, or it is dealt with")
