"""What groups share: those of a daemon, and those of a namespace."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from microd.services.events.groups.keeper import Keeper
from microd.services.store.interface import IStore

#: Payloads of more bytes count while they are unsent.
LARGE = 16 << 10


class Budget:
    """What the events take which the groups of one namespace have read ahead, in bytes."""

    __slots__ = ("most", "used")

    def __init__(self, most: int) -> None:
        self.most = most
        self.used = 0


class Unsent:
    """What the consumers of one namespace were given and their streams have not sent, in bytes; only large events count.

    Where it is used up, large events wait, in turns, until some of it was sent.

    @ivar waiting: called in turns when there is room again; each answers False if it reads first, and then calls C{wake}.
    """

    __slots__ = ("_is_waking", "most", "used", "waiting")

    def __init__(self, most: int) -> None:
        self.most = most
        self.used = 0
        self.waiting: dict[Callable[[], bool], None] = {}
        self._is_waking = False

    def sent(self, size: int) -> None:
        """So much less is unsent."""
        self.used -= size
        self.wake()

    def wake(self) -> None:
        """Let those who wait go on while there is room."""
        waiting = self.waiting
        # Whoever goes on may send at once: then it is the first one's turn to let others go on.
        if not waiting or self._is_waking:
            return
        self._is_waking = True
        try:
            while waiting and self.used < self.most:
                go_on = next(iter(waiting))
                del waiting[go_on]
                if not go_on():
                    break
        finally:
            self._is_waking = False


class World:
    """What all groups share.

    @ivar dice: gives numbers from 0 to 1.
    @ivar window: events of one group which may be pending.
    @ivar redelivered: events given to groups which they may have been given before; C{dead}: those which groups gave up.
    @ivar is_stopping: the daemon stops.
    """

    def __init__(self, store: IStore, clock: IReactorTime, dice: Callable[[], float], window: int) -> None:
        self.store = store
        self.clock = clock
        self.keeper = Keeper(store, clock)
        self.dice = dice
        self.window = window
        self.redelivered = self.dead = 0
        self.is_stopping = False
