"""What all logs share."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred, DeferredLock, DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from microd.services.events.log.memory import Leftovers, Tail
from microd.services.events.model import Limits
from microd.services.store.interface import IStore
from microd.services.store.model import Record

if TYPE_CHECKING:
    from microd.services.events.log.log import Log
    from microd.services.events.log.pipeline import Pipeline

#: Bytes in memory of what was published last, and of what was read from disk ahead.
TAIL, AHEAD = 32 << 20, 16 << 20
#: Logs which are made or looked at together; others wait, so that who makes thousands does not fill the memory.
OPENING = 64


class Counts:
    """What was done so far."""

    __slots__ = ("blocks", "bytes", "published", "read", "refused")

    def __init__(self) -> None:
        self.published = self.refused = self.bytes = self.blocks = self.read = 0


class Space:
    """One namespace.

    @ivar kept: bytes which its topics have on disk, as far as they were looked at.
    @ivar waiting: bytes that are not on disk yet.
    @ivar leaving: topics which are being deleted; a new one of that name waits.
    """

    __slots__ = ("kept", "leaving", "logs", "name", "names", "waiting")

    def __init__(self, name: str) -> None:
        self.name = name
        self.logs: dict[str, Log] = {}
        self.names: list[str] | None = None
        self.kept = self.waiting = 0
        self.leaving: dict[str, list[Deferred[None]]] = {}


class Shared:
    """What a log needs of the world.

    @ivar clock: its seconds are Unix time.
    @ivar failure: why nothing is written any more; empty while all is well.
    @ivar keeping: who changes a topic's record has this meanwhile.
    @ivar opening: who makes or looks at a log has this meanwhile.
    @ivar lost: told of a log that could not be created.
    """

    log = Logger()

    def __init__(
        self, store: IStore, clock: IReactorTime, limits: Limits, lost: Callable[[Log], None]
    ) -> None:
        self.store = store
        self.clock = clock
        self.limits = limits
        self.lost = lost
        self.tail = Tail(TAIL)
        self.ahead: Leftovers[Record] = Leftovers(AHEAD)
        self.counts = Counts()
        self.failure = ""
        self.keeping = DeferredLock()
        self.opening = DeferredSemaphore(OPENING)
        self._dirty: list[Pipeline] = []
        self._tasks: set[Deferred[Any]] = set()

    def now(self) -> int:
        """Unix milliseconds."""
        return int(self.clock.seconds() * 1000)

    def wake(self, pipeline: Pipeline) -> None:
        """Have a log write when this turn of the reactor is over."""
        if not self._dirty:
            self.clock.callLater(0, self._write)
        self._dirty.append(pipeline)

    def _write(self) -> None:
        dirty, self._dirty = self._dirty, []
        for pipeline in dirty:
            pipeline.write()

    def own(self, work: Coroutine[Deferred[Any], Any, Any]) -> None:
        """Do something in the background; nobody is told how it ends."""
        task = Deferred.fromCoroutine(work)
        if not task.called:
            self._tasks.add(task)
            task.addBoth(self._ended, task)
        task.addErrback(self._failed)

    def stop(self) -> None:
        """Stop what is done in the background."""
        for task in list(self._tasks):
            task.cancel()

    def _ended(self, outcome: object, task: Deferred[Any]) -> object:
        self._tasks.discard(task)
        return outcome

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None:
            self.log.failure("something in the background ended", failure)
