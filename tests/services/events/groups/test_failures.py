"""When the disk of events fails, is slow, or full: what groups do, and what they do not."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred

from microd.kernel.errors import Unavailable
from microd.services.events.groups.group import AHEAD
from microd.services.events.model import Ack, Delivery, Position, Start, Verdict
from microd.services.store.errors import OutOfSpace, StoreFailed
from microd.services.store.model import Record

Town = Any


def failed(town: Town) -> None:
    """The store takes no more writes."""
    town.store.error = StoreFailed("the disk failed")
    town.store.failure = "the disk failed"


def test_goes_on_below_the_mark(town: Town) -> None:
    """On a disk that is full a group goes on as far as its mark, and no further: what lies beyond could come twice unmarked."""
    town.number(AHEAD + 2000)
    reader = town.consume("billing", auto_ack=True, most=1)
    town.wait(1)
    mark = reader.consumer._running.group.durable
    town.store.error = OutOfSpace("the disk is full")
    reader.go_on()
    town.turns()
    assert reader.offsets[-1] == mark < AHEAD + 2000
    assert not reader.over
    town.store.error = None
    town.wait(60)
    assert reader.offsets == list(range(1, AHEAD + 2001))
    assert reader.marked == []


def test_crash_while_full(town: Town) -> None:
    """Whatever was given while nothing could be written is marked when it comes again."""
    town.number(AHEAD + 2000)
    reader = town.consume("billing", auto_ack=True, most=1)
    town.wait(1)
    town.store.error = OutOfSpace("the disk is full")
    reader.go_on()
    town.turns()
    given = set(reader.offsets)
    town.crash()
    again = town.consume("billing", auto_ack=True)
    town.turns(100)
    assert again.offsets[-1] == AHEAD + 2000
    assert {each for each in again.offsets if each in given} <= set(again.marked)


def test_failed(town: Town) -> None:
    """When the disk has failed, named groups end where they would have to go beyond what is on disk; reading goes on."""
    town.number(AHEAD + 2000)
    reader = town.consume("billing", auto_ack=True, most=1)
    failed(town)
    reader.go_on()
    town.turns()
    assert isinstance(reader.error, Unavailable)
    assert "billing" in str(reader.error)
    private = town.consume(auto_ack=True)
    assert private.offsets == list(range(1, AHEAD + 2001))
    events, _ = town.done(town.events.read("acme", "orders", limit=10))
    assert len(events) == 10
    with pytest.raises(StoreFailed):
        town.consume("new")
    with pytest.raises(StoreFailed):
        town.done(town.events.ack("acme", "orders", "billing", []))


def test_ack_is_not_promised(town: Town) -> None:
    """An acknowledgement that could not be written is refused, and comes to nothing if the daemon dies."""
    town.number(1)
    reader = town.consume("billing")
    town.store.error = OutOfSpace("the disk is full")
    acks = [Ack(reader.got[0].event.id, Verdict.DONE)]
    with pytest.raises(OutOfSpace):
        town.done(town.events.ack("acme", "orders", "billing", acks))
    town.crash()
    again = town.consume("billing")
    assert (again.offsets, again.marked) == ([1], [1])


def test_not_before(town: Town) -> None:
    """An acknowledgement is answered once it is on disk, not before."""
    town.number(1)
    reader = town.consume("billing")
    town.wait(1)
    town.store.is_slow = True
    acking = town.events.ack("acme", "orders", "billing", [Ack(reader.got[0].event.id, Verdict.DONE)])
    waiting = Deferred.fromCoroutine(acking)
    town.turns()
    assert not waiting.called
    town.store.answer()
    assert waiting.called


def test_one_write_at_a_time(town: Town) -> None:
    """On a slow disk what changes meanwhile makes one write more."""
    town.number(100)
    reader = town.consume("billing", max_in_flight=100)
    town.wait(1)
    town.store.is_slow = True
    before = town.store.commits
    for number in range(100):
        reader.ack(number)
        town.wait(0.005)
    assert town.store.commits == before + 1
    town.store.answer()
    town.wait(0.01)
    assert town.store.commits == before + 2
    town.store.answer()
    town.crash()
    assert town.consume("billing").offsets == []


def test_many_groups_in_one_write(town: Town) -> None:
    """The state of many groups is written together."""
    readers = [town.consume(f"g{number}") for number in range(50)]
    town.number(1)
    town.wait(1)
    before = town.store.commits
    for reader in readers:
        reader.ack(0)
    town.wait(0.01)
    assert town.store.commits == before + 1


def test_idle(town: Town) -> None:
    """Where nothing happens nothing is written."""
    town.number(3)
    reader = town.consume("billing")
    reader.ack_all()
    town.wait(1)
    before = town.store.commits
    town.wait(3500)
    assert town.store.commits == before
    assert len(reader.got) == 3


def test_tried_again_less_often(town: Town) -> None:
    """A write that fails is tried again, each time later, up to half a minute; all is on disk then."""
    town.number(1)
    reader = town.consume("billing")
    town.wait(1)
    tries = []
    apply = town.store.apply

    async def counted(acts: Any) -> Any:
        tries.append(town.clock.seconds())
        return await apply(acts)

    town.store.apply = counted
    town.store.error = OutOfSpace("the disk is full")
    reader.ack(0)
    for _ in range(100):
        town.wait(1)
    assert 5 <= len(tries) <= 9
    town.store.error = None
    town.wait(30)
    town.crash()
    assert town.facts("billing").lag == 0


def test_damaged_log(town: Town) -> None:
    """Where events cannot be read the consumers are told; a group that is moved beyond goes on."""
    for payload in (b"1", b"2", b"3"):
        town.publish(payload)
    town.done(town.store.write("acme", "log:orders", Record(f"{2:016x}", b"garbage")))
    town.crash()
    reader = town.consume("billing")
    assert reader.offsets == [1]
    assert getattr(reader.error, "code", 0) == 500
    town.done(town.events.seek("acme", "orders", "billing", Position(Start.OFFSET, 3)))
    assert town.consume("billing").offsets == [3]


def test_consumer_that_is_cancelled(town: Town) -> None:
    """Who stops waiting takes nothing with him."""
    consumer = town.consume("billing", most=0).consumer
    waiting: Deferred[Delivery] = Deferred.fromCoroutine(consumer.__anext__())
    waiting.addErrback(lambda failure: failure.trap(CancelledError))
    waiting.cancel()
    town.number(1)
    assert town.facts("billing").delivered == 0
    assert town.done(anext(consumer)).event.offset == 1


def test_deleted_while_coming(town: Town) -> None:
    """Who comes while a group is being deleted gets a new one."""
    town.number(1)
    reader = town.consume("billing")
    reader.ack_all()
    reader.consumer.close()
    town.wait(1)
    deleting = Deferred.fromCoroutine(town.events.delete_group("acme", "orders", "billing"))
    again = town.consume("billing")
    town.turns()
    assert deleting.called
    assert again.offsets == [1]
    town.number(1)
    assert again.offsets == [1, 2]
