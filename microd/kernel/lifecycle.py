"""Starting in order, stopping in reverse, waiting for each."""

from __future__ import annotations

from typing import cast

from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure


class OrderedService(MultiService):
    """A L{MultiService} which starts each child once the one before is up, and stops them in reverse.

    (A L{MultiService} begins all of them at once and waits for nobody.) When a child fails to start, those already
    started are stopped again, and C{startService}'s Deferred fails with the child's failure.
    """

    def startService(self) -> Deferred[None]:
        """Start the children, one after the other."""
        self.running = 1
        return Deferred.fromCoroutine(self._start())

    def stopService(self) -> Deferred[None]:
        """Stop the children, the last one first; the first failure is reported after all were asked."""
        self.running = 0
        return Deferred.fromCoroutine(self._stop(list(self)))

    async def _start(self) -> None:
        up: list[IService] = []
        for child in list(self):
            try:
                up.append(child)
                await _settled(child.startService())
            except BaseException:
                await self._stop(up)
                raise

    async def _stop(self, children: list[IService]) -> None:
        first: Failure | None = None
        for child in reversed(children):
            try:
                await _settled(child.stopService())
            except Exception:  # noqa: BLE001 - the others must be stopped all the same
                first = first or Failure()
        if first is not None:
            first.raiseException()


async def _settled(outcome: object) -> None:
    if isinstance(outcome, Deferred):
        await cast("Deferred[object]", outcome)
