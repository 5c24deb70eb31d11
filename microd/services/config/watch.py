"""One watcher's queue."""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import Deferred

from microd.kernel.caller import Account
from microd.kernel.errors import MicroError, Unavailable
from microd.services.config import rules
from microd.services.config.model import Document, Node, Path


class Watch:
    """What is at one path, now and after each change of it; ends with an error rather than lose one.

    Iterating gives pairs: a version of the document, and what is at the path; None where nothing is.

    @ivar path: which.
    @ivar watched: whether C{offer} is still of use.
    @ivar reader: who watches.
    """

    def __init__(self, path: Path, document: Document, backlog: int, reader: Account | None = None) -> None:
        self.path = path
        self.reader = reader
        self._backlog = backlog
        self._changes: deque[tuple[int, Node | None]] = deque(
            [(document.version, rules.at(document.root, path))]
        )
        self._waiting: Deferred[None] | None = None
        self._error: MicroError | None = None
        self.watched = True

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> tuple[int, Node | None]:
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

    def offer(self, before: Document, after: Document) -> None:
        """Queue what is at the path now, if that is something else."""
        there = rules.at(after.root, self.path)
        if not self.watched or there == rules.at(before.root, self.path):
            return
        if len(self._changes) >= self._backlog:
            self._changes.clear()
            self.end(Unavailable("the watcher fell behind and changes were lost: watch anew"))
            return
        self._changes.append((after.version, there))
        self._wake()

    def close(self) -> None:
        """Stop watching."""
        self.cut(None)

    def cut(self, error: MicroError | None) -> None:
        """As L{end}, but what is queued is told no more."""
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
