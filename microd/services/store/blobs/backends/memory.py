"""Blobs in memory: what a store of blobs means, for tests and for a daemon which shall keep nothing."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from time import time

from microd.kernel.errors import NotFound
from microd.services.store.blobs import rules
from microd.services.store.blobs.interface import IBlobStore, IDraft, IReading
from microd.services.store.blobs.model import WHOLE, About, Blob, Limits, Span

#: The bytes of one piece.
PIECE = 1 << 18


class MemoryBlobs(IBlobStore):
    """Keeps blobs as long as the process lives."""

    def __init__(self, *, now: Callable[[], float] = time, limits: Limits | None = None) -> None:
        self.now = now
        self.limits = limits or Limits()
        self.kept: dict[tuple[str, str], tuple[Blob, bytes]] = {}
        self.writing = rules.Places("written", self.limits.writing)

    @property
    def failure(self) -> str:
        return ""

    async def read(self, namespace: str, key: str, span: Span = WHOLE) -> IReading:
        rules.check_place(namespace, key, self.limits)
        found = self.kept.get((namespace, key))
        if found is None:
            raise NotFound("Blob not found")
        blob, content = found
        return BytesReading(blob, content, rules.span_of(span, blob))

    async def write(self, namespace: str, key: str, about: About) -> IDraft:
        rules.check_place(namespace, key, self.limits)
        rules.check_about(about, self.limits)
        self.writing.take(namespace)
        return _MemoryDraft(self, namespace, key, about)

    async def delete(self, namespace: str, key: str) -> None:
        rules.check_place(namespace, key, self.limits)
        self.kept.pop((namespace, key), None)

    async def list(self, namespace: str, prefix: str = "", after: str = "", limit: int = 0) -> Sequence[Blob]:
        rules.check_list(namespace, prefix, after, self.limits)
        found = [
            blob
            for (where, key), (blob, _) in self.kept.items()
            if where == namespace and key.startswith(prefix) and key.encode() > after.encode()
        ]
        found.sort(key=lambda blob: blob.key.encode())
        return found[: min(limit or self.limits.page, self.limits.page)]


class BytesReading(IReading):
    """Reads what is in memory."""

    def __init__(self, blob: Blob, content: bytes, span: range) -> None:
        self.blob = blob
        self._content = content
        self._span = span

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(self._span.start, self._span.stop, PIECE):
            yield self._content[start : min(start + PIECE, self._span.stop)]

    def close(self) -> None:
        """Nothing is open."""


class _MemoryDraft(IDraft):
    def __init__(self, store: MemoryBlobs, namespace: str, key: str, about: About) -> None:
        self._store = store
        self._place = (namespace, key)
        self._about = about
        self._content = bytearray()
        self._open = True

    async def add(self, piece: bytes) -> None:
        rules.check_size(len(self._content) + len(piece), self._store.limits)
        self._content += piece

    async def keep(self, digest: str = "") -> Blob:
        content = bytes(self._content)
        found = hashlib.sha256(content).hexdigest()
        rules.check_whole(found, digest)
        about = self._about
        blob = Blob(self._place[1], len(content), found, self._store.now(), about.content_type, about.public)
        self._store.kept[self._place] = (blob, content)
        return blob

    def drop(self) -> None:
        if self._open:
            self._open = False
            self._store.writing.leave(self._place[0])
