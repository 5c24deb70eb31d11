"""How long events are kept: by age and by size."""

from __future__ import annotations

from typing import Any

import pytest

from microd.kernel.errors import BadRequest
from microd.services.events import rules
from microd.services.events.model import Draft, Limits, Retention
from microd.services.store.errors import OutOfSpace
from microd.services.store.model import Query

Rest = Any
Told = Any


def keep(rest: Rest, **limits: int) -> None:
    """Have the daemon keep events as these limits say."""
    rest.limits = rest.logs.limits = rest.logs._shared.limits = Limits(**limits)


def blocks(rest: Rest, topic: str = "orders") -> list[int]:
    """The last offset of each block on disk."""
    return [int(key, 16) for key in rest.done(rest.store.list("acme", f"log:{topic}", Query()))]


def swept(rest: Rest) -> None:
    rest.done(rest.logs.sweep())


def test_age(rest: Rest) -> None:
    """Events go when they were stored too long ago, whatever their publishers say about their time; those who read there go on behind them."""
    keep(rest, age=100)
    rest.done(rest.logs.join("acme", "orders", [Draft(b"a", {}, 32_000_000_000_000)]))
    rest.clock.advance(60)
    rest.publish(b"b")
    rest.done(rest.logs.join("acme", "orders", [Draft(b"c", {}, 1)]))
    log = rest.log()
    heard: list[int] = []
    log.on_grown(lambda: heard.append(log.first))
    rest.clock.advance(41)
    swept(rest)
    assert (log.first, log.next, heard) == (2, 4, [2])
    assert rest.payloads() == [b"b", b"c"]
    assert blocks(rest) == [2, 3]
    assert [event.payload for event in log.recent(1, 10)] == [b"b", b"c"]


def test_size(rest: Rest) -> None:
    """The oldest blocks go while there are more bytes than are kept."""
    keep(rest, size=3500)
    for number in range(1, 11):
        rest.publish(b"%d" % number * 1000)
        rest.again()
    swept(rest)
    log = rest.log()
    assert log.size <= 3500
    assert blocks(rest) == [9, 10]
    assert (log.first, log.next) == (9, 11)


def test_all_gone(rest: Rest) -> None:
    """Where all events went, the next offset is the one behind them all the same, also after a restart; so no id is given twice."""
    keep(rest, age=100)
    rest.publish(b"a", b"b")
    created = rest.log().created
    rest.clock.advance(101)
    swept(rest)
    assert blocks(rest) == []
    for _ in range(2):
        log = rest.log()
        assert (log.first, log.next, log.size, log.created) == (3, 3, 0, created)
        assert rest.payloads() == []
        rest.again()
    (event,) = rest.publish(b"c")
    assert event.offset == 3
    rest.again()
    assert rest.payloads() == [b"c"]


def test_own_retention(rest: Rest) -> None:
    """A topic keeps its events as long as it was told to, also after a restart; -1 means for ever."""
    keep(rest, age=100)
    for topic, retention in (
        ("short", Retention(age=10)),
        ("ever", Retention(age=-1)),
        ("usual", Retention()),
    ):
        rest.publish(b"x", topic=topic)
        rest.done(rest.log(topic).configure(retention))
    rest.again()
    rest.clock.advance(11)
    swept(rest)
    assert [len(blocks(rest, topic)) for topic in ("short", "ever", "usual")] == [0, 1, 1]
    rest.clock.advance(100)
    swept(rest)
    assert [len(blocks(rest, topic)) for topic in ("short", "ever", "usual")] == [0, 1, 0]
    assert rest.log("ever").retention == Retention(age=-1)


def test_by_itself(rest: Rest) -> None:
    """What is beyond its time goes without being asked for, in topics that nobody has touched since the start, too."""
    keep(rest, age=100)
    rest.publish(b"x")
    rest.again()
    rest.clock.advance(101)
    rest.turns()
    rest.clock.advance(10)
    rest.turns()
    assert blocks(rest) == []


def test_small_steps(rest: Rest) -> None:
    """Many blocks go in several commits, none of which takes long; a publisher comes in between."""
    keep(rest, size=0)
    for _ in range(450):
        rest.publish(b"x")
    sizes: list[int] = []
    apply = rest.store.apply

    async def counted(acts: Any) -> Any:
        sizes.append(len(acts))
        return await apply(acts)

    rest.store.apply = counted
    swept(rest)
    assert max(sizes) <= 200
    assert sum(sizes) >= 450
    assert blocks(rest) == []


def test_full_disk(rest: Rest) -> None:
    """On a full disk all blocks go but the last, which says what the next offset is."""
    keep(rest, age=100)
    for payload in (b"a", b"b", b"c"):
        rest.publish(payload)
    write = rest.store.write

    async def full(*_: object, **__: object) -> int:
        raise OutOfSpace("full")

    rest.store.write = full
    rest.clock.advance(101)
    swept(rest)
    rest.store.write = write
    assert blocks(rest) == [3]
    rest.again()
    (event,) = rest.publish(b"d")
    assert event.offset == 4


def test_bad() -> None:
    """What is no retention is refused."""
    for retention in (Retention(age=-2), Retention(size=-2), Retention(age=1 << 40), Retention(size=1 << 62)):
        with pytest.raises(BadRequest):
            rules.check_retention(retention)


def test_time_after_retention(rest: Rest) -> None:
    """The place of a time is right where the event that was ahead of all others has gone."""
    keep(rest, age=100)
    rest.done(rest.logs.join("acme", "orders", [Draft(b"a", {}, 32_000_000_000_000)]))
    rest.clock.advance(101)
    for stamp in (10, 20, 30):
        rest.done(rest.logs.join("acme", "orders", [Draft(b"x", {}, stamp)]))
    swept(rest)
    rest.again()
    log = rest.log()
    assert [rest.done(log.offset_at(stamp)) for stamp in (5, 15, 30, 31)] == [2, 3, 4, 5]


def test_trim_while_publishing(rest: Rest, told: Told) -> None:
    """What is published while all that was there goes stays, and is counted."""
    keep(rest, age=100)
    rest.publish(b"old")
    write = rest.store.write

    async def meanwhile(*given: Any, **more: Any) -> Any:
        rest.store.write = write
        rest.submit(told, b"new")
        rest.turns()
        return await write(*given, **more)

    rest.store.write = meanwhile
    rest.clock.advance(101)
    rest.turns()
    assert told.offsets == [2]
    assert rest.payloads() == [b"new"]
    assert blocks(rest) == [2]
    size = rest.log().size
    assert size == rest.log().space.kept > 0
    rest.again()
    assert rest.log().size == size
