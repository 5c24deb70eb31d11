"""The store's answers, and who may ask."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from microd.kernel.caller import Account, Caller
from microd.kernel.errors import (
    BadRequest,
    Forbidden,
    NotFound,
    PreconditionFailed,
    TooLarge,
    Unauthorized,
)
from microd.services.store import rpc
from microd.services.store.backends.memory import MemoryStore
from microd.services.store.backends.sqlite import SqliteStore
from microd.services.store.backends.worker import IWorker
from microd.services.store.model import Limits
from microd.testing.outcome import done
from microd.wire import store_pb2 as pb

ADMIN = Caller(Account("ann", "user", "micro", scopes=("admin",)))
MEMBER = Caller(Account("bob", "user", "acme"))
OWN_SERVICE = Caller(Account("svc", "service", "acme", scopes=("service",)))
NOBODY = Caller()


class Wire:
    """Asks the store's endpoints by name."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.time = 1000.0
        store = MemoryStore(now=lambda: self.time, limits=limits)
        self.endpoints = {each.name: each for each in rpc.endpoints(store, now=lambda: self.time)}

    def ask(self, name: str, request: object, caller: Caller = ADMIN) -> Any:
        return done(self.endpoints["Store." + name].handler(request, caller))

    def messages(self, request: pb.ListRequest, caller: Caller = ADMIN) -> list[pb.ListResponse]:
        async def collect() -> list[pb.ListResponse]:
            return [each async for each in self.endpoints["Store.List"].handler(request, caller)]

        return done(collect())

    def put(self, key: str, **more: Any) -> None:
        self.ask("Write", pb.WriteRequest(record=pb.Record(**{"key": key, "value": b"v", **more})))


@pytest.fixture
def wire() -> Wire:
    return Wire()


def test_round_trip(wire: Wire) -> None:
    """A record comes back with its metadata, typed, and with its expiry in the seconds that are left."""
    record = pb.Record(key="k", value=b"\x00v", expiry=60)
    record.metadata["a"].type = "int"
    record.metadata["a"].value = "7"
    record.metadata["b"].value = "x"
    wire.ask("Write", pb.WriteRequest(record=record))
    wire.time += 20.5
    (found,) = wire.ask("Read", pb.ReadRequest(key="k")).records
    assert (found.key, found.value, found.expiry) == ("k", b"\x00v", 39)
    assert found.metadata["a"] == pb.Field(type="int", value="7")
    assert found.metadata["b"] == pb.Field(type="string", value="x")


def test_expiry(wire: Wire) -> None:
    """A living record never says 0, which would mean forever; an expired one is 404; one without says 0."""
    wire.put("k", expiry=10)
    wire.put("stays")
    wire.time += 9.5
    assert wire.ask("Read", pb.ReadRequest(key="k")).records[0].expiry == 1
    assert wire.ask("Read", pb.ReadRequest(key="stays")).records[0].expiry == 0
    wire.time += 1
    with pytest.raises(NotFound, match=r"^not found$"):
        wire.ask("Read", pb.ReadRequest(key="k"))


def test_missing(wire: Wire) -> None:
    """An exact key that is not there is a 404; a prefix without a match is an empty answer."""
    with pytest.raises(NotFound, match=r"^not found$"):
        wire.ask("Read", pb.ReadRequest(key="k"))
    assert not wire.ask("Read", pb.ReadRequest(key="k", options=pb.ReadOptions(prefix=True))).records


def test_scan(wire: Wire) -> None:
    """Prefix, suffix, order, offset and limit reach the store."""
    for key in ("aa", "ab", "ba", "aba"):
        wire.put(key)

    def keys(key: str, **options: Any) -> list[str]:
        answer = wire.ask("Read", pb.ReadRequest(key=key, options=pb.ReadOptions(**options)))
        return [record.key for record in answer.records]

    assert keys("a", prefix=True) == ["aa", "ab", "aba"]
    assert keys("a", suffix=True) == ["aa", "aba", "ba"]
    assert keys("a", prefix=True, suffix=True) == ["aa", "aba"]
    assert keys("a", prefix=True, order="desc", limit=2) == ["aba", "ab"]
    assert keys("a", prefix=True, order="whatever", offset=1, limit=1) == ["ab"]
    assert keys("", prefix=True) == ["aa", "ab", "aba", "ba"]
    assert keys("aa", limit=5, offset=9) == ["aa"]


def test_scan_apart(wire: Wire) -> None:
    """Prefix and suffix may differ; then the key says nothing, and must not seem to."""
    for key in ("a/x", "a/y", "b/x", "a/b/x"):
        wire.put(key)

    def keys(key: str = "", **options: Any) -> list[str]:
        answer = wire.ask("Read", pb.ReadRequest(key=key, options=pb.ReadOptions(**options)))
        return [record.key for record in answer.records]

    assert keys(key_prefix="a/", key_suffix="/x") == ["a/b/x", "a/x"]
    assert keys(key_prefix="a/") == ["a/b/x", "a/x", "a/y"]
    assert keys(key_suffix="/x") == ["a/b/x", "a/x", "b/x"]
    with pytest.raises(BadRequest, match="key_prefix"):
        keys("a", key_prefix="a/")


def test_read_pages(wire: Wire) -> None:
    """An answer which the limit cut short says where to go on; the last one says nothing."""
    for number in range(5):
        wire.put(f"k{number}")
    seen: list[list[str]] = []
    after = ""
    while True:
        options = pb.ReadOptions(prefix=True, limit=2, after=after)
        answer = wire.ask("Read", pb.ReadRequest(options=options))
        seen.append([record.key for record in answer.records])
        after = answer.next
        if not after:
            break
    assert seen == [["k0", "k1"], ["k2", "k3"], ["k4"]]


def test_read_partial() -> None:
    """More than one message may carry is an error for who does not know of pages, and a page for who does."""
    wire = Wire(Limits(answer=3000))
    for number in range(5):
        wire.put(f"k{number}", value=b"v" * 1000)
    with pytest.raises(TooLarge, match="after"):
        wire.ask("Read", pb.ReadRequest(options=pb.ReadOptions(prefix=True)))
    with pytest.raises(TooLarge, match="after"):
        wire.ask("Read", pb.ReadRequest(options=pb.ReadOptions(prefix=True, limit=4)))
    answer = wire.ask("Read", pb.ReadRequest(options=pb.ReadOptions(prefix=True, partial=True)))
    assert [record.key for record in answer.records] == ["k0", "k1"]
    assert answer.next == "k1"


def test_versions(wire: Wire) -> None:
    """A write says which version it made, and a read shows it; the next write and deletion may be made for it alone."""
    first = wire.ask("Write", pb.WriteRequest(record=pb.Record(key="k"))).version
    assert wire.ask("Read", pb.ReadRequest(key="k")).records[0].version == first > 0
    scanned = wire.ask("Read", pb.ReadRequest(key="k", options=pb.ReadOptions(prefix=True)))
    assert scanned.records[0].version == first

    def write(if_version: int | None) -> int:
        options = pb.WriteOptions(if_version=if_version)
        return int(wire.ask("Write", pb.WriteRequest(record=pb.Record(key="k"), options=options)).version)

    second = write(first)
    for wrong in (first, 0):
        with pytest.raises(PreconditionFailed):
            write(wrong)
        with pytest.raises(PreconditionFailed):
            wire.ask("Delete", pb.DeleteRequest(key="k", options=pb.DeleteOptions(if_version=wrong)))
    third = write(None)
    assert third > second
    wire.ask("Delete", pb.DeleteRequest(key="k", options=pb.DeleteOptions(if_version=third)))
    with pytest.raises(PreconditionFailed):
        write(third)
    assert write(0) > third


def test_batch(wire: Wire) -> None:
    """A batch puts, drops and checks in several tables, all or nothing, and tells the versions."""
    wire.put("old")
    acts = [
        pb.Act(put=pb.Record(key="a", value=b"1"), if_version=0),
        pb.Act(put=pb.Record(key="b", value=b"2"), table="other"),
        pb.Act(drop="old"),
        pb.Act(check="nothing", if_version=0),
    ]
    versions = wire.ask("Batch", pb.BatchRequest(acts=acts)).versions
    assert wire.ask("Read", pb.ReadRequest(key="a")).records[0].version == versions[0]
    other = wire.ask("Read", pb.ReadRequest(key="b", options=pb.ReadOptions(table="other")))
    assert other.records[0].version == versions[1]
    assert list(versions[2:]) == [0, 0]
    with pytest.raises(NotFound):
        wire.ask("Read", pb.ReadRequest(key="old"))
    again = [pb.Act(put=pb.Record(key="c")), acts[0]]
    with pytest.raises(PreconditionFailed, match="a already"):
        wire.ask("Batch", pb.BatchRequest(acts=again))
    with pytest.raises(NotFound):
        wire.ask("Read", pb.ReadRequest(key="c"))


@pytest.mark.parametrize(
    ("acts", "says"),
    [
        ([], "no acts"),
        ([pb.Act()], r"acts\[0\]: put, drop or check"),
        ([pb.Act(drop="k"), pb.Act(put=pb.Record(value=b"v"))], r"acts\[1\]: key required"),
        ([pb.Act(check="k")], "needs if_version"),
        ([pb.Act(drop="")], "the key is missing"),
        ([pb.Act(drop="k", table="..")], r"\.\."),
        ([pb.Act(drop="k")] * 1001, "at most 1000"),
    ],
)
def test_bad_batch(wire: Wire, acts: list[pb.Act], says: str) -> None:
    """A batch that cannot be meant is a 400 with the reason, and does nothing."""
    wire.put("k")
    with pytest.raises(BadRequest, match=says):
        wire.ask("Batch", pb.BatchRequest(acts=acts))
    wire.ask("Read", pb.ReadRequest(key="k"))


def test_batch_expiry(wire: Wire) -> None:
    """What a batch puts expires like any other record."""
    wire.ask("Batch", pb.BatchRequest(acts=[pb.Act(put=pb.Record(key="k", expiry=10))]))
    wire.time += 11
    with pytest.raises(NotFound):
        wire.ask("Read", pb.ReadRequest(key="k"))


def test_delete(wire: Wire) -> None:
    """A deleted record is gone; deleting what is not there is no error."""
    wire.put("k")
    wire.ask("Delete", pb.DeleteRequest(key="k"))
    wire.ask("Delete", pb.DeleteRequest(key="k"))
    with pytest.raises(NotFound):
        wire.ask("Read", pb.ReadRequest(key="k"))


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (pb.WriteRequest(), "no record specified"),
        (pb.WriteRequest(record=pb.Record(value=b"v")), "key required"),
        (pb.WriteRequest(record=pb.Record(key="k", expiry=-1)), "past"),
        (pb.WriteRequest(record=pb.Record(key="k"), options=pb.WriteOptions(table="..")), r"\.\."),
    ],
)
def test_bad_write(wire: Wire, request_: pb.WriteRequest, says: str) -> None:
    """A write that cannot be meant is a 400 with the reason."""
    with pytest.raises(BadRequest, match=says):
        wire.ask("Write", request_)


def test_list_in_pieces(wire: Wire) -> None:
    """Many keys come in several messages, each once and in order; none at all come as one empty message."""
    assert wire.messages(pb.ListRequest()) == [pb.ListResponse()]
    want = [f"k{number:05}" for number in range(2500)]
    for key in want:
        wire.put(key)
    answers = wire.messages(pb.ListRequest())
    assert [len(answer.keys) for answer in answers] == [1000, 1000, 500]
    assert [key for answer in answers for key in answer.keys] == want


@pytest.mark.parametrize(
    ("options", "first", "last", "count"),
    [
        ({"limit": 1500}, "k00000", "k01499", 1500),
        ({"limit": 1000}, "k00000", "k00999", 1000),
        ({"offset": 400}, "k00400", "k01999", 1600),
        ({"offset": 400, "limit": 1500, "order": "desc"}, "k01599", "k00100", 1500),
        ({"prefix": "k01"}, "k01000", "k01999", 1000),
        ({"suffix": "7"}, "k00007", "k01997", 200),
        ({"after": "k00500"}, "k00501", "k01999", 1499),
        ({"after": "k01500", "order": "desc", "limit": 1200}, "k01499", "k00300", 1200),
        ({"after": "k00500", "offset": 10, "limit": 1001}, "k00511", "k01511", 1001),
    ],
)
def test_list_options(wire: Wire, options: dict[str, Any], first: str, last: str, count: int) -> None:
    """Limit, offset, order, prefix and suffix hold for all pieces together."""
    for number in range(2000):
        wire.put(f"k{number:05}")
    answers = wire.messages(pb.ListRequest(options=pb.ListOptions(**options)))
    keys = [key for answer in answers for key in answer.keys]
    assert (keys[0], keys[-1], len(keys)) == (first, last, count)
    assert len(set(keys)) == count
    is_cut = options.get("limit", 0) > 0
    assert answers[-1].next == (last if is_cut else "")
    assert not any(answer.next for answer in answers[:-1])


def test_list_ends_at_its_limit(wire: Wire) -> None:
    """A list whose limit is just what there is says that there is nothing more."""
    for number in range(3):
        wire.put(f"k{number}")
    (answer,) = wire.messages(pb.ListRequest(options=pb.ListOptions(limit=3)))
    assert (len(answer.keys), answer.next) == (3, "")


def test_namespaces(wire: Wire) -> None:
    """A database is its namespace's: another's records are not seen, and not to be asked for."""
    acme = pb.WriteOptions(database="acme")
    wire.ask("Write", pb.WriteRequest(record=pb.Record(key="k"), options=acme), OWN_SERVICE)
    with pytest.raises(NotFound):
        wire.ask("Read", pb.ReadRequest(key="k"))
    answer = wire.ask("Read", pb.ReadRequest(key="k", options=pb.ReadOptions(database="acme")), ADMIN)
    assert answer.records[0].key == "k"
    assert list(wire.ask("Databases", pb.DatabasesRequest()).databases) == ["acme"]
    assert list(wire.ask("Tables", pb.TablesRequest(database="acme"), OWN_SERVICE).tables) == ["micro"]


ACME = {
    "Read": pb.ReadRequest(key="k", options=pb.ReadOptions(database="acme")),
    "Write": pb.WriteRequest(record=pb.Record(key="k"), options=pb.WriteOptions(database="acme")),
    "Delete": pb.DeleteRequest(key="k", options=pb.DeleteOptions(database="acme")),
    "Tables": pb.TablesRequest(database="acme"),
    "Batch": pb.BatchRequest(acts=[pb.Act(drop="k")], options=pb.BatchOptions(database="acme")),
}


@pytest.mark.parametrize("name", ACME)
def test_refused(wire: Wire, name: str) -> None:
    """Each call takes an admin or a service of the database's namespace."""
    with pytest.raises(Unauthorized, match="an account is required"):
        wire.ask(name, ACME[name], NOBODY)
    with pytest.raises(Forbidden):
        wire.ask(name, ACME[name], MEMBER)
    with pytest.raises(Forbidden, match="access denied to namespace"):
        wire.ask(name, ACME[name], Caller(Account("eve", "service", "evil", scopes=("service",))))


def test_refused_list(wire: Wire) -> None:
    """So does List, before its first message."""
    with pytest.raises(Forbidden):
        wire.messages(pb.ListRequest(options=pb.ListOptions(database="acme")), MEMBER)


def test_databases_are_the_platforms(wire: Wire) -> None:
    """Only the platform's admins and services see which databases there are."""
    with pytest.raises(Forbidden):
        wire.ask("Databases", pb.DatabasesRequest(), OWN_SERVICE)


class AtOnce:
    """A store in a file, read at once wherever it can be.

    @ivar time: of the store and its answers, in Unix seconds.
    """

    def __init__(self, path: Path) -> None:
        clock = Clock()
        self.time = 1000.0
        self.store = SqliteStore(path, clock, workers=lambda reactor, name: Here(), now=lambda: self.time)
        self.store.startService()
        self.clock = clock
        self.endpoints = {each.name: each for each in rpc.endpoints(self.store, now=lambda: self.time)}

    def change(self, name: str, request: Any) -> None:
        """Write or delete."""
        outcome = Deferred.fromCoroutine(self.endpoints["Store." + name].handler(request, ADMIN))
        self.clock.advance(0.1)
        done(outcome)

    def read(self, key: str, caller: Caller = ADMIN, **options: Any) -> pb.Record | None:
        """What can be said at once, which is what the handler says."""
        request = pb.ReadRequest(key=key, options=pb.ReadOptions(**options) if options else None)
        endpoint = self.endpoints["Store.Read"]
        assert endpoint.at_once is not None
        found = endpoint.at_once(request, caller)
        if found is None:
            return None
        reply = pb.ReadResponse.FromString(found)
        assert reply == done(endpoint.handler(request, caller))
        (record,) = reply.records
        return record


class Here(IWorker):
    """A worker that does what it is asked at once."""

    def start(self) -> None:
        pass

    def run(self, function: Any, *arguments: Any) -> Deferred[Any]:
        return maybeDeferred(function, *arguments)

    def stop(self) -> None:
        pass


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[AtOnce]:
    """A store in a file."""
    made = AtOnce(tmp_path / "store.db")
    yield made
    done(made.store.stopService())


def test_a_write_is_read_at_once(quick: AtOnce) -> None:
    """Each read tells what was written last, and nothing that was deleted, however often it was read before."""
    for value in (b"a", b"b", b""):
        quick.change("Write", pb.WriteRequest(record=pb.Record(key="k", value=value)))
        for _ in range(3):
            found = quick.read("k")
            assert found is not None
            assert (found.key, found.value) == ("k", value)
    quick.change("Delete", pb.DeleteRequest(key="k"))
    with pytest.raises(NotFound, match=r"^not found$"):
        quick.read("k")


def test_expiry_at_once(quick: AtOnce) -> None:
    """The seconds that are left are right with each read, and then there is nothing to be read."""
    quick.change("Write", pb.WriteRequest(record=pb.Record(key="k", value=b"v", expiry=60)))
    for left in (60, 50, 40):
        found = quick.read("k")
        assert found is not None
        assert found.expiry == left
        quick.time += 10
    quick.time += 40
    with pytest.raises(NotFound):
        quick.read("k")


def test_metadata_at_once(quick: AtOnce) -> None:
    """A record with metadata, and one too large to be remembered, are read whole."""
    record = pb.Record(key="k", value=b"v" * 100_000)
    record.metadata["a"].type = "int"
    record.metadata["a"].value = "7"
    quick.change("Write", pb.WriteRequest(record=record))
    for _ in range(2):
        found = quick.read("k")
        assert found is not None
        assert found.version > 0
        found.ClearField("version")
        assert found == record


def test_places_at_once(quick: AtOnce) -> None:
    """The same key elsewhere is another record; a prefix or a suffix is not answered at once."""
    for table in ("one", "two"):
        request = pb.WriteRequest(
            record=pb.Record(key="k", value=table.encode()), options=pb.WriteOptions(table=table)
        )
        quick.change("Write", request)
    for table in ("one", "two", "one"):
        found = quick.read("k", table=table)
        assert found is not None
        assert found.value == table.encode()
    with pytest.raises(NotFound):
        quick.read("k", table="three")
    assert quick.read("k", table="one", prefix=True) is None
    assert quick.read("k", table="one", suffix=True) is None


def test_some_stores_must_wait(wire: Wire) -> None:
    """Where the store cannot say it at once, nobody says that there is nothing."""
    wire.put("k")
    endpoint = wire.endpoints["Store.Read"]
    assert endpoint.at_once is not None
    assert endpoint.at_once(pb.ReadRequest(key="k"), ADMIN) is None


def test_access_at_once(quick: AtOnce) -> None:
    """Who may not read a record is told nothing, however often others have read it."""
    quick.change("Write", pb.WriteRequest(record=pb.Record(key="k", value=b"v")))
    assert quick.read("k") is not None
    for caller, error in ((NOBODY, Unauthorized), (MEMBER, Forbidden), (OWN_SERVICE, Forbidden)):
        with pytest.raises(error):
            quick.read("k", caller)
    with pytest.raises(BadRequest):
        quick.read("")


def test_many_records(wire: Wire) -> None:
    """More records than one answer may have are refused, with the limit and how to go on; or come as pages, if wanted so."""
    for number in range(10_001):
        wire.put(f"k{number:05}")
    for options in (pb.ReadOptions(prefix=True), pb.ReadOptions(prefix=True, limit=240_000)):
        with pytest.raises(TooLarge, match=r"at most 10000 records.*limit.*after") as refused:
            wire.ask("Read", pb.ReadRequest(key="k", options=options))
        assert refused.value.code == 413
        options.partial = True
        first = wire.ask("Read", pb.ReadRequest(key="k", options=options))
        assert len(first.records) == 10_000
        options.after = first.next
        rest = wire.ask("Read", pb.ReadRequest(key="k", options=options))
        assert ([record.key for record in rest.records], rest.next) == (["k10000"], "")
    whole = wire.ask("Read", pb.ReadRequest(key="k", options=pb.ReadOptions(prefix=True, limit=10_000)))
    assert len(whole.records) == 10_000
