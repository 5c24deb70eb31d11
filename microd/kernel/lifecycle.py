"""Starting in order, stopping in reverse, waiting for each."""

from __future__ import annotations

from typing import cast

from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.python.failure import Failure


class OrderedService(MultiService):
    """A L{MultiService} which starts each child once the one before is up, and stops them in reverse.

    (A L{MultiService} begins all of them at once and waits for nobody.) When a child fails to start, those already
    started are stopped again, and C{startService}'s Deferred fails with the child's failure. Stopping in the middle of
    a start cancels the rest of it. Only what was started is ever stopped, and only once.
    """

    def __init__(self) -> None:
        super().__init__()
        self._up: list[IService] = []
        self._start_under_way: Deferred[None] | None = None

    def startService(self) -> Deferred[None]:
        """Start the children, one after the other."""
        self.running = 1
        self._start_under_way = Deferred.fromCoroutine(self._start())
        return self._start_under_way

    def stopService(self) -> Deferred[None]:
        """Stop the children, the last one first; the first failure is reported after all were asked."""
        self.running = 0
        if self._start_under_way is not None:
            self._start_under_way.cancel()
        return Deferred.fromCoroutine(self._stop())

    async def _start(self) -> None:
        try:
            for child in list(self):
                self._up.append(child)
                await _settled(child.startService())
        except CancelledError:
            if self.running:
                raise
        except BaseException:
            await self._stop()
            raise
        finally:
            self._start_under_way = None

    async def _stop(self) -> None:
        first: Failure | None = None
        while self._up:
            try:
                await _settled(self._up.pop().stopService())
            except Exception:  # noqa: BLE001 - the others must be stopped all the same
                first = first or Failure()
        if first is not None:
            first.raiseException()


class TogetherService(OrderedService):
    """Starts its children in order as well, but stops them all at the same time: they share one time limit."""

    async def _stop(self) -> None:
        ends = [Deferred.fromCoroutine(_settled(child.stopService())) for child in reversed(self._up)]
        self._up.clear()
        for succeeded, outcome in await DeferredList(ends, consumeErrors=True):
            if not succeeded:
                cast(Failure, outcome).raiseException()


async def _settled(outcome: object) -> None:
    if isinstance(outcome, Deferred):
        await cast("Deferred[object]", outcome)


def split(part: IService) -> tuple[IService, IService]:
    """Two halves of a part which starts late and yet stops late: the first goes where it is to stop, the second where
    it is to start."""
    stopping = _Stops(part)
    return stopping, _Starts(stopping)


class _Stops(Service):
    def __init__(self, part: IService) -> None:
        self.part = part
        self.begun = False

    def stopService(self) -> object:
        super().stopService()
        return self.part.stopService() if self.begun else None


class _Starts(Service):
    def __init__(self, other: _Stops) -> None:
        self._other = other

    def startService(self) -> object:
        super().startService()
        self._other.begun = True
        return self._other.part.startService()
