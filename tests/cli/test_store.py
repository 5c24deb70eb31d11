"""`micro store`."""

from __future__ import annotations

from typing import Any

import pytest

from microd.services.store import rpc as store_rpc
from microd.services.store.backends.memory import MemoryStore
from microd.wire import store_pb2 as pb

from .conftest import Daemon, User, serve

READ, WRITE, LIST = "/store.Store/Read", "/store.Store/Write", "/store.Store/List"


def stores(daemon: Daemon) -> None:
    """Have a real store answer."""
    serve(daemon, store_rpc.endpoints(MemoryStore()))


def test_write(user: User, daemon: Daemon) -> None:
    """Words are joined with spaces, and kept in the database of the namespace; nothing is printed."""
    daemon.answers(WRITE, pb.WriteResponse())
    got = user.micro("store", "write", "key", "Hi", "there", "--expiry=1m30s")
    assert (got.code, got.out, got.err) == (0, "", "")
    sent = pb.WriteRequest.FromString(daemon.asked(WRITE)[0].body)
    assert (sent.record.key, sent.record.value, sent.record.expiry) == ("key", b"Hi there", 90)
    assert (sent.options.database, sent.options.table) == ("micro", "micro")


def test_read(user: User, daemon: Daemon) -> None:
    """A value is one line."""
    daemon.answers(READ, pb.ReadResponse(records=[pb.Record(key="key", value=b"val1")]))
    assert user.micro("store", "read", "key", "--table=t", "-d", "other").out == "val1\n"
    sent = pb.ReadRequest.FromString(daemon.asked(READ)[0].body)
    assert (sent.key, sent.options.database, sent.options.table) == ("key", "other", "t")


def test_read_page(user: User, daemon: Daemon) -> None:
    """The offset is an offset, the limit a limit."""
    daemon.answers(READ, pb.ReadResponse(records=[pb.Record(key="k", value=b"v")]))
    user.micro("store", "read", "--prefix", "k", "--limit=2", "-o", "5", "--order=desc")
    options = pb.ReadRequest.FromString(daemon.asked(READ)[0].body).options
    assert (options.prefix, options.limit, options.offset, options.order) == (True, 2, 5, "desc")


def test_read_verbose(user: User, daemon: Daemon) -> None:
    """In detail: key, value and expiry; what is not printable is shown in hexadecimal."""
    records = [pb.Record(key="a", value=b"val1", expiry=90), pb.Record(key="b", value=b"\xff" * 30)]
    daemon.answers(READ, pb.ReadResponse(records=records))
    assert user.micro("store", "read", "-v", "-p", "").out == (
        "KEY   VALUE                                      EXPIRY\n"
        "a     val1                                       1m30s from now\n"
        f"b     {'ff' * 20}   None\n"
    )


@pytest.mark.parametrize("flag", ["--json", "--output=json"])
def test_read_json(user: User, daemon: Daemon, flag: Any) -> None:
    """In JSON values are base64 and expiry is in nanoseconds, as in the reference; with the version, as it is not."""
    said = {"m": pb.Field(type="string", value="x")}
    record = pb.Record(key="a", value=b"hi", expiry=2, metadata=said, version=7)
    daemon.answers(READ, pb.ReadResponse(records=[record]))
    assert user.micro("store", "read", "a", flag).json == [
        {"key": "a", "value": "aGk=", "metadata": {"m": "x"}, "expiry": 2_000_000_000, "version": 7}
    ]


def test_missing(user: User, daemon: Daemon) -> None:
    """A record that is not there is `Not found` with exit code 1, also for a prefix."""
    daemon.refuses(READ, 404, "not found")
    got = user.micro("store", "read", "key")
    assert (got.code, got.err) == (1, "Not found\n")
    daemon.answers(READ, pb.ReadResponse())
    assert user.micro("store", "read", "--prefix", "key").code == 1


def test_list(user: User, daemon: Daemon) -> None:
    """Keys are printed one a line, from as many pieces as come."""
    daemon.answers(LIST, [pb.ListResponse(keys=["a", "b"]), pb.ListResponse(keys=["c"])])
    assert user.micro("store", "list").out == "a\nb\nc\n"
    user.micro("store", "list", "--prefix", "a", "--offset=1")
    options = pb.ListRequest.FromString(daemon.asked(LIST)[1].body).options
    assert (options.prefix, options.offset, options.limit) == ("a", 1, 0)
    assert user.micro("store", "list", "--json").json == ["a", "b", "c"]


def test_read_everything(user: User, daemon: Daemon) -> None:
    """However many records there are, they are asked for in pages, and the limit and the offset hold for all of them."""
    stores(daemon)
    for number in range(1203):
        user.micro("store", "write", f"k{number:04}", f"v{number}")
    assert len(user.micro("store", "read", "-p", "k").out.splitlines()) == 1203
    assert len(user.micro("store", "read", "-p", "k", "--json").json) == 1203
    got = user.micro("store", "read", "-p", "k", "--offset=600", "--limit=601").out.splitlines()
    assert (got[0], got[-1], len(got)) == ("v600", "v1200", 601)
    got = user.micro("store", "read", "-p", "k", "--after=k1000", "--order=desc").out.splitlines()
    assert (got[0], len(got)) == ("v999", 1000)
    got = user.micro("store", "list", "k", "--after=k0999", "--limit=3").out.splitlines()
    assert got == ["k1000", "k1001", "k1002"]
    assert user.micro("store", "list", "none", "--json").json == []


def test_if_version(user: User, daemon: Daemon) -> None:
    """A write, and a deletion, may be bound to the version that is there; which one is there, JSON tells."""
    stores(daemon)
    first = user.micro("store", "write", "k", "v1", "--if-version=0", "--json").json["version"]
    got = user.micro("store", "write", "k", "v2", "--if-version=0")
    assert (got.code, got.out) == (1, "")
    assert "version" in got.err
    second = user.micro("store", "write", "k", "v2", f"--if-version={first}", "--json").json["version"]
    assert user.micro("store", "delete", "k", f"--if-version={first}").code == 1
    assert user.micro("store", "read", "k", "--json").json[0]["version"] == second
    assert user.micro("store", "delete", "k", f"--if-version={second}").code == 0
    assert user.micro("store", "read", "k").code == 1


def test_other_store(user: User, daemon: Daemon) -> None:
    """Another service which is a store can be asked for its databases and tables."""
    daemon.answers("/shop.Store/Databases", pb.DatabasesResponse(databases=["a"]))
    daemon.answers("/shop.Store/Tables", pb.TablesResponse(tables=["t"]))
    assert user.micro("store", "databases", "--store=shop").out == "a\n"
    assert user.micro("store", "tables", "--store=shop").out == "t\n"


def test_delete(user: User, daemon: Daemon) -> None:
    """Deleting is silent."""
    daemon.answers("/store.Store/Delete", pb.DeleteResponse())
    assert user.micro("store", "delete", "key").out == ""
    assert pb.DeleteRequest.FromString(daemon.calls[-1].body).key == "key"


def test_places(user: User, daemon: Daemon) -> None:
    """Databases and tables are one a line."""
    daemon.answers("/store.Store/Databases", pb.DatabasesResponse(databases=["a", "b"]))
    daemon.answers("/store.Store/Tables", pb.TablesResponse(tables=["t"]))
    assert user.micro("store", "databases").out == "a\nb\n"
    assert user.micro("store", "tables", "--namespace=foo").out == "t\n"
    assert pb.TablesRequest.FromString(daemon.calls[-1].body).database == "foo"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("read",), "Key arg is required"),
        (("write", "key"), "Key and Value args are required"),
        (("delete",), "Key is required"),
        (("write", "k", "v", "-e", "soon"), "Expiry flag is invalid: 'soon' is not a duration"),
    ],
)
def test_mistakes(user: User, daemon: Daemon, words: Any, told: Any) -> None:
    """A mistake is told in the reference's words, with exit code 1."""
    got = user.micro("store", *words)
    assert got.code == 1
    assert got.err.startswith(told)
