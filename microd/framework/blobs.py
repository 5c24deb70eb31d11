"""The platform's blobs, for services and scripts: large values, moved in pieces."""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Generator,
    Iterable,
    Iterator,
)
from contextlib import aclosing, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypeVar

from microd.framework.failures import CLIENT
from microd.framework.outgoing import CORE
from microd.kernel.errors import BadGateway, BadRequest
from microd.wire import store_pb2 as wire

if TYPE_CHECKING:
    from microd.framework.bridge import Bridge

T = TypeVar("T")

READ, WRITE, DELETE, LIST = (f"/store.BlobStore/{name}" for name in ("Read", "Write", "Delete", "List"))
#: The bytes of one message, and the blobs which a list asks for at once.
PIECE, PAGE = 256 << 10, 1000

#: What can be kept at once: bytes, a file (opened for bytes, or where it is), or pieces of bytes.
Content = bytes | bytearray | memoryview | Path | BinaryIO | Iterable[bytes]


@dataclass(frozen=True, slots=True)
class Blob:
    """What is known of a blob without reading it.

    @ivar size: in bytes.
    @ivar digest: SHA-256 of the whole, 64 small hexadecimal digits.
    @ivar modified: when it was written, in Unix seconds.
    """

    key: str
    size: int
    digest: str
    modified: int
    content_type: str = ""
    public: bool = False


class Questions:
    """Makes the messages about the blobs of one namespace."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace

    def read(self, key: str, offset: int, length: int, digest: str) -> wire.BlobReadRequest:
        """Some bytes of a blob."""
        if offset < 0 or length < 0:
            raise BadRequest("an offset and a length are not negative", CLIENT)
        options = wire.BlobOptions(namespace=self._namespace)
        return wire.BlobReadRequest(key=key, options=options, offset=offset, length=length, digest=digest)

    def write(self, key: str, content_type: str, public: bool) -> wire.BlobWriteRequest:
        """The first message of a blob."""
        options = wire.BlobOptions(namespace=self._namespace, contentType=content_type, public=public)
        return wire.BlobWriteRequest(key=key, options=options)

    def delete(self, key: str) -> wire.BlobDeleteRequest:
        """Forget a blob."""
        return wire.BlobDeleteRequest(key=key, options=wire.BlobOptions(namespace=self._namespace))

    def list(self, prefix: str, after: str, limit: int) -> wire.BlobListRequest:
        """A page of a list."""
        return wire.BlobListRequest(
            options=wire.BlobListOptions(namespace=self._namespace, prefix=prefix, after=after, limit=limit)
        )


class IClient(Protocol):
    """What is asked of the client that waits for nobody (L{microd.framework.client.Client})."""

    async def answer(
        self,
        service: str,
        endpoint: str,
        request: object,
        reply: type[T],
        timeout: Any,
        metadata: Any,
        namespace: Any,
    ) -> T: ...

    async def ask(self, path: str, request: object, reply: type[T]) -> T: ...

    def answers(
        self,
        service: str,
        endpoint: str,
        request: object,
        reply: type[T],
        timeout: Any,
        metadata: Any,
        namespace: Any,
    ) -> AsyncGenerator[T, None]: ...


class Blobs:
    """Blobs, for handlers and other coroutines; all of them in one namespace, which services share."""

    def __init__(self, client: IClient, bridge: Bridge, namespace: str) -> None:
        self._client = client
        self._bridge = bridge
        self._questions = Questions(namespace)

    def read(self, key: str, *, offset: int = 0, length: int = 0, digest: str = "") -> AsyncIterator[bytes]:
        """Iterate over the pieces of a blob, as it is when this begins, whoever writes it meanwhile.

        @param offset: leave out so many bytes, to go on where another reading has stopped.
        @param length: at most so many bytes; 0: to the end.
        @param digest: the digest which the blob must have, lest parts of two blobs be joined.
        @raise NotFound: there is none.
        @raise PreconditionFailed: it has another digest.
        """
        return self._bridge.their_stream(self._pieces(self._questions.read(key, offset, length, digest)))

    def whole(self, key: str) -> Awaitable[bytes]:
        """Get a whole blob, for those which are known to be small."""
        return self._bridge.theirs(self._whole(self._questions.read(key, 0, 0, "")))

    def info(self, key: str) -> Awaitable[Blob]:
        """What is known of a blob.

        @raise NotFound: there is none.
        """
        return self._bridge.theirs(self._info(self._questions.read(key, 0, 1, "")))

    def write(
        self,
        key: str,
        content: Content | AsyncIterable[bytes],
        *,
        content_type: str = "",
        public: bool = False,
        digest: str = "",
    ) -> Awaitable[Blob]:
        """Keep a blob; nobody sees it before all of it is durable, which it is when this returns.

        @param content: bytes, pieces of bytes, a C{Path}, or a file opened for bytes. Of a file, a piece at a time is
            read where this runs.
        @param digest: the digest which it must have; else nothing is kept.
        @raise TooLarge: it is larger than the platform takes (C{max_blob} in C{[store]} of its settings).
        """
        first = self._questions.write(key, content_type, public)
        return self._bridge.theirs(self._write(_sent_later(first, content, digest)))

    def delete(self, key: str) -> Awaitable[None]:
        """Forget a blob, whether or not it is there."""
        return self._bridge.theirs(self._delete(self._questions.delete(key)))

    def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[Blob]:
        """Iterate over the blobs whose keys begin with the prefix, in the order of the keys; however many there are."""
        return self._bridge.their_stream(self._list(prefix, after))

    async def _replies(self, request: wire.BlobReadRequest) -> AsyncGenerator[wire.BlobReadResponse, None]:
        replies = self._client.answers("", READ, request, wire.BlobReadResponse, None, None, CORE)
        async with aclosing(replies):
            async for reply in replies:
                yield reply

    async def _pieces(self, request: wire.BlobReadRequest) -> AsyncGenerator[bytes, None]:
        async with aclosing(self._replies(request)) as replies:
            async for reply in replies:
                if reply.blob:
                    yield reply.blob

    async def _whole(self, request: wire.BlobReadRequest) -> bytes:
        return b"".join([piece async for piece in self._pieces(request)])

    async def _info(self, request: wire.BlobReadRequest) -> Blob:
        return _told([reply async for reply in self._replies(request)])

    async def _write(self, requests: AsyncIterable[wire.BlobWriteRequest]) -> Blob:
        reply = await self._client.answer("", WRITE, requests, wire.BlobWriteResponse, None, None, CORE)
        return _blob_from(reply.info)

    async def _delete(self, request: wire.BlobDeleteRequest) -> None:
        await self._client.ask(DELETE, request, wire.BlobDeleteResponse)

    async def _list(self, prefix: str, after: str) -> AsyncGenerator[Blob, None]:
        while True:
            request = self._questions.list(prefix, after, PAGE)
            page = await self._client.ask(LIST, request, wire.BlobListResponse)
            for info in page.blobs:
                yield _blob_from(info)
            after = page.next
            if not after:
                return


class IBlockingClient(Protocol):
    """What is asked of the clients that wait."""

    def call(
        self, service: str, endpoint: str, request: object, reply: type[T], *, timeout: Any, namespace: str
    ) -> T: ...

    def stream(
        self, service: str, endpoint: str, request: object, reply: type[T], *, namespace: str
    ) -> Iterator[T]: ...


class BlockingBlobs:
    """The same for scripts, and for handlers which are plain functions: each call waits."""

    def __init__(self, client: IBlockingClient, namespace: str) -> None:
        self._client = client
        self._questions = Questions(namespace)

    def read(self, key: str, *, offset: int = 0, length: int = 0, digest: str = "") -> Iterator[bytes]:
        """Iterate over the pieces of a blob; see L{Blobs.read}."""
        request = self._questions.read(key, offset, length, digest)
        return (reply.blob for reply in self._replies(request) if reply.blob)

    def whole(self, key: str) -> bytes:
        """Get a whole blob, for those which are known to be small."""
        return b"".join(self.read(key))

    def info(self, key: str) -> Blob:
        """What is known of a blob.

        @raise NotFound: there is none.
        """
        return _told(list(self._replies(self._questions.read(key, 0, 1, ""))))

    def write(
        self, key: str, content: Content, *, content_type: str = "", public: bool = False, digest: str = ""
    ) -> Blob:
        """Keep a blob; see L{Blobs.write}."""
        requests = _sent(self._questions.write(key, content_type, public), content, digest)
        with closing(requests):
            reply = self._client.call(
                "", WRITE, requests, wire.BlobWriteResponse, timeout=None, namespace=CORE
            )
        return _blob_from(reply.info)

    def delete(self, key: str) -> None:
        """Forget a blob, whether or not it is there."""
        request = self._questions.delete(key)
        self._client.call("", DELETE, request, wire.BlobDeleteResponse, timeout=None, namespace=CORE)

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[Blob]:
        """Iterate over the blobs whose keys begin with the prefix, in the order of the keys; however many there are."""
        while True:
            request = self._questions.list(prefix, after, PAGE)
            page = self._client.call("", LIST, request, wire.BlobListResponse, timeout=None, namespace=CORE)
            for info in page.blobs:
                yield _blob_from(info)
            after = page.next
            if not after:
                return

    def _replies(self, request: wire.BlobReadRequest) -> Iterator[wire.BlobReadResponse]:
        return self._client.stream("", READ, request, wire.BlobReadResponse, namespace=CORE)


def _sent(
    first: wire.BlobWriteRequest, content: Content, digest: str
) -> Generator[wire.BlobWriteRequest, None, None]:
    """The messages of a blob."""
    yield first
    for piece in _pieces_of(content):
        yield wire.BlobWriteRequest(blob=piece)
    if digest:
        yield wire.BlobWriteRequest(digest=digest)


async def _sent_later(
    first: wire.BlobWriteRequest, content: Content | AsyncIterable[bytes], digest: str
) -> AsyncGenerator[wire.BlobWriteRequest, None]:
    """The same."""
    if not isinstance(content, AsyncIterable):
        for message in _sent(first, content, digest):
            yield message
        return
    yield first
    async for piece in content:
        for part in _parts(piece):
            yield wire.BlobWriteRequest(blob=part)
    if digest:
        yield wire.BlobWriteRequest(digest=digest)


def _pieces_of(content: Content) -> Iterator[bytes]:
    if isinstance(content, Path):
        with content.open("rb") as file:
            yield from _pieces_of(file)
    elif isinstance(content, bytes | bytearray | memoryview):
        yield from _parts(content)
    elif hasattr(content, "read"):
        while piece := content.read(PIECE):
            yield from _parts(piece)
    else:
        for piece in content:
            yield from _parts(piece)


def _parts(piece: object) -> Iterator[bytes]:
    if not isinstance(piece, bytes | bytearray | memoryview):
        raise BadRequest(f"a blob is made of bytes, not of {type(piece).__name__}", CLIENT)
    octets = memoryview(piece).cast("B")
    for start in range(0, len(octets), PIECE):
        yield bytes(octets[start : start + PIECE])


def _told(replies: list[wire.BlobReadResponse]) -> Blob:
    if not replies or not replies[0].HasField("info"):
        raise BadGateway("the platform does not tell of blobs: it is of an earlier release", CLIENT)
    return _blob_from(replies[0].info)


def _blob_from(info: wire.BlobInfo) -> Blob:
    return Blob(info.key, info.size, info.digest, info.modified, info.contentType, info.public)
