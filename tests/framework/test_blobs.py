"""Blobs, as services and scripts see them."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred

from microd.framework import (
    BadRequest,
    Blob,
    BlockingClient,
    MicroError,
    NotFound,
    PreconditionFailed,
    Service,
    TooLarge,
    Unauthorized,
)
from microd.framework import blobs as framework_blobs
from microd.framework.blobs import Blobs, BlockingBlobs, Content
from microd.framework.bridge import NoBridge
from microd.framework.handoff import Handoff
from microd.framework.identity import Token
from microd.framework.threadclient import ThreadClient
from microd.framework.workers import Threads
from microd.services.store.blobs.backends.memory import MemoryBlobs
from microd.services.store.blobs.model import Limits
from microd.testing.daemon import FakeDaemon
from microd.testing.outcome import StillWaitingError, done
from microd.testing.services import ServiceTester
from microd.txgrpc.status import RpcError, StatusCode
from microd.wire import store_pb2

reactor: Any = _reactor
LARGE = bytes(range(256)) * 4000


def run(waiting: Awaitable[Any]) -> Any:
    """What an awaitable of ours comes to, at once."""

    async def wait() -> Any:
        return await waiting

    return done(Deferred.fromCoroutine(wait()))


def every(values: AsyncIterator[Any]) -> list[Any]:
    """All that comes."""

    async def collect() -> list[Any]:
        return [value async for value in values]

    found: list[Any] = run(collect())
    return found


@pytest.fixture
def tester() -> ServiceTester:
    return ServiceTester(Service("shop", environ={}))


@pytest.fixture
def blobs(tester: ServiceTester) -> Blobs:
    return tester.client.blobs


@pytest.fixture
def blocking(tester: ServiceTester) -> BlockingBlobs:
    """What a handler which is a plain function has."""
    return tester.service.blocking.blobs


async def later(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def contents(folder: Path) -> Iterator[Callable[[], Content]]:
    """The same bytes, in all the shapes in which they can be given."""
    (folder / "file").write_bytes(LARGE)
    yield lambda: LARGE
    yield lambda: bytearray(LARGE)
    yield lambda: memoryview(LARGE)
    yield lambda: io.BytesIO(LARGE)
    yield lambda: folder / "file"
    yield lambda: [LARGE[:1000], b"", LARGE[1000:]]
    yield lambda: (LARGE[start : start + 999] for start in range(0, len(LARGE), 999))


def test_write(blobs: Blobs, blocking: BlockingBlobs, tester: ServiceTester, tmp_path: Path) -> None:
    """A blob is made of bytes, of a file, or of pieces, in every client; what was kept is told."""
    expected = Blob("k", len(LARGE), hashlib.sha256(LARGE).hexdigest(), 0, "a/b", True)
    for make in contents(tmp_path):
        for write in (lambda key, *_, **more: run(blobs.write(key, *_, **more)), blocking.write):
            assert write("k", make(), content_type="a/b", public=True) == expected
            assert tester.daemon.blobs.kept.pop(("micro", "k"))[1] == LARGE
    assert run(blobs.write("k", later([LARGE[:5], LARGE[5:]]), content_type="a/b", public=True)) == expected


def test_small_messages(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """However large the pieces are, none travels in a message that could be too large."""
    sizes: list[int] = []
    made = store_pb2.BlobWriteRequest

    def make(**fields: Any) -> Any:
        sizes.append(len(fields.get("blob", b"")))
        return made(**fields)

    monkeypatch.setattr(store_pb2, "BlobWriteRequest", make)
    run(blobs.write("k", LARGE))
    assert max(sizes) == 256 << 10
    assert sum(sizes) == len(LARGE)


def test_read(blobs: Blobs, blocking: BlockingBlobs) -> None:
    """A blob comes in pieces, from any offset; or whole."""
    blob = run(blobs.write("k", LARGE))
    assert len(every(blobs.read("k"))) > 1
    for read in (
        lambda **span: every(blobs.read("k", **span)),
        lambda **span: list(blocking.read("k", **span)),
    ):
        assert b"".join(read()) == LARGE
        assert b"".join(read(offset=1000, digest=blob.digest)) == LARGE[1000:]
        assert b"".join(read(offset=5, length=7)) == LARGE[5:12]
        assert read(offset=len(LARGE)) == []
        with pytest.raises(PreconditionFailed):
            read(offset=1, digest="0" * 64)
        with pytest.raises(BadRequest, match="not negative"):
            read(offset=-1)
    assert run(blobs.whole("k")) == blocking.whole("k") == LARGE
    assert run(blobs.info("k")) == blocking.info("k") == blob


def test_empty(blobs: Blobs, blocking: BlockingBlobs) -> None:
    """A blob may be empty."""
    contents: list[Content] = [b"", []]
    for content in contents:
        blob = run(blobs.write("k", content))
        assert blob.size == 0
        assert run(blobs.whole("k")) == blocking.whole("k") == b""
        assert run(blobs.info("k")) == blob


def test_missing(blobs: Blobs, blocking: BlockingBlobs) -> None:
    """What is not there is not found; it can be forgotten all the same."""
    for ask in (
        lambda: every(blobs.read("k")),
        lambda: run(blobs.info("k")),
        lambda: list(blocking.read("k")),
        lambda: blocking.info("k"),
    ):
        with pytest.raises(NotFound, match="Blob not found"):
            ask()
    run(blobs.delete("k"))
    blocking.delete("k")


def test_delete(blobs: Blobs, blocking: BlockingBlobs, tester: ServiceTester) -> None:
    """A blob is forgotten."""
    for delete in (lambda key: run(blobs.delete(key)), blocking.delete):
        run(blobs.write("k", b""))
        delete("k")
        assert tester.daemon.blobs.kept == {}


def test_list(blobs: Blobs, blocking: BlockingBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list has all blobs, however many pages they fill."""
    monkeypatch.setattr(framework_blobs, "PAGE", 3)
    for number in range(8):
        run(blobs.write(f"a/{number}", b"x" * number))
    run(blobs.write("b", b""))
    for found in (every(blobs.list("a/")), list(blocking.list("a/"))):
        assert [(blob.key, blob.size) for blob in found] == [(f"a/{number}", number) for number in range(8)]
    assert [blob.key for blob in every(blobs.list(after="a/6"))] == ["a/7", "b"]
    assert [blob.key for blob in blocking.list(after="a/6")] == ["a/7", "b"]


def test_digest(blobs: Blobs, blocking: BlockingBlobs, tester: ServiceTester) -> None:
    """A blob which is not what its writer says it is, is not kept."""
    for write in (lambda *given, **more: run(blobs.write(*given, **more)), blocking.write):
        with pytest.raises(BadRequest, match="nothing was kept"):
            write("k", b"abc", digest="0" * 64)
        assert tester.daemon.blobs.kept == {}
        write("k", b"abc", digest=hashlib.sha256(b"abc").hexdigest())
        tester.daemon.blobs.kept.clear()


def test_author_fails(blobs: Blobs, blocking: BlockingBlobs, tester: ServiceTester) -> None:
    """Where the author's own code fails to give the pieces, nothing is kept, and the author is told."""

    def pieces() -> Iterator[bytes]:
        yield LARGE
        raise ZeroDivisionError

    for write in (lambda *given: run(blobs.write(*given)), blocking.write):
        with pytest.raises(ZeroDivisionError):
            write("k", pieces())
        with pytest.raises(BadRequest, match="a blob is made of bytes, not of str"):
            write("k", ["text"])  # type: ignore[list-item]
        assert tester.daemon.blobs.kept == {}
        assert tester.daemon.blobs.writing.count == 0


def test_refused(blobs: Blobs, blocking: BlockingBlobs, tester: ServiceTester) -> None:
    """A blob which the platform does not take is refused while it is sent, without the rest of it."""
    tester.daemon.blobs.limits = Limits(blob=1 << 20)
    given = 0

    def pieces() -> Iterator[bytes]:
        nonlocal given
        while given < 1000:
            given += 1
            yield LARGE

    for write in (lambda *given: run(blobs.write(*given)), blocking.write):
        given = 0
        with pytest.raises(TooLarge, match="at most 1048576 bytes"):
            write("k", pieces())
        assert given < 20


def test_logged_out(blobs: Blobs, tester: ServiceTester) -> None:
    """Where the platform does not know us any more, a call fails, and the next one logs in again."""
    for ask in (
        lambda: run(blobs.write("k", b"v")),
        lambda: run(blobs.whole("k")),
        lambda: every(blobs.list()),
        lambda: run(blobs.delete("k")),
    ):
        run(blobs.write("k", b"v"))
        tester.daemon.revoke()
        with pytest.raises(Unauthorized):
            ask()
        ask()


def test_logged_out_script() -> None:
    """So it is with the client that blocks."""
    refused = MicroError("Unauthorized", "auth", 401)

    class Refusing:
        """A server which knows nobody."""

        def __getattr__(self, kind: str) -> Any:
            def call(*_: Any, **__: Any) -> Any:
                raise RpcError(StatusCode.UNAUTHENTICATED, refused.to_json(), answered=True)

            return lambda *_: call

    with BlockingClient(environ={"MICRO_PROXY": "127.0.0.1:1"}, credentials=("a", "s")) as client:
        client._given = Refusing()
        for ask in (
            lambda: client.blobs.write("k", b"v"),
            lambda: client.blobs.whole("k"),
            lambda: client.blobs.delete("k"),
        ):
            client._token = Token("a", "r", float("inf"))
            with pytest.raises(Unauthorized):
                ask()
            assert client._token is None
        client._given = None


def test_handoff() -> None:
    """A value is handed over only when the last one was taken; when nobody takes any more, the giver is told."""
    handoff = Handoff(NoBridge())
    assert done(handoff.put(1)) is True
    second = Deferred.fromCoroutine(handoff.put(2))
    with pytest.raises(StillWaitingError):
        done(second)
    assert run(handoff.__anext__()) == 1
    assert run(handoff.__anext__()) == 2
    third = Deferred.fromCoroutine(_next(handoff))
    done(handoff.put(3))
    assert done(third) == 3
    done(handoff.put(4))
    fifth = Deferred.fromCoroutine(handoff.put(5))
    handoff.close()
    assert done(fifth) is False
    assert done(handoff.put(6)) is False


async def _next(handoff: Handoff) -> Any:
    return await handoff.__anext__()


def test_store_of_the_tester(tester: ServiceTester) -> None:
    """An author's tests find what the service kept."""
    assert isinstance(tester.daemon.blobs, MemoryBlobs)
    run(tester.client.blobs.write("k", b"v"))
    assert tester.daemon.blobs.kept["micro", "k"][1] == b"v"


@pytest_twisted.ensureDeferred
async def test_threads() -> None:
    """A handler which is a plain function sends and reads a blob from its thread, piece by piece."""
    threads = Threads(reactor, 2)
    threads.start()
    daemon = FakeDaemon(reactor)
    client = ServiceTester(Service("shop", environ={}), reactor, daemon).client
    blobs = ThreadClient(client, threads).blobs
    makers: set[str] = set()

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(LARGE), 10_000):
            makers.add(threading.current_thread().name)
            yield LARGE[start : start + 10_000]

    def fail() -> Iterator[bytes]:
        yield LARGE
        raise ZeroDivisionError

    blob = await threads.run(lambda: blobs.write("k", pieces()))
    assert (blob.size, daemon.blobs.kept["micro", "k"][1]) == (len(LARGE), LARGE)
    assert threading.current_thread().name not in makers
    assert await threads.run(lambda: b"".join(blobs.read("k"))) == LARGE
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: blobs.write("k", fail()))
    daemon.blobs.limits = Limits(blob=1000)
    with pytest.raises(TooLarge):
        await threads.run(lambda: blobs.write("k", pieces()))
    assert daemon.blobs.kept["micro", "k"][1] == LARGE
    assert daemon.blobs.writing.count == 0
    threads.stop()


ASYNCIO = """
import asyncio, io
from twisted.internet import asyncioreactor
loop = asyncio.new_event_loop()
asyncioreactor.install(loop)
from twisted.internet import reactor
from microd.framework.bridge import AsyncioBridge
from microd.framework.client import Client
from microd.framework.identity import Credentials
from microd.framework.identity import Token
from microd.framework.threadclient import ThreadClient
from microd.framework.workers import Threads
from microd.testing.daemon import FakeDaemon
from microd.txgrpc.memory import connect

daemon = FakeDaemon(reactor)
daemon.accounts["micro", "a"] = "s"
client = Client(connect(daemon.server, reactor), lambda: Credentials("a", "s", "micro"), reactor.seconds,
                namespace="micro", table="a", bridge=AsyncioBridge(loop))
LARGE = bytes(range(256)) * 4000

async def pieces():
    for start in range(0, len(LARGE), 100_000):
        await asyncio.sleep(0)
        yield LARGE[start : start + 100_000]

async def main():
    await client.blobs.write("k", pieces())
    await client.blobs.write("l", io.BytesIO(LARGE))
    assert b"".join([piece async for piece in client.blobs.read("k")]) == LARGE
    assert await client.blobs.whole("l") == LARGE
    assert [blob.size async for blob in client.blobs.list()] == [len(LARGE)] * 2
    threads = Threads(reactor, 1)
    threads.start()
    blobs = ThreadClient(client, threads).blobs
    made = threads.run(lambda: blobs.write("m", [LARGE, LARGE]))
    assert (await made.asFuture(loop)).size == 2 * len(LARGE)
    threads.stop()
    print("done")

def begin():
    loop.create_task(main()).add_done_callback(lambda task: (task.result(), reactor.stop()))

reactor.callWhenRunning(begin)
reactor.callLater(20, reactor.stop)
reactor.run()
"""


def test_asyncio() -> None:
    """Authors who write for asyncio send and read blobs with coroutines of theirs."""
    found = subprocess.run([sys.executable, "-c", ASYNCIO], capture_output=True, text=True, check=False)
    assert found.stdout == "done\n", found.stderr
