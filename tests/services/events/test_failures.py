"""What becomes of events when the disk is full, or fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from microd.kernel.errors import Internal, MicroError, NotFound
from microd.services.events.model import Draft, Retention
from microd.services.store.backends.memory import MemoryStore
from microd.services.store.errors import OutOfSpace, StoreFailed
from microd.services.store.model import Act, Query

Rest = Any
Told = Any


class Disk(MemoryStore):
    """A store whose writes wait until they are let through, or end as is said.

    @ivar waiting: lets the write through, or fails it.
    """

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.is_slow = False
        self.waiting: list[Deferred[MicroError | None]] = []
        self.keeps = True

    async def apply(self, acts: Sequence[Act]) -> Sequence[int]:
        if self.is_slow:
            turn: Deferred[MicroError | None] = Deferred()
            self.waiting.append(turn)
            error = await turn
            if error is not None:
                if self.keeps:
                    await super().apply(acts)
                raise error
        return await super().apply(acts)

    def go_on(self, error: MicroError | None = None, *, keeps: bool = False) -> None:
        """Let the oldest write through, or fail it; it may be on disk all the same."""
        self.keeps = keeps
        self.waiting.pop(0).callback(error)


@pytest.fixture
def disk(rest: Rest) -> Disk:
    """A disk that is slow from now on, with one event of C{orders} on it."""
    rest.store = Disk(now=rest.clock.seconds)
    rest.again()
    rest.publish(b"a")
    rest.store.is_slow = True
    found: Disk = rest.store
    return found


def test_not_before(rest: Rest, disk: Disk, told: Told) -> None:
    """Nothing is acknowledged, read or told of before it is on disk."""
    log = rest.log()
    grown: list[int] = []
    log.on_grown(lambda: grown.append(log.next))
    rest.submit(told, b"b")
    rest.turns()
    assert (told.offsets, log.next, grown, rest.payloads()) == ([], 2, [], [b"a"])
    disk.go_on()
    rest.turns()
    assert (told.offsets, log.next, grown, rest.payloads()) == ([2], 3, [3], [b"a", b"b"])


def test_one_at_a_time(rest: Rest, disk: Disk, told: Told) -> None:
    """While a block is written, what comes makes up the next one; other topics do not wait."""
    rest.submit(told, b"b", b"c")
    rest.turns()
    for payload in (b"d", b"e", b"f"):
        rest.submit(told, payload)
        rest.turns()
    assert len(disk.waiting) == 1
    rest.submit(told, b"x", topic="bills")
    rest.turns()
    assert len(disk.waiting) == 2
    disk.go_on()
    rest.turns()
    assert told.offsets == [2, 3]
    disk.go_on()
    disk.go_on()
    rest.turns()
    while disk.waiting:
        disk.go_on()
        rest.turns()
    keys = [int(key, 16) for key in rest.done(disk.list("acme", "log:orders", Query()))]
    assert keys == [1, 3, 6]
    assert sorted(told.stored_at, key=lambda each: (each[1], each[2]))[1:] == [
        (b"b", "orders", 2),
        (b"c", "orders", 3),
        (b"d", "orders", 4),
        (b"e", "orders", 5),
        (b"f", "orders", 6),
    ]


def test_full(rest: Rest, disk: Disk, told: Told) -> None:
    """On a full disk publishers are refused, reading goes on, and the offsets are given to those who come when there is room."""
    rest.submit(told, b"b", b"c")
    rest.turns()
    rest.submit(told, b"d")
    disk.go_on(OutOfSpace("the store's disk is full"))
    rest.turns()
    assert [(token, error.code) for token, error in told.errors] == [(b"b", 507), (b"c", 507)]
    assert told.errors[0][1] is not told.errors[1][1]
    disk.go_on()
    rest.turns()
    assert told.stored_at == [(b"d", "orders", 2)]
    assert rest.payloads() == [b"a", b"d"]
    rest.again()
    assert rest.payloads() == [b"a", b"d"]
    assert rest.log().space.waiting == 0


@pytest.mark.parametrize("keeps", [True, False])
def test_failed(rest: Rest, disk: Disk, told: Told, keeps: bool) -> None:
    """When the disk failed it is not known what it has: nothing more is written, reading goes on, and the next start tells."""
    rest.submit(told, b"b")
    rest.turns()
    rest.submit(told, b"c")
    disk.go_on(StoreFailed("the store's disk failed", code=500), keeps=keeps)
    rest.turns()
    disk.go_on(StoreFailed("the store takes no more writes"))
    rest.turns()
    assert [(token, error.code) for token, error in told.errors] == [(b"b", 500), (b"c", 503)]
    with pytest.raises(StoreFailed):
        rest.submit(told, b"d")
    with pytest.raises(StoreFailed):
        rest.logs.join("acme", "bills", [Draft(b"d")])
    assert rest.payloads() == [b"a"]
    assert not disk.waiting
    disk.is_slow = False
    rest.again()
    assert rest.payloads() == ([b"a", b"b"] if keeps else [b"a"])
    (event,) = rest.publish(b"e")
    assert event.offset == (3 if keeps else 2)


@pytest.mark.parametrize("keeps", [True, False])
def test_unknown(rest: Rest, disk: Disk, told: Told, keeps: bool) -> None:
    """After an error which says nothing about what is on disk, that is looked at before the next event is written."""
    rest.submit(told, b"b")
    rest.turns()
    rest.submit(told, b"c")
    disk.go_on(Internal("the store could not write"), keeps=keeps)
    rest.turns()
    disk.go_on()
    rest.turns()
    assert told.stored_at == [(b"c", "orders", 3 if keeps else 2)]
    assert rest.payloads() == ([b"a", b"b", b"c"] if keeps else [b"a", b"c"])
    assert rest.log().space.kept == rest.log().size


def test_not_created(rest: Rest, disk: Disk, told: Told) -> None:
    """A topic which could not be created is not there; who wanted to publish is refused."""
    rest.submit(told, b"x", topic="new")
    waiting = rest.logs.join("acme", "new", [Draft(b"y")])
    rest.turns()
    disk.go_on(OutOfSpace("full"))
    rest.turns()
    ((_, error),) = told.errors
    assert error.code == 507
    with pytest.raises(OutOfSpace):
        rest.done(waiting)
    assert rest.logs.find("acme", "new") is None
    disk.is_slow = False
    rest.publish(b"z", topic="new")
    assert rest.payloads(topic="new") == [b"z"]


def test_slow_and_stopped(rest: Rest, disk: Disk, told: Told) -> None:
    """Who stops waits until what was taken is on disk."""
    rest.submit(told, b"b")
    rest.turns()
    stopping = Deferred.fromCoroutine(rest.logs.stop())
    assert not stopping.called
    disk.go_on()
    rest.turns()
    assert stopping.called
    assert told.offsets == [2]


def test_deleted_while_writing(rest: Rest, disk: Disk, told: Told) -> None:
    """A topic that is deleted while events wait for the disk takes them with it; nothing of them stays."""
    rest.submit(told, b"b")
    rest.turns()
    rest.submit(told, b"c")
    deleting = Deferred.fromCoroutine(rest.logs.delete("acme", "orders"))
    log = rest.logs.find("acme", "orders")
    disk.waiting.pop().callback(None)
    assert deleting.called
    assert log.gone
    disk.go_on()
    rest.turns()
    assert told.offsets == [2]
    assert [(token, error.code) for token, error in told.errors] == [(b"c", 404)]
    assert (log.space.kept, log.space.waiting) == (0, 0)


def test_somebody_fails(rest: Rest, told: Told, flush: Callable[[], list[str]]) -> None:
    """Somebody who fails when told of an event keeps nobody else from hearing of theirs."""

    class Bad:
        def stored(self, *_: object) -> None:
            raise ValueError("bad")

        refused = stored

    rest.logs.submit("acme", "orders", {}, b"a", Bad(), None)
    rest.submit(told, b"b")
    rest.turns()
    assert told.offsets == [2]
    assert len(flush()) == 1


def test_company(rest: Rest, disk: Disk, told: Told) -> None:
    """On a slow disk the next block waits a little for those who were just answered; where they do not come, it goes without, and the next ones at once."""
    rest.submit(told, b"b", b"c")
    rest.turns()
    rest.submit(told, b"d", b"e")
    rest.clock.advance(0.004)
    disk.go_on()
    rest.turns()
    assert not disk.waiting, "it waits for two more"
    rest.submit(told, b"f", b"g")
    rest.turns()
    assert len(disk.waiting) == 1
    rest.submit(told, b"h")
    rest.clock.advance(0.004)
    disk.go_on()
    rest.turns()
    assert told.offsets == [2, 3, 4, 5, 6, 7]
    assert not disk.waiting
    rest.clock.advance(0.002)
    rest.turns()
    assert len(disk.waiting) == 1, "nobody came"
    rest.submit(told, b"i")
    rest.clock.advance(0.004)
    disk.go_on()
    rest.turns()
    assert len(disk.waiting) == 1, "it has learnt"
    disk.go_on()
    rest.turns()
    assert told.offsets == [2, 3, 4, 5, 6, 7, 8, 9]


def test_gone_while_waiting(rest: Rest, disk: Disk, told: Told) -> None:
    """A topic that is deleted while its next block waits for company refuses what is in it."""
    rest.submit(told, b"b")
    rest.turns()
    rest.submit(told, b"c")
    rest.clock.advance(0.004)
    disk.go_on()
    rest.turns()
    disk.is_slow = False
    rest.done(rest.logs.delete("acme", "orders"))
    rest.clock.advance(0.01)
    rest.turns()
    assert told.offsets == [2]
    assert [(token, error.code) for token, error in told.errors] == [(b"c", 404)]


def test_deleted_twice(rest: Rest, disk: Disk) -> None:
    """Of two who delete a topic at the same moment one hears that it is not there; a new one of its name is neither's."""
    one = Deferred.fromCoroutine(rest.logs.delete("acme", "orders"))
    two = Deferred.fromCoroutine(rest.logs.delete("acme", "orders"))
    disk.go_on()
    log = rest.done(one)
    disk.is_slow = False
    rest.logs.clear(log)
    rest.turns()
    rest.publish(b"new")
    disk.go_on()
    with pytest.raises(NotFound):
        rest.done(two)
    assert rest.payloads() == [b"new"]


def test_configured_while_deleted(rest: Rest, disk: Disk) -> None:
    """Who configures a topic that is deleted meanwhile brings nothing of it back."""
    log = rest.log()
    one = Deferred.fromCoroutine(log.configure(Retention(age=1)))
    two = Deferred.fromCoroutine(log.configure(Retention(age=2)))
    deleting = Deferred.fromCoroutine(rest.logs.delete("acme", "orders"))
    disk.waiting.pop().callback(None)
    log = rest.done(deleting)
    disk.go_on()
    rest.done(one)
    disk.is_slow = False
    rest.logs.clear(log)
    rest.turns()
    with pytest.raises(NotFound):
        rest.done(two)
    rest.again()
    assert rest.logs.find("acme", "orders") is None
    assert rest.done(disk.tables("acme")) == []


def test_stopped_while_deleting(rest: Rest, disk: Disk, told: Told) -> None:
    """Who stops does not wait for what is left of a deleted topic; who wanted to make it anew is refused."""
    disk.is_slow = False
    log = rest.done(rest.logs.delete("acme", "orders"))
    disk.is_slow = True
    rest.logs.clear(log)
    rest.submit(told, b"new")
    rest.turns()
    stopping = Deferred.fromCoroutine(rest.logs.stop())
    rest.turns()
    assert stopping.called
    assert [(token, error.code) for token, error in told.errors] == [(b"new", 503)]
    disk.is_slow = False
    rest.again()
    rest.publish(b"newer")
    assert rest.payloads() == [b"newer"]
