"""Reading a log as it is written."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from microd.services.runtime.model import Line

#: A follower who is further behind, in characters, loses the oldest lines, and is told so.
BACKLOG = 4 << 20
#: What even an empty line counts for.
_LINE = 100


class Follower:
    """The lines that one reader waits for, in order.

    @param left: called when it is closed.
    """

    def __init__(self, clock: IReactorTime, left: Callable[[Follower], None]) -> None:
        self._clock = clock
        self._left = left
        self._lines: deque[Line] = deque()
        self._size = 0
        self._lost = 0
        self._waiting: Deferred[None] | None = None
        self._closed = False

    def offer(self, lines: Iterable[Line]) -> None:
        """Queue lines."""
        for line in lines:
            self._lines.append(line)
            self._size += len(line.text) + _LINE
            while self._size > BACKLOG:
                self._take()
                self._lost += 1
        self._wake()

    def close(self) -> None:
        """No more lines; those queued are still read."""
        self._closed = True
        self._left(self)
        self._wake()

    def _take(self) -> Line:
        line = self._lines.popleft()
        self._size -= len(line.text) + _LINE
        return line

    def _wake(self) -> None:
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            waiting.callback(None)

    async def __aiter__(self) -> AsyncIterator[Line]:
        """Until it is closed, from either side."""
        while True:
            if self._lost:
                lost, self._lost = self._lost, 0
                yield Line(self._clock.seconds(), "runtime", f"[{lost} lines were too many to follow]")
            while self._lines:
                yield self._take()
            if self._closed:
                return
            self._waiting = Deferred()
            try:
                await self._waiting
            finally:
                self._waiting = None
