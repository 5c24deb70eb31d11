"""The log of a topic: what it takes, in which order, and what it gives back."""

from __future__ import annotations

from typing import Any

import pytest

from microd.kernel.errors import BadRequest, NotFound, PreconditionFailed, TooLarge
from microd.services.events.model import Draft
from microd.services.store.model import Check, Put, Query, Record

Rest = Any
Told = Any
NOW_MS = 1_800_000_000_000


def test_offsets(rest: Rest) -> None:
    """Events have the offsets 1, 2, 3 ... in the order in which they were published."""
    rest.publish(b"a", b"b")
    rest.publish(b"c")
    log = rest.log()
    assert [(event.offset, event.payload) for event in rest.done(log.read(1, 10))] == [
        (1, b"a"),
        (2, b"b"),
        (3, b"c"),
    ]
    assert (log.first, log.next) == (1, 4)


def test_told(rest: Rest, told: Told) -> None:
    """Who submits is told of each event's offset, in order, once it is stored and not before."""
    rest.submit(told, b"a", b"b")
    assert told.stored_at == []
    rest.turns()
    rest.submit(told, b"c")
    rest.turns()
    assert told.stored_at == [(b"a", "orders", 1), (b"b", "orders", 2), (b"c", "orders", 3)]


def test_one_block(rest: Rest, told: Told) -> None:
    """What comes in one turn is one record in the store."""
    rest.submit(told, *(b"%d" % number for number in range(1000)))
    rest.turns()
    assert rest.done(rest.store.list("acme", "log:orders", Query())) == [f"{1000:016x}"]


def test_blocks_are_bounded(rest: Rest, told: Told) -> None:
    """A block ends with 4,096 events or a megabyte; what is published together is stored together all the same."""
    rest.publish(*(b"x" for _ in range(5000)))
    rest.publish(*(b"x" * 300_000 for _ in range(8)))
    keys = [int(key, 16) for key in rest.done(rest.store.list("acme", "log:orders", Query()))]
    assert keys == [4096, 5000, 5003, 5006, 5008]
    rest.again()
    assert len(rest.payloads(1, 10_000)) == 5008


def test_again(rest: Rest) -> None:
    """After a restart the next event gets the next offset, and all are there with what was said about them."""
    before = rest.done(rest.logs.join("acme", "orders", [Draft(b"a", {"k": "v"}, 5), Draft(b"b")]))
    rest.again()
    rest.publish(b"c")
    events = rest.done(rest.log().read(1, 10))
    assert list(events[:2]) == list(before)
    assert [event.offset for event in events] == [1, 2, 3]
    assert (events[0].metadata, events[0].timestamp, events[1].timestamp) == ({"k": "v"}, 5, NOW_MS)


def test_ids(rest: Rest) -> None:
    """An event's id is a UUID that names its topic and offset, and no other topic takes it for its own."""
    (event,) = rest.publish(b"a")
    (other,) = rest.publish(b"a", topic="bills")
    log = rest.log()
    assert len(event.id) == 36
    assert event.id != other.id
    assert log.event_id(1) == event.id
    assert log.offset_of(event.id) == 1
    assert log.offset_of(other.id) is None
    for bad in (
        "",
        "x",
        event.id[:-1],
        event.id.upper() + "0",
        event.id[:-1] + "_",
        event.id[:-12] + "0" * 12,
    ):
        assert log.offset_of(bad) is None
    assert log.offset_of(log.event_id(1 << 50)) == 1 << 50


def test_recent(rest: Rest) -> None:
    """What was published last is read at once; what is not there yet is nothing; what is only on disk is asked for."""
    rest.publish(b"a", b"b")
    rest.publish(b"c")
    log = rest.log()
    assert [event.payload for event in log.recent(1, 2)] == [b"a", b"b"]
    assert [event.payload for event in log.recent(2, 10)] == [b"b", b"c"]
    assert [event.payload for event in log.recent(3, 1)] == [b"c"]
    assert log.recent(4, 10) == ()
    rest.again()
    assert rest.log().recent(1, 10) is None
    rest.publish(b"d")
    assert rest.log().recent(3, 10) is None
    assert [event.payload for event in rest.log().recent(4, 10)] == [b"d"]


def test_pages(rest: Rest) -> None:
    """A reader who takes a few at a time gets every event once, across blocks, from memory and from disk."""
    for begin in range(0, 90, 9):
        rest.publish(*(b"%d" % number for number in range(begin, begin + 9)))
    rest.again()
    rest.publish(*(b"%d" % number for number in range(90, 100)))
    log = rest.log()
    got: list[bytes] = []
    while events := rest.done(log.read(len(got) + 1, 7)):
        assert len(events) <= 7
        got += [event.payload for event in events]
    assert got == [b"%d" % number for number in range(100)]


def test_read_size(rest: Rest) -> None:
    """A read has no more bytes than asked for, unless it is one event."""
    rest.publish(*(b"x" * 1000 for _ in range(10)))
    log = rest.log()
    assert len(rest.done(log.read(1, 10, 2500))) == 2
    assert len(rest.done(log.read(1, 10, 1))) == 1


def test_grown(rest: Rest, told: Told) -> None:
    """Who wants to know is told when more can be read, until they leave."""
    heard: list[int] = []
    log = rest.log()
    leave = log.on_grown(lambda: heard.append(log.next))
    rest.submit(told, b"a", b"b")
    rest.turns()
    rest.publish(b"c")
    leave()
    leave()
    rest.publish(b"d")
    assert heard == [3, 4]


def test_time(rest: Rest) -> None:
    """The place of a time is the first event that did not happen before it, in memory and on disk."""
    for stamp in (100, 300, 200, 500, 400):
        rest.done(rest.logs.join("acme", "orders", [Draft(b"x", {}, stamp), Draft(b"y", {}, stamp + 10)]))
    wanted = {0: 1, 100: 1, 101: 2, 111: 3, 300: 3, 305: 4, 311: 7, 500: 7, 510: 8, 511: 11}
    log = rest.log()
    assert {stamp: rest.done(log.offset_at(stamp)) for stamp in wanted} == wanted
    log = rest.again() and rest.log()
    assert {stamp: rest.done(log.offset_at(stamp)) for stamp in wanted} == wanted


def test_append_with_acts(rest: Rest) -> None:
    """Acts are done in the commit of the events, or neither is."""
    log = rest.log()
    act = Put("acme", "groups:orders", Record("g", b"1"))
    (event,) = rest.done(log.append([Draft(b"a", {"Micro-Dead-Topic": "x"})], [act]))
    assert event.metadata == {"Micro-Dead-Topic": "x"}
    assert rest.done(rest.store.read_one("acme", "groups:orders", "g")).value == b"1"
    waiting = [
        log.join([(Draft(b"b"), b"")], 1),
        log.join([(Draft(b"c"), b"")], 1, [Check("acme", "groups:orders", "h", 7)]),
        log.join([(Draft(b"d"), b"")], 1, lambda: [Put("acme", "groups:orders", Record("g", b"2"))]),
    ]
    rest.turns()
    with pytest.raises(PreconditionFailed):
        rest.done(waiting[1])
    assert rest.payloads() == [b"a", b"b", b"d"]
    assert rest.done(rest.store.read_one("acme", "groups:orders", "g")).value == b"2"


def test_reserved(rest: Rest, told: Told) -> None:
    """Publishers may not use metadata which the platform gives a meaning to, however it is written."""
    for name in ("Micro-Only-Group", "micro-dead-topic", "MICRO-DEAD-X"):
        with pytest.raises(BadRequest, match="own"):
            rest.logs.submit("acme", "orders", {name: "x"}, b"", told, None)
        with pytest.raises(BadRequest, match="own"):
            rest.logs.join("acme", "orders", [Draft(b"", {name: "x"})])
    assert rest.log().next == 1


def test_bad(rest: Rest, told: Told) -> None:
    """Names, sizes and times that cannot be are refused, and nothing is stored."""
    submit = rest.logs.submit
    for topic in ("", "a\nb", "x" * 101, "a/../b"):
        with pytest.raises(BadRequest):
            submit("acme", topic, {}, b"", told, None)
    with pytest.raises(BadRequest, match="metadata"):
        submit("acme", "orders", {"k": "\ud800"}, b"", told, None)
    with pytest.raises(BadRequest, match="200"):
        submit("acme", "orders", dict.fromkeys(map(str, range(201)), ""), b"", told, None)
    with pytest.raises(TooLarge, match="metadata"):
        submit("acme", "orders", {"k": "v" * 20_000}, b"", told, None)
    with pytest.raises(TooLarge, match="max_event"):
        submit("acme", "orders", {}, b"x" * ((1 << 20) + 1), told, None)
    with pytest.raises(BadRequest, match="timestamp"):
        rest.logs.join("acme", "orders", [Draft(b"", {}, -1)])
    with pytest.raises(BadRequest, match="no events"):
        rest.logs.join("acme", "orders", [])
    rest.turns()
    assert told.stored_at == []
    rest.submit(told, b"fine", topic="x" * 100 + ".dlq")
    rest.turns()
    assert told.offsets == [1]


def test_missing(rest: Rest) -> None:
    """A topic comes into being with its first event or consumer, and not by being asked for."""
    with pytest.raises(NotFound):
        rest.done(rest.logs.open("acme", "orders", create=False))
    assert rest.log().next == 1
    rest.again()
    assert rest.done(rest.logs.open("acme", "orders", create=False)).next == 1
