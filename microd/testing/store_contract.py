"""What every store must do. Derive a class named C{Test...} from L{StoreContract} and give it a store.

The fixture C{contract} yields a L{Subject}: the store, started, and how to move its time.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

from microd.kernel.errors import BadRequest, TooLarge
from microd.services.store.interface import IStore
from microd.services.store.model import Drop, Field, Limits, Put, Query, Record

T = TypeVar("T")

#: The limits which the store of a L{Subject} must have.
LIMITS = Limits(value=1000, metadata=100, answer=5000)


@dataclass(frozen=True)
class Subject:
    """A started store.

    @ivar store: it has L{LIMITS}, and reads its time from where C{advance} moves it.
    @ivar done: runs a coroutine of the store to its end.
    """

    store: IStore
    advance: Callable[[float], None]
    now: Callable[[], float]
    done: Callable[[Coroutine[Any, Any, Any]], Any]

    def put(self, key: str, value: bytes = b"v", *, database: str = "micro", table: str = "t") -> None:
        """Write a record that stays."""
        self.done(self.store.write(database, table, Record(key, value)))

    def value(self, key: str, *, database: str = "micro", table: str = "t") -> bytes | None:
        """What is under a key."""
        record: Record | None = self.done(self.store.read_one(database, table, key))
        return None if record is None else record.value

    def keys(self, **query: Any) -> Sequence[str]:
        """The keys which a query chooses; both ways to ask must agree on them."""
        keys: Sequence[str] = self.done(self.store.list("micro", "t", Query(**query)))
        records = self.done(self.store.read("micro", "t", Query(**query)))
        assert [record.key for record in records] == list(keys)
        return keys


class StoreContract:
    """The facts."""

    def test_round_trip(self, contract: Subject) -> None:
        """What was written is read back whole."""
        record = Record("k", b"\x00\xffbytes", contract.now() + 60, {"a": Field("string", "b")})
        contract.done(contract.store.write("micro", "t", record))
        assert contract.done(contract.store.read_one("micro", "t", "k")) == record
        assert contract.done(contract.store.read("micro", "t", Query(prefix="k"))) == [record]

    def test_missing(self, contract: Subject) -> None:
        """A key that was never written has no record."""
        assert contract.value("nope") is None

    def test_overwrite(self, contract: Subject) -> None:
        """A second write replaces value, expiry and metadata."""
        first = Record("k", b"1", contract.now() + 5, {"a": Field("string", "b")})
        contract.done(contract.store.write("micro", "t", first))
        contract.put("k", b"2")
        assert contract.done(contract.store.read_one("micro", "t", "k")) == Record("k", b"2")

    def test_seen_at_once(self, contract: Subject) -> None:
        """Each read shows the last write or deletion before it, however often the key was read in between."""
        for number in range(3):
            contract.put("k", b"%d" % number)
            assert contract.value("k") == contract.value("k") == b"%d" % number
            contract.done(contract.store.delete("micro", "t", "k"))
            assert contract.value("k") is None

    def test_read_expires(self, contract: Subject) -> None:
        """A record that was read before it expired is gone afterwards."""
        contract.done(contract.store.write("micro", "t", Record("k", b"v", contract.now() + 10)))
        assert contract.value("k") == b"v"
        contract.advance(11)
        assert contract.value("k") is None

    def test_empty_value(self, contract: Subject) -> None:
        """No bytes at all are a value."""
        contract.put("k", b"")
        assert contract.value("k") == b""

    def test_delete(self, contract: Subject) -> None:
        """A deleted key is gone, and deleting it again is no error."""
        contract.put("k")
        contract.done(contract.store.delete("micro", "t", "k"))
        assert contract.value("k") is None
        contract.done(contract.store.delete("micro", "t", "k"))

    def test_apply(self, contract: Subject) -> None:
        """Several acts are done in their order."""
        contract.put("old")
        contract.done(
            contract.store.apply(
                [
                    Put("micro", "t", Record("new", b"1")),
                    Drop("micro", "t", "old"),
                    Put("micro", "t", Record("new", b"2")),
                ]
            )
        )
        assert contract.value("new") == b"2"
        assert contract.value("old") is None

    def test_apply_all_or_nothing(self, contract: Subject) -> None:
        """When one act is refused, none is done."""
        with pytest.raises(BadRequest):
            contract.done(
                contract.store.apply([Put("micro", "t", Record("k", b"1")), Drop("micro", "t", "")])
            )
        assert contract.value("k") is None

    def test_apart(self, contract: Subject) -> None:
        """Databases and tables do not see each other's records."""
        contract.put("k", b"1")
        contract.put("k", b"2", database="acme")
        contract.put("k", b"3", table="other")
        assert contract.value("k") == b"1"
        assert contract.value("k", database="acme") == b"2"
        assert contract.value("k", table="other") == b"3"
        contract.done(contract.store.delete("acme", "t", "k"))
        assert contract.value("k") == b"1"
        assert contract.keys() == ["k"]

    def test_expiry(self, contract: Subject) -> None:
        """An expired record is nowhere to be seen: not by key, not in a scan, not in the list of tables."""
        record = Record("k", b"v", contract.now() + 10)
        contract.done(contract.store.write("micro", "t", record))
        contract.advance(9)
        assert contract.keys() == ["k"]
        contract.advance(1)
        assert contract.value("k") is None
        assert contract.keys() == []
        assert contract.done(contract.store.tables("micro")) == []
        assert contract.done(contract.store.databases()) == []

    def test_places(self, contract: Subject) -> None:
        """Databases and tables are listed, sorted, while they hold something."""
        for database, table in [("micro", "z"), ("micro", "a/b"), ("acme", "m")]:
            contract.put("k", database=database, table=table)
        assert contract.done(contract.store.databases()) == ["acme", "micro"]
        assert contract.done(contract.store.tables("micro")) == ["a/b", "z"]
        contract.done(contract.store.delete("acme", "m", "k"))
        assert contract.done(contract.store.databases()) == ["micro"]

    @pytest.mark.parametrize(
        ("query", "keys"),
        [
            ({}, ["a", "a/1", "a/2", "ab", "b/1", "\u00e9", "\U0001f600"]),
            ({"descending": True}, ["\U0001f600", "\u00e9", "b/1", "ab", "a/2", "a/1", "a"]),
            ({"prefix": "a"}, ["a", "a/1", "a/2", "ab"]),
            ({"prefix": "a/"}, ["a/1", "a/2"]),
            ({"prefix": "\u00e9"}, ["\u00e9"]),
            ({"prefix": "zz"}, []),
            ({"suffix": "1"}, ["a/1", "b/1"]),
            ({"suffix": "longer than any key"}, []),
            ({"suffix": "\U0001f600"}, ["\U0001f600"]),
            ({"prefix": "a", "suffix": "1"}, ["a/1"]),
            ({"prefix": "a", "limit": 2}, ["a", "a/1"]),
            ({"prefix": "a", "offset": 1, "limit": 2}, ["a/1", "a/2"]),
            ({"prefix": "a", "offset": 3}, ["ab"]),
            ({"offset": 7}, []),
            ({"offset": 2**64 - 1, "limit": 2**64 - 1}, []),
            ({"prefix": "a", "descending": True, "limit": 1}, ["ab"]),
            ({"after": "a/1", "limit": 2}, ["a/2", "ab"]),
            ({"after": "a/2", "descending": True}, ["a/1", "a"]),
            ({"prefix": "a", "after": "a/2"}, ["ab"]),
            ({"prefix": "a%"}, []),
            ({"suffix": "_"}, []),
        ],
    )
    def test_query(self, contract: Subject, query: dict[str, Any], keys: list[str]) -> None:
        """Prefix and suffix choose, the order is that of the bytes; then come offset and limit."""
        for key in ["b/1", "a/2", "\U0001f600", "a", "ab", "a/1", "\u00e9"]:
            contract.put(key)
        contract.put("a", table="other")
        assert contract.keys(**query) == keys

    @pytest.mark.parametrize("database", ["", "..", "a/b", "a b", ".a", "x" * 129, "a\x00"])
    def test_bad_database(self, contract: Subject, database: str) -> None:
        """A database is a plain name."""
        with pytest.raises(BadRequest):
            contract.put("k", database=database)
        with pytest.raises(BadRequest):
            contract.value("k", database=database)
        with pytest.raises(BadRequest):
            contract.done(contract.store.tables(database))

    @pytest.mark.parametrize("table", ["", "..", "../x", "a/../b", "a\nb", "x" * 129])
    def test_bad_table(self, contract: Subject, table: str) -> None:
        """A table is not empty, not too long, and leads nowhere else."""
        with pytest.raises(BadRequest):
            contract.put("k", table=table)
        with pytest.raises(BadRequest):
            contract.done(contract.store.read("micro", table, Query()))
        with pytest.raises(BadRequest):
            contract.done(contract.store.list("micro", table, Query()))

    @pytest.mark.parametrize("key", ["", "a\x00b", "a\x1b[0m", "x" * 4097])
    def test_bad_key(self, contract: Subject, key: str) -> None:
        """A key is not empty, not too long, and has no control characters."""
        with pytest.raises(BadRequest):
            contract.put(key)
        with pytest.raises(BadRequest):
            contract.value(key)

    def test_large(self, contract: Subject) -> None:
        """A value or metadata over the limit is refused, and the limit is named."""
        contract.put("k", b"v" * LIMITS.value)
        with pytest.raises(TooLarge, match="1000"):
            contract.put("k", b"v" * (LIMITS.value + 1))
        said = Record("k", b"", None, {"a": Field("string", "b" * 101)})
        with pytest.raises(TooLarge, match="100"):
            contract.done(contract.store.write("micro", "t", said))
        assert contract.value("k") == b"v" * LIMITS.value

    def test_large_answer(self, contract: Subject) -> None:
        """An answer too large for a message is refused with the way to ask, which then works."""
        for number in range(6):
            contract.put(f"k{number}", b"v" * 1000)
        with pytest.raises(TooLarge, match="limit"):
            contract.done(contract.store.read("micro", "t", Query()))
        assert len(contract.done(contract.store.read("micro", "t", Query(limit=4)))) == 4
