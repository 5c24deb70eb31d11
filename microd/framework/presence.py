"""Whether the daemon is there, as a service sees it, and who wants to know."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from microd.framework.bridge import Bridge

Hook = Callable[[], Awaitable[None] | None]


class Presence:
    """Says it once in the log when the daemon is lost, and once when it is back, and calls those who want to know.

    ::

        begin ─▶ here ──its connection is lost──▶ away ──there is one again──▶ here
           any ──end──▶ nothing more is said

    @param where: the daemon's address.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        bridge: Bridge,
        where: str,
        on_connected: Sequence[Hook],
        on_disconnected: Sequence[Hook],
    ) -> None:
        self._clock = clock
        self._bridge = bridge
        self._where = where
        self._on_connected = on_connected
        self._on_disconnected = on_disconnected
        self._running = False
        self._lost: float | None = None
        self._calls: set[Deferred[None]] = set()

    def begin(self) -> None:
        """The service runs, and has the daemon."""
        self._running = True
        self._tell(self._on_connected)

    def end(self) -> None:
        """Say nothing more, and cancel what was called."""
        self._running = False
        for call in list(self._calls):
            call.cancel()

    def lost(self, reason: str) -> None:
        """There is no connection any more."""
        if self._running and self._lost is None:
            self._lost = self._clock.seconds()
            self.log.warn(
                "lost the daemon at {where}: {reason}; trying to reach it again",
                where=self._where,
                reason=reason,
            )
            self._tell(self._on_disconnected)

    def found(self) -> None:
        """There is one."""
        if self._running and self._lost is not None:
            away = self._clock.seconds() - self._lost
            self._lost = None
            self.log.info(
                "connected to the daemon at {where} again, after {away:.1f} s", where=self._where, away=away
            )
            self._tell(self._on_connected)

    def _tell(self, hooks: Sequence[Hook]) -> None:
        for hook in hooks:
            call = Deferred.fromCoroutine(self._called(hook))
            self._calls.add(call)
            call.addErrback(self._failed, hook)
            call.addBoth(self._over, call)

    async def _called(self, hook: Hook) -> None:
        outcome = hook()
        if isinstance(outcome, Awaitable):
            await self._bridge.ours(outcome)

    def _failed(self, failure: Failure, hook: Hook) -> None:
        if not failure.check(CancelledError):
            name = getattr(hook, "__name__", "a function")
            self.log.failure("{name}, which was to be told of the connection, failed", failure, name=name)

    def _over(self, _: object, call: Deferred[None]) -> None:
        self._calls.discard(call)
