"""Memory of a namespace."""

from __future__ import annotations


class Budget:
    """What the events take which the groups of one namespace have read ahead, in bytes."""

    __slots__ = ("most", "used")

    def __init__(self, most: int) -> None:
        self.most = most
        self.used = 0
