"""Blobs on the wire: spec micro-v3-server 6.3, 7.3, 8, Appendix A."""

from __future__ import annotations

import base64

import pytest

from tests.compat.conftest import Client
from tests.compat.wires import Refused, Shown

READ, WRITE, DELETE, LIST = (f"/store.BlobStore/{name}" for name in ("Read", "Write", "Delete", "List"))
ALPHA = {"namespace": "alpha"}
BLOB = bytes(range(256)) * 40


def _write(call: Client, key: str, blob: bytes = BLOB, piece: int = 1000) -> None:
    first = {"key": key, "options": ALPHA, "blob": blob[:piece]}
    rest: list[Shown] = [{"blob": blob[at : at + piece]} for at in range(piece, len(blob), piece)]
    call.stream(WRITE, [first, *rest], by="alpha-service")


def _read(call: Client, key: str, **more: object) -> bytes:
    replies = call.stream(READ, [{"key": key, "options": ALPHA, **more}], by="alpha-admin")
    return b"".join(base64.b64decode(each["blob"]) for each in replies)


def test_write_and_read(grpc_call: Client) -> None:
    """Pieces go in, and come out in pieces."""
    _write(grpc_call, grpc_call.unique)
    assert _read(grpc_call, grpc_call.unique) == BLOB
    assert _read(grpc_call, grpc_call.unique, offset=10_000) == BLOB[10_000:]


def test_replace(grpc_call: Client) -> None:
    """A blob is replaced as a whole."""
    _write(grpc_call, grpc_call.unique)
    _write(grpc_call, grpc_call.unique, b"short")
    assert _read(grpc_call, grpc_call.unique) == b"short"


def test_empty(grpc_call: Client) -> None:
    """An empty blob is a blob."""
    _write(grpc_call, grpc_call.unique, b"")
    assert _read(grpc_call, grpc_call.unique) == b""


def test_list(grpc_call: Client) -> None:
    """The keys with a prefix, in order (defect 11.13)."""
    for name in ("b", "a"):
        _write(grpc_call, f"{grpc_call.unique}/{name}", b"x")
    request = {"options": {**ALPHA, "prefix": f"{grpc_call.unique}/"}}
    keys = grpc_call(LIST, request, by="alpha-admin")["keys"]
    assert keys == [f"{grpc_call.unique}/a", f"{grpc_call.unique}/b"]


def test_list_nothing(call: Client) -> None:
    """A namespace without blobs has none."""
    assert call(LIST, {"options": {"namespace": "empty"}}, by="operator")["keys"] == []


def test_delete(grpc_call: Client) -> None:
    """A deleted blob is gone."""
    _write(grpc_call, grpc_call.unique)
    assert grpc_call(DELETE, {"key": grpc_call.unique, "options": ALPHA}, by="alpha-admin") == {}
    refused = grpc_call.refused(READ, {"key": grpc_call.unique, "options": ALPHA}, by="alpha-admin")
    assert refused.brief == (404, "Blob not found")


def test_header_namespace(grpc_call: Client) -> None:
    """Without options (a panic in the reference, 11.13) it is the caller's own namespace."""
    grpc_call.stream(WRITE, [{"key": grpc_call.unique, "blob": b"x"}], by="alpha-service")
    assert _read(grpc_call, grpc_call.unique) == b"x"


def test_refused(call: Client) -> None:
    """A key is needed."""
    for path in (READ, DELETE):
        assert call.refused(path, {"options": ALPHA}, by="alpha-admin").brief == (400, "Missing key")


def test_write_refused(grpc_call: Client) -> None:
    """A blob is needed, and its key."""
    assert grpc_call.refused(WRITE, {"options": ALPHA, "blob": b"x"}, by="alpha-admin").brief == (
        400,
        "Missing key",
    )
    with pytest.raises(Refused) as caught:
        grpc_call.stream(WRITE, [], by="alpha-admin")
    assert caught.value.brief == (400, "No blob was sent")


@pytest.mark.parametrize("path", [READ, DELETE, LIST])
def test_who(call: Client, path: str) -> None:
    """Blobs are for admins and services of the namespace."""
    request = {"options": ALPHA} if path == LIST else {"key": "k", "options": ALPHA}
    assert call.refused(path, request).code == 401
    assert call.refused(path, request, by="alpha-user").code == 403
    assert call.refused(path, request, by="beta-admin").brief == (403, "access denied to namespace")
