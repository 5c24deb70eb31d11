"""Many writes, one fsync: what arrives while a commit is under way goes into the next one, together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from microd.kernel.errors import Internal, MicroError, Unavailable
from microd.kernel.health import Spread
from microd.services.store.backends.sqlite_rows import Statement
from microd.services.store.backends.sqlite_writes import Condition, Write
from microd.services.store.backends.worker import IWorker
from microd.services.store.errors import OutOfSpace

#: One transaction holds no more than this many writes, and (but for the last of them) no more bytes.
MOST_WRITES = 4096
MOST_BYTES = 16 << 20

#: Where a commit takes longer than this, in seconds, the next one waits for company, though no longer than half of it.
SLOW, LONGEST_WAIT = 0.0015, 0.005
#: After a wait in vain, so many commits go without.
UNWILLING = 16

#: Does writes in one transaction, and says of each why it was left out, or None.
Perform = Callable[[Sequence[Write]], Sequence[MicroError | None]]


class _Write(Deferred[int]):
    """Fires once it is on disk.

    @ivar answer: what it fires with.
    """

    def __init__(
        self, statements: Sequence[Statement], size: int, conditions: Sequence[Condition], answer: int
    ) -> None:
        super().__init__()
        self.answer = answer
        self.statements = statements
        self.size = size
        self.conditions = conditions


class GroupCommit:
    """Collects writes and commits them in the order in which they came.

    The first of a pause waits for the end of the reactor's turn, so that all writes of one turn share a commit.

    Writers who were just answered often write again at once. Were the next commit to begin without them, two halves of
    the writers would take turns, and each would wait for two commits. On a slow disk that halves the number of writes;
    so there the next commit waits a little, until as many writers are back as have been seen, and gives it up for a
    while if they do not come.

    @param committed: called with the writes of each commit, also of one that failed, before its writers hear of it and
        before the next one begins.
    @param most_waiting: the bytes which may wait; beyond that, writes are refused.
    @ivar commits: how many there were, and C{writes} in them, whatever came of them.
    """

    def __init__(
        self,
        clock: IReactorTime,
        worker: IWorker,
        perform: Perform,
        committed: Callable[[Sequence[Write]], None],
        most_waiting: int,
    ) -> None:
        self._clock = clock
        self._worker = worker
        self._perform = perform
        self._tell = committed
        self._most_waiting = most_waiting
        self._waiting: list[_Write] = []
        self._bytes = 0
        self.commits = self.writes = 0
        self.spread = Spread()
        self._busy = False
        self._refusal: Callable[[], MicroError] | None = None
        self._drained: Deferred[None] | None = None
        self._took = 0.0
        self._wait: IDelayedCall | None = None
        self._company = 0
        self._unwilling = 0

    @property
    def waiting(self) -> int:
        """The bytes which are not on disk yet."""
        return self._bytes

    def submit(
        self,
        statements: Sequence[Statement],
        size: int,
        conditions: Sequence[Condition] = (),
        answer: int = 0,
    ) -> Deferred[int]:
        """Write; fires with C{answer} once it is on disk, and fails with a L{MicroError} if it is not."""
        if self._refusal is not None:
            raise self._refusal()
        if self._bytes and self._bytes + size > self._most_waiting:
            raise Unavailable("the store cannot write as fast as it is asked to: try again later")
        write = _Write(statements, size, conditions, answer)
        self._waiting.append(write)
        self._bytes += size
        if not self._busy:
            self._busy = True
            self._clock.callLater(0, self._next)
        elif self._wait is not None and len(self._waiting) == self._company:
            self._wait.reset(0)
        return write

    def refuse(self, reason: Callable[[], MicroError]) -> None:
        """Take no more writes; those which wait fail with what this makes."""
        self._refusal = reason
        waiting, self._waiting = self._waiting, []
        for write in waiting:
            self._bytes -= write.size
            write.errback(reason())

    async def drain(self) -> None:
        """Wait until nothing is waiting."""
        if self._busy:
            self._drained = Deferred()
            await self._drained

    def _next(self) -> None:
        if self._wait is not None:
            self._wait = None
            self._unwilling = UNWILLING if len(self._waiting) < self._company else 0
        batch = self._take()
        if not batch:
            self._busy = False
            if self._drained is not None:
                self._drained.callback(None)
            return
        self._worker.run(self._commit, batch).addBoth(self._committed, batch)

    def _take(self) -> list[_Write]:
        count = size = 0
        for write in self._waiting:
            if count == MOST_WRITES or size >= MOST_BYTES:
                break
            count += 1
            size += write.size
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch

    def _commit(self, batch: Sequence[_Write]) -> Sequence[MicroError | None]:
        """In the worker: one transaction; where the disk has no room for it, one for each write that it may have."""
        begun = self._clock.seconds()
        try:
            outcomes = self._perform(batch)
        except OutOfSpace as refusal:
            if len(batch) == 1:
                return [refusal]
            return [outcome for write in batch for outcome in self._commit([write])]
        except MicroError as refusal:
            # One for each: who gets it writes his own name on it.
            return [type(refusal)(refusal.detail, code=refusal.code) for _ in batch]
        self._took = self._clock.seconds() - begun
        return outcomes

    def _committed(
        self,
        outcomes: Sequence[MicroError | None] | Failure,
        batch: list[_Write],
    ) -> None:
        if isinstance(outcomes, Failure):
            outcomes = [Internal(f"the store could not write: {outcomes.getErrorMessage()}")] * len(batch)
        self.commits += 1
        self.spread.add(self._took)
        self.writes += len(batch)
        self._tell(batch)
        self._go_on(len(batch))
        for write, outcome in zip(batch, outcomes, strict=True):
            self._bytes -= write.size
            if outcome is None:
                write.callback(write.answer)
            else:
                write.errback(outcome)

    def _go_on(self, answered: int) -> None:
        """Begin the next commit: now, when this turn is over, or when those who are answered now are back."""
        took = self._took
        if not self._waiting:
            self._clock.callLater(0, self._next)
        elif took < SLOW or self._unwilling:
            self._unwilling = max(0, self._unwilling - 1)
            self._next()
        else:
            self._company = len(self._waiting) + answered
            self._wait = self._clock.callLater(min(took / 2, LONGEST_WAIT), self._next)
