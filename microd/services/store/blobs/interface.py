"""What others may ask of a store of blobs, and what every backend promises."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from microd.services.store.blobs.model import WHOLE, About, Blob, Span


class IReading(Protocol):
    """A blob while it is read: what it is, and its bytes, once.

    @ivar blob: as it was when the reading began; it stays so, whoever writes or deletes meanwhile.
    """

    blob: Blob

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The pieces of the span that was asked for, of moderate size, none of them empty.

        @raise Internal: what is kept is not what was written; where the whole is read, that is always noticed, and the
            last piece does not come.
        """

    def close(self) -> None:
        """Have no more interest. To be called in any case."""


class IDraft(Protocol):
    """A blob while it is written; nobody sees it before it is kept."""

    async def add(self, piece: bytes) -> None:
        """Go on with these bytes; ends when there is room for more.

        @raise TooLarge: the blob is over the limit.
        @raise OutOfSpace: the disk is full.
        """

    async def keep(self, digest: str = "") -> Blob:
        """Put the blob in its place; ends when it would survive the loss of power.

        Once this has begun to change the place, giving up does not stop it.

        @param digest: SHA-256 which the whole must have; empty: any.
        @raise BadRequest: it has another one.
        """

    def drop(self) -> None:
        """Forget it, unless it is kept. To be called in any case."""


class IBlobStore(Protocol):
    """Keeps blobs under (namespace, key).

    A key has one whole blob at any time: the old one until the new one is kept, then the new one. A write that fails, or
    is dropped, or is cut off by the end of the process, has changed nothing and leaves nothing behind.

    Namespaces and keys are checked; all methods raise L{microd.kernel.errors.BadRequest} for bad ones.
    """

    @property
    def failure(self) -> str:
        """Why nothing can be written any more, until somebody sees to it; empty: all is well."""

    async def read(self, namespace: str, key: str, span: Span = WHOLE) -> IReading:
        """Begin to read.

        @raise NotFound: there is no such blob.
        @raise PreconditionFailed: it has another digest than the span names.
        @raise Unavailable: the namespace reads too many at once.
        """

    async def write(self, namespace: str, key: str, about: About) -> IDraft:
        """Begin to write.

        @raise Unavailable: the namespace writes too many at once, or C{failure}.
        """

    async def delete(self, namespace: str, key: str) -> None:
        """Take a blob out; a key which is not there is no error."""

    async def list(self, namespace: str, prefix: str = "", after: str = "", limit: int = 0) -> Sequence[Blob]:
        """The blobs whose keys begin with the prefix and come after C{after}, in the order of the keys' UTF-8 bytes.

        @param limit: no more than so many, and never more than a page (L{microd.services.store.blobs.model.Limits}); 0: a
            page.
        """
