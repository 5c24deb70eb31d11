"""Records on the wire: spec micro-v3-server 6.2, 7.3, 8, Appendix A."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.compat.conftest import Client
from tests.compat.wires import Refused, Shown

READ, WRITE, DELETE, LIST = (f"/store.Store/{name}" for name in ("Read", "Write", "Delete", "List"))
BATCH = "/store.Store/Batch"
VALUE = base64.b64encode(b"bar").decode()


class Table:
    """A table which nobody else uses."""

    def __init__(self, call: Client, by: str = "alpha-admin") -> None:
        self.call = call
        self.by = by
        self.place = {"database": "alpha", "table": call.unique}

    def write(self, key: str, value: bytes = b"bar", options: Shown | None = None, **record: Any) -> Shown:
        request = {
            "record": {"key": key, "value": value, **record},
            "options": {**self.place, **(options or {})},
        }
        return self.call(WRITE, request, by=self.by)

    def read(self, key: str, **options: Any) -> list[Shown]:
        reply = self.call(READ, {"key": key, "options": {**self.place, **options}}, by=self.by)
        records: list[Shown] = reply["records"]
        return records

    def found(self, key: str, **options: Any) -> list[str]:
        return [each["key"] for each in self.read(key, **options)]

    def keys(self, **options: Any) -> list[str]:
        replies = self.call.stream(LIST, [{"options": {**self.place, **options}}], by=self.by)
        assert replies, "a list has at least one message"
        return [key for each in replies for key in each["keys"]]


@pytest.fixture
def table(call: Client) -> Table:
    """A table with three keys."""
    table = Table(call)
    for key in ("ab", "b", "aab"):
        table.write(key)
    return table


def test_read_back(call: Client) -> None:
    """A record is read as it was written; what says nothing has its default."""
    table = Table(call)
    assert table.write("foo") in ({}, {"version": table.read("foo")[0].get("version")})
    (record,) = table.read("foo")
    assert (record["key"], record["value"], record["expiry"], record["metadata"]) == ("foo", VALUE, "0", {})


def test_metadata(call: Client) -> None:
    """Metadata comes back with the type that was said."""
    table = Table(call)
    said = {"n": {"type": "int", "value": "7"}}
    table.write("foo", metadata=said)
    assert table.read("foo")[0]["metadata"] == said


def test_expiry(call: Client) -> None:
    """An expiry is in seconds, both ways."""
    table = Table(call)
    table.write("foo", expiry=100)
    assert int(table.read("foo")[0]["expiry"]) in (98, 99, 100)


def test_missing(call: Client) -> None:
    """A missing key is 404 with the text that clients match."""
    request = {"key": "nope", "options": Table(call).place}
    refused = call.refused(READ, request, by="alpha-admin")
    assert refused == Refused(404, "store.Store.Read", "not found")
    assert refused.status == "Not Found"
    assert refused.http in (0, 404)


@pytest.mark.parametrize(
    ("key", "options", "expected"),
    [
        ("a", {"prefix": True}, ["aab", "ab"]),
        ("b", {"suffix": True}, ["aab", "ab", "b"]),
        ("b", {"prefix": True, "suffix": True}, ["b"]),
        ("", {"prefix": True}, ["aab", "ab", "b"]),
        ("", {"prefix": True, "order": "desc"}, ["b", "ab", "aab"]),
        ("", {"prefix": True, "order": "whatever"}, ["aab", "ab", "b"]),
        ("", {"prefix": True, "limit": 1, "offset": 1}, ["ab"]),
        ("", {"prefix": True, "order": "desc", "limit": 2}, ["b", "ab"]),
        ("", {"prefix": True, "offset": 3}, []),
        ("zz", {"prefix": True}, []),
        ("ab", {"limit": 1, "offset": 5, "order": "desc"}, ["ab"]),
    ],
)
def test_read_many(table: Table, key: str, options: Shown, expected: list[str]) -> None:
    """Order first, then offset, then limit; without prefix and suffix they mean nothing."""
    assert table.found(key, **options) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["aab", "ab", "b"]),
        ({"prefix": "a"}, ["aab", "ab"]),
        ({"prefix": "a", "suffix": "ab"}, ["aab", "ab"]),
        ({"suffix": "aab"}, ["aab"]),
        ({"limit": 2, "order": "desc"}, ["b", "ab"]),
        ({"offset": 2}, ["b"]),
        ({"prefix": "x"}, []),
    ],
)
def test_list(table: Table, options: Shown, expected: list[str]) -> None:
    """Keys in the order of their bytes; one message even where there are none."""
    assert table.keys(**options) == expected


def test_delete(table: Table) -> None:
    """A deleted key is gone; one that is not there is no error."""
    for _ in range(2):
        table.call(DELETE, {"key": "b", "options": table.place}, by=table.by)
    assert table.keys() == ["aab", "ab"]


def test_tables_and_databases(table: Table) -> None:
    """Tables and databases are known once they hold a record."""
    found = table.call("/store.Store/Tables", {"database": "alpha"}, by=table.by)
    assert table.call.unique in found["tables"]
    assert "alpha" in table.call("/store.Store/Databases", by="operator")["databases"]


def test_defaults(call: Client) -> None:
    """Without options a record goes to the table micro of the database micro."""
    call(WRITE, {"record": {"key": call.unique, "value": b"x"}}, by="operator")
    request = {"key": call.unique, "options": {"database": "micro", "table": "micro"}}
    assert call(READ, request, by="operator")["records"][0]["key"] == call.unique


def test_no_record(call: Client) -> None:
    """A write without a record says so."""
    refused = call.refused(WRITE, {"options": Table(call).place}, by="alpha-admin")
    assert refused == Refused(400, "store.Store.Write", "no record specified")


def test_no_key(call: Client) -> None:
    """A record needs a key."""
    refused = call.refused(WRITE, {"record": {}, "options": Table(call).place}, by="alpha-admin")
    assert refused == Refused(400, "store.Store.Write", "key required")


def test_versions(call: Client) -> None:
    """A write which says the version it saw is refused once there is another; zero stands for none at all."""
    table = Table(call)
    table.write("foo", options={"if_version": 0})
    (record,) = table.read("foo")
    version = int(record["version"])
    table.write("foo", b"two", options={"if_version": version})
    request = {"record": {"key": "foo", "value": b"three"}, "options": {**table.place, "if_version": version}}
    refused = call.refused(WRITE, request, by=table.by)
    assert refused.code in (409, 412)
    assert "version" in refused.detail
    (record,) = table.read("foo")
    assert base64.b64decode(record["value"]) == b"two"
    assert int(record["version"]) > version


def test_pages(call: Client) -> None:
    """A cursor goes on where the last page ended."""
    table = Table(call)
    for number in range(7):
        table.write(f"k{number}")
    seen: list[str] = []
    after = ""
    while page := table.found("", prefix=True, limit=3, after=after):
        seen += page
        assert len(seen) <= 7
        after = page[-1]
    assert seen == [f"k{number}" for number in range(7)]
    assert table.keys(limit=3, after="k4") == ["k5", "k6"]


@pytest.mark.parametrize(
    ("by", "brief"),
    [
        ("", (401, "an account is required")),
        ("alpha-user", (403, "this needs an admin of the namespace alpha")),
        ("beta-admin", (403, "access denied to namespace")),
        ("beta-service", (403, "access denied to namespace")),
        ("guest", (403, "access denied to namespace")),
    ],
)
@pytest.mark.parametrize(
    ("path", "request_"),
    [
        (READ, {"key": "k"}),
        (WRITE, {"record": {"key": "k"}}),
        (DELETE, {"key": "k"}),
        (LIST, {}),
    ],
)
def test_who(call: Client, by: str, brief: tuple[int, str], path: str, request_: Shown) -> None:
    """Only admins and services of the namespace, and the platform's, come in."""
    request = {**request_, "options": {"database": "alpha", "table": call.unique}}
    refused = call.refused(path, request, by=by)
    if by:
        assert refused.brief == brief
    else:
        assert refused.code == 401


@pytest.mark.parametrize("by", ["operator", "admin", "alpha-admin", "alpha-service"])
def test_who_may(call: Client, by: str) -> None:
    """Admins and services of the namespace do, and the platform's."""
    Table(call, by).write("foo")


def test_batch(call: Client) -> None:
    """A batch happens as a whole, or not at all."""
    table = Table(call)
    table.write("old")
    acts = [{"put": {"key": "new", "value": b"x"}, "if_version": 0}, {"drop": "old"}]
    reply = call(BATCH, {"acts": acts, "options": table.place}, by=table.by)
    assert len(reply["versions"]) == 2
    assert table.keys() == ["new"]
    acts = [{"put": {"key": "more", "value": b"x"}}, {"put": {"key": "new", "value": b"y"}, "if_version": 0}]
    refused = call.refused(BATCH, {"acts": acts, "options": table.place}, by=table.by)
    assert refused.code in (409, 412)
    assert table.keys() == ["new"]
    assert base64.b64decode(table.read("new")[0]["value"]) == b"x"
