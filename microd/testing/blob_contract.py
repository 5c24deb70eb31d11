"""What every store of blobs must do. Derive a class named C{Test...} from L{BlobContract} and give it a store.

The fixture C{contract} yields a L{Subject}.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from microd.kernel.errors import BadRequest, NotFound, PreconditionFailed, TooLarge, Unavailable
from microd.services.store.blobs.interface import IBlobStore, IReading
from microd.services.store.blobs.model import WHOLE, About, Blob, Limits, Span

#: The limits which the store of a L{Subject} must have.
LIMITS = Limits(blob=2 << 20, key=100, page=5, writing=3)

#: Blobs of every kind: none, a few bytes, and more than any backend takes in one go.
CONTENTS = [b"", b"\x00\xff", bytes(range(256)) * 6000]


@dataclass(frozen=True)
class Subject:
    """A started store.

    @ivar store: it has L{LIMITS}.
    @ivar done: runs a coroutine of the store to its end.
    """

    store: IBlobStore
    now: Callable[[], float]
    done: Callable[[Coroutine[Any, Any, Any]], Any]

    def put(self, key: str, content: bytes = b"v", namespace: str = "micro", **about: Any) -> Blob:
        """Write a blob in three pieces."""

        async def write() -> Blob:
            draft = await self.store.write(namespace, key, About(**about))
            try:
                third = len(content) // 3
                for piece in (content[:third], content[third : 2 * third], content[2 * third :]):
                    await draft.add(piece)
                return await draft.keep()
            finally:
                draft.drop()

        kept: Blob = self.done(write())
        return kept

    def get(self, key: str, span: Span = WHOLE, namespace: str = "micro") -> bytes:
        """Read a blob."""
        return self.rest(self.open(key, span, namespace))

    def open(self, key: str, span: Span = WHOLE, namespace: str = "micro") -> IReading:
        """Begin to read a blob."""
        reading: IReading = self.done(self.store.read(namespace, key, span))
        return reading

    def rest(self, reading: IReading) -> bytes:
        """Read to the end."""

        async def read() -> bytes:
            try:
                return b"".join([piece async for piece in reading])
            finally:
                reading.close()

        found: bytes = self.done(read())
        return found

    def keys(self, *query: Any, namespace: str = "micro") -> Sequence[str]:
        """The keys of a list."""
        return [blob.key for blob in self.done(self.store.list(namespace, *query))]


class BlobContract:
    """The facts."""

    @pytest.mark.parametrize("content", CONTENTS, ids=len)
    def test_round_trip(self, contract: Subject, content: bytes) -> None:
        """What was written is read back whole, and told of alike by all who tell of it."""
        kept = contract.put("a/b", content, content_type="text/plain", public=True)
        digest = hashlib.sha256(content).hexdigest()
        assert kept == Blob("a/b", len(content), digest, contract.now(), "text/plain", True)
        assert contract.get("a/b") == content
        reading = contract.open("a/b")
        reading.close()
        assert reading.blob == kept
        assert contract.done(contract.store.list("micro")) == [kept]

    @pytest.mark.parametrize("content", CONTENTS[1:], ids=len)
    def test_span(self, contract: Subject, content: bytes) -> None:
        """A reader may begin anywhere up to the end, and stop anywhere."""
        contract.put("k", content)
        size = len(content)
        for offset, length in (
            (1, 0),
            (0, 1),
            (size // 2, size // 3),
            (size - 1, 5),
            (size, 0),
            (0, size + 5),
        ):
            expected = content[offset:][: length or None]
            assert contract.get("k", Span(offset, length)) == expected, (offset, length)

    def test_beyond(self, contract: Subject) -> None:
        """Nothing can be read from beyond the end."""
        contract.put("k", b"abc")
        with pytest.raises(BadRequest, match="the offset 4 is beyond the blob's 3 bytes"):
            contract.open("k", Span(4))

    def test_digest(self, contract: Subject) -> None:
        """Who resumes is told when the blob is another one by now."""
        old = contract.put("k", b"old")
        assert contract.get("k", Span(1, digest=old.digest)) == b"ld"
        contract.put("k", b"new")
        with pytest.raises(PreconditionFailed, match="read it from its beginning"):
            contract.open("k", Span(1, digest=old.digest))

    def test_missing(self, contract: Subject) -> None:
        """A key that was never written has no blob."""
        with pytest.raises(NotFound, match=r"^Blob not found$"):
            contract.open("nope")

    @pytest.mark.parametrize("content", CONTENTS, ids=len)
    @pytest.mark.parametrize("other", CONTENTS, ids=len)
    def test_overwrite(self, contract: Subject, content: bytes, other: bytes) -> None:
        """A second write replaces the whole; who began to read before goes on with the old blob."""
        contract.put("k", content, content_type="a/b")
        reading = contract.open("k")
        contract.put("k", other)
        assert contract.rest(reading) == content
        assert contract.get("k") == other
        assert contract.done(contract.store.list("micro"))[0].content_type == ""

    @pytest.mark.parametrize("content", CONTENTS, ids=len)
    def test_delete(self, contract: Subject, content: bytes) -> None:
        """A deleted blob is gone, though not for those who read it; deleting it again is no error."""
        contract.put("k", content)
        reading = contract.open("k")
        for _ in range(2):
            contract.done(contract.store.delete("micro", "k"))
        assert contract.rest(reading) == content
        with pytest.raises(NotFound):
            contract.open("k")
        assert contract.keys() == []

    @pytest.mark.parametrize("content", CONTENTS, ids=len)
    def test_unfinished(self, contract: Subject, content: bytes) -> None:
        """Nobody sees a blob before all of it has come, nor ever one that was dropped."""
        contract.put("k", b"old")

        async def write() -> None:
            draft = await contract.store.write("micro", "k", About())
            await draft.add(content)
            draft.drop()
            draft.drop()

        contract.done(write())
        assert contract.get("k") == b"old"

    @pytest.mark.parametrize("content", CONTENTS, ids=len)
    def test_other_digest(self, contract: Subject, content: bytes) -> None:
        """What is not what its writer meant to send is not kept."""

        async def write(digest: str) -> None:
            draft = await contract.store.write("micro", "k", About())
            try:
                await draft.add(content)
                await draft.keep(digest)
            finally:
                draft.drop()

        with pytest.raises(BadRequest, match="nothing was kept"):
            contract.done(write("0" * 64))
        assert contract.keys() == []
        contract.done(write(hashlib.sha256(content).hexdigest()))
        assert contract.get("k") == content

    def test_namespaces(self, contract: Subject) -> None:
        """Each namespace has blobs of its own under the same keys."""
        contract.put("k", b"ours")
        contract.put("k", b"theirs", namespace="acme")
        contract.done(contract.store.delete("micro", "k"))
        assert contract.get("k", namespace="acme") == b"theirs"
        assert (contract.keys(), contract.keys(namespace="acme")) == ([], ["k"])

    def test_list(self, contract: Subject) -> None:
        """Keys come in the order of their bytes, those with the prefix, a page at a time."""
        for key in ("b", "a/2", "ä", "a/1", "a/3", "a", "Z"):
            contract.put(key)
        assert contract.keys() == ["Z", "a", "a/1", "a/2", "a/3"]
        assert contract.keys("", "a/3") == ["b", "ä"]
        assert contract.keys("a/") == ["a/1", "a/2", "a/3"]
        assert contract.keys("a/", "a/1", 1) == ["a/2"]
        assert contract.keys("", "", 1000) == ["Z", "a", "a/1", "a/2", "a/3"]
        assert contract.keys("x") == []

    @pytest.mark.parametrize("content", CONTENTS[1:], ids=len)
    def test_too_large(self, contract: Subject, content: bytes) -> None:
        """A blob over the limit is refused as soon as it is over it, and the old one stays."""
        contract.put("k", b"old")

        async def write() -> None:
            draft = await contract.store.write("micro", "k", About())
            try:
                await draft.add(content)
                await draft.add(bytes(LIMITS.blob - len(content)))
                await draft.add(b"!")
            finally:
                draft.drop()

        with pytest.raises(TooLarge, match=r"at most 2097152 bytes \(max_blob in \[store\]"):
            contract.done(write())
        assert contract.get("k") == b"old"

    def test_many_writers(self, contract: Subject) -> None:
        """One namespace cannot take all the room there is for writers; who gives up makes room."""

        async def begin(namespace: str) -> Any:
            return await contract.store.write(namespace, "k", About())

        drafts = [contract.done(begin("micro")) for _ in range(LIMITS.writing)]
        with pytest.raises(Unavailable, match="3 blobs of micro are being written"):
            contract.done(begin("micro"))
        drafts.append(contract.done(begin("acme")))
        for draft in drafts:
            draft.drop()
        contract.put("k")

    @pytest.mark.parametrize(
        ("namespace", "key", "problem"),
        [
            ("micro", "", "^Missing key$"),
            ("micro", "k" * 101, "the blob's key is longer than 100 bytes"),
            ("micro", "a\nb", "the blob's key has control characters"),
            ("micro", "a\x00b", "the blob's key has control characters"),
            ("", "k", "the blobs' namespace is missing"),
            ("../micro", "k", "the blobs' namespace may hold"),
            ("..", "k", "the blobs' namespace may hold"),
            ("*", "k", "the blobs' namespace may hold"),
        ],
    )
    def test_bad_names(self, contract: Subject, namespace: str, key: str, problem: str) -> None:
        """A name that is none is refused by all who take one."""
        store = contract.store
        asked = [
            store.read(namespace, key),
            store.write(namespace, key, About()),
            store.delete(namespace, key),
        ]
        if "key" not in problem:
            asked.append(store.list(namespace))
        for each in asked:
            with pytest.raises(BadRequest, match=problem):
                contract.done(each)

    @pytest.mark.parametrize(
        "key", ["../../etc/passwd", "/etc/passwd", "a/../b", "build://greeter:latest", "C:\\x", "%"]
    )
    def test_any_key(self, contract: Subject, key: str) -> None:
        """A key may look like a path, and is none."""
        for content in CONTENTS:
            contract.put(key, content)
            assert contract.get(key) == content
        assert contract.keys(key) == [key]

    def test_bad_list(self, contract: Subject) -> None:
        """What no key can be is no beginning of one, and none to go on after."""
        for query in (("k" * 101,), ("", "k" * 101), ("a\x00",), ("", "a\n")):
            with pytest.raises(BadRequest, match=r"the list's (prefix|after)"):
                contract.keys(*query)

    def test_absurd_numbers(self, contract: Subject) -> None:
        """The largest numbers that the wire has are as good as any."""
        contract.put("k", b"abc")
        most = 2**64 - 1
        assert contract.get("k", Span(0, most)) == b"abc"
        assert contract.keys("", "", most) == ["k"]
        with pytest.raises(BadRequest, match="beyond the blob's 3 bytes"):
            contract.open("k", Span(most, most))

    def test_bad_content_type(self, contract: Subject) -> None:
        """What is said of a blob is a short line."""
        for text in ("a\nb", "x" * 256):
            with pytest.raises(BadRequest, match="the blob's contentType"):
                contract.put("k", content_type=text)
