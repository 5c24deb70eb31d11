"""A blob in a file while it is read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from microd.kernel.errors import Internal, MicroError
from microd.services.store.blobs.backends.folder import BlobFile
from microd.services.store.blobs.interface import IReading
from microd.services.store.blobs.model import Blob

if TYPE_CHECKING:
    from microd.services.store.blobs.backends.files import FileBlobs

#: Bytes which come from the disk in one go.
PIECE = 256 << 10


class FileReading(IReading):
    """Reads a file, which has no name any more once its blob was replaced."""

    def __init__(self, store: FileBlobs, namespace: str, blob: Blob, file: BlobFile, span: range) -> None:
        self.blob = blob
        self._store = store
        self._namespace = namespace
        self._file = file
        self._span = span
        self._open = True

    async def open(self) -> bool:
        """Whether there is such a file."""
        try:
            size = await self._store.run(self._file.open)
        except OSError as error:
            raise self._unreadable(error) from error
        if size is not None and size != self.blob.size:
            raise self._damaged(f"its file has {size} bytes instead of {self.blob.size}")
        return size is not None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        span, file = self._span, self._file
        whole = len(span) == self.blob.size
        for start in range(span.start, span.stop, PIECE):
            length = min(PIECE, span.stop - start)
            try:
                piece = await self._store.run(file.read, start, length, whole)
            except OSError as error:
                raise self._unreadable(error) from error
            if len(piece) != length:
                raise self._damaged(f"its file ends at byte {start + len(piece)}")
            if whole and start + length == span.stop and file.digest != self.blob.digest:
                raise self._damaged("its digest is another")
            self._store.given += length
            yield piece

    def close(self) -> None:
        if self._open:
            self._open = False
            self._store.reading.leave(self._namespace)
            self._store.close(self._file)

    def _damaged(self, why: str) -> MicroError:
        return self._store.damaged(self._namespace, self.blob.key, why, self._file.name)

    def _unreadable(self, error: OSError) -> MicroError:
        return Internal(f"the blob {self.blob.key[:200]} cannot be read: {error.strerror}")
