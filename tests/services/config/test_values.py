"""Getting, setting and deleting: spec micro-v3-server 6.4, with the reference's defects repaired."""

from __future__ import annotations

import json
from typing import Any

import pytest

from microd.kernel.caller import Account
from microd.kernel.errors import BadRequest, Forbidden, NotFound, PreconditionFailed, TooLarge, Unauthorized
from microd.wire import config_pb2 as pb


def test_scalar(scene: Any) -> None:
    """What was set is there, at the path and in what is above it."""
    scene.set("greeting.text", "Hello")
    assert scene.get("greeting.text") == "Hello"
    assert scene.get("greeting") == {"text": "Hello"}
    assert scene.get() == {"greeting": {"text": "Hello"}}


def test_missing(scene: Any) -> None:
    """A path where nothing is has the value null; so has one under a leaf."""
    scene.set("a", 1)
    assert scene.text("b") == scene.text("a.b.c") == "null"


@pytest.mark.parametrize("method", ["Get", "Read", "Delete", "History"])
def test_never_written(scene: Any, method: str) -> None:
    """A namespace that was never written to is not found."""
    request = {"Get": pb.GetRequest, "Read": pb.ReadRequest, "Delete": pb.DeleteRequest}.get(
        method, pb.HistoryRequest
    )(namespace="micro", path="a")
    with pytest.raises(NotFound) as caught:
        scene.call(method, request)
    assert (caught.value.code, caught.value.detail) == (404, "Not found")


def test_namespaces(scene: Any) -> None:
    """Each namespace has a document of its own; the empty name is that of micro, for every call."""
    scene.set("a", 1)
    scene.set("a", 2, namespace="foo")
    assert (scene.get("a", namespace="micro"), scene.get("a", namespace="foo")) == (1, 2)
    scene.delete("a")
    assert (scene.get(namespace="micro"), scene.get("a", namespace="foo")) == ({}, 2)


def test_merge(scene: Any) -> None:
    """An object is merged, however deep; siblings stay."""
    scene.set("m", {"a": {"x": 1, "y": 2}, "b": 3})
    scene.set("m", {"a": {"y": 4, "z": {"q": 5}}})
    assert scene.get("m") == {"a": {"x": 1, "y": 4, "z": {"q": 5}}, "b": 3}


def test_replace(scene: Any) -> None:
    """An object takes the place of what was there if it is told to, be it empty, be it the whole document."""
    scene.set("m", {"a": {"x": 1}, "b": 2})
    scene.set("m", {"a": {"y": 3}}, replace=True)
    assert scene.get() == {"m": {"a": {"y": 3}}}
    scene.set("m.a", {}, replace=True)
    scene.set("n.o", {}, replace=True)
    assert scene.get() == {"m": {"a": {}}, "n": {"o": {}}}
    scene.set("", {"z": 1}, replace=True)
    assert scene.get() == {"z": 1}
    assert scene.set("", {"z": 1}, replace=True) == 5


def test_array(scene: Any) -> None:
    """An array is one value: it is replaced whole, and nothing is inside it for a path."""
    scene.set("a", [1, {"b": 2}])
    scene.set("a", [3])
    assert scene.get("a") == [3]
    assert scene.text("a.0") == "null"


def test_null(scene: Any) -> None:
    """null is a value like others: it takes the place of what was there, and is shown."""
    scene.set("a", {"b": 1})
    scene.set("a.b", None)
    assert scene.get("a") == {"b": None}


def test_scalar_over_object(scene: Any) -> None:
    """A scalar takes the place of an object."""
    scene.set("a", {"b": 1, "c": {"d": 2}})
    scene.set("a", 3)
    assert scene.get() == {"a": 3}


def test_object_over_scalar(scene: Any) -> None:
    """An object takes the place of a scalar, be it empty."""
    scene.set("pod", "text")
    scene.set("pod", {"a": 1})
    assert scene.get() == {"pod": {"a": 1}}
    scene.set("pod", 1)
    scene.set("pod", {})
    assert scene.get() == {"pod": {}}


def test_no_hidden_children(scene: Any) -> None:
    """A key under a scalar takes its place: no value hides another."""
    scene.set("q", "scalar")
    scene.set("q.b", 1)
    assert scene.get("q") == {"b": 1}
    scene.set("", {"q.b.c": 2})
    assert scene.get() == {"q": {"b": {"c": 2}}}


@pytest.mark.parametrize("value", [{}, {"x": {}}, {"x": {"y": {}}}])
def test_empty_object(scene: Any, value: Any) -> None:
    """An empty object changes nothing."""
    scene.set("a", {"b": 1})
    version = scene.set("a", value)
    assert (scene.get(), version) == ({"a": {"b": 1}}, 1)


def test_root(scene: Any) -> None:
    """With no path an object is merged into the whole document, and nothing else can be set."""
    scene.set("", {"a": 1})
    scene.set("", {"b": {"c": 2}})
    assert scene.get() == {"a": 1, "b": {"c": 2}}
    for value in (1, "x", None, [1]):
        with pytest.raises(BadRequest, match=r"the path is missing"):
            scene.set("", value)


def test_dots_in_keys(scene: Any) -> None:
    """Dots part keys everywhere; where two ways lead to one place, the later wins."""
    scene.set("", {"a.b": 1, "a": {"c": 2}, "d": 1, "d.e": 3})
    assert scene.get() == {"a": {"b": 1, "c": 2}, "d": {"e": 3}}


def test_delete(scene: Any) -> None:
    """What is at a path goes with all that is under it; siblings stay."""
    scene.set("a", {"b": {"c": 1}, "d": 2})
    scene.delete("a.b")
    assert scene.get() == {"a": {"d": 2}}
    scene.delete("a.d")
    assert scene.get() == {"a": {}}


@pytest.mark.parametrize("path", ["nope", "nope.nope", "a.nope.nope", "a.b.c.d"])
def test_delete_missing(scene: Any, path: str) -> None:
    """To delete what is not there is no error and leaves nothing behind."""
    scene.set("a", {"b": 1})
    assert scene.delete(path) == 1
    assert scene.get() == {"a": {"b": 1}}


def test_delete_everything(scene: Any) -> None:
    """A delete says of what: a forgotten path does not empty the document."""
    scene.set("a", 1)
    with pytest.raises(BadRequest, match=r"the path is missing"):
        scene.delete("")
    assert scene.get() == {"a": 1}


def test_read(scene: Any) -> None:
    """C{Read} is C{Get} in the old shape, and never shows secrets."""
    scene.set("a", {"b": 1})
    scene.set("a.s", "x", secret=True)
    change = scene.call("Read", pb.ReadRequest(path="a")).change
    assert (change.path, change.changeSet.data, change.changeSet.format) == (
        "a",
        '{"b":1,"s":"[secret]"}',
        "json",
    )


@pytest.mark.parametrize(
    "text",
    [
        "12345678901234567890123456789012345678901234567890",
        "1.50",
        "1E400",
        "-0.0",
        "0.1000000000000000055511151231257827",
        '"<a> & \\"b\\" \\\\ ü 漢 \\u0000"',
        '[1.0,{"a":1e5,"b":[]},{}]',
        "true",
    ],
)
def test_exact(scene: Any, text: str) -> None:
    """A value comes back as it was written: numbers to the letter, letters unescaped."""
    scene.set("a", text.encode())
    assert scene.text("a") == text
    scene.start()
    assert scene.text("a") == text


def test_sorted(scene: Any) -> None:
    """Keys are sorted, and no spaces are between them."""
    scene.set("", b'{ "b" : 1, "a b" : [ {"z":1, "y":2} ], "B": 2 }')
    assert scene.text() == '{"B":2,"a b":[{"y":2,"z":1}],"b":1}'


@pytest.mark.parametrize(
    "data", ["", "{", "nope", "'a'", "1 2", "NaN", "Infinity", '{"a":}', '"\\ud800"', '{"\\ud800":1}']
)
def test_no_json(scene: Any, data: str) -> None:
    """What is no JSON is refused in the reference's words, and changes nothing."""
    scene.set("a", 1)
    with pytest.raises(BadRequest, match=r"^Request is invalid JSON: "):
        scene.set("a", data.encode())
    assert scene.get() == {"a": 1}


def test_no_value(scene: Any) -> None:
    """A set without a value is refused in the reference's words."""
    with pytest.raises(BadRequest, match=r"^invalid change$"):
        scene.call("Set", pb.SetRequest(path="a"))


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("a..b", r"the path 'a..b' has an empty key"),
        (".a", r"has an empty key"),
        ("a.", r"has an empty key"),
        ("a\nb", r"the path has control characters"),
        ("x" * 1025, r"the path is longer than 1024 bytes"),
        ("ü" * 513, r"the path is longer than 1024 bytes"),
        (".".join("a" * 33), r"the path has 33 keys; it may have 32"),
    ],
)
def test_bad_path(scene: Any, path: str, said: str) -> None:
    """What is no path is refused by every call, with the limit."""
    scene.set("a", 1)
    for ask in (
        lambda: scene.set(path, 1),
        lambda: scene.set("", {path: 1}) if path else None,
        lambda: scene.get(path),
        lambda: scene.delete(path),
        lambda: scene.history(path=path),
        lambda: scene.watch(path).next(),
    ):
        with pytest.raises(BadRequest, match=said):
            ask()
    assert scene.get() == {"a": 1}


def test_empty_key(scene: Any) -> None:
    """An object with an empty key is refused, wherever it is."""
    for value in ({"": 1}, {"a": {"": 1}}):
        with pytest.raises(BadRequest, match="empty key"):
            scene.set("x", value)


def test_too_deep(scene: Any) -> None:
    """Nesting is bounded: of objects by the path, of arrays by the same number, of absurd input by the parser."""
    with pytest.raises(BadRequest, match=r"the path has 33 keys"):
        scene.set("a", b'{"k":' * 32 + b"1" + b"}" * 32)
    with pytest.raises(BadRequest, match=r"nested more than 32 deep"):
        scene.set("a", b"[" * 34 + b"]" * 34)
    with pytest.raises(BadRequest, match=r"nested"):
        scene.set("a", b"[" * 100_000 + b"]" * 100_000)
    scene.set("a", b"[" * 32 + b"]" * 32)


def test_too_large(scene: Any) -> None:
    """A value, a request and a document have limits, which the error names; nothing changes."""
    scene.set("a", 1)
    with pytest.raises(TooLarge, match=r"the value at b is longer than 262144 bytes"):
        scene.set("b", "x" * (256 << 10))
    with pytest.raises(TooLarge, match=r"the value is longer than 1048576 bytes"):
        scene.set("b", "x" * (1 << 20))
    for number in range(4):
        scene.set(f"c{number}", "x" * (250 << 10))
    with pytest.raises(TooLarge, match=r"the config of micro would have \d+ bytes; it may have 1048576"):
        scene.set("c4", "x" * (250 << 10))
    assert (scene.get("a"), scene.text("b"), scene.text("c4")) == (1, "null", "null")


def test_wide(scene: Any) -> None:
    """A large flat object is set and changed in one go."""
    scene.set("w", {f"k{n}": n for n in range(20_000)})
    scene.set("w", {f"k{n}": n + 1 for n in range(20_000)})
    assert scene.get("w.k19999") == 20_000


def test_if_version(scene: Any) -> None:
    """A write that names a version is made only if the document is at it."""
    first = scene.set("a", 1)
    second = scene.set("a", 2, if_version=first)
    for write in (
        lambda: scene.set("a", 3, if_version=first),
        lambda: scene.delete("a", if_version=first),
        lambda: scene.call("Rollback", pb.RollbackRequest(version=1, if_version=first)),
    ):
        with pytest.raises(PreconditionFailed, match=r"the config of micro is at version 2, not 1"):
            write()
    assert (scene.get("a"), second) == (2, 2)
    assert scene.delete("a", if_version=second) == 3


def test_first_if_version(scene: Any) -> None:
    """A namespace that was never written to is at no version."""
    with pytest.raises(PreconditionFailed, match="at version 0, not 4"):
        scene.set("a", 1, if_version=4)
    with pytest.raises(BadRequest, match="there is no version -1"):
        scene.set("a", 1, if_version=-1)


def test_same_value(scene: Any) -> None:
    """To set what is there already makes no version."""
    scene.set("a", {"b": 1})
    assert scene.set("a.b", 1) == 1
    assert scene.set("a", {"b": 1}) == 1
    assert len(scene.history().versions) == 1


@pytest.mark.parametrize(
    ("account", "error"),
    [
        (None, Unauthorized),
        (Account("jane", "user", "micro"), Forbidden),
        (Account("admin", "user", "bar", scopes=("admin",)), Forbidden),
        (Account("svc", "service", "bar", scopes=("service",)), Forbidden),
    ],
)
def test_who(scene: Any, account: Account | None, error: type[Exception]) -> None:
    """Every call takes an admin or a service of the namespace, or of the platform."""
    scene.set("a", 1, namespace="foo")
    value = pb.Value(data="2")
    for method, request in (
        ("Get", pb.GetRequest(namespace="foo")),
        ("Read", pb.ReadRequest(namespace="foo")),
        ("Set", pb.SetRequest(namespace="foo", path="a", value=value)),
        ("Delete", pb.DeleteRequest(namespace="foo", path="a")),
        ("History", pb.HistoryRequest(namespace="foo")),
        ("Rollback", pb.RollbackRequest(namespace="foo", version=1)),
    ):
        with pytest.raises(error):
            scene.call(method, request, account)
    assert scene.get("a", namespace="foo") == 1


def test_who_may(scene: Any) -> None:
    """The namespace's own admins and services read and write it."""
    for account in (
        Account("admin", "user", "foo", scopes=("admin",)),
        Account("svc", "service", "foo", scopes=("service",)),
        Account("svc", "service", "micro", scopes=("service",)),
    ):
        scene.set("a", account.id, account=account, namespace="foo")
        assert scene.get("a", namespace="foo") == account.id


@pytest.mark.parametrize("namespace", ["../x", "a/b", "a b", "x" * 129, "*"])
def test_bad_namespace(scene: Any, namespace: str) -> None:
    """What is no name is no namespace."""
    with pytest.raises(BadRequest, match="the namespace"):
        scene.set("a", 1, namespace=namespace)


def test_evicted(scene: Any) -> None:
    """Documents which are no longer in memory are read again."""
    scene.limits = type(scene.limits)(remembered=100)
    scene.start()
    for number in range(20):
        scene.set("a", number, namespace=f"n{number}")
    assert [scene.get("a", namespace=f"n{number}") for number in range(20)] == list(range(20))
    assert json.loads(scene.text("", namespace="n3")) == {"a": 3}
