"""Not to log more than anybody reads."""

from __future__ import annotations

from collections.abc import Callable

#: So many lines in so many seconds.
MOST, WHILE = 10, 60.0


class Complaints:
    """Counts what is said, and says when it is enough.

    @param now: seconds, of any clock.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._since = now()
        self._said = 0
        self._kept_back = 0

    def admit(self) -> int | None:
        """Whether to say one more: how many were not said before it; C{None} not to."""
        now = self._now()
        if now - self._since >= WHILE:
            self._since, self._said = now, 0
        if self._said >= MOST:
            self._kept_back += 1
            return None
        self._said += 1
        kept_back, self._kept_back = self._kept_back, 0
        return kept_back
