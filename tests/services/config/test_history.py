"""Versions: who changed what, and going back."""

from __future__ import annotations

from typing import Any

import pytest

from microd.kernel.caller import Account
from microd.kernel.errors import BadRequest, NotFound
from microd.services.config.model import Limits
from microd.wire import config_pb2 as pb

JANE = Account("jane", "user", "foo", scopes=("admin",))


def rollback(scene: Any, version: int, **rest: Any) -> int:
    return int(scene.call("Rollback", pb.RollbackRequest(version=version, **rest)).version)


def numbers(scene: Any, **asked: Any) -> list[int]:
    return [version.number for version in scene.history(**asked).versions]


def test_versions(scene: Any) -> None:
    """Each change is a version: its number, when, who, what they did and where, and what was and is there."""
    scene.set("a.b", 1, namespace="foo")
    scene.clock.advance(60)
    scene.set("a.b", 2, account=JANE, namespace="foo")
    scene.delete("a", namespace="foo")
    last, second, first = scene.history(namespace="foo").versions
    assert (first.number, first.account, first.issuer, first.action, first.path) == (
        1,
        "admin",
        "micro",
        "set",
        "a.b",
    )
    assert (second.number, second.account, second.issuer) == (2, "jane", "foo")
    assert second.time - first.time == 60
    (made,) = second.differences
    assert (made.path, made.before.data, made.after.data) == ("a.b", "1", "2")
    (made,) = last.differences
    assert (last.action, last.path, made.path, made.before.data) == ("delete", "a", "a", '{"b":2}')
    assert not made.HasField("after")


def test_merge(scene: Any) -> None:
    """A merge is as many differences as there are places that changed."""
    scene.set("", {"a": {"x": 1, "y": 2}})
    scene.set("", {"a": {"x": 1, "y": 3}, "b": 4})
    made = scene.history(limit=1).versions[0].differences
    assert [each.path for each in made] == ["a.y", "b"]


def test_pages(scene: Any) -> None:
    """A history is read in pages, the newest first; each says whether there are more."""
    for number in range(25):
        scene.set("n", number)
    assert numbers(scene) == list(range(25, 5, -1))
    assert scene.history().more
    assert numbers(scene, before=6, limit=3) == [5, 4, 3]
    found = scene.history(before=4)
    assert ([each.number for each in found.versions], found.more) == ([3, 2, 1], False)


def test_of_a_path(scene: Any) -> None:
    """A history of a path has the versions that changed something there, above or below."""
    scene.set("a.b", 1)
    scene.set("c", 1)
    scene.set("a.b.d", 2)
    scene.set("a", {"x": 1})
    scene.set("", {"a": {"b": {"d": 3}}})
    scene.delete("a")
    assert numbers(scene, path="a.b.d") == [6, 5, 3]
    assert numbers(scene, path="a.b") == [6, 5, 3, 1]
    assert numbers(scene, path="a") == [6, 5, 4, 3, 1]
    assert numbers(scene, path="nope") == []


@pytest.mark.parametrize("asked", [{"limit": -1}, {"limit": 1001}, {"before": -1}])
def test_bad_page(scene: Any, asked: Any) -> None:
    """Absurd pages are refused."""
    scene.set("a", 1)
    with pytest.raises(BadRequest):
        scene.history(**asked)


def test_large_pages(scene: Any) -> None:
    """A page holds some megabytes at the most, and says that there are more."""
    scene.limits = Limits(value=1 << 20)
    scene.start()
    for number in range(8):
        scene.set("a", str(number) * 1_000_000)
    found = scene.history()
    assert 0 < len(found.versions) < 8
    assert found.more


def test_rollback(scene: Any) -> None:
    """Going back makes the document what it was, all of it, as a new version."""
    scene.set("", {"a": {"b": 1}, "c": [1.0]})
    scene.set("a", "scalar")
    scene.delete("c")
    scene.set("d.e", 1)
    assert rollback(scene, 1) == 5
    assert scene.text() == '{"a":{"b":1},"c":[1.0]}'
    made = scene.history(limit=1).versions[0]
    assert (made.action, made.target, [each.path for each in made.differences]) == (
        "rollback",
        1,
        ["a", "c", "d"],
    )
    assert rollback(scene, 3) == 6
    assert scene.get() == {"a": "scalar"}
    assert rollback(scene, 4) == 7
    assert scene.get() == {"a": "scalar", "d": {"e": 1}}


def test_as_it_was(scene: Any) -> None:
    """A value can be read as it was at a version, without going back."""
    scene.set("a", 1)
    scene.set("a", {"b": 2})
    scene.delete("a.b")
    assert [scene.get("a", version=number) for number in (1, 2, 3)] == [1, {"b": 2}, {}]
    assert scene.call("Get", pb.GetRequest(path="a", version=2)).version == 2


def test_rollback_to_now(scene: Any) -> None:
    """Going back to what is makes no version."""
    scene.set("a", 1)
    assert rollback(scene, 1) == 1


@pytest.mark.parametrize(
    ("version", "error", "said"),
    [
        (0, BadRequest, "the version to go back to is missing"),
        (-1, BadRequest, "there is no version -1"),
        (3, NotFound, r"there is no version 3 of the config of micro: the newest is 2"),
    ],
)
def test_no_such_version(scene: Any, version: int, error: type[Exception], said: str) -> None:
    """There is no going back to what never was."""
    scene.set("a", 1)
    scene.set("a", 2)
    with pytest.raises(error, match=said):
        rollback(scene, version)
    if version:
        with pytest.raises(error):
            scene.get("a", version=version)
    assert scene.get("a") == 2


def test_rollback_of_nothing(scene: Any) -> None:
    """A namespace that was never written to has no versions."""
    with pytest.raises(NotFound, match="Not found"):
        rollback(scene, 1)


def test_bounded(scene: Any) -> None:
    """So many versions are kept and no more; to go back further is refused, with the oldest."""
    scene.limits = Limits(history=3)
    scene.start()
    for number in range(1, 6):
        scene.set("a", number)
    assert numbers(scene) == [5, 4, 3]
    with pytest.raises(
        NotFound, match=r"version 2 of the config of micro is no longer kept: the oldest is 3"
    ):
        rollback(scene, 2)
    assert rollback(scene, 3) == 6
    assert scene.get("a") == 3
    scene.limits = Limits(history=1)
    scene.start()
    scene.set("a", 9)
    assert numbers(scene) == [7]


def test_bounded_in_bytes(scene: Any) -> None:
    """Large versions push old ones out earlier; the newest is kept, however large."""
    scene.limits = Limits(history_bytes=1000)
    scene.start()
    for letter in "abcdef":
        scene.set("a", letter * 300)
    assert numbers(scene) == [6]
    scene.set("a", "g" * 3000)
    assert numbers(scene) == [7]
    scene.set("a", 1)
    scene.set("a", 2)
    scene.set("a", 3)
    assert numbers(scene) == [10, 9]


def test_survives(scene: Any) -> None:
    """Numbers go on where they were, after a restart too, and the history with them."""
    scene.set("a", 1)
    scene.delete("a")
    scene.stop()
    scene.start()
    assert scene.set("a", 2) == 3
    assert numbers(scene) == [3, 2, 1]
    assert rollback(scene, 1) == 4


def test_many_places(scene: Any) -> None:
    """A change of very many places is kept as one of the whole document, and can be taken back."""
    scene.set("w", {f"k{n}": n for n in range(1000)})
    scene.set("w", {f"k{n}": -n for n in range(1, 1000)})
    assert [each.path for each in scene.history(limit=1).versions[0].differences] == [""]
    assert numbers(scene, path="w.k1") == [2, 1]
    assert numbers(scene, path="w.k0") == [1]
    rollback(scene, 1)
    assert scene.get("w.k7") == 7
