"""Events of one topic on their way to the disk: one batch is being written, and what comes meanwhile makes the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from microd.kernel.errors import BadRequest, Internal, MicroError, TooLarge, Unavailable
from microd.services.events import rules
from microd.services.events.codec import Block
from microd.services.events.log.batch import Acts, Batch, Row, has_conditions
from microd.services.events.log.shared import Shared, Space
from microd.services.events.model import Draft, Event
from microd.services.store.errors import OutOfSpace, StoreFailed

#: The next commit waits for those who were just answered, though no longer than half of what the last one took, nor than so many
#: seconds; where they do not come, so many commits go without. Else two halves of the publishers would take turns, and each wait
#: for two commits: with 512 in flight that cost 7 % of the events a second, and a sixth more CPU for each.
LONGEST_WAIT = 0.005
UNWILLING = 16


class Target(Protocol):
    """The log which is written to.

    @ivar gone: nothing is written to it any more.
    """

    gone: bool
    topic: str

    @property
    def is_loaded(self) -> bool:
        """Whether it is known where it ends."""

    def load_soon(self) -> None:
        """Find out where it ends, and have the pipeline woken, or refuse all."""

    def store(self, batch: Batch) -> tuple[Deferred[object], Sequence[Block]]:
        """Begin to write a batch: as these blocks."""

    def grow(self, batch: Batch, blocks: Sequence[Block]) -> None:
        """They are on disk."""

    def events(self, blocks: Sequence[Block], begin: int, end: int) -> Sequence[Event]:
        """The events with offsets from C{begin}, before C{end}."""

    def tell(self) -> None:
        """Tell those who read that there is more."""

    def doubt(self) -> None:
        """Whether a batch is on disk is not known."""

    def missing(self) -> MicroError:
        """What those hear who wanted something of it when it was gone."""


class Pipeline:
    """Takes events, and tells what became of them; in their order."""

    __slots__ = (
        "_begun",
        "_company",
        "_filling",
        "_full",
        "_is_writing",
        "_is_writing_now",
        "_log",
        "_settled",
        "_shared",
        "_space",
        "_unwilling",
        "_wait",
        "is_busy",
    )

    def __init__(self, shared: Shared, space: Space, log: Target) -> None:
        self._shared = shared
        self._space = space
        self._log = log
        self.is_busy = self._is_writing = self._is_writing_now = False
        self._begun = 0.0
        self._company = self._unwilling = 0
        self._wait: IDelayedCall | None = None
        self._filling: Batch | None = None
        self._full: list[Batch] = []
        self._settled: list[Deferred[None]] = []

    # -- taking

    def add(self, row: Row, size: int) -> None:
        """Take one event, which counts for C{size} while it waits. Hot: nothing is checked here."""
        batch = self._filling
        if batch is None or batch.size >= batch.most:
            batch = self._open()
        batch.rows.append(row)
        batch.size += size
        if not self.is_busy:
            self.is_busy = True
            self._shared.wake(self)
        elif self._company:
            self._joined(batch)

    def join(self, drafts: Sequence[tuple[Draft, bytes]], size: int, acts: Acts) -> Deferred[Sequence[Event]]:
        """Take events which belong together, each beside its packed metadata; fires with them."""
        self.admit(size)
        alone = has_conditions(acts)
        batch = self._filling
        if batch is None or batch.size >= batch.most or alone:
            batch = self._open()
        waiter = batch.join([(draft.payload, said, draft.timestamp) for draft, said in drafts], acts)
        size += rules.EACH * len(drafts)
        batch.size += size
        if alone:
            batch.most = 0
        self._space.waiting += size
        if not self.is_busy:
            self.is_busy = True
            self._shared.wake(self)
        elif self._company:
            self._joined(batch)
        return waiter

    def admit(self, size: int) -> None:
        """Let bytes wait.

        @raise Unavailable: too many do.
        @raise StoreFailed: nothing is written any more.
        """
        if self._shared.failure:
            raise StoreFailed(self._shared.failure)
        if self._space.waiting and self._space.waiting + size > self._shared.limits.waiting:
            raise Unavailable(rules.TOO_FAST)

    def _open(self) -> Batch:
        if self._filling is not None:
            self._full.append(self._filling)
        self._filling = batch = Batch()
        return batch

    # -- writing

    def write(self) -> None:
        """Write the batch that has waited longest; C{Shared} calls this."""
        log = self._log
        if self._is_writing or self._company:
            return
        if log.gone:
            self.refuse(log.missing())
            return
        if not log.is_loaded:
            log.load_soon()
            return
        if self._full:
            batch = self._full.pop(0)
        elif self._filling is not None:
            batch, self._filling = self._filling, None
        else:
            self._rest()
            return
        self._is_writing = self._is_writing_now = True
        self._begun = self._shared.clock.seconds()
        try:
            stored, blocks = log.store(batch)
        except Exception:  # noqa: BLE001 - whoever waits is told, whatever it is
            self._refused(Failure(), batch)
        else:
            stored.addCallbacks(
                self._stored, self._refused, callbackArgs=(batch, blocks), errbackArgs=(batch,)
            )
            stored.addErrback(self._defect)
        self._is_writing_now = False

    def _stored(self, _: object, batch: Batch, blocks: Sequence[Block]) -> None:
        log, shared = self._log, self._shared
        self._is_writing = False
        self._space.waiting -= batch.size
        log.grow(batch, blocks)
        topic = log.topic
        first = offset = blocks[0].first
        for _, _, _, receipt, token in batch.rows:
            try:
                receipt.stored(token, topic, offset)
            except Exception:  # noqa: BLE001 - the others are to be told, too
                shared.log.failure("somebody who was told of an event failed")
            offset += 1
        for part in batch.parts:
            begin = first + part.begin
            part.waiter.callback(log.events(blocks, begin, begin + part.count))
        self._go_on(len(batch.rows))
        log.tell()

    def _refused(self, failure: Failure, batch: Batch) -> None:
        self._is_writing = False
        shared = self._shared
        error = failure.value
        if not isinstance(error, MicroError):
            shared.log.failure("a write ended badly", failure)
            error = Internal(f"the events could not be written: {failure.getErrorMessage()}")
        if isinstance(error, StoreFailed):
            # Whether it was written shows after the next start; an offset is not to be given twice.
            shared.failure = shared.failure or (
                f"no more events are written, since their disk failed: {shared.store.failure or error.detail}; "
                "check the disk, then restart the daemon"
            )
        elif not isinstance(error, OutOfSpace | Unavailable | BadRequest | TooLarge) and error.code != 412:
            # What is on disk is looked at again before the next one.
            self._log.doubt()
        self._tell_refused(batch, error)
        self._go_on()

    def _tell_refused(self, batch: Batch, error: MicroError) -> None:
        self._space.waiting -= batch.size
        self._shared.counts.refused += len(batch.rows)
        for _, _, _, receipt, token in batch.rows:
            try:
                receipt.refused(token, another(error))
            except Exception:  # noqa: BLE001 - the others are to be told, too
                self._shared.log.failure("somebody who was told of an event failed")
        for part in batch.parts:
            part.waiter.errback(another(error))

    def refuse(self, error: MicroError) -> None:
        """Refuse all that waits."""
        batches = [*self._full, *([self._filling] if self._filling else [])]
        self._full.clear()
        self._filling = None
        for batch in batches:
            self._tell_refused(batch, error)
        self._rest()

    def _defect(self, failure: Failure) -> None:
        self._shared.log.failure("a log ended badly", failure)
        self._rest()

    # -- going on

    def _go_on(self, answered: int = 0) -> None:
        """Begin the next batch: now, or when those who were just answered are back with more."""
        if not self._full and self._filling is None:
            self._rest()
        elif self._is_writing_now or not self._log.is_loaded:
            # The store is done at once: let others have their turn.
            self._shared.wake(self)
        elif self._full or self._filling is None or not answered:
            self.write()
        else:
            clock = self._shared.clock
            took = clock.seconds() - self._begun
            if self._unwilling:
                self._unwilling -= 1
                self.write()
            else:
                self._company = len(self._filling.rows) + answered
                self._wait = clock.callLater(min(took / 2, LONGEST_WAIT), self._came)

    def _joined(self, batch: Batch) -> None:
        if len(batch.rows) >= self._company and self._wait is not None and self._wait.active():
            self._wait.reset(0)

    def _came(self) -> None:
        """Who was to come is there, or there was no time left for it."""
        rows = self._filling.rows if self._filling is not None else ()
        self._unwilling = UNWILLING if len(rows) < self._company and not self._full else 0
        self._company, self._wait = 0, None
        self.write()

    def _rest(self) -> None:
        self.is_busy = False
        settled, self._settled = self._settled, []
        for each in settled:
            each.callback(None)

    async def settled(self) -> None:
        """Wait until nothing is waiting to be written."""
        if self.is_busy:
            waiter: Deferred[None] = Deferred()
            self._settled.append(waiter)
            await waiter


def another(error: MicroError) -> MicroError:
    """One for each who is told: who gets it writes his own name on it."""
    return type(error)(error.detail, code=error.code)
