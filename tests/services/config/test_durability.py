"""Writes which wait, fail, or whose callers go away."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred

from microd.kernel.caller import Caller
from microd.kernel.errors import Internal, PreconditionFailed, Unavailable
from microd.services.config.model import Limits
from microd.services.store.backends.memory import MemoryStore
from microd.services.store.backends.sqlite import SqliteStore
from microd.services.store.backends.worker import Inline
from microd.services.store.errors import OutOfSpace
from microd.services.store.model import Check, Drop, Put, Record
from microd.testing.outcome import done
from microd.wire import config_pb2 as pb


class SlowStore(MemoryStore):
    """A store whose disk takes its time; what is not on it yet nobody sees.

    @ivar waiting: fires when the disk is done; an error there is one of the disk.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Deferred[None]] = []

    async def apply(self, acts: Sequence[Put | Drop | Check]) -> Sequence[int]:
        turn: Deferred[None] = Deferred()
        self.waiting.append(turn)
        await turn
        return await super().apply(acts)

    def finish(self) -> None:
        """Let the first write reach the disk."""
        self.waiting.pop(0).callback(None)


@pytest.fixture
def slow(scene: Any) -> Any:
    """A config on such a store, with something in it."""
    scene.store = SlowStore()
    scene.start()
    first = start(scene, "a", "0")
    scene.store.finish()
    assert done(first).version == 1
    return scene


def start(scene: Any, path: str, data: str, **rest: Any) -> Deferred[Any]:
    """Begin to set a value."""
    request = pb.SetRequest(path=path, value=pb.Value(data=data), **rest)
    from_admin = Caller(account=scene.admin)
    return Deferred.fromCoroutine(scene.endpoint("Set").handler(request, from_admin))


def test_not_before(slow: Any) -> None:
    """Nobody sees a write, nor is told of it, before it is on disk."""
    watch = slow.watch("a")
    watch.next()
    asked = watch.asked()
    writing = start(slow, "a", "1")
    assert slow.get("a") == 0
    assert not writing.called
    assert not asked.called
    slow.store.finish()
    assert (slow.get("a"), done(writing).version, done(asked).value.data) == (1, 2, "1")


def test_one_after_the_other(slow: Any) -> None:
    """Writes to a namespace follow each other: none is lost, each sees the one before."""
    writing = [start(slow, f"k{number}", str(number)) for number in range(5)]
    assert len(slow.store.waiting) == 1
    for _ in range(5):
        slow.store.finish()
    assert [done(each).version for each in writing] == [2, 3, 4, 5, 6]
    assert slow.get() == {"a": 0, **{f"k{number}": number for number in range(5)}}


def test_race(slow: Any) -> None:
    """Of two who saw the same version, one succeeds."""
    one, other = start(slow, "a", "1", if_version=1), start(slow, "a", "2", if_version=1)
    slow.store.finish()
    assert done(one).version == 2
    with pytest.raises(PreconditionFailed):
        done(other)
    assert slow.get("a") == 1


def test_namespaces_side_by_side(slow: Any) -> None:
    """A namespace does not wait for another."""
    first = start(slow, "a", "1")
    second = start(slow, "a", "1", namespace="foo")
    slow.store.waiting.reverse()
    slow.store.finish()
    assert (first.called, done(second).version) == (False, 1)
    slow.store.finish()
    done(first)


def test_caller_gone(slow: Any) -> None:
    """A write that has begun goes on without its caller; the next one sees what it wrote."""
    gone = start(slow, "a", "1")
    gone.cancel()
    with pytest.raises(CancelledError):
        done(gone)
    following = start(slow, "b", "2")
    slow.store.finish()
    slow.store.finish()
    assert (done(following).version, slow.get()) == (3, {"a": 1, "b": 2})


def test_caller_gone_early(slow: Any) -> None:
    """A write whose caller goes before its turn is not made."""
    first, gone = start(slow, "a", "1"), start(slow, "b", "2")
    gone.cancel()
    with pytest.raises(CancelledError):
        done(gone)
    slow.store.finish()
    assert (done(first).version, slow.get(), slow.store.waiting) == (2, {"a": 1}, [])


@pytest.mark.parametrize("problem", [OutOfSpace("the disk is full"), OSError(5, "Input/output error")])
def test_disk_fails(slow: Any, problem: Exception) -> None:
    """A write that fails changes nothing, its number is free, and those after it go on."""
    watch = slow.watch("a")
    watch.next()
    failing, following = start(slow, "a", "1"), start(slow, "a", "2")
    slow.store.waiting.pop(0).errback(problem)
    with pytest.raises(type(problem)):
        done(failing)
    assert slow.get("a") == 0
    slow.store.finish()
    assert (done(following).version, watch.next().value.data) == (2, "2")


def test_stop_waits(slow: Any) -> None:
    """Stopping waits for the write that is under way."""
    writing = start(slow, "a", "1")
    stopping = slow.config.stopService()
    assert not stopping.called
    slow.store.finish()
    done(stopping)
    assert done(writing).version == 2


def test_too_many(slow: Any) -> None:
    """So many writes wait and no more."""
    slow.limits = Limits(waiting=2)
    slow.start()
    writing = [start(slow, "a", str(number)) for number in range(1, 4)]
    with pytest.raises(Unavailable, match=r"2 changes of the config of micro are waiting"):
        done(start(slow, "a", "9"))
    for _ in writing:
        slow.store.finish()
    assert [done(each).version for each in writing] == [2, 3, 4]


def test_read_while_written(slow: Any) -> None:
    """Who reads a document which is not in memory does not bring an old one back."""
    slow.start()
    writing = start(slow, "a", "1")
    asked = Deferred.fromCoroutine(slow.config.get("micro", "a"))
    slow.store.finish()
    done(writing)
    done(asked)
    assert slow.get("a") == 1


def test_damaged(scene: Any) -> None:
    """A document that cannot be read is an error which says so, never another document."""
    scene.set("a", 1)
    done(scene.store.write("micro", "config", Record("document/micro", b'{"version":3')))
    scene.start()
    for ask in (lambda: scene.get(), lambda: scene.set("a", 2)):
        with pytest.raises(Internal, match="the config of micro cannot be read"):
            ask()


def test_on_sqlite(scene: Any, tmp_path: Path) -> None:
    """On the real store all is there after a restart: values, secrets, versions."""
    for number in range(1, 4):
        scene.store = SqliteStore(tmp_path / "system.db", scene.clock, workers=lambda _, __: Inline())
        scene.store.startService()
        scene.start()
        assert scene.set("a", {"n": number}) == 2 * number - 1
        assert scene.set("s", str(number), secret=True) == 2 * number
        assert scene.get(secret=True) == {"a": {"n": number}, "s": str(number)}
        if number > 1:
            assert scene.get(secret=True, version=2 * number - 3) == {
                "a": {"n": number - 1},
                **({"s": str(number - 2)} if number > 2 else {}),
            }
        assert len(scene.history().versions) == 2 * number
        scene.stop()
        done(scene.store.stopService())
