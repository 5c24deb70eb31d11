"""Blobs on the wire: spec micro-v3-server 6.3 and Appendix A. Errors bear the ids of the reference, C{store.Blob.<Op>}.

Where the reference has no single answer: deleting a blob which is not there is no error, as with its file store, so that
a deletion whose answer was lost can be repeated.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Sequence
from contextlib import aclosing, contextmanager

from microd.kernel.access import require_admin
from microd.kernel.caller import Caller
from microd.kernel.endpoint import Endpoint
from microd.kernel.errors import BadRequest, MicroError, TooLarge
from microd.services.store.blobs import rules
from microd.services.store.blobs.interface import IBlobStore
from microd.services.store.blobs.model import About, Blob, Span
from microd.wire import store_pb2 as pb

#: Bytes which the answer to who asks for all keys may have; it must fit into one message.
ANSWER = 28 << 20
#: About what a listed blob needs beside its key, which is there twice.
_LISTED = 100


def endpoints(blobs: IBlobStore) -> list[Endpoint]:
    """What the store of blobs answers."""
    wire = BlobWire(blobs)
    path = "/store.BlobStore/"
    return [
        Endpoint(path + "Read", pb.BlobReadRequest, pb.BlobReadResponse, wire.read, server_streaming=True),
        Endpoint(
            path + "Write", pb.BlobWriteRequest, pb.BlobWriteResponse, wire.write, client_streaming=True
        ),
        Endpoint(path + "Delete", pb.BlobDeleteRequest, pb.BlobDeleteResponse, wire.delete),
        Endpoint(path + "List", pb.BlobListRequest, pb.BlobListResponse, wire.list),
    ]


class BlobWire:
    """Turns messages into questions to the store of blobs, and its answers into messages."""

    def __init__(self, blobs: IBlobStore) -> None:
        self._blobs = blobs

    async def read(self, request: pb.BlobReadRequest, caller: Caller) -> AsyncIterator[pb.BlobReadResponse]:
        with _deciding("Read"):
            namespace = _namespace(request.options.namespace, caller)
            rules.check_digest(request.digest)
            span = Span(request.offset, request.length, request.digest)
            reading = await self._blobs.read(namespace, request.key, span)
            try:
                info: pb.BlobInfo | None = _info_from(reading.blob)
                async for piece in reading:
                    yield pb.BlobReadResponse(blob=piece, info=info)
                    info = None
                if info is not None:
                    yield pb.BlobReadResponse(info=info)
            finally:
                reading.close()

    async def write(
        self, requests: AsyncIterator[pb.BlobWriteRequest], caller: Caller
    ) -> pb.BlobWriteResponse:
        with _deciding("Write"):
            first = await anext(aiter(requests), None)
            if first is None:
                raise BadRequest("No blob was sent")
            options = first.options
            namespace = _namespace(options.namespace, caller)
            about = About(options.contentType, options.public)
            draft = await self._blobs.write(namespace, first.key, about)
            try:
                digest = _digest_of(first)
                await draft.add(first.blob)
                async for request in requests:
                    digest = _digest_of(request) or digest
                    await draft.add(request.blob)
                return pb.BlobWriteResponse(info=_info_from(await draft.keep(digest)))
            finally:
                draft.drop()

    async def delete(self, request: pb.BlobDeleteRequest, caller: Caller) -> pb.BlobDeleteResponse:
        with _deciding("Delete"):
            await self._blobs.delete(_namespace(request.options.namespace, caller), request.key)
            return pb.BlobDeleteResponse()

    async def list(self, request: pb.BlobListRequest, caller: Caller) -> pb.BlobListResponse:
        with _deciding("List"):
            options = request.options
            namespace = _namespace(options.namespace, caller)
            reply = pb.BlobListResponse()
            if options.limit:
                found = await self._blobs.list(namespace, options.prefix, options.after, options.limit)
                _add(reply, found)
                if found:
                    last = found[-1].key
                    more = await self._blobs.list(namespace, options.prefix, last, 1)
                    reply.next = last if more else ""
                return reply
            size = 0
            async with aclosing(self._pages(namespace, options.prefix, options.after)) as pages:
                async for page in pages:
                    size += sum(_LISTED + 2 * len(blob.key.encode()) for blob in page)
                    if size > ANSWER:
                        raise TooLarge(
                            f"the answer is larger than {ANSWER} bytes: ask with a limit, and go on after next"
                        )
                    _add(reply, page)
            return reply

    async def _pages(self, namespace: str, prefix: str, after: str) -> AsyncGenerator[Sequence[Blob], None]:
        while found := await self._blobs.list(namespace, prefix, after):
            yield found
            after = found[-1].key


@contextmanager
def _deciding(operation: str) -> Iterator[None]:
    """Let errors say where they were decided."""
    try:
        yield
    except MicroError as error:
        error.identified(f"store.Blob.{operation}")
        raise


def _namespace(named: str, caller: Caller) -> str:
    """Where the caller, who must administer the namespace, wants to go (spec 7.1)."""
    namespace = named or caller.namespace
    require_admin(caller, namespace)
    return namespace


def _digest_of(request: pb.BlobWriteRequest) -> str:
    rules.check_digest(request.digest)
    return request.digest


def _add(reply: pb.BlobListResponse, found: Iterable[Blob]) -> None:
    for blob in found:
        reply.keys.append(blob.key)
        reply.blobs.append(_info_from(blob))


def _info_from(blob: Blob) -> pb.BlobInfo:
    return pb.BlobInfo(
        key=blob.key,
        size=blob.size,
        digest=blob.digest,
        contentType=blob.content_type,
        public=blob.public,
        modified=int(blob.modified),
    )
