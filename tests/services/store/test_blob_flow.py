"""Blobs over a connection: whoever is slow makes the other side wait, and whoever goes leaves nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from microd.kernel.caller import Account, Caller
from microd.services.store.backends.memory import MemoryStore
from microd.services.store.blobs import rpc
from microd.services.store.blobs.backends.files import FileBlobs
from microd.services.store.blobs.backends.pool import IPool
from microd.testing.blob_contract import Subject
from microd.testing.outcome import done
from microd.txgrpc import Channel, GrpcServer, Method, ServerCall
from microd.txgrpc.memory import connect
from microd.wire import store_pb2 as pb

T = TypeVar("T")
ADMIN = Caller(Account("ann", "user", "micro", scopes=("admin",)))
PIECE = bytes(64 << 10)
#: What may be on its way: the windows of the stream and of the connection, and what a writer collects.
AHEAD = 2 << 20


class Gate(IPool):
    """Does what it is asked at once while it is open, else when it is opened again."""

    def __init__(self) -> None:
        self.open = True
        self._jobs: list[Callable[[], object]] = []

    def start(self) -> None:
        """Nothing to start."""

    def run(self, function: Callable[..., T], *arguments: Any) -> Deferred[T]:
        waiting: Deferred[T] = Deferred()
        self._jobs.append(lambda: maybeDeferred(function, *arguments).chainDeferred(waiting))
        if self.open:
            self.release()
        return waiting

    def stop(self) -> None:
        """Nothing to stop."""

    def release(self) -> None:
        """Open it."""
        self.open = True
        while self._jobs:
            self._jobs.pop(0)()


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def blobs(tmp_path: Path, gate: Gate) -> Iterator[FileBlobs]:
    store = FileBlobs(tmp_path, MemoryStore(), gate)
    store.startService()
    yield store
    done(store.stopService())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def channel(blobs: FileBlobs, clock: Clock) -> Channel:
    """A connection to a server of the store's endpoints."""
    endpoints = {each.name: each for each in rpc.endpoints(blobs)}

    async def read(request: pb.BlobReadRequest, _: ServerCall) -> AsyncIterator[pb.BlobReadResponse]:
        async for reply in endpoints["BlobStore.Read"].handler(request, ADMIN):
            yield reply

    async def write(requests: AsyncIterator[pb.BlobWriteRequest], _: ServerCall) -> pb.BlobWriteResponse:
        reply: pb.BlobWriteResponse = await endpoints["BlobStore.Write"].handler(requests, ADMIN)
        return reply

    def dump(message: Any) -> bytes:
        return bytes(message.SerializeToString())

    methods = {
        "/store.BlobStore/Read": Method("unary_stream", read, pb.BlobReadRequest.FromString, dump),
        "/store.BlobStore/Write": Method("stream_unary", write, pb.BlobWriteRequest.FromString, dump),
    }
    return connect(GrpcServer(methods, clock=clock), clock)


class Upload:
    """A blob on its way.

    @ivar given: the bytes which were asked of its source.
    """

    def __init__(self, channel: Channel, key: str, size: int) -> None:
        self.given = 0
        self._size = size
        write = channel.stream_unary("/store.BlobStore/Write", lambda message: message.SerializeToString())
        self.outcome = write(self._requests(key))

    async def _requests(self, key: str) -> AsyncIterator[pb.BlobWriteRequest]:
        yield pb.BlobWriteRequest(key=key)
        while self.given < self._size:
            self.given += len(PIECE)
            yield pb.BlobWriteRequest(blob=PIECE)


class Stuck(Upload):
    """A blob whose source stops in the middle."""

    async def _requests(self, key: str) -> AsyncIterator[pb.BlobWriteRequest]:
        yield pb.BlobWriteRequest(key=key, blob=PIECE * 8)
        await Deferred()


def test_slow_disk(channel: Channel, gate: Gate, blobs: FileBlobs) -> None:
    """Where the disk is slow the source of a blob waits, rather than memory fill up."""
    gate.open = False
    upload = Upload(channel, "k", 64 << 20)
    assert upload.given < AHEAD
    assert not upload.outcome.called
    gate.release()
    done(upload.outcome)
    (blob,) = done(blobs.list("micro"))
    assert blob.size == 64 << 20


def test_slow_reader(channel: Channel, blobs: FileBlobs) -> None:
    """Where the reader is slow no more is read from the disk."""
    Subject(blobs, blobs.now, done).put("k", bytes(64 << 20))
    call = channel.unary_stream(
        "/store.BlobStore/Read", lambda message: message.SerializeToString(), pb.BlobReadResponse.FromString
    )(pb.BlobReadRequest(key="k"))
    assert 0 < blobs.given < AHEAD

    async def rest() -> int:
        return sum([len(reply.blob) async for reply in call])

    assert done(rest()) == 64 << 20


def test_writer_goes(channel: Channel, gate: Gate, blobs: FileBlobs, tmp_path: Path) -> None:
    """A writer who goes away, be it while the disk is at work, leaves nothing."""
    for is_open in (True, False):
        Subject(blobs, blobs.now, done).put("k", b"old")
        gate.open = is_open
        upload = Stuck(channel, "k", 0) if is_open else Upload(channel, "k", 8 << 20)
        upload.outcome.addErrback(lambda _: None)
        upload.outcome.cancel()
        gate.release()
        assert list(tmp_path.iterdir()) == []
        assert blobs.writing.count == 0
        assert Subject(blobs, blobs.now, done).get("k") == b"old"


def test_reader_goes(channel: Channel, blobs: FileBlobs) -> None:
    """A reader who goes away has nothing open any more."""
    Subject(blobs, blobs.now, done).put("k", bytes(64 << 20))
    call = channel.unary_stream("/store.BlobStore/Read", lambda message: message.SerializeToString())(
        pb.BlobReadRequest(key="k")
    )
    assert blobs.reading.count == 1
    call.cancel()
    assert blobs.reading.count == 0


def test_connection_lost(channel: Channel, clock: Clock, blobs: FileBlobs, tmp_path: Path) -> None:
    """The same where the whole connection goes."""
    upload = Stuck(channel, "k", 0)
    upload.outcome.addErrback(lambda _: None)
    assert blobs.writing.count == 1
    closing = Deferred.fromCoroutine(channel.close(0))
    clock.advance(1)
    done(closing)
    assert blobs.writing.count == 0
    assert list(tmp_path.iterdir()) == []
