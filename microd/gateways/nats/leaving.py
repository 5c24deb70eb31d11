"""Lame duck mode: clients are told to go elsewhere, and after a while are sent away, a few at a time.

They would otherwise all come to the next server in the same moment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from functools import partial

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from microd.gateways.nats.chores import Chores
from microd.gateways.nats.session import Session

#: Seconds between the news and the first connection which is closed, and the most between two.
GRACE, PACE = 0.5, 0.1
#: Seconds between two looks: within them any number may go.
STEP = 0.02


class Leaving:
    """How the clients of a door leave it.

    @param sessions: of those who have come in.
    @param stay: seconds in which all of them are closed.
    """

    def __init__(self, clock: IReactorTime, sessions: Iterable[Session], stay: float) -> None:
        self._clock = clock
        self._chores = Chores(clock)
        self._sessions = deque(sessions)
        self._stay = stay
        self._call: IDelayedCall | None = None

    def begin(self) -> None:
        """Tell them, and begin to wait."""
        self._chores.add([partial(_tell, each) for each in self._sessions])
        grace = min(GRACE, self._stay / 10)
        # What is left of the time when the last one was asked to go is for what it has still to be sent.
        self._pace = min(PACE, self._stay * 0.8 / max(len(self._sessions), 1))
        self._call = self._clock.callLater(grace, self._close)

    def stop(self) -> None:
        """All are gone."""
        self._chores.stop()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _close(self) -> None:
        self._call = None
        count = max(round(STEP / self._pace), 1) if self._pace else len(self._sessions)
        for _ in range(min(count, len(self._sessions))):
            self._sessions.popleft().close()
        if self._sessions:
            self._call = self._clock.callLater(max(STEP, self._pace), self._close)


def _tell(session: Session) -> None:
    """A client which knows only the first version of the protocol does not expect INFO later on."""
    if session.connect is not None and session.connect.protocol >= 1:
        session.say_info()
