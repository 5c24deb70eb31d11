"""What groups share: those of a daemon, and those of a namespace."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from microd.services.events.groups.keeper import Keeper
from microd.services.store.interface import IStore


class Budget:
    """What the events take which the groups of one namespace have read ahead, in bytes."""

    __slots__ = ("most", "used")

    def __init__(self, most: int) -> None:
        self.most = most
        self.used = 0


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
