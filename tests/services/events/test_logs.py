"""All topics of all namespaces: which there are, how many there may be, and how they go."""

from __future__ import annotations

from typing import Any

import pytest

from microd.kernel.errors import MicroError, NotFound, TooLarge, Unavailable
from microd.services.events.log.meta import Meta
from microd.services.events.model import Draft, Limits
from microd.services.store.errors import OutOfSpace
from microd.services.store.model import Query, Record

Rest = Any
Told = Any


def tables(rest: Rest, namespace: str = "acme") -> list[str]:
    """What the store has of a namespace."""
    return list(rest.done(rest.store.tables(namespace)))


def test_namespaces(rest: Rest) -> None:
    """A topic of one namespace has nothing to do with another's of the same name."""
    rest.publish(b"a", namespace="acme")
    (event,) = rest.publish(b"b", namespace="other")
    assert event.offset == 1
    assert rest.logs.find("third", "orders") is None
    assert rest.logs.names("third", "", 10) == ((), "")
    assert [event.payload for event in rest.done(rest.log(namespace="other").read(1, 9))] == [b"b"]


def test_names(rest: Rest) -> None:
    """Topics are listed by name, in pages, also after a restart."""
    for topic in ("b", "a", "c"):
        rest.publish(b"x", topic=topic)
    for _ in range(2):
        assert rest.logs.names("acme", "", 2) == (["a", "b"], "b")
        assert rest.logs.names("acme", "b", 2) == (["c"], "")
        assert rest.logs.names("acme", "", 3) == (["a", "b", "c"], "")
        rest.again()


def test_refused_first(rest: Rest, told: Told) -> None:
    """A first event that is refused does not make its topic."""
    large = b"x" * (rest.limits.event + 1)
    for metadata, payload in (({}, large), ({"Micro-Only-Group": "g"}, b"")):
        with pytest.raises(MicroError):
            rest.logs.submit("acme", "one", metadata, payload, told, None)
    for drafts in ([], [Draft(b"")] * 20_000, [Draft(large)]):
        with pytest.raises(MicroError):
            rest.logs.join("acme", "many", drafts)
    assert rest.logs.names("acme", "", 10) == ((), "")
    assert not told.stored_at


def test_most_topics(rest: Rest, told: Told) -> None:
    """A namespace has no more topics than it may have; others are not concerned, and deleting one makes room."""
    rest.logs.limits = rest.logs._shared.limits = Limits(topics=2)
    rest.publish(b"x", topic="a")
    rest.submit(told, b"x", topic="b")
    with pytest.raises(OutOfSpace, match="2 topics"):
        rest.submit(told, b"x", topic="c")
    with pytest.raises(OutOfSpace):
        rest.done(rest.logs.open("acme", "c", create=True))
    rest.publish(b"x", topic="c", namespace="other")
    rest.turns()
    rest.done(rest.logs.delete("acme", "a"))
    rest.publish(b"x", topic="c")


def test_waiting(rest: Rest, told: Told) -> None:
    """Who publishes faster than the disk writes is refused beyond a limit, and taken again once it has written."""
    rest.logs.limits = rest.logs._shared.limits = Limits(waiting=1000)
    rest.submit(told, b"x" * 800)
    with pytest.raises(Unavailable, match="disk"):
        rest.submit(told, b"x" * 800)
    with pytest.raises(Unavailable, match="disk"):
        rest.logs.join("acme", "bills", [Draft(b"x" * 800)])
    rest.turns()
    rest.submit(told, b"x" * 800)
    rest.turns()
    assert told.offsets == [1, 2]


def test_kept(rest: Rest, told: Told) -> None:
    """A namespace keeps no more bytes than it may, after a restart, too; deleting a topic makes room."""
    rest.logs.limits = rest.logs._shared.limits = rest.limits = Limits(namespace=3000)
    rest.publish(b"x" * 1500, topic="a")
    rest.publish(b"x" * 1000, topic="b")
    for _ in range(2):
        with pytest.raises(OutOfSpace, match="namespace_size"):
            rest.submit(told, b"x" * 1000)
        with pytest.raises(OutOfSpace, match="namespace_size"):
            rest.logs.join("acme", "b", [Draft(b"x" * 1000)])
        rest.publish(b"x" * 1000, namespace="other")
        rest.again()
        rest.turns()
    rest.done(rest.logs.delete("acme", "a"))
    rest.publish(b"x" * 1000)


def test_together(rest: Rest) -> None:
    """What is published together has a limit of bytes and of events, and is stored whole or not at all."""
    with pytest.raises(TooLarge, match="one call"):
        rest.logs.join("acme", "orders", [Draft(b"x" * (1 << 20))] * 17)
    rest.publish(*([b"x" * (1 << 20)] * 15))
    assert rest.log().next == 16


def test_delete(rest: Rest, told: Told) -> None:
    """A deleted topic is gone with its events and its groups; who has its log is told, and who waits is refused."""
    rest.publish(b"a", b"b")
    log = rest.log()
    rest.done(rest.store.write("acme", "groups:orders", Record("g", b"state")))
    gone: list[str] = []
    log.on_gone(lambda: gone.append("gone"))
    deleted = rest.done(rest.logs.delete("acme", "orders"))
    assert deleted is log
    assert log.gone
    assert gone == ["gone"]
    assert rest.logs.find("acme", "orders") is None
    with pytest.raises(NotFound):
        rest.done(log.read(1, 10))
    with pytest.raises(NotFound):
        rest.done(log.append([Draft(b"x")]))
    rest.logs.clear(log)
    rest.turns()
    assert tables(rest) == []
    with pytest.raises(NotFound):
        rest.done(rest.logs.delete("acme", "orders"))


def test_anew(rest: Rest) -> None:
    """A topic that is created anew begins at 1, and has other ids."""
    (before,) = rest.publish(b"a")
    log = rest.done(rest.logs.delete("acme", "orders"))
    waiting = rest.logs.join("acme", "orders", [Draft(b"b")])
    rest.turns()
    assert not waiting.called, "it waits for the old one to be cleared away"
    rest.logs.clear(log)
    (after,) = rest.done(waiting)
    assert (after.offset, after.payload) == (1, b"b")
    assert after.id != before.id
    assert rest.payloads() == [b"b"]


def test_crash_while_deleting(rest: Rest) -> None:
    """A topic whose deletion a crash interrupted does not come back, and what it left behind goes."""
    for number in range(3):
        rest.publish(b"%d" % number)
    rest.done(rest.store.write("acme", "groups:orders", Record("g", b"state")))
    rest.done(rest.logs.delete("acme", "orders"))
    rest.again()
    waiting = rest.logs.join("acme", "orders", [Draft(b"new")])
    (event,) = rest.done(waiting)
    assert event.offset == 1
    assert rest.payloads() == [b"new"]
    rest.done(rest.logs.delete("acme", "orders"))
    rest.again()
    rest.turns()
    assert tables(rest) == []


def test_damaged_block(rest: Rest) -> None:
    """A damaged block is an error which names the topic; what lies before it and other topics can be read."""
    for payload in (b"a", b"b", b"c"):
        rest.publish(payload)
    rest.publish(b"fine", topic="bills")
    key = rest.done(rest.store.list("acme", "log:orders", Query()))[1]
    rest.done(rest.store.write("acme", "log:orders", Record(key, b"rubbish")))
    rest.again()
    log = rest.log()
    assert [event.payload for event in rest.done(log.read(1, 1))] == [b"a"]
    with pytest.raises(Exception, match="topic orders of acme is damaged"):
        rest.done(log.read(2, 10))
    assert [event.payload for event in rest.done(log.read(3, 10))] == [b"c"]
    assert rest.payloads(topic="bills") == [b"fine"]


def test_damaged_end(rest: Rest, told: Told) -> None:
    """A topic whose last block is damaged takes no events, since the next offset is not known; it can be deleted."""
    rest.publish(b"a")
    rest.done(rest.store.write("acme", "log:orders", Record(f"{1:016x}", b"rubbish")))
    rest.again()
    rest.submit(told, b"b")
    rest.turns()
    ((_, error),) = told.errors
    assert "orders of acme is damaged" in str(error)
    rest.logs.clear(rest.done(rest.logs.delete("acme", "orders")))
    rest.publish(b"new")
    assert rest.payloads() == [b"new"]


def test_damaged_record(rest: Rest, told: Told) -> None:
    """A topic whose record is damaged loses nothing and takes nothing; others go on."""
    rest.publish(b"a")
    rest.publish(b"a", topic="bills")
    rest.done(rest.store.write("acme", "topics", Record("orders", b"rubbish")))
    rest.again()
    rest.turns()
    rest.submit(told, b"b")
    rest.turns()
    ((_, error),) = told.errors
    assert "orders of acme is damaged" in str(error)
    assert "log:orders" in tables(rest)
    assert rest.payloads(topic="bills") == [b"a"]


def test_stopped(rest: Rest, told: Told) -> None:
    """Who stops takes nothing more, and what was taken is stored."""
    rest.submit(told, b"a")
    stopped = rest.done(rest.logs.stop())
    assert stopped is None
    assert told.offsets == [1]
    with pytest.raises(Unavailable):
        rest.submit(told, b"b")
    with pytest.raises(Unavailable):
        rest.submit(told, b"b", topic="new")


def test_memory_is_bounded(rest: Rest, told: Told) -> None:
    """Of what was published, over all topics together, no more than so much stays in memory; the rest is read from disk."""
    tail = rest.logs._shared.tail
    tail._limit = 100_000
    for number in range(100):
        rest.submit(told, *([b"%d" % number * 100] * 10), topic=f"t{number % 10}")
        rest.turns(2)
        assert tail.bytes <= 100_000
    rest.turns()
    assert rest.log("t0").recent(1, 10) is None
    assert len(rest.payloads(topic="t0")) == 100


def test_meta() -> None:
    """A topic's record says the same after it was written."""
    from microd.services.events.log.meta import meta_from

    meta = Meta("00ff" * 4, 17)
    assert meta_from(meta.to_bytes()) == meta
