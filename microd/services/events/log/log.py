"""The log of one topic.

There is only ever one C{Log} of a topic: two would give the same offsets. So it stays for as long as the topic does; one that nobody uses has
nothing of its events in memory.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from operator import attrgetter
from secrets import token_hex
from typing import cast

from twisted.internet.defer import Deferred

from microd.kernel.errors import MicroError, NotFound, Unavailable
from microd.services.events import rules
from microd.services.events.codec import Block
from microd.services.events.log.batch import Acts, Batch
from microd.services.events.log.disk import Disk
from microd.services.events.log.meta import TOPICS, Edge, Meta, namer, offset_from
from microd.services.events.log.pipeline import Pipeline, another
from microd.services.events.log.shared import Shared, Space
from microd.services.events.model import Draft, Event, Retention
from microd.services.store.errors import OutOfSpace
from microd.services.store.model import Act, Put, Record

#: Blocks which retention takes out in one commit.
_DROPS = 200
#: Bytes that are read unless somebody says how many; and what an event is counted for besides its payload.
_READ, _ANY = 4 << 20, 64

_FIRST = attrgetter("first")
#: What is in memory of a log that nobody writes to; most logs are such.
_NONE: deque[Block] = deque()


class Log:
    """The events of one topic, in memory and on disk.

    @ivar first: the offset of the first event which is kept; C{next} where there is none.
    @ivar next: the offset which the next event gets; all before it can be read.
    @ivar began: what C{next} was when the daemon began to use the log; 0: it has not yet.
    @ivar gone: the topic was deleted. A new one of its name is another log.
    @ivar add: L{Pipeline.add}.
    @ivar space: the namespace it belongs to.
    @ivar oldest: when the first block which is kept was stored, in Unix milliseconds.
    """

    __slots__ = (
        "_before",
        "_disk",
        "_edge",
        "_grown",
        "_is_loaded",
        "_is_loading",
        "_leaving",
        "_meta",
        "_name",
        "_pipeline",
        "_recent",
        "_shared",
        "_trouble",
        "_uid",
        "_waiters",
        "add",
        "began",
        "first",
        "gone",
        "next",
        "oldest",
        "space",
        "topic",
    )

    def __init__(
        self, shared: Shared, space: Space, topic: str, meta: Meta | None, trouble: Exception | None = None
    ) -> None:
        self._shared = shared
        self.space = space
        self.topic = topic
        self._meta = meta
        self._trouble = trouble
        self._uid = meta.uid if meta else token_hex(8)
        self._name = namer(self._uid)
        self._disk = Disk(shared.store, space.name, topic)
        self._edge = Edge()
        self._before = 0
        self.first = self.next = 1
        self.began = 0
        self.oldest = 0
        self.gone = False
        self._is_loaded = self._is_loading = False
        self._recent = _NONE
        self._grown: tuple[Callable[[], None], ...] = ()
        self._leaving: tuple[Callable[[], None], ...] = ()
        self._waiters: list[Deferred[None]] = []
        self._pipeline = Pipeline(shared, space, self)
        self.add = self._pipeline.add

    # -- what there is to say about it

    @property
    def is_loaded(self) -> bool:
        """Whether it is known where it begins and ends."""
        return self._is_loaded

    @property
    def is_created(self) -> bool:
        """Whether the topic is on disk."""
        return self._meta is not None or self._trouble is not None

    @property
    def uid(self) -> str:
        """16 hexadecimal digits, which no other topic ever had."""
        return self._uid

    @property
    def size(self) -> int:
        """The bytes which are kept."""
        return self._edge.total - self._before

    @property
    def created(self) -> int:
        """When the topic was made, in Unix milliseconds."""
        return self._meta.created if self._meta else 0

    @property
    def retention(self) -> Retention:
        """As it was asked for."""
        return self._meta.retention if self._meta else Retention()

    def event_id(self, offset: int) -> str:
        """The id of the event with this offset."""
        return self._name(offset)

    def offset_of(self, id: str) -> int | None:
        """The offset of the event with this id; None where it is of another topic, or no id."""
        offset = offset_from(self._uid, id)
        return offset if offset is not None and self._name(offset) == id else None

    # -- reading

    def recent(self, offset: int, most: int) -> Sequence[Event] | None:
        """Events from C{offset} on which are in memory, or from the first that is kept; none: there are none yet. None: ask L{read}."""
        if offset >= self.next:
            return ()
        offset = max(offset, self.first)
        blocks = self._recent
        if not blocks or blocks[0].first > offset:
            return None
        end = offset + most
        block = blocks[-1]
        if block.first <= offset:
            self._shared.counts.read += min(end, block.end) - offset
            return block.events(self.topic, self._name, offset, end)
        events: list[Event] = []
        for block in islice(blocks, bisect_right(blocks, offset, key=_FIRST) - 1, None):
            if block.first >= end:
                break
            events += block.events(self.topic, self._name, offset, end)
        self._shared.counts.read += len(events)
        return events

    async def read(self, offset: int, most: int, size: int = _READ) -> Sequence[Event]:
        """Events from C{offset} on, or from the first that is kept: no more than so many, nor more bytes unless it is one; none where there are none yet.

        @raise NotFound: the topic was deleted.
        @raise Internal: the topic is damaged there.
        """
        await self.ready()
        events: list[Event] = []
        while most > 0 and size > 0:
            offset = max(offset, self.first)
            found = self.recent(offset, most)
            if found is None:
                found = await self._read(offset, most)
                self._shared.counts.read += len(found)
            if not found:
                break
            for event in found:
                size -= len(event.payload) + _ANY
                if size < 0 and events:
                    break
                events.append(event)
            most -= len(found)
            offset = events[-1].offset + 1
        return events

    async def _read(self, offset: int, most: int) -> Sequence[Event]:
        """Events of one block on disk; what else was read waits for who asks next."""
        ahead = self._shared.ahead
        records = ahead.take((self, offset)) or await self._disk.several(offset)
        self._stay()
        if not records:
            return ()
        block = self._disk.block_from(records[0])
        # It begins behind the offset where the log was cut meanwhile.
        begin = max(offset, block.first, self.first)
        end = min(begin + most, block.end, self.next)
        if begin >= end:
            return ()
        rest = records if end < block.end else records[1:]
        if rest:
            ahead.put((self, end), rest, sum(len(record.value) for record in rest))
        try:
            return block.events(self.topic, self._name, begin, end)
        except ValueError as problem:
            raise self._disk.damaged(f"the block {block.key}", problem) from problem

    async def offset_at(self, timestamp: int) -> int:
        """The offset of the first event that did not happen before this time, in Unix milliseconds; C{next} where there is none."""
        await self.ready()
        if timestamp > self._edge.newest:
            return self.next
        low, high = self.first, self.next
        recent = self._recent
        if recent and recent[0].newest < timestamp:
            blocks = list(recent)
            block = blocks[bisect_right(blocks, timestamp - 1, key=attrgetter("newest"))]
            return block.since(timestamp) or block.end
        block_found = await self._disk.find(low, high, lambda block: block.newest >= timestamp)
        # As a rule it is in that block; but where the newest one was removed, all blocks after it say that there was one.
        while block_found is not None:
            self._stay()
            found = block_found.since(timestamp)
            if found is not None:
                return max(found, self.first)
            if block_found.end >= high:
                break
            block_found = await self._disk.at(block_found.end)
        return high

    # -- being told

    def on_grown(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have C{callback} called after more can be read, and after C{first} has moved.

        @return: calls it no more; may be called twice.
        """
        self._grown = (*self._grown, callback)

        def leave() -> None:
            self._grown = tuple(each for each in self._grown if each is not callback)

        return leave

    def on_gone(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have C{callback} called once the topic is deleted.

        @return: calls it no more; may be called twice.
        """
        self._leaving = (*self._leaving, callback)

        def leave() -> None:
            self._leaving = tuple(each for each in self._leaving if each is not callback)

        return leave

    # -- writing

    async def append(self, drafts: Sequence[Draft], acts: Acts = ()) -> Sequence[Event]:
        """Store events with consecutive offsets, and do C{acts} in the same commit; all of it or nothing. The names in metadata are free.

        @param acts: where it is a function, it is asked at the moment at which the store gets them, and is to give none with
            conditions; its acts are asked for once.
        @raise TooLarge: an event is larger than is allowed, or all together.
        @raise NotFound: the topic was deleted.
        @raise MicroError: as C{apply} of a store does.
        """
        limits, added = self._shared.limits, rules.ADDED
        drafted = [(draft, rules.pack(draft.metadata, limits, added)) for draft in drafts]
        return await self.join(drafted, rules.check_drafts(drafted, limits, added), acts)

    def join(
        self, drafts: Sequence[tuple[Draft, bytes]], size: int, acts: Acts = ()
    ) -> Deferred[Sequence[Event]]:
        """The same for events that were checked, each beside its packed metadata."""
        self._stay()
        return self._pipeline.join(drafts, size, acts)

    def admit(self, size: int) -> None:
        """Let bytes wait; see L{Pipeline.admit}."""
        self._pipeline.admit(size)

    async def settled(self) -> None:
        """Wait until nothing is waiting to be written."""
        await self._pipeline.settled()

    def store(self, batch: Batch) -> tuple[Deferred[object], Sequence[Block]]:
        """Begin to write a batch: as these blocks; L{Pipeline} calls this."""
        made = batch.blocks(self._edge, self._shared.now())
        return self._put(made, batch), [block for block, _ in made]

    def _put(self, made: list[tuple[Block, bytes]], batch: Batch) -> Deferred[object]:
        database, table, store = self.space.name, self._disk.table, self._shared.store
        if len(made) == 1 and not batch.acts:
            ((block, data),) = made
            writing = store.begin_write(database, table, Record(block.key, data))
            if isinstance(writing, Deferred):
                return cast("Deferred[object]", writing)
            return Deferred.fromCoroutine(writing)  # type: ignore[arg-type]
        acts: list[Act] = [Put(database, table, Record(block.key, data)) for block, data in made]
        return Deferred.fromCoroutine(store.apply([*acts, *batch.all_acts()]))

    def grow(self, batch: Batch, blocks: Sequence[Block]) -> None:
        """Blocks are on disk; L{Pipeline} calls this."""
        last = blocks[-1]
        total = last.before + last.size
        more = total - self._edge.total
        if self.first == self.next:
            self.oldest = blocks[0].stored
        self._edge = Edge(last.end, total, last.stored, last.newest)
        self.next = last.end
        counts = self._shared.counts
        counts.bytes += more
        counts.published += len(batch.rows)
        counts.blocks += len(blocks)
        if not self.gone:
            self.space.kept += more
            if self._recent is _NONE:
                self._recent = deque()
            for block in blocks:
                self._shared.tail.add(self._recent, block)

    def events(self, blocks: Sequence[Block], begin: int, end: int) -> Sequence[Event]:
        """The events of blocks with offsets from C{begin}, before C{end}."""
        return [event for block in blocks for event in block.events(self.topic, self._name, begin, end)]

    def tell(self) -> None:
        """Tell those who want to know that the log has changed."""
        for callback in self._grown:
            try:
                callback()
            except Exception:  # noqa: BLE001 - the others are to be told, too
                self._shared.log.failure("somebody who was told of a topic failed")

    def doubt(self) -> None:
        """Whether a batch is on disk is not known: look at where the log ends before the next one is written."""
        self._forget()

    # -- coming and going

    async def ready(self) -> None:
        """Wait until it is known where the log begins and ends; a new topic is on disk then.

        @raise NotFound: it was deleted.
        @raise Internal: it is damaged.
        """
        self._stay()
        if not self._is_loaded:
            waiter: Deferred[None] = Deferred()
            self._waiters.append(waiter)
            self.load_soon()
            await waiter
            self._stay()

    def load_soon(self) -> None:
        """Find out where the log begins and ends, and go on with what waits to be written, or refuse it."""
        if not self._is_loading:
            self._is_loading = True
            self._shared.own(self._load())

    async def _load(self) -> None:
        error: MicroError | None = Unavailable("the daemon stops")
        try:
            await self._free()
            async with self._shared.opening:
                await self._find_edges()
            error = None
        except MicroError as problem:
            error = problem
        finally:
            self._is_loading = False
            self._is_loaded = error is None
            waiters, self._waiters = self._waiters, []
            if error is not None:
                if not self.is_created:
                    # Nobody is to find what was never there.
                    self._shared.lost(self)
                self._pipeline.refuse(error)
            elif self._pipeline.is_busy:
                self._shared.wake(self._pipeline)
            for waiter in waiters:
                if error is None:
                    waiter.callback(None)
                else:
                    waiter.errback(another(error))

    async def _free(self) -> None:
        """Wait until nothing is left of an earlier topic of this name."""
        earlier = self.space.leaving.get(self.topic)
        if earlier is not None:
            waiter: Deferred[None] = Deferred()
            earlier.append(waiter)
            await waiter

    async def _find_edges(self) -> None:
        meta = self._meta
        if self._trouble is not None:
            raise self._disk.damaged("its record", self._trouble)
        if meta is None:
            meta = Meta(self._uid, self._shared.now())
            await self._keep(meta)
            ends = None
        else:
            ends = await self._disk.ends()
        edge, first = meta.edge, None
        if ends is not None:
            first, last = ends
            edge = Edge(last.end, last.before + last.size, last.stored, last.newest)
        self._edge = edge
        self.next = edge.next
        self.began = self.began or edge.next
        self.first = first.first if first else edge.next
        self.oldest = first.stored if first else 0
        self._before = first.before if first else edge.total
        self.space.kept += self.size

    async def _keep(self, meta: Meta) -> None:
        record = Record(self.topic, meta.to_bytes())
        await self._shared.store.write(self.space.name, TOPICS, record)
        self._meta = meta

    async def configure(self, retention: Retention) -> None:
        """Keep events for as long as this."""
        await self.ready()
        async with self._shared.keeping:
            self._stay()
            assert self._meta is not None
            await self._keep(self._meta.kept(retention))

    def vanish(self) -> None:
        """The topic was deleted."""
        self.gone = True
        self._forget()
        leaving, self._leaving, self._grown = self._leaving, (), ()
        for callback in leaving:
            callback()

    def _forget(self) -> None:
        if self._is_loaded:
            self._is_loaded = False
            self.space.kept -= self.size
        self._recent.clear()

    def _stay(self) -> None:
        if self.gone:
            raise self.missing()

    def missing(self) -> NotFound:
        """What those hear who want something of a log that is gone."""
        return NotFound(f"there is no topic {self.topic}")

    # -- retention

    def excess(self, age: int, size: int, now: int) -> bool:
        """Whether events are beyond what is kept: older than C{age} seconds, or more than C{size} bytes; -1: no limit."""
        if not self._is_loaded or self.first == self.next:
            return False
        return (size >= 0 and self.size > size) or (age >= 0 and self.oldest < now - 1000 * age)

    async def trim(self, age: int, size: int, now: int) -> None:
        """Take out what is beyond that, the oldest blocks first; those who read there go on behind it."""
        high, total = self.next, self._edge.total

        def is_kept(block: Block) -> bool:
            return (size < 0 or total - block.before <= size) and (
                age < 0 or block.stored >= now - 1000 * age
            )

        kept = await self._disk.find(self.first, high, is_kept)
        if kept is None:
            kept = await self._all_but(high)
        if not self._is_loaded or (kept is not None and kept.first <= self.first):
            return
        cut, before = (kept.first, kept.before) if kept else (high, total)
        self.space.kept -= before - self._before
        self._before, self.first = before, cut
        self.oldest = kept.stored if kept else self._edge.stored
        while self._recent and self._recent[0].end <= cut:
            self._recent.popleft()
        self.tell()
        while not self.gone:
            drops = await self._disk.drop(cut, _DROPS)
            if not drops:
                return
            await self._shared.store.apply(drops)

    async def _all_but(self, end: int) -> Block | None:
        """Make ready for taking out everything before this offset; the block that is to stay, though, where something is."""
        if self._edge.next == end:
            try:
                async with self._shared.keeping:
                    self._stay()
                    assert self._meta is not None
                    await self._keep(self._meta.ending(self._edge))
            except OutOfSpace:
                # Without a block or a word of it the next start would not know the next offset.
                return await self._disk.last()
        return await self._disk.at(end)
