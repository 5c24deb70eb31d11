"""`micro store blob`."""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from microd.services.store.blobs import rpc
from microd.services.store.blobs.backends.memory import MemoryBlobs
from microd.services.store.blobs.model import Limits
from microd.txgrpc.status import RpcError, StatusCode
from microd.wire import store_pb2 as pb

from .conftest import Daemon, User, serve

READ, WRITE = "/store.BlobStore/Read", "/store.BlobStore/Write"
LARGE = bytes(range(256)) * 3000


@pytest.fixture
def blobs(daemon: Daemon) -> MemoryBlobs:
    """A store of blobs behind the daemon."""
    store = MemoryBlobs(now=lambda: 1_700_000_000.0, limits=Limits(page=4))
    serve(daemon, rpc.endpoints(store))
    return store


def put(user: User, key: str, content: bytes, *words: str) -> Any:
    """Write a blob from a file."""
    file = user.home.parent / "source"
    file.write_bytes(content)
    return user.micro("store", "blob", "write", key, str(file), *words)


def kept(blobs: MemoryBlobs) -> dict[tuple[str, str], bytes]:
    """All blobs."""
    return {place: content for place, (_, content) in blobs.kept.items()}


def drafts(folder: Path) -> list[str]:
    """What lies beside what was asked for."""
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


@pytest.mark.parametrize("content", [b"", b"x", LARGE])
def test_files(user: User, blobs: MemoryBlobs, tmp_path: Path, content: bytes) -> None:
    """A file becomes a blob of the namespace, and the blob a file, in silence."""
    got = put(user, "a/b", content, "--namespace=acme", "--content-type=text/plain", "--public")
    assert (got.code, got.out, got.err) == (0, "", "")
    assert kept(blobs) == {("acme", "a/b"): content}
    to = tmp_path / "to"
    got = user.micro("store", "blob", "read", "a/b", str(to), "--namespace=acme")
    assert (got.code, got.out, got.err) == (0, "", "")
    assert to.read_bytes() == content
    assert drafts(tmp_path) == []


def test_streams(user: User, blobs: MemoryBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file a blob comes from standard input, and goes to standard output."""
    text = "äöü\n" * 100_000
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Pipe(text.encode())))
    assert user.micro("store", "blob", "write", "k").code == 0
    assert kept(blobs) == {("micro", "k"): text.encode()}
    assert user.micro("store", "blob", "read", "k").out == text
    assert user.micro("store", "blob", "read", "k", "--offset=7", "--length=14").out == "äöü\n" * 2


class Pipe(io.BytesIO):
    """What cannot be read twice."""

    def seekable(self) -> bool:
        return False


def test_write_json(user: User, blobs: MemoryBlobs) -> None:
    """In JSON, what was kept is told."""
    assert put(user, "k", b"abc", "--json", "--content-type=a/b").json == {
        "key": "k",
        "size": 3,
        "digest": hashlib.sha256(b"abc").hexdigest(),
        "content_type": "a/b",
        "public": False,
        "modified": 1_700_000_000,
    }


def test_renewed(user: User, daemon: Daemon, blobs: MemoryBlobs, refusal: Any) -> None:
    """Where the server refuses the token when part of a file was sent, the file is sent again, whole."""
    user.has_a_daemon()
    token = pb_token()
    daemon.answers("/auth.Auth/Token", token)
    take = daemon.takers[WRITE]
    refused: list[bytes] = []

    def once(bodies: Any) -> Any:
        if not refused:
            refused.extend([next(iter(bodies)), next(iter(bodies))])
            raise refusal(401, "Unauthorized")
        return take(bodies)

    daemon.takers[WRITE] = once
    assert put(user, "k", LARGE).code == 0
    assert kept(blobs) == {("micro", "k"): LARGE}


def pb_token() -> Any:
    from microd.wire import auth_pb2

    return auth_pb2.TokenResponse(
        token=auth_pb2.Token(access_token="a", refresh_token="r", created=1_700_000_000, expiry=1_800_000_000)
    )


class Breaking:
    """A daemon which breaks off the first reading."""

    def __init__(self, daemon: Daemon, after: int) -> None:
        self._read = daemon.handlers[READ]
        self._after = after
        self.asked: list[pb.BlobReadRequest] = []
        daemon.handlers[READ] = self._answer

    def _answer(self, call: Any) -> Iterator[Any]:
        request = pb.BlobReadRequest.FromString(call.body)
        self.asked.append(request)
        for number, message in enumerate(self._read(call)):
            if number == self._after:
                self._after = -1
                raise RpcError(StatusCode.UNAVAILABLE, "gone", delivered=True)
            yield message


def test_resume(user: User, daemon: Daemon, blobs: MemoryBlobs, tmp_path: Path) -> None:
    """A read that was broken off goes on where it stopped; the file is there only when it is whole."""
    put(user, "k", LARGE)
    daemon_breaks = Breaking(daemon, after=2)
    to = tmp_path / "to"
    to.write_bytes(b"older")
    assert user.micro("store", "blob", "read", "k", str(to)).code != 0
    assert to.read_bytes() == b"older"
    (draft,) = drafts(tmp_path)
    assert (tmp_path / draft).stat().st_size == 512 << 10
    daemon_breaks.asked.clear()
    assert user.micro("store", "blob", "read", "k", str(to), "--resume").code == 0
    assert to.read_bytes() == LARGE
    assert [each.offset for each in daemon_breaks.asked] == [0, 512 << 10]
    assert daemon_breaks.asked[1].digest == hashlib.sha256(LARGE).hexdigest()
    assert drafts(tmp_path) == []


def test_resume_another(user: User, daemon: Daemon, blobs: MemoryBlobs, tmp_path: Path) -> None:
    """Where the blob is another one by now, resuming begins at its beginning: two blobs are never mixed."""
    put(user, "k", LARGE)
    Breaking(daemon, after=2)
    to = tmp_path / "to"
    assert user.micro("store", "blob", "read", "k", str(to)).code != 0
    put(user, "k", LARGE[::-1])
    assert user.micro("store", "blob", "read", "k", str(to), "--resume").code == 0
    assert to.read_bytes() == LARGE[::-1]
    assert drafts(tmp_path) == []


def test_resume_spoilt(user: User, daemon: Daemon, blobs: MemoryBlobs, tmp_path: Path) -> None:
    """What lies there of the first attempt is checked with the rest; without --resume it does not count."""
    put(user, "k", LARGE)
    to = tmp_path / "to"
    draft = tmp_path / f".to.{hashlib.sha256(LARGE).hexdigest()[:16]}.part"
    draft.write_bytes(b"of something else")
    got = user.micro("store", "blob", "read", "k", str(to), "--resume")
    assert (got.code, got.err) == (
        1,
        "What has come is not what was written. Read it again without --resume.\n",
    )
    assert not to.exists()
    draft.write_bytes(b"of something else")
    assert user.micro("store", "blob", "read", "k", str(to)).code == 0
    assert to.read_bytes() == LARGE


def test_list(user: User, blobs: MemoryBlobs) -> None:
    """Keys are one a line, however many pages they fill; in detail with size, time and type."""
    for number in range(9):
        put(user, f"a/{number}", b"x" * number, *(["--content-type=a/b"] if number else []))
    put(user, "b", b"")
    assert user.micro("store", "blob", "list", "a/").out.split() == [f"a/{number}" for number in range(9)]
    assert user.micro("store", "blob", "list", "--after=a/6").out.split() == ["a/7", "a/8", "b"]
    assert user.micro("store", "blob", "list", "--limit=6").out.split() == [
        f"a/{number}" for number in range(6)
    ]
    assert user.micro("store", "blob", "list", "--limit=2", "-v").out == (
        "KEY   SIZE   MODIFIED               TYPE\n"
        "a/0   0      2023-11-14T22:13:20Z   n/a\n"
        "a/1   1      2023-11-14T22:13:20Z   a/b\n"
    )
    assert [each["size"] for each in user.micro("store", "blob", "list", "a/", "--json").json] == list(
        range(9)
    )
    assert user.micro("store", "blob", "list", "x", "--json").json == []
    assert user.micro("store", "blob", "list", "x", "-v").out == ""


def test_delete(user: User, blobs: MemoryBlobs) -> None:
    """Deleting is silent, also where there is nothing."""
    put(user, "k", b"")
    for _ in range(2):
        got = user.micro("store", "blob", "delete", "k")
        assert (got.code, got.out, got.err) == (0, "", "")
    assert kept(blobs) == {}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("read",), "Key arg is required"),
        (("write",), "Key arg is required"),
        (("delete",), "Key is required"),
        (("read", "none"), "Blob not found"),
        (("read", "none", "file"), "Blob not found"),
        (("read", "k", "--resume"), "--resume wants a FILE"),
        (("read", "k", "file", "--resume", "--offset=3"), "--resume wants a FILE"),
        (("read", "k", "/dev/null"), "/dev/null is a device. Give a file, or - for standard output."),
        (("write", "k", "/no/such"), "/no/such cannot be read: No such file or directory"),
        (("read", "k", "--offset=4"), "The offset 4 is beyond the blob's 3 bytes"),
        (("list", "--limit=99999999999999999999"), "Invalid value for '--limit'"),
    ],
)
def test_mistakes(user: User, blobs: MemoryBlobs, words: Any, told: str) -> None:
    """A mistake is told in one sentence, with exit code 1, and leaves no file."""
    put(user, "k", b"abc")
    got = user.micro("store", "blob", *words)
    assert (got.code, got.out) == (1, "")
    assert got.err.startswith(told)
