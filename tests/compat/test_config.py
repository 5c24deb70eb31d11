"""Config on the wire: spec micro-v3-server 6.4, 7.3, 8, Appendix A."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.compat.conftest import Client
from tests.compat.wires import Refused, Shown

GET, SET, DELETE, READ = (f"/config.Config/{name}" for name in ("Get", "Set", "Delete", "Read"))
WATCH, HISTORY, ROLLBACK = (f"/config.Config/{name}" for name in ("Watch", "History", "Rollback"))


class Tree:
    """A part of alpha's document which nobody else uses."""

    def __init__(self, call: Client) -> None:
        self.call = call
        self.root = call.unique

    def request(self, path: str, **more: Any) -> Shown:
        return {"namespace": "alpha", "path": f"{self.root}.{path}" if path else self.root, **more}

    def set(self, path: str, value: object, *, secret: bool = False, by: str = "alpha-admin") -> Shown:
        data = {"data": json.dumps(value, ensure_ascii=False), "format": "json"}
        return self.call(SET, self.request(path, value=data, options={"secret": secret}), by=by)

    def text(self, path: str = "", *, secret: bool = False) -> str:
        reply = self.call(GET, self.request(path, options={"secret": secret}), by="alpha-service")
        data: str = reply["value"]["data"]
        return data

    def get(self, path: str = "", *, secret: bool = False) -> Any:
        return json.loads(self.text(path, secret=secret))

    def delete(self, path: str) -> None:
        self.call(DELETE, self.request(path), by="alpha-admin")


@pytest.fixture
def tree(call: Client) -> Tree:
    """An empty part of the document."""
    return Tree(call)


def test_leaf(tree: Tree) -> None:
    """A value is got as it was set."""
    for value in ("text", 7, 1.5, True, None, [1, {"a": 2}], "ünï<>&"):
        tree.set("a.b", value)
        assert tree.get("a.b") == value


def test_text(tree: Tree) -> None:
    """JSON comes compact, keys sorted, nothing escaped that need not be, numbers as they were written."""
    tree.call(
        SET,
        tree.request("", value={"data": '{"b":"<é>","a":12345678901234567890,"c":1.10}'}),
        by="alpha-admin",
    )
    assert tree.text() in (
        '{"a":12345678901234567890,"b":"<é>","c":1.10}',
        '{"a":12345678901234567890,"b":"<é>","c":1.1}',
    )


def test_merge(tree: Tree) -> None:
    """An object is merged deeply: siblings stay."""
    tree.set("", {"a": {"x": 1, "y": 2}})
    tree.set("a", {"y": 3, "z": {"w": 4}})
    assert tree.get() == {"a": {"x": 1, "y": 3, "z": {"w": 4}}}
    tree.set("a", {})
    assert tree.get() == {"a": {"x": 1, "y": 3, "z": {"w": 4}}}


def test_overwrites(tree: Tree) -> None:
    """A scalar takes an object's place, an object a scalar's; nothing is hidden (defect 11.14)."""
    tree.set("q", {"a": 1})
    tree.set("q", 5)
    assert tree.get("q") == 5
    assert tree.get("q.a") is None
    tree.set("q", {"b": 2})
    assert tree.get("q") == {"b": 2}
    tree.set("q", 6)
    tree.set("q.c", 7)
    assert tree.get("q.c") == 7
    assert tree.get("q") == {"c": 7}


def test_missing(tree: Tree) -> None:
    """A path where there is nothing is null."""
    tree.set("a", 1)
    assert tree.get("nope") is None
    assert tree.get("nope.nope") is None


def test_nothing_at_all(call: Client) -> None:
    """A namespace without config is 404."""
    refused = call.refused(GET, {"namespace": "empty", "path": "a"}, by="operator")
    assert refused == Refused(404, "config.Config.Get", "Not found")


def test_delete(tree: Tree) -> None:
    """A deleted path takes what is below it with it, and leaves no traces (defect 11.14)."""
    tree.set("", {"a": {"x": 1, "y": 2}})
    tree.delete("a.x")
    assert tree.get() == {"a": {"y": 2}}
    tree.delete("nope.nope")
    assert tree.get() == {"a": {"y": 2}}


def test_secret(tree: Tree) -> None:
    """A secret is shown to who asks for secrets."""
    tree.set("", {"user": "me"})
    tree.set("password", "hunter2", secret=True)
    assert tree.get() == {"user": "me", "password": "[secret]"}
    assert tree.get("password") == "[secret]"
    assert tree.get(secret=True) == {"user": "me", "password": "hunter2"}


def test_secret_stays(tree: Tree) -> None:
    """A secret that is set anew stays one, unless the writer says otherwise or deletes it first."""
    tree.set("", {"user": "me"})
    tree.set("password", "hunter2", secret=True)
    tree.set("password", "hunter3")
    assert tree.get() == {"user": "me", "password": "[secret]"}
    tree.set("", {"user": "you", "password": "hunter4"})
    assert tree.get() == {"user": "you", "password": "[secret]"}
    assert tree.get(secret=True) == {"user": "you", "password": "hunter4"}
    made = {"value": {"data": '"open"'}, "plain": True}
    tree.call(SET, tree.request("password", **made), by="alpha-admin")
    assert tree.get("password") == "open"
    tree.set("password", "hunter5", secret=True)
    tree.delete("password")
    tree.set("password", "open")
    assert tree.get("password") == "open"


def test_legacy_read(tree: Tree) -> None:
    """Read is Get of an earlier day."""
    tree.set("", {"a": 1})
    tree.set("s", "hidden", secret=True)
    change = tree.call(READ, tree.request(""), by="alpha-service")["change"]
    assert json.loads(change["changeSet"]["data"]) == {"a": 1, "s": "[secret]"}
    assert change["changeSet"]["format"] == "json"


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        (None, "invalid change"),
        ({"data": "{"}, "Request is invalid JSON"),
        ({"data": ""}, "Request is invalid JSON"),
    ],
)
def test_refused(tree: Tree, value: Shown | None, detail: str) -> None:
    """What is no value."""
    request = tree.request("a", **({} if value is None else {"value": value}))
    refused = tree.call.refused(SET, request, by="alpha-admin")
    assert refused.code == 400
    assert refused.detail.startswith(detail)


def test_default_namespace(call: Client) -> None:
    """Without a namespace it is micro, for writers as for readers (defect 11.14)."""
    call(SET, {"path": call.unique, "value": {"data": "1"}}, by="operator")
    assert call(GET, {"namespace": "micro", "path": call.unique}, by="operator")["value"]["data"] == "1"
    assert call(GET, {"path": call.unique}, by="operator")["value"]["data"] == "1"


def test_history_and_rollback(tree: Tree) -> None:
    """Each change has a number, a time and an author; the document goes back to what it was at one."""
    tree.set("a", 1)
    first = _versions(tree)[0]
    tree.set("a", 2, by="alpha-service")
    second = _versions(tree)[0]
    assert (first["account"], second["account"]) == ("alpha-admin", "alpha-service")
    assert int(second["number"]) > int(first["number"])
    assert int(second["time"]) >= int(first["time"]) > 0
    reply = tree.call(ROLLBACK, {"namespace": "alpha", "version": first["number"]}, by="alpha-admin")
    assert int(reply["version"]) > int(second["number"])
    assert tree.get("a") == 1


def _versions(tree: Tree) -> list[Shown]:
    reply = tree.call(HISTORY, {"namespace": "alpha", "limit": 5}, by="alpha-admin")
    versions: list[Shown] = reply["versions"]
    return versions


def test_watch(tree: Tree) -> None:
    """A watcher hears what there is."""
    tree.set("a", 1)
    (first,) = tree.call.stream(WATCH, [tree.request("a")], by="alpha-service", most=1)
    assert first["value"]["data"] == "1"
    assert int(first["version"]) > 0


@pytest.fixture(params=[GET, SET, DELETE, READ, WATCH, HISTORY, ROLLBACK])
def path(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each RPC."""
    return request.param  # type: ignore[no-any-return]


def test_who(tree: Tree, path: str) -> None:
    """Config is for admins and services of the namespace."""
    request = {"namespace": "alpha"} if path in (HISTORY, ROLLBACK) else tree.request("a")
    assert tree.call.refused(path, request).code == 401
    assert tree.call.refused(path, request, by="alpha-user").code == 403
    assert tree.call.refused(path, request, by="beta-admin").brief == (403, "access denied to namespace")
