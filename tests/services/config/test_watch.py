"""Watching a path."""

from __future__ import annotations

from typing import Any

import pytest

from microd.kernel.errors import Unauthorized, Unavailable
from microd.services.config.model import Limits
from microd.testing.outcome import done
from microd.wire import config_pb2 as pb


def seen(message: Any) -> tuple[str, int, bool]:
    return message.value.data, message.version, message.deleted


def test_changes(scene: Any) -> None:
    """First what is there, then what it becomes, in order, with the versions; a deletion says so."""
    scene.set("a.b", 1)
    watch = scene.watch("a.b")
    assert seen(watch.next()) == ("1", 1, False)
    scene.set("a.b", 2)
    scene.set("a", {"b": {"c": 3}})
    scene.delete("a")
    scene.set("", {"a": {"b": None}})
    assert [seen(watch.next()) for _ in range(4)] == [
        ("2", 2, False),
        ('{"c":3}', 3, False),
        ("null", 4, True),
        ("null", 5, False),
    ]


def test_waits(scene: Any) -> None:
    """A watcher with nothing to read waits, and is told at once."""
    scene.set("a", 1)
    watch = scene.watch("a")
    watch.next()
    told: list[Any] = []
    watch.asked().addCallback(told.append)
    assert told == []
    scene.set("a", 2)
    assert [seen(each) for each in told] == [("2", 2, False)]


def test_others(scene: Any) -> None:
    """What changes elsewhere is no news: other paths, other namespaces, the same value once more."""
    scene.set("a", {"b": 1, "c": 1})
    scene.set("a.b", 5, namespace="foo")
    watch = scene.watch("a.b")
    watch.next()
    scene.set("a.c", 2)
    scene.set("a.b", 6, namespace="foo")
    scene.set("a.b", 1)
    scene.set("ab", 1)
    scene.set("a.b", 7)
    assert seen(watch.next()) == ("7", 4, False)


def test_document(scene: Any) -> None:
    """An empty path watches the whole document."""
    watch = scene.watch()
    watch.next()
    scene.set("a", 1)
    assert watch.next().value.data == '{"a":1}'


def test_before_anything(scene: Any) -> None:
    """A path can be watched before anything was written to the namespace."""
    watch = scene.watch("a", namespace="foo")
    assert seen(watch.next()) == ("null", 0, True)
    scene.set("a", 1, namespace="foo")
    assert seen(watch.next()) == ("1", 1, False)


def test_rollback(scene: Any) -> None:
    """Going back is a change like others, and the undoing of nothing is none."""
    scene.set("a", 1)
    scene.set("a", 2)
    watch = scene.watch("a")
    watch.next()
    scene.call("Rollback", pb.RollbackRequest(version=2))
    scene.call("Rollback", pb.RollbackRequest(version=1))
    assert seen(watch.next()) == ("1", 3, False)


def test_slow(scene: Any) -> None:
    """Who falls behind is told to watch anew, rather than lose a change; the others go on."""
    scene.limits = Limits(backlog=3)
    scene.start()
    scene.set("a", 0)
    slow, quick = scene.watch("a"), scene.watch("a")
    slow.next(), quick.next()
    for number in range(1, 5):
        scene.set("a", number)
        assert quick.next().value.data == str(number)
    with pytest.raises(Unavailable, match="watch anew"):
        slow.next()
    assert scene.watch("a").next().value.data == "4"


def test_too_many(scene: Any) -> None:
    """Watchers are bounded; one that hangs up makes room."""
    scene.limits = Limits(watchers=2)
    scene.start()
    scene.set("a", 1)
    first, second = scene.watch(), scene.watch("a")
    first.next(), second.next()
    with pytest.raises(Unavailable, match="there are 2 watchers already"):
        scene.watch().next()
    first.close()
    third = scene.watch()
    assert third.next().value.data == '{"a":1}'
    assert len(scene.config._watches) == 2


def test_stop(scene: Any) -> None:
    """When the daemon stops watchers are told to try elsewhere."""
    scene.set("a", 1)
    watch = scene.watch("a")
    watch.next()
    asked = watch.asked()
    scene.stop()
    with pytest.raises(Unavailable, match="the daemon is stopping"):
        done(asked)


def test_revoked(scene: Any) -> None:
    """An account whose tokens have become void is told so, and nothing else any more; others watch on."""
    scene.set("a", 1)
    watch = scene.watch("a")
    watch.next()
    waiting = watch.asked()
    scene.config.revoked("foo", "admin")
    scene.config.revoked("micro", "ada")
    assert not waiting.called
    scene.config.revoked("micro", "admin")
    with pytest.raises(Unauthorized, match="the account admin was revoked: log in again"):
        done(waiting)
    behind = scene.watch("a")
    behind.next()
    scene.set("a", 2)
    scene.config.revoked("micro", "admin")
    with pytest.raises(Unauthorized):
        behind.next()


def test_figures(scene: Any) -> None:
    """Versions, watchers and those cut off are counted."""
    scene.limits = Limits(backlog=1)
    scene.start()
    scene.set("a", 0)
    slow = scene.watch("a")
    slow.next()
    for number in range(1, 4):
        scene.set("a", number)
    assert {each.name: each.samples[0][1] for each in scene.config.figures()} == {
        "microd_config_versions_total": 4,
        "microd_config_watchers": 1,
        "microd_config_watchers_cut_total": 1,
    }
