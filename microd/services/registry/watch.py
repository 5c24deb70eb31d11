"""One watcher's queue."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from twisted.internet.defer import Deferred

from microd.kernel.caller import Account
from microd.kernel.errors import MicroError, Unavailable
from microd.services.registry.interface import IWatch
from microd.services.registry.model import EVERYWHERE, Change, Service


class Watch(IWatch):
    """The changes which one reader asked for; ends with an error rather than lose one.

    @ivar namespace: whose changes it is about.
    @ivar reader: whose watch it is; None for the platform's own.
    @ivar watched: whether C{offer} is still of use.
    """

    def __init__(
        self,
        namespace: str,
        name: str,
        backlog: int,
        present: Sequence[Service] = (),
        reader: Account | None = None,
    ) -> None:
        self.namespace = namespace
        self._name = name
        self._backlog = backlog
        self._changes: deque[Change] = deque()
        self._waiting: Deferred[None] | None = None
        self._error: MicroError | None = None
        self.watched = True
        self.present = present
        self.reader = reader

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

    def offer(self, change: Change) -> bool:
        """Queue a change if it is one of those asked for.

        @return: False where there was no room for it, and this is the end of the watch.
        """
        if not self.watched:
            return True
        if self.namespace not in (EVERYWHERE, change.namespace) or self._name not in (
            "",
            change.service.name,
        ):
            return True
        if len(self._changes) >= self._backlog:
            self.cut(
                Unavailable(
                    "the watcher fell behind and changes were lost: watch anew, beginning with the present state"
                    " (current), or watch and then list"
                )
            )
            return False
        self._changes.append(change)
        self._wake()
        return True

    def close(self) -> None:
        """Stop watching."""
        self.cut(None)

    def cut(self, error: MicroError | None) -> None:
        """As C{end}, and throw away what is queued."""
        self._changes.clear()
        self.end(error)

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
