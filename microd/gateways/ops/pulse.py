"""The reactor's pulse: how late it is, and the sign of life which systemd wants (sd_notify(3))."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from microd.kernel.health import Figure, Spread

#: Seconds between two beats, where systemd does not want more of them.
EVERY = 0.5


class Pulse(Service):
    """Beats as long as the reactor turns; each beat that comes late was kept waiting by something.

    @param alive: tells systemd that we are.
    @param environ: says in C{WATCHDOG_USEC} within what time it wants to hear that, if at all.
    """

    def __init__(
        self, clock: IReactorTime, alive: Callable[[], None], environ: Mapping[str, str], pid: int
    ) -> None:
        self._clock = clock
        self._alive = alive
        self._watched = watchdog(environ, pid)
        # Twice within the time that systemd waits, as sd_watchdog_enabled(3) advises.
        self._every = min(EVERY, self._watched / 2) if self._watched else EVERY
        self._due = 0.0
        self._next: IDelayedCall | None = None
        self._told = 0.0
        self.lag = Spread()

    def startService(self) -> None:
        super().startService()
        if self._watched:
            self._tell(self._clock.seconds())
        self._later()

    def stopService(self) -> None:
        super().stopService()
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def figures(self) -> Iterator[Figure]:
        """How late beats came."""
        what = "How long what was due had to wait for the reactor, sampled twice a second."
        yield Figure("microd_reactor_lag_seconds", what, "histogram", [({}, self.lag)])

    def _later(self) -> None:
        self._due = self._clock.seconds() + self._every
        self._next = self._clock.callLater(self._every, self._beat)

    def _beat(self) -> None:
        now = self._clock.seconds()
        self.lag.add(max(0.0, now - self._due))
        if self._watched and now - self._told >= self._watched / 2 - self._every:
            self._tell(now)
        self._later()

    def _tell(self, now: float) -> None:
        self._told = now
        self._alive()


def watchdog(environ: Mapping[str, str], pid: int) -> float:
    """Seconds within which systemd wants to hear from process C{pid}; 0 where it does not."""
    wanted, whom = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not wanted.isascii() or not wanted.isdigit() or (whom and whom != str(pid)):
        return 0.0
    return int(wanted) / 1_000_000
