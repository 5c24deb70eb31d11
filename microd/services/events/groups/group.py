"""One group of consumers, as it changes. Pure: nothing here waits, reads a clock or throws dice.

::

    offsets   1 ........ floor | pending, and between them what is done with | cursor | what nobody has had ....
                                   │                                                 └ given up to C{durable} only
                                   ├ held by a member, until its deadline
                                   ├ waiting to come again, until it is due ──▶ ripe
                                   └ doomed: on its way to the dead letters

What is pending is written down event by event; all else up to the cursor is done with. So what is kept of a group is as large
as its window, however long it lives.

After a crash nobody knows what was given since the state was last kept. So the state which is on disk names a mark beyond
the cursor, and nothing is given beyond that mark (C{durable}) until a greater one is on disk. Whatever lies below
the mark that is found at the next start (C{suspect}) may have been given, and is marked so when it is given again.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from sys import maxsize

from microd.services.events.model import Terms, Verdict

#: How far the mark lies beyond the cursor when a state is kept.
AHEAD = 4096

#: How often consumers may leave with an event, beyond its retries, before it is given up: a consumer that leaves says
#: nothing about the event, but one which always dies of it must not go on for ever.
PARTINGS = 8

#: Characters of an error which are remembered.
LONGEST_ERROR = 1000

NEVER = float("inf")


class Member:
    """One consumer, as its group sees it.

    @ivar held: what it was given and has not acknowledged, in the order of the deadlines.
    @ivar most: so many at a time.
    @ivar wait: seconds until what it holds comes again.
    @ivar limit: how often an event comes again; -1: for ever.
    @ivar left: so many more may be given to it at all.
    """

    __slots__ = ("backoff", "backoff_max", "held", "left", "limit", "most", "wait")

    def __init__(self, terms: Terms) -> None:
        self.held: dict[int, Pending] = {}
        # What is acknowledged when the next one is asked for has no deadline: a slow reader is none that has died.
        self.wait = NEVER if terms.auto_ack else terms.ack_wait
        self.most = terms.max_in_flight
        self.left = terms.count or maxsize
        self.limit = terms.retry_limit
        self.backoff = terms.backoff
        self.backoff_max = terms.backoff_max

    @property
    def has_room(self) -> bool:
        """Whether it may be given another."""
        return len(self.held) < self.most and self.left > 0

    def delay(self, failures: int, dice: float) -> float:
        """Seconds before an event that failed so often comes again: twice as long each time, and a random part less.

        @param dice: from 0 to 1; at most half of the time is taken off.
        """
        whole = min(self.backoff_max, self.backoff * 2.0 ** min(failures - 1, 62))
        return whole * (1.0 - dice / 2.0)


class Pending:
    """An event that was given, and is not done with.

    @ivar stamp: when it was published, in Unix milliseconds; 0: not known.
    @ivar attempts: how often it was given, but for those who did not try it.
    @ivar failures: how often it was refused, or not acknowledged in time.
    @ivar partings: how often its consumer left.
    @ivar member: who holds it.
    @ivar due: the end of its holder's time; or when it may come again, 0: now.
    """

    __slots__ = ("attempts", "doomed", "due", "error", "failures", "member", "offset", "partings", "stamp")

    def __init__(self, offset: int, stamp: int = 0) -> None:
        self.offset = offset
        self.stamp = stamp
        self.attempts = self.failures = self.partings = 0
        self.member: Member | None = None
        self.due = 0.0
        self.doomed = False
        self.error = ""


class Group:
    """What a group was given, and what became of it.

    @ivar cursor: the last offset that was given to anybody, or passed over.
    @ivar durable: no offset beyond is given to anybody.
    @ivar suspect: what lies up to here may have been given before.
    @ivar pending: what was given and is not done with, in the order of the offsets.
    @ivar waiting: how many of these wait to come again.
    @ivar doomed: those which are on their way to the dead letters.
    @ivar soonest: nothing is due before; set to L{NEVER} by who sets a timer for it.
    @ivar missed: how many nobody has had, because they are kept no longer.
    """

    __slots__ = (
        "_due",
        "_ripe",
        "cursor",
        "dead",
        "doomed",
        "durable",
        "members",
        "missed",
        "pending",
        "redelivered",
        "soonest",
        "suspect",
        "waiting",
        "window",
    )

    def __init__(self, cursor: int, window: int, *, durable: int = maxsize, suspect: int = 0) -> None:
        self.cursor = cursor
        self.window = window
        self.durable = durable
        self.suspect = suspect
        self.members: dict[Member, None] = {}
        self.pending: dict[int, Pending] = {}
        self.doomed: dict[int, Pending] = {}
        self.waiting = self.missed = self.redelivered = self.dead = 0
        self.soonest = NEVER
        self._due: list[tuple[float, int]] = []
        self._ripe: list[int] = []

    @property
    def floor(self) -> int:
        """All offsets up to this one are done with."""
        for offset in self.pending:
            return offset - 1
        return self.cursor

    @property
    def in_flight(self) -> int:
        """How many events are at a consumer."""
        return len(self.pending) - self.waiting - len(self.doomed)

    @property
    def mark(self) -> int:
        """What is to be on disk before more is given; never less than it was."""
        return max(self.cursor + AHEAD, self.durable, self.suspect)

    @property
    def exact_mark(self) -> int:
        """The same once nothing more is given."""
        return max(self.cursor, self.suspect)

    def lag(self, last: int) -> int:
        """How many events up to C{last} are not done with."""
        return max(0, last - self.cursor) + len(self.pending)

    def join(self, member: Member) -> None:
        """A consumer has come."""
        self.members[member] = None

    def leave(self, member: Member, *, was_sent: bool = False) -> None:
        """A consumer has gone: what it held comes again at once.

        @param was_sent: it did not go by itself.
        """
        self.members.pop(member, None)
        held, member.held = member.held, {}
        for pending in held.values():
            pending.member = None
            pending.partings += not was_sent
            if 0 <= member.limit < pending.partings - PARTINGS:
                self._doom(pending, f"{pending.partings} consumers left before they had acknowledged it")
            else:
                self._ripen(pending)

    def next(self, now: float) -> int:
        """What is to be given next; 0: nothing now. What waits to come again holds back all that nobody has had."""
        if self.waiting:
            self._mature(now)
            ripe = self._ripe
            while ripe:
                pending = self._waits(ripe[0])
                if pending is not None and not pending.due:
                    return ripe[0]
                heappop(ripe)
            return 0
        offset = self.cursor + 1
        return offset if offset <= self.durable and len(self.pending) < self.window else 0

    @property
    def is_blocked(self) -> bool:
        """Whether more could be given if a greater mark were on disk."""
        return self.cursor >= self.durable and not self.waiting and len(self.pending) < self.window

    def take(self, offset: int, member: Member, now: float, stamp: int = 0) -> tuple[int, bool]:
        """Give what L{next} said to a member.

        @param stamp: when it was published, in Unix milliseconds.
        @return: how often it was given by now, and whether it may have been given before.
        """
        pending = self.pending.get(offset)
        if pending is None:
            self.cursor = offset
            pending = self.pending[offset] = Pending(offset, stamp)
            again = offset <= self.suspect
        else:
            self.waiting -= 1
            pending.stamp = stamp
            again = True
        if again:
            self.redelivered += 1
        pending.attempts += 1
        pending.member = member
        member.held[offset] = pending
        member.left -= 1
        due = pending.due = now + member.wait
        if due < self.soonest:
            self.soonest = due
        return pending.attempts, again

    def skip(self, offset: int) -> None:
        """What L{next} said is not for this group."""
        if offset in self.pending:
            self.done(offset)
        else:
            self.cursor = offset

    def done(self, offset: int) -> bool:
        """An event is done with, whoever says so; whether anybody was waiting for that word."""
        pending = self.pending.pop(offset, None)
        if pending is None:
            return False
        member = pending.member
        if member is not None:
            del member.held[offset]
        elif pending.doomed:
            del self.doomed[offset]
        else:
            self.waiting -= 1
        return True

    def settle(
        self,
        offset: int,
        verdict: Verdict,
        now: float,
        dice: float,
        *,
        member: Member | None = None,
        error: str = "",
        delay: float | None = None,
    ) -> bool:
        """A consumer says what became of an event; whether anybody was waiting for that word.

        Words that come late, twice, or about something else do no harm; that it is done with is believed also of who holds it
        no longer.

        @param member: who says so; None: whoever holds it.
        @param delay: seconds before it comes again; None: as the backoff has it.
        """
        if verdict is Verdict.DONE:
            return self.done(offset)
        pending = self.pending.get(offset)
        if pending is None:
            return False
        holder = pending.member
        if holder is None or (member is not None and member is not holder):
            return False
        del holder.held[offset]
        if verdict is Verdict.WORKING:
            holder.held[offset] = pending
            pending.due = now + holder.wait
            return True
        pending.member = None
        if verdict is Verdict.DROP:
            self._doom(pending, error or "dropped by its consumer")
        elif verdict is Verdict.UNTRIED:
            pending.attempts -= 1
            self._ripen(pending)
        else:
            self._failed(pending, holder, error or "refused by its consumer")
            if not pending.doomed:
                if delay is None:
                    delay = holder.delay(pending.failures, dice)
                self._await(pending, now + delay)
        return True

    def expire(self, now: float) -> bool:
        """What was not acknowledged in time comes again, at once; whether there was any."""
        self._mature(now)
        any_late = False
        for member in self.members:
            late = []
            for pending in member.held.values():
                if pending.due > now:
                    break
                late.append(pending)
            for pending in late:
                any_late = True
                del member.held[pending.offset]
                pending.member = None
                self._failed(pending, member, f"not acknowledged within {member.wait:g} s")
                if not pending.doomed:
                    self._ripen(pending)
        return any_late

    def look(self) -> float:
        """When something is due next, looking at everything; also kept as C{soonest}."""
        soonest = self._due[0][0] if self._due else NEVER
        for member in self.members:
            for pending in member.held.values():
                soonest = min(soonest, pending.due)
                break
        self.soonest = soonest
        return soonest

    def buried(self, offset: int) -> None:
        """A doomed event lies with the dead letters."""
        if self.doomed.pop(offset, None) is not None:
            del self.pending[offset]
            self.dead += 1

    def retained(self, first: int) -> bool:
        """What lies before C{first} is kept no longer; what a consumer holds of it may still be acknowledged.

        @return: whether anything was missed by that.
        """
        before = self.missed
        if self.cursor < first - 1:
            self.missed += first - 1 - self.cursor
            self.cursor = first - 1
        gone = []
        for offset, pending in self.pending.items():
            if offset >= first:
                break
            if pending.member is None:
                gone.append(offset)
        for offset in gone:
            self.missed += 1
            self.done(offset)
        return self.missed != before

    def seek(self, cursor: int) -> None:
        """Go on behind C{cursor}, and forget what is pending."""
        self.suspect = max(self.suspect, self.cursor)
        self.cursor = cursor
        self.soonest = NEVER
        for member in self.members:
            member.held.clear()
        self.pending.clear()
        self.doomed.clear()
        self._due.clear()
        self._ripe.clear()
        self.waiting = 0

    def restore(self, pending: Pending, now: float, wait: float) -> None:
        """Put an event in which was pending when the state was kept; those with lesser offsets come first.

        @param wait: seconds before it may come again.
        """
        self.pending[pending.offset] = pending
        if pending.doomed:
            self.doomed[pending.offset] = pending
        elif wait:
            self._await(pending, now + wait)
        else:
            self._ripen(pending)

    def _mature(self, now: float) -> None:
        """What is due may come again."""
        due = self._due
        while due and due[0][0] <= now:
            _, offset = heappop(due)
            pending = self._waits(offset)
            if pending is not None:
                pending.due = 0.0
                heappush(self._ripe, offset)

    def _waits(self, offset: int) -> Pending | None:
        pending = self.pending.get(offset)
        if pending is None or pending.member is not None or pending.doomed:
            return None
        return pending

    def _failed(self, pending: Pending, member: Member, error: str) -> None:
        pending.failures += 1
        if 0 <= member.limit < pending.failures:
            self._doom(pending, error)

    def _doom(self, pending: Pending, error: str) -> None:
        pending.doomed = True
        pending.error = error[:LONGEST_ERROR]
        self.doomed[pending.offset] = pending

    def _ripen(self, pending: Pending) -> None:
        self.waiting += 1
        pending.due = 0.0
        heappush(self._ripe, pending.offset)

    def _await(self, pending: Pending, due: float) -> None:
        self.waiting += 1
        pending.due = due
        heappush(self._due, (due, pending.offset))
        if due < self.soonest:
            self.soonest = due
        if len(self._due) > 2 * self.window + 64:
            # Words about events which still waited have left their entries behind.
            waiting = (self._waits(offset) for offset in self.pending)
            self._due = [(each.due, each.offset) for each in waiting if each is not None and each.due]
            heapify(self._due)
