"""One group and the log it consumes: who asks gets the next event, at once where it is in memory.

::

    log ──page──▶ next event ──▶ the consumer that asks; of those who wait, the one that holds least, in turn
     ▲             │ only where the mark on disk allows
     └ one read    └ waiting to come again: first

Nothing is handed out before somebody asks. So what is in memory is a page of a group, within the budget of its namespace, however many
consumers there are and however slowly they read; and, within another, what they were given and their streams have not sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from twisted.internet.interfaces import IDelayedCall

from microd.kernel.errors import MicroError, Unavailable
from microd.services.events.groups.burial import ONLY_GROUP, Burial
from microd.services.events.groups.consumer import Consumer
from microd.services.events.groups.group import AHEAD, NEVER, Group, Member
from microd.services.events.groups.keeper import Keepable
from microd.services.events.groups.page import Page
from microd.services.events.groups.state import encode
from microd.services.events.groups.world import LARGE, Budget, Unsent, World
from microd.services.events.log.log import Log
from microd.services.events.log.meta import GROUPS
from microd.services.events.model import Ack, Delivery, GroupFacts, Terms, Verdict
from microd.services.store.model import Act, Put, Record

#: Consumers of which the one that holds least is chosen.
_WEIGHED = 8


class Running(Keepable):
    """A group at work.

    @ivar name: empty for a private one, which is not kept.
    @ivar is_over: it was deleted, or its topic.
    """

    __slots__ = (
        "_armed",
        "_burial",
        "_consumers",
        "_idle",
        "_is_pumping",
        "_leave",
        "_page",
        "_timer",
        "group",
        "is_over",
        "log",
        "name",
        "unsent",
        "world",
    )

    def __init__(
        self,
        name: str,
        group: Group,
        log: Log,
        budget: Budget,
        unsent: Unsent,
        world: World,
        burial: Burial | None,
    ) -> None:
        self.name = name
        self.group = group
        self.log = log
        self.unsent = unsent
        self.world = world
        self.is_over = False
        self._consumers: dict[Member, Consumer] = {}
        self._idle: dict[Consumer, None] = {}
        self._page = Page(log, budget, self._read)
        self._timer: IDelayedCall | None = None
        self._armed = NEVER
        self._is_pumping = False
        self._leave: Callable[[], None] | None = None
        self._burial = burial

    # -- coming and going

    @property
    def consumers(self) -> int:
        """How many there are."""
        return len(self._consumers)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is lost if it is read from disk again when somebody asks for it."""
        is_busy = self._burial is not None and self._burial.is_busy
        return not self._consumers and not is_busy and not self.world.keeper.is_dirty(self)

    def join(self, terms: Terms, left: Callable[[], None]) -> Consumer:
        """Somebody consumes.

        @param left: called once they do not any more.
        """
        consumer = Consumer(self, terms, left)
        self._consumers[consumer.member] = consumer
        self.group.join(consumer.member)
        if self._leave is None:
            self._leave = self.log.on_grown(self.grown)
        self.look_after()
        return consumer

    def left(self, consumer: Consumer) -> None:
        """A consumer has gone."""
        member = consumer.member
        self._consumers.pop(member, None)
        self._idle.pop(consumer, None)
        held = bool(member.held)
        self.group.leave(member, was_sent=self.world.is_stopping)
        if held:
            self.changed()
        if not self._consumers:
            self._rest()
        self.look_after()

    def end(self, error: MicroError | None) -> None:
        """End all consumers."""
        for consumer in list(self._consumers.values()):
            consumer.end(error)

    def stop(self, error: MicroError | None = None) -> None:
        """Be over: end all consumers, and do nothing any more."""
        self.is_over = True
        self.end(error)
        self._rest()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._burial is not None:
            self._burial.stop()

    async def finish(self) -> None:
        """Wait for what is on its way to the dead letters; begin nothing more."""
        if self._burial is not None:
            await self._burial.finish()

    def _rest(self) -> None:
        """Nobody consumes: keep nothing in memory."""
        if self._leave is not None:
            self._leave()
            self._leave = None
        self._page.close()
        self.unsent.waiting.pop(self._go_on, None)
        self.unsent.wake()

    # -- what consumers ask

    def ask(self, consumer: Consumer) -> Delivery | None:
        """The next event, if nobody else waits for one and it is there; else it is to C{wait}."""
        return None if self._idle else self._next(consumer.member)

    def wait(self, consumer: Consumer) -> None:
        """A consumer waits to be handed one."""
        if consumer.member.has_room and consumer.member in self._consumers:
            self._idle[consumer] = None
            self.pump()

    def weary(self, consumer: Consumer) -> None:
        """It waits no more."""
        self._idle.pop(consumer, None)

    def taken(self, offset: int) -> None:
        """What a consumer acknowledges by asking for more."""
        if self.group.done(offset):
            self.changed()

    def heard(self, ack: Ack, consumer: Consumer) -> bool:
        """A word about an event; whether anybody was waiting for it."""
        held = consumer.member.held
        before = len(held)
        if not self._settle(ack, consumer.member):
            return False
        self.changed()
        if len(held) < before:
            if consumer.is_waiting:
                self._idle[consumer] = None
        elif ack.verdict is Verdict.DONE:
            # It was somebody else's, who has room now.
            self._revive()
        self.look_after()
        return True

    def told(self, acks: Iterable[Ack]) -> int:
        """Words about events, of somebody who consumes elsewhere; how many of them were waited for."""
        count = sum([self._settle(ack, None) for ack in acks])
        if count:
            self.changed()
            self._revive()
            self.look_after()
        return count

    def _settle(self, ack: Ack, member: Member | None) -> bool:
        offset = self.log.offset_of(ack.id)
        if offset is None:
            return False
        world, delay = self.world, ack.delay
        dice = world.dice() if delay is None else 0.0
        now = world.clock.seconds()
        return self.group.settle(offset, ack.verdict, now, dice, member=member, error=ack.error, delay=delay)

    def grown(self) -> None:
        """There is more to read, or less."""
        group, log = self.group, self.log
        if log.gone:
            return
        if group.floor < log.first - 1 and group.retained(log.first):
            self.changed()
        if self._idle:
            self.pump()

    def seek(self, cursor: int) -> None:
        """Go on behind C{cursor}."""
        self.group.seek(cursor)
        self._page.forget()
        self.changed()
        self._revive()
        self.look_after()

    # -- handing out

    def look_after(self) -> None:
        """After something has changed: hand out what can be, bury what is doomed, set the timer."""
        group = self.group
        if self._idle:
            self.pump()
        if group.doomed and not self.is_over:
            if self._burial is None:
                for offset in list(group.doomed):
                    group.buried(offset)
                self.changed()
            else:
                self._burial.begin(self)
        if group.soonest < self._armed:
            self._arm()

    def pump(self) -> None:
        """Hand events to those who wait."""
        if self._is_pumping:
            return
        self._is_pumping = True
        try:
            while self._idle:
                consumer = self._choose()
                delivery = self._next(consumer.member)
                if delivery is None:
                    break
                self._idle.pop(consumer, None)
                consumer.hand(delivery)
        finally:
            self._is_pumping = False

    def _choose(self) -> Consumer:
        """Of those who have waited longest, the one that holds least."""
        idle = self._idle
        if len(idle) == 1:
            for consumer in idle:
                return consumer
        return min(islice(idle, _WEIGHED), key=_burden)

    def _revive(self) -> None:
        """Let those wait for events who have room again."""
        for consumer in self._consumers.values():
            if consumer.is_waiting and consumer.member.has_room:
                self._idle.setdefault(consumer)

    def _next(self, member: Member) -> Delivery | None:
        """The next event, taken by C{member}; None: there is none for it now. Hot."""
        group, log, world, unsent = self.group, self.log, self.world, self.unsent
        if not member.has_room or self.is_over:
            return None
        if unsent.used >= unsent.most and self._go_on in unsent.waiting:
            return None
        while True:
            now = world.clock.seconds()
            offset = group.next(now)
            if not offset:
                if group.is_blocked and self.name:
                    self.world.keeper.now(self)
                return None
            if offset >= log.next:
                return None
            if offset < log.first:
                group.retained(log.first)
                self.changed()
                continue
            event = self._page.fetch(offset)
            if event is None:
                return None
            if event.offset != offset:
                group.retained(event.offset)
                self.changed()
                continue
            metadata = event.metadata
            if metadata and metadata.get(ONLY_GROUP, self.name) != self.name:
                group.skip(offset)
                self.changed()
                continue
            if len(event.payload) > LARGE and unsent.used >= unsent.most:
                # It is read again when its turn has come: there may be many who wait.
                self._page.forget()
                unsent.waiting[self._go_on] = None
                return None
            attempt, again = group.take(offset, member, now, event.timestamp)
            if again:
                world.redelivered += 1
            if group.cursor + AHEAD // 2 > group.durable:
                world.keeper.soon(self)
            if group.soonest < self._armed:
                self._arm()
            return Delivery(event, attempt, again)

    def _read(self, error: MicroError | None) -> None:
        """A page was read, or could not be."""
        if error is not None:
            self.end(error)
        else:
            self.pump()
        self.unsent.wake()

    def _go_on(self) -> bool:
        """There is room for large events again; as L{Unsent.waiting}."""
        self.pump()
        return not self._page.is_reading

    # -- time

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        at = self._armed = self.group.soonest
        if at != NEVER and not self.is_over:
            clock = self.world.clock
            self._timer = clock.callLater(max(0.0, at - clock.seconds()), self._rang)

    def _rang(self) -> None:
        self._timer = None
        self._armed = NEVER
        group = self.group
        if group.expire(self.world.clock.seconds()):
            self.changed()
            self._revive()
        group.look()
        self.look_after()

    # -- what is kept

    def changed(self) -> None:
        """What is on disk is not what is so."""
        if self.name and not self.is_over:
            self.world.keeper.soon(self)

    @property
    def is_held(self) -> bool:
        """Whether a commit is on its way which has it without what it buries; memory does not know yet how that ends."""
        return self._burial is not None and self._burial.is_committing

    def state(self, *, is_last: bool = False, without: Sequence[int] = ()) -> tuple[Act, int, int] | None:
        """As L{Keepable.state}; C{without} count as done with."""
        if self.log.gone or (self.is_over and not is_last):
            return None
        group = self.group
        mark = group.exact_mark if is_last else None
        data, mark = encode(group, self.world.clock.seconds(), mark=mark, without=without)
        record = Record(self.name, data)
        return Put(self.log.space.name, GROUPS + self.log.topic, record), mark, len(data)

    def kept(self, mark: int) -> None:
        self.group.durable = max(self.group.durable, mark)
        if self._idle:
            self.pump()

    def not_kept(self, error: MicroError) -> None:
        """No greater mark is on disk: those who need one are told, unless it is going to be tried again in vain only for a while."""
        if self.world.store.failure and self.group.is_blocked and self._idle:
            self.end(Unavailable(f"the group {self.name} cannot go on: {error.detail}"))

    # -- what there is to say

    def facts(self, oldest: float) -> GroupFacts:
        """About it now.

        @param oldest: seconds since the oldest event that is not done with was published.
        """
        group, log = self.group, self.log
        if group.floor < log.first - 1:
            # It is not written: whoever asks may have but a copy, while another is at work.
            group.retained(log.first)
        return GroupFacts(
            topic=log.topic,
            name=self.name,
            consumers=len(self._consumers),
            acknowledged=group.floor,
            delivered=group.cursor,
            lag=group.lag(log.next - 1),
            in_flight=group.in_flight,
            waiting=group.waiting,
            oldest=oldest,
            missed=group.missed,
            redelivered=group.redelivered,
            dead=group.dead,
        )

    @property
    def oldest_stamp(self) -> int:
        """When the oldest event that is not done with was published, as far as that is known without reading; 0: there is none."""
        group = self.group
        for pending in group.pending.values():
            return pending.stamp
        offset = group.cursor + 1
        if offset >= self.log.next:
            return 0
        event = self._page.find(offset)
        if event is None:
            found = self.log.recent(offset, 1)
            event = found[0] if found else None
        return 0 if event is None else event.timestamp


def _burden(consumer: Consumer) -> int:
    return len(consumer.member.held)
