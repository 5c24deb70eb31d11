"""What a group gives up goes to the topic's dead letters, in the same commit in which the group is done with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from microd.kernel.errors import MicroError
from microd.services.events.groups.group import Pending
from microd.services.events.log.log import Log
from microd.services.events.model import Draft, Event
from microd.services.store.model import Act

if TYPE_CHECKING:
    from microd.services.events.groups.running import Running

#: Metadata of an event that one group gets and the others pass over.
ONLY_GROUP = "Micro-Only-Group"
#: How the metadata of a dead letter begins which is not the event's own.
PREFIX = "Micro-Dead-"
TOPIC, GROUP, ID, OFFSET = PREFIX + "Topic", PREFIX + "Group", PREFIX + "Id", PREFIX + "Offset"
ATTEMPTS, ERROR, TIME = PREFIX + "Attempts", PREFIX + "Error", PREFIX + "Time"

#: Events which are buried together, and their bytes, but for the last.
_MOST, _MOST_BYTES = 64, 4 << 20
#: Seconds after which it is tried again.
_RETRY = 5.0


class Burial:
    """Buries what one group has doomed.

    @param open: the log of the dead letters, which is made where there is none.
    @ivar is_committing: the store has it, and has not said how it ends.
    """

    log = Logger()

    __slots__ = ("_again", "_is_last", "_open", "_task", "_told", "is_committing")

    def __init__(self, open: Callable[[], Awaitable[Log]]) -> None:
        self._open = open
        self._task: Deferred[None] | None = None
        self._again: IDelayedCall | None = None
        self._told = self._is_last = self.is_committing = False

    @property
    def is_busy(self) -> bool:
        """Whether something is on its way."""
        return self._task is not None or self._again is not None

    async def finish(self) -> None:
        """Begin nothing more, and wait for what is on its way."""
        self._is_last = True
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if self._task is not None:
            over: Deferred[None] = Deferred()
            self._task.addBoth(lambda _: over.callback(None))
            await over

    def begin(self, running: Running) -> None:
        """Bury what is doomed, if that is not going on already."""
        if self._task is None and self._again is None and not self._is_last:
            task = Deferred.fromCoroutine(self._bury(running))
            if not task.called:
                self._task = task

    def stop(self) -> None:
        """Do nothing more."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    async def _bury(self, running: Running) -> None:
        try:
            while running.group.doomed and not running.is_over and not self._is_last:
                await self._some(running)
            self._told = False
        except CancelledError:
            return
        except Exception as problem:  # noqa: BLE001 - whatever it is, it is tried again
            self._later(running, problem)
        finally:
            self._task = None
        running.look_after()

    def _later(self, running: Running, problem: Exception) -> None:
        if not self._told:
            self._told = True
            self.log.error(
                "{count} events of the group {group} of {topic} cannot be put with the dead letters, which is tried again: "
                "{error}",
                count=len(running.group.doomed),
                group=running.name,
                topic=running.log.topic,
                error=problem.detail if isinstance(problem, MicroError) else repr(problem),
            )

        def again() -> None:
            self._again = None
            running.look_after()

        if not self._is_last:
            self._again = running.world.clock.callLater(_RETRY, again)

    async def _some(self, running: Running) -> None:
        group = running.group
        drafts: list[Draft] = []
        offsets: list[int] = []
        size = 0
        for offset, pending in sorted(group.doomed.items())[:_MOST]:
            if size > _MOST_BYTES:
                break
            found = await running.log.read(offset, 1, 1)
            if not found or found[0].offset != offset:
                # It is kept no longer.
                if group.done(offset):
                    group.missed += 1
                    running.changed()
                continue
            drafts.append(letter(found[0], running.name, pending))
            offsets.append(offset)
            size += len(found[0].payload)
        if not drafts or running.is_over:
            return
        mark = 0

        def acts() -> Sequence[Act]:
            nonlocal mark
            state = running.state(without=offsets)
            if state is None:
                return ()
            act, mark, _ = state
            # A later state would have in it what is being buried. Were it kept, too, and the daemon to crash, that would be buried twice.
            self.is_committing = True
            return (act,)

        log = await self._open()
        before = group.dead
        try:
            await log.append(drafts, acts)
            for offset in offsets:
                group.buried(offset)
        finally:
            self.is_committing = False
            running.world.keeper.released(running)
        running.world.dead += group.dead - before
        running.kept(mark)
        running.changed()


def letter(event: Event, group: str, pending: Pending) -> Draft:
    """An event as it lies with the dead letters."""
    metadata = {
        name: value
        for name, value in event.metadata.items()
        if name != ONLY_GROUP and not name.startswith(PREFIX)
    }
    metadata[TOPIC] = event.topic
    metadata[GROUP] = group
    metadata[ID] = event.id
    metadata[OFFSET] = str(event.offset)
    metadata[ATTEMPTS] = str(pending.attempts)
    metadata[ERROR] = pending.error
    metadata[TIME] = str(event.timestamp)
    return Draft(event.payload, metadata)


def reborn(event: Event) -> Draft:
    """A dead letter as it is given to its group once more."""
    said = event.metadata
    metadata = {name: value for name, value in said.items() if not name.startswith(PREFIX)}
    metadata[ONLY_GROUP] = said[GROUP]
    time = said.get(TIME, "")
    return Draft(event.payload, metadata, int(time) if time.isdecimal() and len(time) < 16 else 0)
