"""What every store must do. Derive a class named C{Test...} from L{StoreContract} and give it a store.

The fixture C{contract} yields a L{Subject}: the store, started, and how to move its time.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

from microd.kernel.errors import BadRequest, PreconditionFailed, TooLarge
from microd.services.store.interface import IStore
from microd.services.store.model import Act, Check, Drop, Field, Limits, Page, Put, Query, Record

T = TypeVar("T")

#: The limits which the store of a L{Subject} must have.
LIMITS = Limits(value=1000, metadata=100, answer=5000, records=15, acts=20)


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

    def put(
        self,
        key: str,
        value: bytes = b"v",
        *,
        database: str = "micro",
        table: str = "t",
        if_version: int | None = None,
    ) -> int:
        """Write a record that stays; its version."""
        version: int = self.done(self.store.write(database, table, Record(key, value), if_version=if_version))
        return version

    def version(self, key: str) -> int:
        """The version of what is under a key; 0: there is nothing."""
        record: Record | None = self.done(self.store.read_one("micro", "t", key))
        return 0 if record is None else record.version

    def drop(self, key: str, if_version: int | None = None) -> None:
        """Take a record out."""
        self.done(self.store.delete("micro", "t", key, if_version=if_version))

    def apply(self, *acts: Act) -> Sequence[int]:
        """Do something together."""
        versions: Sequence[int] = self.done(self.store.apply(acts))
        return versions

    def value(self, key: str, *, database: str = "micro", table: str = "t") -> bytes | None:
        """What is under a key."""
        record: Record | None = self.done(self.store.read_one(database, table, key))
        return None if record is None else record.value

    def pages(self, **query: Any) -> Sequence[Page]:
        """What a query chooses, page by page."""
        pages: list[Page] = [self.done(self.store.page("micro", "t", Query(**query)))]
        while pages[-1].next:
            again = Query(**{**query, "after": pages[-1].next})
            pages.append(self.done(self.store.page("micro", "t", again)))
        return pages

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
        record = record._replace(version=contract.done(contract.store.write("micro", "t", record)))
        assert contract.done(contract.store.read_one("micro", "t", "k")) == record
        assert contract.done(contract.store.read("micro", "t", Query(prefix="k"))) == [record]

    def test_missing(self, contract: Subject) -> None:
        """A key that was never written has no record."""
        assert contract.value("nope") is None

    def test_overwrite(self, contract: Subject) -> None:
        """A second write replaces value, expiry and metadata."""
        first = Record("k", b"1", contract.now() + 5, {"a": Field("string", "b")})
        contract.done(contract.store.write("micro", "t", first))
        version = contract.put("k", b"2")
        assert contract.done(contract.store.read_one("micro", "t", "k")) == Record("k", b"2", version=version)

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

    def test_versions_rise(self, contract: Subject) -> None:
        """Each write of a record has a version of its own, above all before it, also after a deletion; reads show it."""
        seen = [0]
        for _ in range(3):
            for value in (b"a", b"a"):
                seen.append(contract.put("k", value))
                assert contract.version("k") == seen[-1] > seen[-2]
                (record,) = contract.done(contract.store.read("micro", "t", Query()))
                assert record.version == seen[-1]
            contract.drop("k")
            assert contract.version("k") == 0

    def test_writers_say_no_version(self, contract: Subject) -> None:
        """The version of a record which is handed in does not count."""
        contract.done(contract.store.write("micro", "t", Record("k", b"", version=7)))
        assert contract.version("k") not in (0, 7)

    def test_write_if_version(self, contract: Subject) -> None:
        """A write made for the version that is there is done; any other is refused and changes nothing."""
        first = contract.put("k", b"1")
        second = contract.put("k", b"2", if_version=first)
        for wrong in (first, 0, second + 1, 2**64 - 1):
            with pytest.raises(PreconditionFailed, match=str(second)):
                contract.put("k", b"3", if_version=wrong)
        assert (contract.value("k"), contract.version("k")) == (b"2", second)

    def test_write_if_absent(self, contract: Subject) -> None:
        """Version 0 stands for no record at all: the first write is done, and no other until it is deleted."""
        contract.put("k", b"1", if_version=0)
        with pytest.raises(PreconditionFailed, match="already"):
            contract.put("k", b"2", if_version=0)
        assert contract.value("k") == b"1"
        contract.drop("k")
        contract.put("k", b"3", if_version=0)
        assert contract.value("k") == b"3"

    def test_write_if_version_of_nothing(self, contract: Subject) -> None:
        """Where there is no record, no version but 0 is right; also not the one which it had before it was deleted."""
        with pytest.raises(PreconditionFailed, match="no record k"):
            contract.put("k", if_version=5)
        version = contract.put("k")
        contract.drop("k")
        with pytest.raises(PreconditionFailed, match="no record k"):
            contract.put("k", if_version=version)
        contract.put("k", b"new")
        with pytest.raises(PreconditionFailed):
            contract.put("k", b"late", if_version=version)
        assert contract.value("k") == b"new"

    def test_expired_version(self, contract: Subject) -> None:
        """An expired record is none: its version is wrong, and 0 is right."""
        record = Record("k", b"v", contract.now() + 10)
        version = contract.done(contract.store.write("micro", "t", record))
        contract.advance(10)
        with pytest.raises(PreconditionFailed):
            contract.put("k", b"late", if_version=version)
        contract.put("k", b"new", if_version=0)
        assert contract.value("k") == b"new"

    def test_delete_if_version(self, contract: Subject) -> None:
        """A deletion made for another version than the one that is there is refused."""
        version = contract.put("k")
        for wrong in (0, version + 1):
            with pytest.raises(PreconditionFailed):
                contract.drop("k", if_version=wrong)
        assert contract.value("k") == b"v"
        contract.drop("k", if_version=version)
        assert contract.value("k") is None
        with pytest.raises(PreconditionFailed):
            contract.drop("k", if_version=version)
        contract.drop("k", if_version=0)

    def test_apply_conditions(self, contract: Subject) -> None:
        """When one condition does not hold, wherever it stands, none of the acts is done."""
        version = contract.put("a", b"1")
        put = Put("micro", "t", Record("b", b"2"))
        for wrong in (
            Put("micro", "t", Record("c", b"3"), if_version=9),
            Drop("micro", "t", "a", if_version=0),
            Check("micro", "t", "a", version + 1),
        ):
            for acts in ([put, wrong], [wrong, put]):
                with pytest.raises(PreconditionFailed):
                    contract.apply(*acts)
        assert contract.keys() == ["a"]
        written, dropped, checked = contract.apply(
            put, Drop("micro", "t", "c", if_version=0), Check("micro", "t", "a", version)
        )
        assert (dropped, checked) == (0, 0)
        assert contract.version("b") == written
        assert (contract.version("a"), contract.value("a")) == (version, b"1")

    def test_apply_conditions_first(self, contract: Subject) -> None:
        """Conditions speak of what was there before the batch, whatever its acts do to it."""
        version = contract.put("k", b"1")
        contract.apply(
            Put("micro", "t", Record("k", b"2"), if_version=version),
            Put("micro", "t", Record("k", b"3"), if_version=version),
            Check("micro", "t", "k", version),
        )
        assert contract.value("k") == b"3"

    def test_apply_across_tables(self, contract: Subject) -> None:
        """What is done together may lie in several tables and databases."""
        contract.apply(
            Put("micro", "t", Record("k", b"1"), if_version=0),
            Put("micro", "other", Record("k", b"2"), if_version=0),
            Put("acme", "t", Record("k", b"3"), if_version=0),
        )
        assert contract.value("k", table="other") == b"2"
        assert contract.value("k", database="acme") == b"3"

    def test_apply_nothing(self, contract: Subject) -> None:
        """Nothing to do is no error."""
        assert list(contract.apply()) == []

    def test_apply_bounded(self, contract: Subject) -> None:
        """A batch of too many acts, or too many bytes, is refused and the limit named; nothing of it is done."""
        acts = [Put("micro", "t", Record(f"k{number}", b"")) for number in range(LIMITS.acts + 1)]
        with pytest.raises(BadRequest, match=str(LIMITS.acts)):
            contract.apply(*acts)
        acts = [Put("micro", "t", Record(f"k{number}", b"v" * 1000)) for number in range(6)]
        with pytest.raises(TooLarge, match=str(LIMITS.answer)):
            contract.apply(*acts)
        assert contract.keys() == []

    def test_pages(self, contract: Subject) -> None:
        """Pages with a limit, each after the one before, have each record once, and the last one says so."""
        want = [f"k{number}" for number in range(7)]
        for key in want:
            contract.put(key)
        for limit in (1, 3, 7, 8):
            for descending in (False, True):
                pages = contract.pages(limit=limit, descending=descending)
                keys = [record.key for page in pages for record in page.records]
                assert keys == sorted(want, reverse=descending)
                assert [len(page.records) for page in pages[:-1]] == [limit] * (len(pages) - 1)
                assert not any(page.is_full for page in pages)
                assert pages[-1].records, "a page says that there is another one, and there is none"

    def test_full_pages(self, contract: Subject) -> None:
        """A page ends before its bytes are too many for an answer, with at least one record; the next ones have the rest."""
        for number in range(12):
            contract.put(f"k{number:02}", b"v" * 1000)
        pages = contract.pages(prefix="k")
        assert [record.key for page in pages for record in page.records] == [
            f"k{each:02}" for each in range(12)
        ]
        assert [page.is_full for page in pages] == [True, True, False]
        with pytest.raises(TooLarge, match="after"):
            contract.done(contract.store.read("micro", "t", Query(prefix="k")))

    def test_pages_of_many(self, contract: Subject) -> None:
        """A page has no more records than one answer may carry, whatever limit was given; lists of keys go on."""
        want = [f"k{number:02}" for number in range(LIMITS.records + 5)]
        for key in want:
            contract.put(key, b"")
        for limit in (0, LIMITS.records + 1, len(want)):
            pages = contract.pages(limit=limit)
            assert [len(page.records) for page in pages] == [LIMITS.records, 5]
            assert [page.is_full for page in pages] == [True, False]
            assert [record.key for page in pages for record in page.records] == want
            with pytest.raises(TooLarge, match=r"records.*limit.*after"):
                contract.done(contract.store.read("micro", "t", Query(limit=limit)))
        (first, *_) = contract.pages(limit=LIMITS.records)
        assert (len(first.records), first.is_full) == (LIMITS.records, False)
        assert contract.done(contract.store.list("micro", "t", Query())) == want

    def test_page_under_change(self, contract: Subject) -> None:
        """Pages go on behind a key whether or not that is still there, and see what was written beyond it."""
        for number in range(0, 10, 2):
            contract.put(f"k{number}")
        page = contract.done(contract.store.page("micro", "t", Query(limit=2)))
        assert page.next == "k2"
        contract.drop("k2")
        contract.put("k1")
        contract.put("k3")
        assert contract.keys(after=page.next, limit=2) == ["k3", "k4"]

    def test_failure(self, contract: Subject) -> None:
        """While all is well there is nothing to be said."""
        assert contract.store.failure == ""

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
            ({"after": "a", "offset": 1, "limit": 1}, ["a/2"]),
            ({"after": "\U0001f600"}, []),
            ({"after": "a/3", "limit": 1}, ["ab"]),
            ({"prefix": "a", "suffix": "1", "descending": True}, ["a/1"]),
            ({"prefix": "a/1", "suffix": "/1"}, ["a/1"]),
            ({"prefix": "b/", "suffix": "/1"}, ["b/1"]),
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
