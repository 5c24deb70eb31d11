"""Everybody who watches."""

from __future__ import annotations

from collections.abc import Iterator

from microd.kernel.caller import Account
from microd.kernel.errors import MicroError, Unauthorized, Unavailable
from microd.services.config.model import Document, Limits, Path
from microd.services.config.watch import Watch


class Watches:
    """Watchers by namespace.

    @ivar cut_off: how many fell behind.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._watches: dict[str, set[Watch]] = {}
        self._count = 0
        self.cut_off = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Watch]:
        return iter([watch for watches in self._watches.values() for watch in watches])

    def add(self, namespace: str, path: Path, document: Document, reader: Account | None) -> Watch:
        """One more.

        @raise Unavailable: there are too many.
        """
        if self._count >= self._limits.watchers:
            raise Unavailable(f"there are {self._limits.watchers} watchers already")
        watch = Watch(path, document, self._limits.backlog, reader)
        self._watches.setdefault(namespace, set()).add(watch)
        self._count += 1
        return watch

    def drop(self, namespace: str, watch: Watch) -> None:
        """Nobody reads it any more."""
        watch.close()
        watches = self._watches.get(namespace, set())
        if watch in watches:
            watches.discard(watch)
            self._count -= 1
        if not watches:
            self._watches.pop(namespace, None)

    def tell(self, namespace: str, before: Document, after: Document) -> None:
        """A document has changed."""
        for watch in list(self._watches.get(namespace, ())):
            if watch.watched:
                watch.offer(before, after)
                self.cut_off += not watch.watched

    def revoked(self, namespace: str, id: str) -> None:
        """All that was issued to an account has become void: it watches no more."""
        for watch in self:
            reader = watch.reader
            if reader is not None and (reader.issuer, reader.id) == (namespace, id):
                watch.cut(Unauthorized(f"the account {id} was revoked: log in again"))

    def end(self, error: MicroError) -> None:
        """End all of them."""
        for watch in self:
            watch.end(error)
        self._watches.clear()
        self._count = 0
