"""How far a consumer is that has no group, whose place the daemon forgets with its connection. Pure."""

from __future__ import annotations


class Private:
    """What was seen, and what of that is not done with.

    @ivar seen: the last offset; C{None}: nothing yet, and where it begins is as it was asked for.
    """

    def __init__(self, seen: int | None = None) -> None:
        self.seen = seen
        self._undone: dict[str, int] = {}

    @property
    def start(self) -> int | None:
        """The offset with which the next connection begins."""
        return None if self.seen is None else min([*self._undone.values(), self.seen + 1])

    def admit(self, id: str, offset: int) -> bool:
        """An event has come; whether it is to be dealt with."""
        if self.seen is not None and offset <= self.seen and id not in self._undone:
            return False
        self._undone[id] = offset
        self.seen = max(self.seen or 0, offset)
        return True

    def done(self, id: str) -> None:
        """An event is done with."""
        self._undone.pop(id, None)
