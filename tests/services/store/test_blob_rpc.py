"""What the store of blobs answers, and who may ask."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from microd.kernel.caller import Account, Caller
from microd.kernel.errors import BadRequest, Forbidden, MicroError, NotFound, TooLarge, Unauthorized
from microd.services.store.blobs import rpc
from microd.services.store.blobs.backends.memory import MemoryBlobs
from microd.services.store.blobs.model import Limits
from microd.testing.outcome import done
from microd.wire import store_pb2 as pb

ADMIN = Caller(Account("ann", "user", "micro", scopes=("admin",)))
OWN_SERVICE = Caller(Account("svc", "service", "acme", scopes=("service",)), namespace="acme")
MEMBER = Caller(Account("bob", "user", "acme"), namespace="acme")
STRANGER = Caller(Account("eve", "user", "evil", scopes=("admin",)), namespace="evil")
NOBODY = Caller()

LARGE = bytes(range(256)) * 4096


class Wire:
    """Asks the endpoints by name."""

    def __init__(self) -> None:
        self.blobs = MemoryBlobs(now=lambda: 1234.5, limits=Limits(page=3))
        self._endpoints = {each.name: each for each in rpc.endpoints(self.blobs)}

    def write(self, *requests: pb.BlobWriteRequest, caller: Caller = ADMIN) -> pb.BlobWriteResponse:
        async def given() -> AsyncIterator[pb.BlobWriteRequest]:
            for request in requests:
                yield request

        reply: pb.BlobWriteResponse = done(self._endpoints["BlobStore.Write"].handler(given(), caller))
        return reply

    def put(self, key: str, blob: bytes = b"v", caller: Caller = ADMIN, namespace: str = "") -> None:
        self.write(
            pb.BlobWriteRequest(key=key, blob=blob, options=pb.BlobOptions(namespace=namespace)),
            caller=caller,
        )

    def read(self, caller: Caller = ADMIN, **request: Any) -> list[pb.BlobReadResponse]:
        async def collect() -> list[pb.BlobReadResponse]:
            found = self._endpoints["BlobStore.Read"].handler(pb.BlobReadRequest(**request), caller)
            return [each async for each in found]

        return done(collect())

    def delete(self, key: str, caller: Caller = ADMIN, namespace: str = "") -> None:
        request = pb.BlobDeleteRequest(key=key, options=pb.BlobOptions(namespace=namespace))
        done(self._endpoints["BlobStore.Delete"].handler(request, caller))

    def list(self, caller: Caller = ADMIN, **options: Any) -> pb.BlobListResponse:
        request = pb.BlobListRequest(options=pb.BlobListOptions(**options))
        reply: pb.BlobListResponse = done(self._endpoints["BlobStore.List"].handler(request, caller))
        return reply


@pytest.fixture
def wire() -> Wire:
    return Wire()


def test_write_in_pieces(wire: Wire) -> None:
    """Key and options count in the first message; the pieces of all are joined."""
    options = pb.BlobOptions(contentType="text/plain", public=True)
    reply = wire.write(
        pb.BlobWriteRequest(key="k", options=options, blob=b"one "),
        pb.BlobWriteRequest(key="other", blob=b"two "),
        pb.BlobWriteRequest(options=pb.BlobOptions(namespace="elsewhere"), blob=b"three"),
    )
    content = b"one two three"
    info = pb.BlobInfo(
        key="k",
        size=len(content),
        digest=hashlib.sha256(content).hexdigest(),
        contentType="text/plain",
        public=True,
        modified=1234,
    )
    assert reply.info == info
    assert wire.read(key="k") == [pb.BlobReadResponse(blob=content, info=info)]
    assert wire.list().keys == ["k"]


def test_no_options(wire: Wire) -> None:
    """Without options a blob is written to the namespace of the call (the reference panics)."""
    wire.write(pb.BlobWriteRequest(key="k", blob=b"v"), caller=OWN_SERVICE)
    assert wire.list(namespace="acme").keys == ["k"]
    assert wire.read(key="k", caller=OWN_SERVICE)[0].blob == b"v"
    assert wire.list().keys == []


def test_read_in_pieces(wire: Wire) -> None:
    """A large blob comes in several messages, the first of which says what it is; an empty one comes in one."""
    wire.put("large", LARGE)
    found = wire.read(key="large")
    assert len(found) > 1
    assert b"".join(each.blob for each in found) == LARGE
    assert [each.HasField("info") for each in found] == [True] + [False] * (len(found) - 1)
    wire.put("empty", b"")
    (only,) = wire.read(key="empty")
    assert (only.blob, only.info.size) == (b"", 0)


def test_resume(wire: Wire) -> None:
    """A reader goes on at an offset, if the blob is still the same."""
    wire.put("k", LARGE)
    digest = hashlib.sha256(LARGE).hexdigest()
    rest = wire.read(key="k", offset=len(LARGE) - 10, length=7, digest=digest)
    assert [each.blob for each in rest] == [LARGE[-10:-3]]
    assert rest[0].info.size == len(LARGE)
    with pytest.raises(MicroError, match="read it from its beginning") as caught:
        wire.read(key="k", offset=5, digest="0" * 64)
    assert (caught.value.code, caught.value.id) == (412, "store.Blob.Read")


def test_declared_digest(wire: Wire) -> None:
    """A digest may come with any message, the last one too; a blob which has another is not kept."""
    digest = hashlib.sha256(b"ab").hexdigest()
    first = pb.BlobWriteRequest(key="k", blob=b"a")
    wire.write(first, pb.BlobWriteRequest(blob=b"b"), pb.BlobWriteRequest(digest=digest))
    with pytest.raises(BadRequest, match="nothing was kept"):
        wire.write(first, pb.BlobWriteRequest(blob=b"c", digest=digest))
    with pytest.raises(BadRequest, match="64 small hexadecimal digits"):
        wire.write(pb.BlobWriteRequest(key="k", digest="../x"))
    assert wire.read(key="k")[0].blob == b"ab"


def test_nothing_sent(wire: Wire) -> None:
    """A write without a message is refused, as the reference does."""
    with pytest.raises(BadRequest, match=r"^No blob was sent$") as caught:
        wire.write()
    assert caught.value.id == "store.Blob.Write"


def test_missing_key(wire: Wire) -> None:
    """A key is needed, as the reference says it."""
    asked: Sequence[tuple[str, Callable[[], object]]] = (
        ("Write", lambda: wire.put("")),
        ("Read", lambda: wire.read(key="")),
        ("Delete", lambda: wire.delete("")),
    )
    for operation, ask in asked:
        with pytest.raises(BadRequest, match=r"^Missing key$") as caught:
            ask()
        assert caught.value.id == f"store.Blob.{operation}"


def test_missing_blob(wire: Wire) -> None:
    """What is not there is not found; to delete it is no error."""
    with pytest.raises(NotFound, match=r"^Blob not found$") as caught:
        wire.read(key="k")
    assert (caught.value.code, caught.value.id) == (404, "store.Blob.Read")
    wire.delete("k")


def test_list_all(wire: Wire) -> None:
    """Without a limit all keys come, be they more than a page; each with what is known of it."""
    for number in range(8):
        wire.put(f"a/{number}", b"x" * number)
    wire.put("b")
    reply = wire.list(prefix="a/")
    assert reply.keys == [f"a/{number}" for number in range(8)]
    assert [blob.size for blob in reply.blobs] == list(range(8))
    assert reply.next == ""


def test_list_pages(wire: Wire) -> None:
    """With a limit a page comes, and where to go on."""
    for number in range(7):
        wire.put(f"{number}")
    first = wire.list(limit=2)
    assert (list(first.keys), first.next) == (["0", "1"], "1")
    second = wire.list(limit=1000, after=first.next)
    assert (list(second.keys), second.next) == (["2", "3", "4"], "4")
    third = wire.list(limit=2, after=second.next)
    assert (list(third.keys), third.next) == (["5", "6"], "")
    assert wire.list(limit=2, after="6").next == ""


def test_list_too_many(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys which do not fit into one message are never cut short in silence."""
    monkeypatch.setattr(rpc, "ANSWER", 500)
    for number in range(5):
        wire.put(f"{number}")
    with pytest.raises(TooLarge, match="ask with a limit"):
        wire.list()
    assert wire.list(limit=5).next == "2"


def test_who_may(wire: Wire) -> None:
    """Blobs are for the admins and services of their namespace, and for the platform's."""
    wire.put("k", caller=OWN_SERVICE)
    wire.put("l", caller=ADMIN, namespace="acme")
    cases = ((NOBODY, Unauthorized, 401), (MEMBER, Forbidden, 403), (STRANGER, Forbidden, 403))
    for caller, problem, code in cases:
        options = pb.BlobOptions(namespace="acme")
        asked: Sequence[tuple[str, Callable[[], object]]] = (
            ("Read", lambda: wire.read(caller, key="k", options=options)),  # noqa: B023
            ("Write", lambda: wire.put("k", b"no", caller, "acme")),  # noqa: B023
            ("Delete", lambda: wire.delete("k", caller, "acme")),  # noqa: B023
            ("List", lambda: wire.list(caller, namespace="acme")),  # noqa: B023
        )
        for operation, ask in asked:
            with pytest.raises(problem) as caught:
                ask()
            assert (caught.value.code, caught.value.id) == (code, f"store.Blob.{operation}")
    assert wire.list(OWN_SERVICE).keys == ["k", "l"]
    assert wire.read(OWN_SERVICE, key="k")[0].blob == b"v"
