"""A blob while it is written."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from microd.services.store.blobs import rules
from microd.services.store.blobs.backends.folder import BlobFile
from microd.services.store.blobs.backends.index import Entry
from microd.services.store.blobs.interface import IDraft
from microd.services.store.blobs.model import About, Blob

if TYPE_CHECKING:
    from microd.services.store.blobs.backends.files import FileBlobs

#: The most bytes of a blob which is kept in the index.
SMALL = 64 << 10
#: Bytes which go to the disk in one go.
PIECE = 256 << 10


class Draft(IDraft):
    """Collects pieces; what is more than a small blob goes into a file."""

    def __init__(self, store: FileBlobs, namespace: str, key: str, about: About) -> None:
        self._store = store
        self._namespace = namespace
        self._key = key
        self._about = about
        self._size = 0
        self._held = bytearray()
        self._file: BlobFile | None = None
        self._id = ""
        self._open = True

    async def add(self, piece: bytes) -> None:
        self._size += len(piece)
        rules.check_size(self._size, self._store.limits)
        self._store.written += len(piece)
        if not self._held and len(piece) >= PIECE:
            await self._append(piece)
            return
        self._held += piece
        if len(self._held) >= PIECE:
            await self._flush()

    async def keep(self, digest: str = "") -> Blob:
        body: bytes | None = None
        if self._file is None and self._size <= SMALL:
            body = bytes(self._held)
            found = hashlib.sha256(body).hexdigest()
        else:
            await self._flush()
            assert self._file is not None
            found = self._file.digest
        rules.check_whole(found, digest)
        if self._file is not None:
            await self._store.on_disk(self._file.seal)
        about = self._about
        blob = Blob(self._key, self._size, found, self._store.now(), about.content_type, about.public)
        entry = Entry(blob, self._id or self._store.folder.new_id(), self._file is not None)
        file, self._file = self._file, None
        await self._store.chores.finish(self._store.put(self._namespace, entry, body, file))
        return blob

    def drop(self) -> None:
        if self._open:
            self._open = False
            self._store.writing.leave(self._namespace)
            if self._file is not None:
                self._store.remove(self._file)

    async def _flush(self) -> None:
        data, self._held = self._held, bytearray()
        if data:
            await self._append(data)

    async def _append(self, data: bytes | bytearray) -> None:
        if self._file is None:
            self._id = self._store.folder.new_id()
            self._file = self._store.folder.file(self._id)
        await self._store.on_disk(self._file.append, data)
