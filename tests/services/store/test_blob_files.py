"""Blobs in files: what lies in the folder, and what becomes of it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import resource
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.logger import capturedLogs, formatEvent

from microd.kernel.errors import BadRequest, Internal, MicroError, TooLarge, Unavailable
from microd.services.store.backends.memory import MemoryStore
from microd.services.store.backends.worker import Inline
from microd.services.store.blobs.backends.files import FileBlobs
from microd.services.store.blobs.backends.index import BODY, IDS
from microd.services.store.blobs.backends.pool import IPool
from microd.services.store.blobs.model import About, Limits, Span
from microd.services.store.errors import OutOfSpace
from microd.services.store.model import Query, Record
from microd.testing.blob_contract import Subject
from microd.testing.bounded import bounded
from microd.testing.outcome import done

T = TypeVar("T")

LARGE = bytes(range(256)) * 2000
OTHER = LARGE[::-1]


class Held(IPool):
    """Does what it is asked only when it is let to."""

    def __init__(self) -> None:
        self.jobs: list[Callable[[], object]] = []

    def start(self) -> None:
        """Nothing to start."""

    def run(self, function: Callable[..., T], *arguments: Any) -> Deferred[T]:
        waiting: Deferred[T] = Deferred()
        self.jobs.append(lambda: maybeDeferred(function, *arguments).chainDeferred(waiting))
        return waiting

    def stop(self) -> None:
        """Nothing to stop."""

    def release(self) -> None:
        """Do all of it, and what comes of it."""
        while self.jobs:
            self.jobs.pop(0)()


class WeakIndex(MemoryStore):
    """An index which can be told to refuse writes, or to answer them later.

    @ivar refusal: what it says.
    @ivar breaks: the next write takes place, and fails when it is brought to the disk.
    @ivar waiting: where it is not None, writes are done and their answers held here.
    """

    refusal: MicroError | None = None
    breaks = False
    waiting: list[Deferred[None]] | None = None

    async def apply(self, acts: Any) -> Any:
        if self.refusal is not None:
            raise self.refusal
        found = await super().apply(acts)
        if self.breaks:
            self.failure = "fsync failed"
            raise Unavailable(self.failure)
        if self.waiting is not None:
            answer: Deferred[None] = Deferred()
            self.waiting.append(answer)
            await answer
        return found


@pytest.fixture
def index() -> WeakIndex:
    return WeakIndex()


@pytest.fixture
def blobs(tmp_path: Path, index: WeakIndex) -> Iterator[FileBlobs]:
    store = FileBlobs(tmp_path, index, Inline(), limits=Limits(blob=1 << 30, reading=2))
    store.startService()
    yield store
    done(store.stopService())


@pytest.fixture
def subject(blobs: FileBlobs) -> Subject:
    return Subject(blobs, blobs.now, done)


def files(folder: Path) -> Sequence[str]:
    """The names of all that lies in a folder."""
    return sorted(path.name for path in folder.iterdir())


def test_one_file(subject: Subject, tmp_path: Path) -> None:
    """A large blob has one file, readable by its owner only and named by us; the old one goes when it is replaced."""
    subject.put("../../etc/passwd", LARGE)
    (first,) = files(tmp_path)
    assert len(first) == 28
    assert (tmp_path / first).stat().st_mode & 0o777 == 0o600
    subject.put("../../etc/passwd", OTHER)
    (second,) = files(tmp_path)
    assert second != first
    done(subject.store.delete("micro", "../../etc/passwd"))
    assert files(tmp_path) == []


def test_small(subject: Subject, tmp_path: Path) -> None:
    """A small blob has no file, also where it takes the place of a large one."""
    subject.put("k", LARGE)
    subject.put("k", LARGE[: 64 << 10])
    assert files(tmp_path) == []
    assert subject.get("k") == LARGE[: 64 << 10]


def test_nothing_left(subject: Subject, tmp_path: Path) -> None:
    """A write which does not come to its end leaves no file."""

    async def write(end: Callable[[Any], Any]) -> None:
        draft = await subject.store.write("micro", "k", About())
        try:
            await draft.add(LARGE)
            assert len(files(tmp_path)) == 1
            await end(draft)
        finally:
            draft.drop()

    async def too_large(draft: Any) -> None:
        for _ in range(3000):
            await draft.add(LARGE)

    async def another(draft: Any) -> None:
        await draft.keep("0" * 64)

    async def nothing(_: Any) -> None:
        return None

    for end, problem in ((too_large, TooLarge), (another, BadRequest)):
        with pytest.raises(problem):
            done(write(end))
        assert files(tmp_path) == []
    done(write(nothing))
    assert files(tmp_path) == []


def test_restart(subject: Subject, blobs: FileBlobs, index: WeakIndex, tmp_path: Path) -> None:
    """The next run finds what was kept, removes what an earlier one left unfinished, and nothing that is not ours."""
    subject.put("large", LARGE)
    subject.put("small", b"x")
    (needed,) = files(tmp_path)
    rubbish = needed[:-1] + "9"
    (tmp_path / rubbish).write_bytes(b"half a blob")
    (tmp_path / "README").write_text("of the operator")
    (tmp_path / "index.db").write_text("")
    again = FileBlobs(tmp_path, index, Inline())
    again.startService()
    assert files(tmp_path) == sorted([needed, "README", "index.db"])
    assert Subject(again, again.now, done).get("large") == LARGE
    done(again.stopService())


def test_lost_index(subject: Subject, tmp_path: Path) -> None:
    """Where the index was lost the files are not taken for rubbish."""
    subject.put("k", LARGE)
    (file,) = files(tmp_path)
    for _ in range(2):
        again = FileBlobs(tmp_path, MemoryStore(), Inline())
        again.startService()
        done(again.stopService())
    assert files(tmp_path) == [file]


def test_sweep_spares_this_run(index: WeakIndex, tmp_path: Path) -> None:
    """A blob which is written while the rubbish is looked for is no rubbish."""
    pool = Held()
    store = FileBlobs(tmp_path, index, pool)
    store.startService()
    draft = done(store.write("micro", "k", About()))
    adding = Deferred.fromCoroutine(draft.add(LARGE))
    pool.jobs.reverse()
    pool.release()
    done(adding)
    keeping = Deferred.fromCoroutine(draft.keep())
    pool.release()
    assert done(keeping).size == len(LARGE)
    assert len(files(tmp_path)) == 1


@pytest.mark.parametrize("steps", range(4))
def test_given_up(index: WeakIndex, tmp_path: Path, steps: int) -> None:
    """Whoever gives up while the disk is at work leaves no file, and nothing half written."""
    pool = Held()
    store = FileBlobs(tmp_path, index, pool)
    store.startService()
    pool.release()

    async def write() -> None:
        draft = await store.write("micro", "k", About())
        try:
            await draft.add(LARGE)
            await draft.add(LARGE)
            await draft.keep()
        finally:
            draft.drop()

    writing = Deferred.fromCoroutine(write())
    for _ in range(steps):
        pool.jobs.pop(0)()
    kept = writing.called
    if not kept:
        writing.cancel()
        with pytest.raises(CancelledError):
            done(writing)
    # What was asked of the disk before is still done, and only then the rest.
    pool.release()
    assert len(files(tmp_path)) == kept
    assert kept == (steps == 3)


def test_given_up_late(subject: Subject, index: WeakIndex, tmp_path: Path) -> None:
    """Whoever gives up while the index is at work has written the blob, or not: it is whole in any case."""
    subject.put("k", LARGE)
    index.waiting = []

    async def write() -> None:
        draft = await subject.store.write("micro", "k", About())
        try:
            await draft.add(OTHER)
            await draft.keep()
        finally:
            draft.drop()

    writing = Deferred.fromCoroutine(write())
    writing.cancel()
    with pytest.raises(CancelledError):
        done(writing)
    assert subject.get("k") == OTHER
    index.waiting.pop().callback(None)
    assert subject.get("k") == OTHER
    assert len(files(tmp_path)) == 1


def test_race(subject: Subject, index: WeakIndex, tmp_path: Path) -> None:
    """Of two who write the same key at once the later one stays, and one file."""
    index.waiting = []

    async def write(content: bytes) -> None:
        draft = await subject.store.write("micro", "k", About())
        await draft.add(content)
        await draft.keep()
        draft.drop()

    writing = [Deferred.fromCoroutine(write(content)) for content in (LARGE, OTHER, LARGE, OTHER)]
    for _ in writing:
        index.waiting.pop().callback(None)
    for each in writing:
        done(each)
    assert subject.get("k") == OTHER
    assert len(files(tmp_path)) == 1


def test_index_full(subject: Subject, index: WeakIndex, tmp_path: Path) -> None:
    """Where there is no room for the index, the writer is told, the old blob stays, and the file goes."""
    subject.put("k", LARGE)
    index.refusal = OutOfSpace("the disk is full")
    with pytest.raises(OutOfSpace):
        subject.put("k", OTHER)
    index.refusal = None
    assert subject.get("k") == LARGE
    assert len(files(tmp_path)) == 1


def test_index_failed(subject: Subject, blobs: FileBlobs, index: WeakIndex, tmp_path: Path) -> None:
    """Where nobody knows whether the index was written, the file stays for the next start to judge; reads go on."""
    subject.put("k", LARGE)
    subject.put("l", LARGE)
    index.breaks = True
    with pytest.raises(Unavailable):
        subject.put("k", OTHER)
    assert len(files(tmp_path)) == 3
    assert subject.get("l") == LARGE
    assert blobs.failure == "fsync failed"
    refused = "the store takes no more blobs: fsync failed; check the disk, then restart the daemon"
    with pytest.raises(Unavailable, match=refused):
        subject.put("k", LARGE)
    with pytest.raises(Unavailable, match=refused):
        done(blobs.delete("micro", "k"))
    # It had been written, after all.
    again = FileBlobs(tmp_path, index, Inline())
    again.startService()
    assert Subject(again, again.now, done).get("k") == OTHER
    assert len(files(tmp_path)) == 2
    done(again.stopService())


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda path: path.write_bytes(LARGE[:-1] + b"!"), "its digest is another"),
        (lambda path: path.write_bytes(LARGE[:-1]), "its file has 511999 bytes instead of 512000"),
        (lambda path: path.unlink(), "its bytes are not there"),
    ],
)
def test_damaged(subject: Subject, tmp_path: Path, spoil: Callable[[Path], object], problem: str) -> None:
    """A file which is not what was written is named as such; the last piece is never given."""
    subject.put("k", LARGE)
    spoil(next(tmp_path.iterdir()))
    got = b""

    async def read() -> None:
        nonlocal got
        reading = await subject.store.read("micro", "k")
        try:
            async for piece in reading:
                got += piece
        finally:
            reading.close()

    with pytest.raises(Internal, match=f"the blob k is damaged: {problem}"):
        done(read())
    assert len(got) < len(LARGE)


def test_damaged_in_index(subject: Subject, index: WeakIndex) -> None:
    """The same of a small blob."""
    subject.put("k", b"small")
    (row,) = done(index.list(IDS, BODY, Query()))
    done(index.write(IDS, BODY, Record(row, b"smell")))
    with pytest.raises(Internal, match="the blob k is damaged"):
        subject.open("k")


def test_no_handles(subject: Subject, blobs: FileBlobs) -> None:
    """Where the process may open no more files a writer is told so, and it passes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 200), hard))
    taken: list[int] = []
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        with pytest.raises(Unavailable, match="Too many open files; try again later"):
            subject.put("k", LARGE)
    finally:
        for handle in taken:
            os.close(handle)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert blobs.failure == ""
    subject.put("k", LARGE)


def test_no_larger_files(subject: Subject, blobs: FileBlobs, tmp_path: Path) -> None:
    """Where a file may be no larger a blob is refused, and that passes too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    kept = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    try:
        with pytest.raises(TooLarge, match="no file of this size"):
            subject.put("k", LARGE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, kept)
    assert (blobs.failure, files(tmp_path)) == ("", [])


def test_shrinking(subject: Subject, tmp_path: Path) -> None:
    """A file which is cut while it is read ends the reading with an error, not with its end."""
    subject.put("k", LARGE)
    reading = subject.open("k")
    with next(tmp_path.iterdir()).open("r+b") as file:
        file.truncate(300_000)
    with pytest.raises(Internal, match="its file ends at byte 300000"):
        subject.rest(reading)


def test_many_readers(subject: Subject) -> None:
    """One namespace cannot take all the open files; who ends makes room."""
    subject.put("k", LARGE)
    first, _ = subject.open("k"), subject.open("k")
    with pytest.raises(Unavailable, match="2 blobs of micro are being read now"):
        subject.open("k")
    first.close()
    first.close()
    assert subject.get("k") == LARGE


def test_figures(subject: Subject, blobs: FileBlobs) -> None:
    """It counts what comes and goes, and is ill once it cannot write."""
    subject.put("k", LARGE)
    subject.get("k")
    reading = subject.open("k")
    shown = {
        (each.name, *labels.values()): value for each in blobs.figures() for labels, value in each.samples
    }
    assert shown == {
        ("microd_blob_bytes_total", "in"): len(LARGE),
        ("microd_blob_bytes_total", "out"): len(LARGE),
        ("microd_blobs_open", "in"): 0,
        ("microd_blobs_open", "out"): 1,
    }
    reading.close()
    assert blobs.ill() is None


@pytest.mark.parametrize("size", [1 << 10, 1 << 16, 1 << 20])
def test_memory(subject: Subject, tmp_path: Path, size: int) -> None:
    """A blob of 64 MiB is written and read in less than 4 MiB of memory, whatever the size of the pieces."""
    piece = bytes(range(256)) * (size // 256)
    number = (64 << 20) // size
    digest = hashlib.sha256()

    async def write() -> str:
        draft = await subject.store.write("micro", "k", About())
        for _ in range(number):
            await draft.add(piece)
        kept = await draft.keep()
        draft.drop()
        return kept.digest

    async def read() -> None:
        reading = await subject.store.read("micro", "k", Span())
        async for found in reading:
            digest.update(found)
        reading.close()

    with bounded(4 << 20, seconds=20):
        written = done(write())
        done(read())
    assert digest.hexdigest() == written


def test_full_is_said_once(subject: Subject, blobs: FileBlobs, tmp_path: Path) -> None:
    """That the disk is full is logged once, however many blobs are refused, and that it has room again."""

    with capturedLogs() as events:
        for _ in range(3):
            with pytest.raises(OutOfSpace):
                done(blobs.on_disk(_full))
        subject.put("small", b"v")
        for _ in range(2):
            subject.put("large", LARGE)
    said = [formatEvent(event) for event in events]
    assert said == [
        f"{tmp_path}: the disk is full, and blobs are refused; make room",
        f"{tmp_path}: the disk has room again",
    ]


def _full() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")
