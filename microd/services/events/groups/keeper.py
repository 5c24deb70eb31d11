"""Has the state of groups on disk a moment after it has changed: many changes of many groups in one commit.

Where that fails, groups go on as far as the marks allow which are on disk: whatever they give until then is marked when it is given
again. Beyond, they wait on a disk that is full, and end their consumers with 503 where the disk has failed. What was acknowledged on a stream
meanwhile is known until the daemon ends; who acknowledges by a call is told that it failed. Private groups, and reading, need no disk that can
be written to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from microd.kernel.errors import Internal, MicroError
from microd.services.store.interface import IStore
from microd.services.store.model import Act

#: Seconds for which changes are collected.
DELAY = 0.01
#: Seconds after which a write that failed is tried again; twice as long each time, up to the second one.
RETRY, LONGEST_RETRY = 1.0, 30.0
#: Groups in one commit, and bytes, but for the last of them.
MOST, MOST_BYTES = 256, 4 << 20


class Keepable(Protocol):
    """Something whose state is kept."""

    @property
    def is_held(self) -> bool:
        """Whether it must not be written now, because it is on its way to the disk otherwise; C{Keeper.released} is called then."""

    def state(self, *, is_last: bool = False) -> tuple[Act, int, int] | None:
        """What is to be written, its mark and its bytes; None: nothing, it is over.

        @param is_last: nothing more is going to happen.
        """

    def kept(self, mark: int) -> None:
        """A state is on disk."""

    def not_kept(self, error: MicroError) -> None:
        """It is not."""


class Keeper:
    """Writes what has changed; one write at a time.

    @ivar failure: why the last write failed; empty: it did not.
    """

    log = Logger()

    def __init__(self, store: IStore, clock: IReactorTime) -> None:
        self._store = store
        self._clock = clock
        self._dirty: dict[Keepable, list[Deferred[None]]] = {}
        self._timer: IDelayedCall | None = None
        self._at = 0.0
        self._writing: Deferred[None] | None = None
        self._batch: set[Keepable] = set()
        self._is_urgent = False
        self._pause = 0.0
        self.failure = ""

    def soon(self, what: Keepable) -> None:
        """Something has changed."""
        if what not in self._dirty:
            self._dirty[what] = []
            if self._timer is None and self._writing is None:
                self._schedule(self._pause or DELAY)

    def now(self, what: Keepable) -> None:
        """The same, and somebody waits for it."""
        self._dirty.setdefault(what, [])
        if not self._pause:
            self._hurry()

    def written(self, what: Keepable) -> Deferred[None]:
        """Fires once it is on disk as it is now; fails with why it is not."""
        waiter: Deferred[None] = Deferred()
        self._dirty.setdefault(what, []).append(waiter)
        self._hurry()
        return waiter

    def released(self, what: Keepable) -> None:
        """It is held no longer."""
        if self._dirty.get(what):
            self._hurry()
        elif what in self._dirty and self._timer is None and self._writing is None:
            self._schedule(self._pause or DELAY)

    def is_dirty(self, what: Keepable) -> bool:
        """Whether what is on disk may not be what is so."""
        return what in self._dirty or what in self._batch

    def forget(self, what: Keepable) -> None:
        """It is over."""
        for waiter in self._dirty.pop(what, ()):
            waiter.callback(None)

    async def stop(self, last: Iterable[Keepable]) -> None:
        """Write these for the last time, after what is being written."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._writing is not None:
            over: Deferred[None] = Deferred()
            self._writing.addBoth(_pass_on, over)
            await over
        self._dirty.update({each: self._dirty.get(each, []) for each in last})
        while self._dirty:
            await self._write(is_last=True)
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self.failure:
                return

    def _hurry(self) -> None:
        self._is_urgent = True
        if self._writing is None:
            self._schedule(0)

    def _schedule(self, delay: float) -> None:
        at = self._clock.seconds() + delay
        if self._timer is not None:
            if self._at <= at:
                return
            self._timer.cancel()
        self._at = at
        self._timer = self._clock.callLater(delay, self._begin)

    def _begin(self) -> None:
        self._timer = None
        if self._writing is None and self._dirty:
            writing = Deferred.fromCoroutine(self._write())
            if not writing.called:
                self._writing = writing
            writing.addErrback(self._defect)

    def _defect(self, failure: Failure) -> None:
        self.log.failure("the state of groups could not be kept", failure)

    async def _write(self, *, is_last: bool = False) -> None:
        self._is_urgent = False
        acts: list[Act] = []
        batch: list[tuple[Keepable, int, Sequence[Deferred[None]]]] = []
        size = 0
        for what in list(self._dirty):
            if len(batch) == MOST or size > MOST_BYTES:
                self._is_urgent = True
                break
            if what.is_held:
                continue
            waiters = self._dirty.pop(what)
            state = what.state(is_last=is_last)
            if state is None:
                for waiter in waiters:
                    waiter.callback(None)
                continue
            act, mark, bytes_ = state
            acts.append(act)
            size += bytes_
            batch.append((what, mark, waiters))
        error: MicroError | None = None
        self._batch = {what for what, _, _ in batch}
        try:
            if acts:
                await self._store.apply(acts)
        except MicroError as problem:
            error = problem
        except Exception as problem:  # noqa: BLE001 - those who wait are to hear of it
            self.log.failure("the state of groups could not be kept")
            error = Internal(f"the state of a group could not be kept: {problem}")
        finally:
            self._writing = None
            self._batch.clear()
        if error is None:
            self._succeeded(batch)
        else:
            self._failed(batch, error)
        if self._dirty and not is_last:
            self._schedule(0 if self._is_urgent and not error else self._pause or DELAY)

    def _succeeded(self, batch: Sequence[tuple[Keepable, int, Sequence[Deferred[None]]]]) -> None:
        if self.failure:
            self.failure = ""
            self.log.info("the state of groups is kept again")
        self._pause = 0.0
        for what, mark, waiters in batch:
            what.kept(mark)
            for waiter in waiters:
                waiter.callback(None)

    def _failed(
        self, batch: Sequence[tuple[Keepable, int, Sequence[Deferred[None]]]], error: MicroError
    ) -> None:
        if not self.failure:
            self.log.error(
                "the state of {count} groups could not be kept: {error}. It is tried again; groups go on as far as was kept "
                "before",
                count=len(batch),
                error=error.detail,
            )
        self.failure = error.detail
        self._pause = min(LONGEST_RETRY, 2 * self._pause or RETRY)
        for what, _, waiters in batch:
            self._dirty.setdefault(what, [])
            what.not_kept(error)
            for waiter in waiters:
                waiter.errback(type(error)(error.detail, code=error.code))


def _pass_on(outcome: object, over: Deferred[None]) -> object:
    over.callback(None)
    return outcome
