"""Many records by their keys, in one question."""

from __future__ import annotations

import pytest

from microd.kernel.caller import PLATFORM
from microd.kernel.errors import BadRequest, TooLarge
from microd.services.store.backends.memory import MemoryStore
from microd.services.store.model import Record
from microd.services.store.rpc import READ_AT_ONCE, StoreWire
from microd.testing.outcome import done
from microd.wire import store_pb2 as pb


@pytest.fixture
def store() -> MemoryStore:
    """A store in memory."""
    return MemoryStore(now=lambda: 0.0)


def read(store: MemoryStore, *keys: str, partial: bool = False) -> pb.ReadResponse:
    """Ask for some keys."""
    request = pb.ReadRequest(options=pb.ReadOptions(database="micro", table="t", keys=keys, partial=partial))
    return done(StoreWire(store, lambda: 0.0).read(request, PLATFORM))


def put(store: MemoryStore, key: str, size: int = 1) -> None:
    """Keep something."""
    done(store.write("micro", "t", Record(key, b"x" * size)))


def test_order(store: MemoryStore) -> None:
    """They come in the order of the keys asked for, without those which are not there."""
    for key in "abc":
        put(store, key)
    assert [record.key for record in read(store, "c", "none", "a").records] == ["c", "a"]
    assert not read(store, "none").records


def test_too_many(store: MemoryStore) -> None:
    """There is a limit, and the error names it."""
    read(store, *map(str, range(READ_AT_ONCE)))
    with pytest.raises(BadRequest, match=r"options\.keys may have at most 256 keys"):
        read(store, *map(str, range(READ_AT_ONCE + 1)))


def test_too_large(store: MemoryStore) -> None:
    """What does not fit into one answer is an error, or cut off with the last key that was looked at."""
    for key in "abc":
        put(store, key, 12 << 20)
    with pytest.raises(TooLarge):
        read(store, "a", "b", "none", "c")
    found = read(store, "a", "b", "none", "c", partial=True)
    assert [record.key for record in found.records] == ["a", "b"]
    assert found.next == "none"
    assert [record.key for record in read(store, "c", partial=True).records] == ["c"]
