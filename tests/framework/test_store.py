"""The store, as services and scripts use it; it answers as a daemon's own does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from microd.framework import BadRequest, NotFound, PreconditionFailed, Service, TooLarge
from microd.framework.store import Check, Drop, Put, Record, Store
from microd.testing.outcome import done as run
from microd.testing.services import ServiceTester


@dataclass
class Key:
    key: str


@pytest.fixture
def store() -> Store:
    """A client's store."""
    return ServiceTester(Service("keeper", environ={})).client.store


def test_prefix_and_suffix(store: Store) -> None:
    """Records and keys are found by how they begin and how they end, both at once."""
    for key in ("a/1", "a/2", "b/1", "a/21"):
        run(store.write(key, "v"))
    assert [record.key for record in run(store.find("a/", suffix="1"))] == ["a/1", "a/21"]
    assert [record.key for record in run(store.find(suffix="1"))] == ["a/1", "a/21", "b/1"]
    assert run(store.list("a/", suffix="1", descending=True)) == ["a/21", "a/1"]
    assert len(run(store.find())) == 4


def test_after(store: Store) -> None:
    """What comes after a key comes alone, in either order; then the limit counts."""
    for key in "abcde":
        run(store.write(key, "v"))
    assert run(store.list(after="b")) == ["c", "d", "e"]
    assert run(store.list(after="b", limit=1)) == ["c"]
    assert [record.key for record in run(store.find(after="d", descending=True, limit=2))] == ["c", "b"]


@pytest.mark.parametrize("descending", [False, True])
def test_scan(store: Store, descending: bool) -> None:
    """An iteration goes over all records of a prefix, more than one answer carries."""
    for number in range(1201):
        run(store.write(f"n/{number:04}", str(number)))
    run(store.write("other", ""))

    async def read() -> list[str]:
        return [record.text async for record in store.scan("n/", descending=descending)]

    expected = [str(number) for number in range(1201)]
    assert run(read()) == (expected[::-1] if descending else expected)


def test_scan_of_much(store: Store) -> None:
    """An iteration goes over more bytes than fit into one answer, where a list of records is refused."""
    for number in range(4):
        run(store.write(f"n/{number}", b"x" * (12 << 20)))

    async def read() -> list[int]:
        return [len(record.value) async for record in store.scan("n/")]

    assert run(read()) == [12 << 20] * 4
    with pytest.raises(TooLarge):
        run(store.find("n/"))


def test_versions(store: Store) -> None:
    """Each write has another version, which is that of the record that is read."""
    first = run(store.write("k", "v"))
    second = run(store.write("k", "v"))
    assert run(store.read("k")).version == second > first > 0
    assert run(store.read("k")) == Record("k", b"v")


def test_write_if(store: Store) -> None:
    """A write can be made to depend on what is there, or on that nothing is."""
    first = run(store.write("k", "one", if_version=0))
    with pytest.raises(PreconditionFailed):
        run(store.write("k", "other", if_version=0))
    run(store.write("k", "two", if_version=first))
    with pytest.raises(PreconditionFailed):
        run(store.write("k", "other", if_version=first))
    assert run(store.read("k")).text == "two"


def test_delete_if(store: Store) -> None:
    """So can a deletion."""
    first = run(store.write("k", "one"))
    second = run(store.write("k", "two"))
    with pytest.raises(PreconditionFailed):
        run(store.delete("k", if_version=first))
    run(store.delete("k", if_version=second))
    with pytest.raises(NotFound):
        run(store.read("k"))


def test_batch(store: Store) -> None:
    """A batch is done as a whole, in any table, and says the versions."""
    run(store.write("old", "v"))
    acts: list[Put | Drop] = [
        Put("a", {"n": 1}, expiry=60, metadata={"k": "v"}),
        Drop("old"),
        Put("b", "2", table="other"),
    ]
    versions = run(store.batch(acts))
    assert versions[0] > 0
    assert versions[1] == 0
    assert run(store.read("a")) == Record("a", b'{"n":1}', 60, {"k": "v"})
    assert run(store.table("other").read("b")).version == versions[2]
    assert run(store.list()) == ["a"]


def test_batch_refused(store: Store) -> None:
    """A batch of which one condition does not hold changes nothing."""
    version = run(store.write("k", "v"))
    for condition in (Check("k", version + 1), Check("none", version), Put("k", "w", 0), Drop("k", 0)):
        with pytest.raises(PreconditionFailed):
            run(store.batch([Put("new", "v"), condition]))
    assert run(store.list()) == ["k"]
    run(store.batch([Check("k", version), Check("none", 0), Put("new", "v", 0)]))
    assert run(store.list()) == ["k", "new"]


def test_limits(store: Store) -> None:
    """A limit or an offset below zero is refused before the store is asked."""
    for ask in (store.find, store.list):
        with pytest.raises(BadRequest, match="a limit and an offset are 0 or more"):
            ask(limit=-1)
        with pytest.raises(BadRequest, match="a limit and an offset are 0 or more"):
            ask(offset=-1)


def test_no_version(store: Store) -> None:
    """What is no version is refused before the store is asked."""

    async def write() -> None:
        await store.write("k", "v", if_version=-1)

    with pytest.raises(BadRequest, match="a version is that of a record that was read"):
        run(write())


def test_blocking() -> None:
    """A plain function has all of it, and waits."""
    service = Service("front", environ={})

    @service.endpoint
    def all_of_it(request: None) -> None:
        store = service.blocking.store
        version = store.write("a/1", "v")
        store.write("a/1", "w", if_version=version)
        store.batch([Put("a/2", "x"), Drop("a/1")])
        assert [record.key for record in store.scan("a/")] == ["a/2"]
        assert [record.key for record in store.find("a/", suffix="2", after="a/1")] == ["a/2"]
        assert store.list("a/", descending=True) == ["a/2"]
        with pytest.raises(PreconditionFailed):
            store.delete("a/2", if_version=version)

    ServiceTester(service).call("Front.AllOfIt", None)


def test_scan_in_a_thread() -> None:
    """A plain function that streams goes over them as well."""
    service = Service("front", environ={})

    @service.endpoint
    def keys(request: None) -> Iterator[Key]:
        for record in service.blocking.store.scan():
            yield Key(record.key)

    tester = ServiceTester(service)
    for number in range(600):
        run(service.client.store.write(f"{number:03}", ""))
    assert len(tester.stream("Front.Keys", None, Key)) == 600
