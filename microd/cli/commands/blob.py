"""C{micro store blob}."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from microd.cli.counts import Count
from microd.cli.failure import FAILED, CommandFailed
from microd.cli.layout import spaced
from microd.cli.lazy import MicroGroup, pass_session
from microd.cli.session import Session
from microd.cli.wholefile import STANDARD, source_file, target, whole_file

if TYPE_CHECKING:
    from microd.wire.store_pb2 import BlobInfo, BlobListOptions, BlobReadResponse, BlobWriteRequest

#: The bytes of one message, and the blobs of one page.
PIECE, PAGE = 256 << 10, 1000


@click.group(cls=MicroGroup, refused=FAILED, short_help="Read and write blobs")
def blob() -> None:
    """Read and write the blobs of a namespace: large values, moved in pieces."""


@blob.command("read", short_help="Get a blob")
@click.argument("key", default="")
@click.argument("path", metavar="[FILE]", default=STANDARD)
@click.option("--resume", is_flag=True, help="Go on where an interrupted read into FILE has stopped.")
@click.option("--offset", default=0, type=Count(), metavar="N", help="Leave out the first N bytes.")
@click.option("--length", default=0, type=Count(), metavar="N", help="At most N bytes.")
@pass_session
def read(session: Session, key: str, path: str, resume: bool, offset: int, length: int) -> None:
    """Write the blob KEY to FILE, or to standard output.

    FILE appears, or is replaced, when all of the blob has come and is what was written. Else what has come is kept beside
    it for --resume.
    """
    if not key:
        raise CommandFailed("Key arg is required", remedy="Write `micro store blob read KEY`.")
    to_stdout = path == STANDARD
    if resume and (to_stdout or offset or length):
        raise CommandFailed("--resume wants a FILE, and neither --offset nor --length")
    reading = _Reading(session, key)
    if to_stdout:
        stream = sys.stdout.buffer
        for piece in reading.pieces(offset, length):
            stream.write(piece)
        stream.flush()
        return
    reading.into(target(path), resume, offset, length)


@blob.command("write", short_help="Keep a blob")
@click.argument("key", default="")
@click.argument("path", metavar="[FILE]", default=STANDARD)
@click.option("--content-type", default="", metavar="TYPE", help="What it is, such as image/png.")
@click.option(
    "--public", is_flag=True, help="Say that anybody may read it; kept and shown, of no effect here."
)
@pass_session
def write(session: Session, key: str, path: str, content_type: str, public: bool) -> None:
    """Keep FILE, or standard input, under KEY. Nobody sees it before all of it is on disk."""
    from microd.wire.store_pb2 import BlobOptions, BlobWriteRequest, BlobWriteResponse

    if not key:
        raise CommandFailed("Key arg is required", remedy="Write `micro store blob write KEY`.")
    options = BlobOptions(namespace=session.namespace, contentType=content_type, public=public)
    first = BlobWriteRequest(key=key, options=options)
    with source_file(path) as file:
        remote = session.remote
        if not file.seekable():
            # It can be sent only once. If our token is to be renewed, let it be by something else.
            _page(session, limit=1)
        begun = False

        def requests() -> Iterator[BlobWriteRequest]:
            nonlocal begun
            if begun:
                _rewind(file)
            begun = True
            return _messages(first, file)

        found = remote.upload("/store.BlobStore/Write", requests, BlobWriteResponse)
    session.answer(_plain(found.info), lambda: "")


@blob.command("list", short_help="Print the keys")
@click.argument("prefix", default="")
@click.option("--limit", "-l", default=0, type=Count(), metavar="N", help="At most so many.")
@click.option("--after", default="", metavar="KEY", help="Only keys after this one.")
@click.option("--verbose", "-v", is_flag=True, help="Show size, time and content type as well.")
@pass_session
def list_blobs(session: Session, prefix: str, limit: int, after: str, verbose: bool) -> None:
    """Print the keys of the blobs: micro store blob list [PREFIX]."""
    found = _every(session, prefix, limit, after)
    if session.json:
        session.answer_list(map(_plain, found))
    elif verbose:
        rows = [(info.key, str(info.size), _time(info.modified), info.contentType or "n/a") for info in found]
        if rows:
            session.say(spaced([("KEY", "SIZE", "MODIFIED", "TYPE"), *rows]))
    else:
        for info in found:
            session.say(info.key)


@blob.command("delete", short_help="Take a blob out")
@click.argument("key", default="")
@pass_session
def delete(session: Session, key: str) -> None:
    """Take the blob KEY out, if it is there."""
    from microd.wire.store_pb2 import BlobDeleteRequest, BlobDeleteResponse, BlobOptions

    if not key:
        raise CommandFailed("Key is required", remedy="Write `micro store blob delete KEY`.")
    request = BlobDeleteRequest(key=key, options=BlobOptions(namespace=session.namespace))
    session.remote.unary("/store.BlobStore/Delete", request, BlobDeleteResponse)


class _Reading:
    """A blob on its way to us."""

    def __init__(self, session: Session, key: str) -> None:
        self._session = session
        self._key = key

    def into(self, path: Path, resume: bool, offset: int, length: int) -> None:
        """Make a file of it. What has come lies in a file whose name tells of which blob it is a part."""
        info = self._info()
        draft = path.with_name(f".{path.name}.{info.digest[:16]}.part")
        part = bool(offset or length)
        with whole_file(path, draft, resume=resume, keep=not part) as file:
            if part:
                for piece in self.pieces(offset, length, info.digest):
                    file.write(piece)
                return
            self._rest(file, info)
        for other in path.parent.glob(f".{_literal(path.name)}.{'[0-9a-f]' * 16}.part"):
            other.unlink(missing_ok=True)

    def _rest(self, file: BinaryIO, info: BlobInfo) -> None:
        import hashlib

        digest, size = hashlib.sha256(), 0
        while piece := file.read(PIECE):
            digest.update(piece)
            size += len(piece)
        if size < info.size:
            for piece in self.pieces(size, 0, info.digest):
                digest.update(piece)
                file.write(piece)
        if digest.hexdigest() != info.digest:
            file.truncate(0)
            raise CommandFailed(
                "What has come is not what was written", remedy="Read it again without --resume."
            )

    def pieces(self, offset: int, length: int, digest: str = "") -> Iterator[bytes]:
        """Its bytes."""
        for message in self._messages(offset, length, digest):
            yield message.blob

    def _info(self) -> BlobInfo:
        return next(message.info for message in list(self._messages(0, 1, "")))

    def _messages(self, offset: int, length: int, digest: str) -> Iterator[BlobReadResponse]:
        from microd.wire.store_pb2 import BlobOptions, BlobReadRequest, BlobReadResponse

        request = BlobReadRequest(
            key=self._key,
            options=BlobOptions(namespace=self._session.namespace),
            offset=offset,
            length=length,
            digest=digest,
        )
        return self._session.remote.stream("/store.BlobStore/Read", request, BlobReadResponse)


def _messages(first: BlobWriteRequest, file: BinaryIO) -> Iterator[BlobWriteRequest]:
    """What is sent: where it goes, its bytes, and the digest of those."""
    import hashlib

    from microd.wire.store_pb2 import BlobWriteRequest

    yield first
    digest = hashlib.sha256()
    while piece := file.read(PIECE):
        digest.update(piece)
        yield BlobWriteRequest(blob=piece)
    yield BlobWriteRequest(digest=digest.hexdigest())


def _rewind(file: BinaryIO) -> None:
    if not file.seekable():
        raise CommandFailed("The login ended while the blob was sent", remedy="Run the command again.")
    file.seek(0)


def _every(session: Session, prefix: str, limit: int, after: str) -> Iterator[BlobInfo]:
    """Blobs by their keys, page after page."""
    left = limit
    while True:
        page = _page(session, prefix=prefix, after=after, limit=min(left, PAGE) if limit else PAGE)
        yield from page.blobs
        left -= len(page.blobs)
        after = page.next
        if not after or (limit and left <= 0):
            return


def _page(session: Session, **options: Any) -> Any:
    from microd.wire.store_pb2 import BlobListOptions, BlobListRequest, BlobListResponse

    wanted: BlobListOptions = BlobListOptions(namespace=session.namespace, **options)
    return session.remote.unary("/store.BlobStore/List", BlobListRequest(options=wanted), BlobListResponse)


def _plain(info: BlobInfo) -> dict[str, Any]:
    return {
        "key": info.key,
        "size": info.size,
        "digest": info.digest,
        "content_type": info.contentType,
        "public": info.public,
        "modified": info.modified,
    }


def _time(seconds: int) -> str:
    import time

    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _literal(name: str) -> str:
    from glob import escape

    return escape(name)
