"""One watcher's queue."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from twisted.internet.defer import Deferred

from microd.kernel.errors import MicroError, Unavailable
from microd.services.registry.interface import IWatch
from microd.services.registry.model import EVERYWHERE, Change, Service


class Watch(IWatch):
    """The changes which one reader asked for; ends with an error rather than lose one.

    @ivar watched: whether C{offer} is still of use.
    """

    def __init__(self, namespace: str, name: str, backlog: int, present: Sequence[Service] = ()) -> None:
        self._namespace = namespace
        self._name = name
        self._backlog = backlog
        self._changes: deque[Change] = deque()
        self._waiting: Deferred[None] | None = None
        self._error: MicroError | None = None
        self.watched = True
        self.present = present

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> Change:
        while not self._changes:
            if self._error is not None:
                raise self._error
            if not self.watched:
                raise StopAsyncIteration
            waiting: Deferred[None] = Deferred()
            self._waiting = waiting
            try:
                await waiting
            finally:
                self._waiting = None
        return self._changes.popleft()

    def offer(self, change: Change) -> None:
        """Queue a change if it is one of those asked for."""
        if not self.watched:
            return
        if self._namespace not in (EVERYWHERE, change.namespace) or self._name not in (
            "",
            change.service.name,
        ):
            return
        if len(self._changes) >= self._backlog:
            self._changes.clear()
            self.end(
                Unavailable(
                    "the watcher fell behind and changes were lost: watch anew, beginning with the present state"
                    " (current), or watch and then list"
                )
            )
            return
        self._changes.append(change)
        self._wake()

    def close(self) -> None:
        """Stop watching."""
        self._changes.clear()
        self.end(None)

    def end(self, error: MicroError | None) -> None:
        """Take no more changes; iteration goes on through those queued, then stops or raises C{error}."""
        if self.watched:
            self.watched = False
            self._error = error
            self._wake()

    def _wake(self) -> None:
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            waiting.callback(None)
