"""Consuming: where a group begins, who gets what, what comes again and when."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from microd.kernel.caller import Account
from microd.kernel.errors import BadRequest, Conflict, MicroError, NotFound, Unauthorized, Unavailable
from microd.services.events.model import Ack, Draft, Limits, Position, Start, Terms, Verdict
from microd.services.store.model import Record

Town = Any
AGAIN, DROP, UNTRIED, WORKING = Verdict.AGAIN, Verdict.DROP, Verdict.UNTRIED, Verdict.WORKING


def test_earliest(town: Town) -> None:
    """A group that begins with the earliest event gets all that is kept, and then what comes."""
    town.number(3)
    reader = town.consume("billing")
    assert reader.payloads == [b"1", b"2", b"3"]
    town.publish(b"4")
    assert reader.payloads == [b"1", b"2", b"3", b"4"]
    assert [(each.attempt, each.redelivered) for each in reader.got] == [(1, False)] * 4


def test_latest(town: Town) -> None:
    """A group that begins with the latest gets what comes from then on."""
    town.number(3)
    reader = town.consume("billing", start=Position(Start.LATEST))
    town.publish(b"new")
    assert reader.payloads == [b"new"]


def test_offset(town: Town) -> None:
    """A group may begin at an offset; one beyond the end is the end."""
    town.number(5)
    assert town.consume("a", start=Position(Start.OFFSET, 4)).offsets == [4, 5]
    assert town.consume("b", start=Position(Start.OFFSET, 0)).offsets == [1, 2, 3, 4, 5]
    reader = town.consume("c", start=Position(Start.OFFSET, 1000))
    town.publish(b"6")
    assert reader.offsets == [6]


def test_time(town: Town) -> None:
    """A group may begin with the first event that is not older than a time."""
    town.publish(b"old")
    town.wait(60)
    town.publish(b"new")
    at = int(town.clock.seconds() * 1000) - 1000
    assert town.consume("a", start=Position(Start.TIME, at)).payloads == [b"new"]


def test_new_topic(town: Town) -> None:
    """The first consumer makes the topic."""
    reader = town.consume("billing", topic="fresh")
    town.publish(b"1", topic="fresh")
    assert reader.payloads == [b"1"]


def test_group_goes_on(town: Town) -> None:
    """A group that is not new goes on where it was, whatever its consumer says about where to begin."""
    town.number(3)
    reader = town.consume("billing")
    reader.ack_all()
    reader.consumer.close()
    town.publish(b"4")
    assert town.consume("billing").offsets == [4]


def test_remembered(town: Town) -> None:
    """A group is remembered over a restart, also one that was given nothing yet."""
    town.consume("idle", start=Position(Start.LATEST)).consumer.close()
    town.number(3)
    reader = town.consume("billing")
    reader.ack(0)
    reader.ack(1)
    town.again()
    assert town.consume("billing").offsets == [3]
    assert town.consume("idle", start=Position(Start.LATEST)).offsets == [1, 2, 3]


def test_new_group_is_kept_first(town: Town) -> None:
    """A new group is on disk before its consumer hears of it: a crash then loses none of its events."""
    town.number(2)
    town.consume("billing", start=Position(Start.LATEST))
    town.crash()
    town.publish(b"3")
    assert town.consume("billing", start=Position(Start.LATEST)).offsets == [3]


def test_competing(town: Town) -> None:
    """Of two who consume for a group, each event goes to one, in turn."""
    first, second = town.consume("billing"), town.consume("billing")
    town.number(10)
    assert sorted(first.offsets + second.offsets) == list(range(1, 11))
    assert len(first.offsets) == len(second.offsets) == 5


def test_least_burdened(town: Town) -> None:
    """Of those who wait, the one that holds least gets the next."""
    first = town.consume("billing")
    town.number(4)
    second = town.consume("billing")
    town.publish(b"5", b"6", b"7", b"8")
    assert second.offsets == [5, 6, 7, 8]
    town.publish(b"9", b"10")
    assert (first.offsets[4:], second.offsets[4:]) in (([9], [10]), ([10], [9]))


def test_two_groups(town: Town) -> None:
    """Each group gets every event."""
    readers = [town.consume(name) for name in ("a", "b")] + [town.consume(), town.consume()]
    town.number(3)
    assert [reader.offsets for reader in readers] == [[1, 2, 3]] * 4


def test_leaves(town: Town) -> None:
    """What a consumer had not acknowledged when it left comes again at once to another, marked, and before anything new."""
    first = town.consume("billing", max_in_flight=3)
    town.number(5)
    assert first.offsets == [1, 2, 3]
    first.ack(1)
    assert first.offsets == [1, 2, 3, 4]
    first.consumer.close()
    second = town.consume("billing")
    assert second.offsets == [1, 3, 4, 5]
    assert second.marked == [1, 3, 4]
    assert [each.attempt for each in second.got] == [2, 2, 2, 1]


def test_dies_beside_another(town: Town) -> None:
    """One of two consumers dies: the other gets all that was not done with, and nothing twice that was."""
    first, second = town.consume("billing", max_in_flight=4), town.consume("billing", max_in_flight=4)
    town.number(20)
    done = first.offsets[:2] + second.offsets
    first.ack(0)
    first.ack(1)
    first.consumer.close()
    for number in range(20):
        if number < len(second.got):
            second.ack(number)
            town.turns(2)
    assert first.over
    assert set(done) | set(second.offsets) == set(range(1, 21))
    assert not set(first.offsets[:2]) & set(second.offsets)
    assert set(second.marked) == set(first.offsets[2:])


def test_window(town: Town) -> None:
    """A consumer holds no more events than it said; an acknowledged one makes room for another."""
    town.number(10)
    reader = town.consume("billing", max_in_flight=3)
    assert reader.offsets == [1, 2, 3]
    reader.ack(1)
    assert reader.offsets == [1, 2, 3, 4]


@pytest.mark.parametrize("auto_ack", [False, True])
def test_count(town: Town, auto_ack: bool) -> None:
    """A consumer who wants so many gets no more, whatever it acknowledges: nothing beyond counts as given."""
    town.number(5)
    reader = town.consume("billing", max_in_flight=2, count=3, auto_ack=auto_ack)
    for number in (0, 1, 2):
        reader.ack(number)
    town.publish(b"6")
    town.turns(2)
    assert reader.offsets == [1, 2, 3]
    assert town.facts("billing").delivered == 3
    reader.consumer.close()
    again = town.consume("billing")
    assert (again.offsets, again.marked) == ([4, 5, 6], [])


def test_group_window(make_town: Any) -> None:
    """All consumers of a group together hold no more than the group may."""
    town = make_town(Limits(in_flight=5))
    town.number(20)
    readers = [town.consume("billing", max_in_flight=4) for _ in range(3)]
    assert sum(len(reader.got) for reader in readers) == 5
    readers[0].ack(0)
    assert sum(len(reader.got) for reader in readers) == 6


def test_auto_ack(town: Town) -> None:
    """Where it acknowledges by itself, an event is done with once the next one is asked for."""
    town.number(3)
    reader = town.consume("billing", auto_ack=True, most=2)
    assert reader.offsets == [1, 2]
    assert town.facts("billing").acknowledged == 1
    reader.consumer.close()
    again = town.consume("billing", auto_ack=True)
    assert (again.offsets, again.marked) == ([2, 3], [2])
    assert town.facts("billing").acknowledged == 3


def test_slow_reader(town: Town) -> None:
    """Who takes its time with an event that is acknowledged by itself does not get it twice."""
    town.number(2)
    reader = town.consume("billing", auto_ack=True, most=1)
    town.wait(3600)
    reader.go_on()
    assert reader.offsets == [1, 2]
    assert reader.marked == []


def test_ack_wait(town: Town) -> None:
    """What is not acknowledged in time comes again, marked, with its attempt counted."""
    town.number(1)
    reader = town.consume("billing", ack_wait=5.0)
    town.wait(4.9)
    assert reader.offsets == [1]
    town.wait(0.1)
    assert reader.offsets == [1, 1]
    assert (reader.got[1].attempt, reader.got[1].redelivered) == (2, True)


def test_working(town: Town) -> None:
    """Who says that he is working on it has the time once more."""
    town.number(1)
    reader = town.consume("billing", ack_wait=5.0)
    for _ in range(3):
        town.wait(4)
        assert reader.ack(0, WORKING)
    assert reader.offsets == [1]
    town.wait(5)
    assert reader.offsets == [1, 1]


def test_backoff(town: Town) -> None:
    """What is refused comes again after a second, then two, four, up to the most: no attempts are burnt in no time."""
    town.number(1)
    reader = town.consume("billing", backoff=1.0, backoff_max=5.0)
    for wait in (1, 2, 4, 5, 5):
        count = len(reader.got)
        assert reader.ack(-1, AGAIN)
        town.wait(wait - 0.01)
        assert len(reader.got) == count
        town.wait(0.01)
        assert len(reader.got) == count + 1
    assert [each.attempt for each in reader.got] == [1, 2, 3, 4, 5, 6]


def test_jitter(make_town: Any) -> None:
    """A random part of a backoff is taken off, at most half of it."""
    town = make_town(dice=1.0)
    town.number(1)
    reader = town.consume("billing", backoff=8.0)
    reader.ack(0, AGAIN)
    town.wait(3.9)
    assert reader.offsets == [1]
    town.wait(0.2)
    assert reader.offsets == [1, 1]


def test_delay(town: Town) -> None:
    """Who refuses an event may say when it is to come again; no dice are thrown."""
    town.number(1)
    reader = town.consume("billing")
    reader.ack(0, AGAIN, delay=0.25)
    town.wait(0.2)
    assert reader.offsets == [1]
    town.wait(0.05)
    assert reader.offsets == [1, 1]


def test_hold_back(town: Town) -> None:
    """An event that waits to come again holds back all that nobody has had, and comes before them."""
    town.number(1)
    reader, other = town.consume("billing"), town.consume("billing")
    holder = reader if reader.got else other
    holder.ack(0, AGAIN)
    town.publish(b"2", b"3")
    assert reader.offsets + other.offsets == [1]
    town.wait(1)
    assert sorted(reader.offsets + other.offsets) == [1, 1, 2, 3]


def test_untried(town: Town) -> None:
    """What was not tried comes again at once, marked, and the attempt does not count."""
    town.number(1)
    reader = town.consume("billing", most=1)
    reader.ack(0, UNTRIED)
    reader.go_on()
    assert reader.offsets == [1, 1]
    assert (reader.got[1].attempt, reader.got[1].redelivered) == (1, True)


def test_late_words(town: Town) -> None:
    """Words that come late, twice, from somebody else or about nothing do no harm; one that it is done is believed."""
    town.number(2)
    first = town.consume("billing", ack_wait=1.0, most=1, max_in_flight=1)
    town.wait(1)
    second = town.consume("billing", max_in_flight=1)
    assert second.offsets == [1]
    assert not first.ack(0, AGAIN)
    assert not first.ack(0, DROP)
    assert first.ack(0)
    assert not first.ack(0)
    assert not second.ack(0)
    assert not second.ack(0, AGAIN)
    town.turns()
    assert second.offsets == [1, 2]
    assert town.facts("billing").acknowledged == 1


def test_private(town: Town) -> None:
    """A group without a name begins where it says, is nobody else's, and ends with its consumer."""
    town.number(2)
    reader = town.consume(auto_ack=True)
    assert reader.offsets == [1, 2]
    assert town.facts("").consumers == 1
    reader.consumer.close()
    assert town.done(town.events.lag("acme", "orders")) == []
    assert town.done(town.store.tables("acme")) == ["log:orders", "topics"]


def test_durable_ack(town: Town) -> None:
    """What was acknowledged by a call of its own is on disk when that returns."""
    town.number(3)
    reader = town.consume("billing")
    ids = [delivery.event.id for delivery in reader.got]
    acks = [Ack(ids[0], Verdict.DONE), Ack(ids[2], Verdict.DONE), Ack("nothing", Verdict.DONE)]
    assert town.done(town.events.ack("acme", "orders", "billing", acks)) == 2
    town.crash()
    assert town.consume("billing").offsets == [2]


def test_acks_reach_the_disk(town: Town) -> None:
    """What is acknowledged on the stream is on disk 10 ms later, together with what else was."""
    town.number(50)
    reader = town.consume("billing")
    before = town.store.commits
    for number in range(50):
        reader.ack(number)
    town.wait(0.01)
    assert town.store.commits == before + 1
    town.crash()
    town.publish(b"51")
    assert town.consume("billing").offsets == [51]


def test_marked_after_a_crash(town: Town) -> None:
    """After a crash all that may have been given before is marked, and nothing that came later."""
    town.number(3)
    reader = town.consume("billing")
    assert reader.offsets == [1, 2, 3]
    town.crash()
    town.publish(b"4")
    again = town.consume("billing")
    assert again.offsets == [1, 2, 3, 4]
    assert again.marked == [1, 2, 3]


def test_exact_after_a_stop(town: Town) -> None:
    """After a proper stop only that is marked which was given."""
    town.number(5)
    reader = town.consume("billing", most=2)
    reader.ack(0)
    town.again()
    again = town.consume("billing")
    assert again.offsets == [2, 3, 4, 5]
    assert again.marked == [2]
    assert again.got[0].attempt == 2


def test_waits_over_a_restart(town: Town) -> None:
    """What waited to come again goes on waiting after a restart, with its failures remembered."""
    town.number(2)
    reader = town.consume("billing", max_in_flight=1)
    reader.ack(0, AGAIN, delay=10)
    town.wait(4)
    town.again()
    reader = town.consume("billing", max_in_flight=1)
    town.wait(5.9)
    assert reader.offsets == []
    town.wait(0.1)
    assert reader.offsets == [1]
    assert reader.got[0].attempt == 2
    reader.ack(0, AGAIN)
    town.wait(1.9)
    assert reader.offsets == [1]


def test_stop_ends_consumers(town: Town) -> None:
    """A daemon that stops ends its consumers with an error that says to come again."""
    reader = town.consume("billing")
    town.done(town.events.stopService())
    assert isinstance(reader.error, Unavailable)
    with pytest.raises(Unavailable):
        town.done(town.events.consume("acme", "orders", Terms("billing")))


def test_topic_deleted(town: Town) -> None:
    """When its topic is deleted a consumer ends; a group of the new topic of that name is a new one."""
    town.number(3)
    reader = town.consume("billing")
    town.done(town.events.delete_topic("acme", "orders"))
    assert isinstance(reader.error, NotFound)
    town.turns()
    assert town.consume("billing").offsets == []
    town.publish(b"1")
    assert town.facts("billing").lag == 1


def test_revoked(town: Town) -> None:
    """The consumers of an account whose tokens are void end; those of others go on."""
    ann, bob = (
        town.done(town.events.consume("acme", "orders", Terms("g"), reader=Account(name, "user", "acme")))
        for name in ("ann", "bob")
    )
    town.events.revoked("acme", "ann")
    with pytest.raises(Unauthorized):
        town.done(anext(ann))
    town.events.revoked("other", "bob")
    town.publish(b"1")
    assert town.done(anext(bob)).event.offset == 1


def test_only_for_one_group(town: Town) -> None:
    """An event that is meant for one group is passed over by the others."""
    a, b, private = town.consume("a"), town.consume("b"), town.consume()
    log = town.done(town.logs.open("acme", "orders", True))
    town.done(log.append([Draft(b"1"), Draft(b"2", {"Micro-Only-Group": "a"}), Draft(b"3")]))
    assert (a.offsets, b.offsets, private.offsets) == ([1, 2, 3], [1, 3], [1, 3])
    b.ack_all()
    assert town.facts("b").lag == 0


def test_retention(make_town: Any) -> None:
    """What is kept no longer is missed, and counted; what a consumer holds of it may still be acknowledged."""
    town = make_town(Limits(age=100))
    town.number(3)
    slow = town.consume("slow", most=1, ack_wait=1000.0)
    late = town.consume("late", most=0)
    town.wait(200)
    town.done(town.logs.sweep())
    town.publish(b"4")
    assert town.facts("slow").missed == 2
    assert town.facts("late").missed == 3
    slow.go_on()
    late.go_on()
    assert (slow.offsets, late.offsets) == ([1, 4], [4])
    assert slow.ack(0)
    assert town.facts("slow").acknowledged == 3
    late.consumer.close()
    town.wait(200)
    town.done(town.logs.sweep())
    facts = town.facts("late")
    assert (facts.lag, facts.missed, facts.acknowledged) == (0, 4, 4)


def test_limits(make_town: Any) -> None:
    """A namespace has so many consumers, a topic so many groups; one that ends makes room."""
    town = make_town(Limits(consumers=2, groups=2))
    first = town.consume("a")
    town.consume("b")
    with pytest.raises(Unavailable, match="2 consumers"):
        town.consume("a")
    first.consumer.close()
    with pytest.raises(Unavailable, match="2 groups"):
        town.consume("c")
    town.consume("a")


def test_connection_limit(town: Town) -> None:
    """One connection has so many consumers."""
    consumers = [
        town.done(town.events.consume("acme", "orders", Terms(), connection="c")) for _ in range(512)
    ]
    with pytest.raises(Unavailable, match="connection has 512"):
        town.done(town.events.consume("acme", "orders", Terms(), connection="c"))
    consumers[0].close()
    consumers[0].close()
    town.done(town.events.consume("acme", "orders", Terms(), connection="c"))


@pytest.mark.parametrize(
    ("terms", "text"),
    [
        (Terms("$dlq"), "begins with"),
        (Terms("x" * 101), "longer"),
        (Terms(max_in_flight=0), "max_in_flight"),
        (Terms(max_in_flight=1001), "from 1 to 1000"),
        (Terms(auto_ack=False, ack_wait=0), "ack_wait"),
        (Terms(auto_ack=False, ack_wait=1e9), "30 days"),
        (Terms(retry_limit=-2), "retry_limit"),
        (Terms(backoff=-1), "backoff"),
        (Terms(backoff_max=float("nan")), "backoff_max"),
        (Terms(start=Position(Start.TIME, -1)), "time"),
    ],
)
def test_bad_terms(town: Town, terms: Terms, text: str) -> None:
    """Terms that cannot be meant are refused, and make no topic."""
    with pytest.raises(BadRequest, match=text):
        town.done(town.events.consume("acme", "orders", terms))
    assert town.done(town.events.topics("acme")) == ([], "")


def test_lag(town: Town) -> None:
    """A group's lag, and what is in flight, waits, and how old the oldest is."""
    town.number(10)
    town.wait(7)
    reader = town.consume("billing", max_in_flight=4)
    reader.ack(0)
    reader.ack(2)
    town.turns()
    reader.ack(3, AGAIN)
    facts = town.facts("billing")
    assert (facts.acknowledged, facts.delivered, facts.lag) == (1, 6, 8)
    assert (facts.in_flight, facts.waiting, facts.consumers, facts.oldest) == (3, 1, 1, 7)
    town.again()
    facts = town.facts("billing")
    assert (facts.acknowledged, facts.lag, facts.consumers, facts.oldest) == (1, 8, 0, 7)
    assert [each.name for each in town.done(town.events.lag("acme"))] == ["billing"]


def test_seek(town: Town) -> None:
    """A group goes on where it is told, at once, also over a restart; what it gets again is marked."""
    town.number(4)
    reader = town.consume("billing")
    reader.ack_all()
    facts = town.done(town.events.seek("acme", "orders", "billing", Position(Start.OFFSET, 3)))
    assert (facts.acknowledged, facts.topic) == (2, "orders")
    assert reader.offsets == [1, 2, 3, 4, 3, 4]
    assert reader.marked == [3, 4]
    reader.consumer.close()
    town.done(town.events.seek("acme", "orders", "billing", Position(Start.LATEST)))
    town.crash()
    town.publish(b"5")
    again = town.consume("billing")
    assert (again.offsets, again.marked) == ([5], [])
    town.done(town.events.seek("acme", "orders", "billing", Position(Start.EARLIEST)))
    assert again.offsets == [5, 1, 2, 3, 4, 5]
    assert again.marked == [1, 2, 3, 4, 5]


def test_seek_answer(town: Town) -> None:
    """What was asked for is the answer, though whoever consumes may be done with it again by the time that it is on disk."""
    town.number(4)
    reader = town.consume("billing")
    reader.ack_all()
    town.turns()
    town.store.is_slow = True
    seeking = Deferred.fromCoroutine(town.events.seek("acme", "orders", "billing", Position(Start.OFFSET, 3)))
    town.turns()
    reader.ack_all()
    town.store.is_slow = False
    town.store.answer()
    facts = town.done(seeking)
    assert (facts.acknowledged, facts.lag) == (2, 2)
    assert town.facts("billing").lag == 0


def test_delete_group(town: Town) -> None:
    """A group is forgotten when it is deleted, which nobody may consume for then."""
    town.number(2)
    reader = town.consume("billing")
    reader.ack_all()
    with pytest.raises(Conflict, match="1 consume"):
        town.done(town.events.delete_group("acme", "orders", "billing"))
    reader.consumer.close()
    town.done(town.events.delete_group("acme", "orders", "billing"))
    with pytest.raises(NotFound):
        town.done(town.events.delete_group("acme", "orders", "billing"))
    town.wait(1)
    assert town.done(town.events.lag("acme", "orders")) == []
    assert town.consume("billing").offsets == [1, 2]


def test_missing(town: Town) -> None:
    """What is asked of a topic or a group that is not there is not found."""
    for asked in (
        town.events.ack("acme", "orders", "billing", []),
        town.events.lag("acme", "orders"),
        town.events.seek("acme", "orders", "billing", Position()),
    ):
        with pytest.raises(NotFound):
            town.done(asked)
    town.number(1)
    for asked in (
        town.events.ack("acme", "orders", "billing", []),
        town.events.seek("acme", "orders", "billing", Position()),
    ):
        with pytest.raises(NotFound, match="no group billing"):
            town.done(asked)


def test_damaged(town: Town) -> None:
    """A group whose state cannot be read says so, and goes on where it is told."""
    town.number(3)
    town.done(town.store.write("acme", "groups:orders", Record("billing", b"\x01\xff")))
    with pytest.raises(MicroError, match="cannot be read") as caught:
        town.consume("billing")
    assert caught.value.code == 500
    town.done(town.events.seek("acme", "orders", "billing", Position(Start.OFFSET, 3)))
    assert town.consume("billing").offsets == [3]


def test_reaped(make_town: Any) -> None:
    """A group that nobody has used for so long is forgotten; one that somebody consumes for is not."""
    town = make_town(Limits(group_ttl=86400, age=-1))
    town.number(1)
    town.consume("gone").consumer.close()
    kept = town.consume("kept")
    for _ in range(24):
        town.wait(3600)
    assert [each.name for each in town.done(town.events.lag("acme", "orders"))] == ["gone", "kept"]
    for _ in range(3):
        town.wait(3600)
    assert [each.name for each in town.done(town.events.lag("acme", "orders"))] == ["kept"]
    town.crash()
    for _ in range(3):
        town.wait(3600)
    assert [each.name for each in town.done(town.events.lag("acme", "orders"))] == ["kept"]
    assert not kept.over


def test_disk_reads(town: Town) -> None:
    """What is in memory no longer is read from disk, page by page, in order."""
    town.number(2000)
    town.again()
    reader = town.consume("billing", auto_ack=True)
    town.turns(200)
    assert reader.offsets == list(range(1, 2001))


def test_bounded_memory(make_town: Any) -> None:
    """Who does not read has nothing in memory but the page which its group has before it."""
    town = make_town()
    for _ in range(20):
        town.publish(*(b"x" * 100_000 for _ in range(20)))
    town.again()
    readers = [town.consume(f"g{number}", auto_ack=True, most=1) for number in range(10)]
    assert [len(reader.got) for reader in readers] == [1] * 10
    budget = town.consumption._places._budgets["acme"]
    assert budget.used <= 10 * (400_000 + 1000)
    for reader in readers:
        reader.consumer.close()
    assert budget.used == 0


@pytest.mark.parametrize("is_on_disk", [False, True])
def test_unsent_events_are_bounded(town: Town, monkeypatch: pytest.MonkeyPatch, is_on_disk: bool) -> None:
    """Large events which consumers were given and do not send are within what the namespace may have, then others wait; all go on in the end."""
    monkeypatch.setattr("microd.services.events.groups.places.UNSENT", 300_000)
    town.publish(*(b"x" * 100_000 for _ in range(3)))
    if is_on_disk:
        town.again()
    readers = [town.consume(auto_ack=True, most=1) for _ in range(20)]
    assert [len(reader.got) for reader in readers] == [1] * 3 + [0] * 17
    (unsent,) = town.consumption._places._unsent.values()
    assert unsent.used == 300_000
    for reader in readers:
        reader.go_on()
    town.turns(200)
    assert [reader.offsets for reader in readers] == [[1, 2, 3]] * 20
    for reader in readers:
        reader.consumer.close()
    assert unsent.used == 0
    assert not unsent.waiting


def test_small_events_do_not_wait(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever does not read large events stops nobody from getting small ones."""
    monkeypatch.setattr("microd.services.events.groups.places.UNSENT", 100_000)
    town.publish(b"x" * 100_000, topic="large")
    stuck, waiting = (town.consume(topic="large", auto_ack=True, most=1) for _ in range(2))
    assert (len(stuck.got), len(waiting.got)) == (1, 0)
    town.number(10)
    assert town.consume(auto_ack=True).offsets == list(range(1, 11))


def test_who_goes_makes_room(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a consumer did not send counts until it is closed, though it was ended before; then the next one goes on."""
    monkeypatch.setattr("microd.services.events.groups.places.UNSENT", 100_000)
    town.publish(b"x" * 100_000)
    stuck, waiting, gone = (town.consume(auto_ack=True, most=1) for _ in range(3))
    gone.consumer.close()
    stuck.consumer.finish()
    assert not waiting.got
    stuck.consumer.close()
    town.turns()
    assert waiting.offsets == [1]


def test_idle_groups(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of groups which nobody consumes for so many are in memory and no more; the others come back as they were."""
    monkeypatch.setattr("microd.services.events.groups.places.MOST_IDLE", 3)
    town.number(3)
    first = town.consume("g0")
    first.ack(1)
    first.consumer.close()
    kept = town.consume("kept")
    town.wait(1)
    for number in range(1, 20):
        town.consume(f"g{number}").consumer.close()
        town.wait(1)
    (place,) = town.consumption._places
    assert len(place.groups) <= 4
    again = town.consume("g0")
    assert (again.offsets, again.marked) == ([1, 3], [1, 3])
    town.publish(b"4")
    assert kept.offsets == [1, 2, 3, 4]


def test_figures(town: Town) -> None:
    """The totals of all groups, with nobody's name in them."""
    town.number(3)
    town.wait(5)
    reader = town.consume("billing", retry_limit=0)
    reader.ack(0, UNTRIED)
    reader.ack(1, DROP)
    town.turns()
    found = {figure.name: figure.samples[0] for figure in town.consumption.figures()}
    assert all(not labels for labels, _ in found.values())
    values = {name.removeprefix("microd_events_"): value for name, (_, value) in found.items()}
    assert values == {
        "groups": 1,
        "consumers": 1,
        "redelivered_total": 1,
        "dead_total": 1,
        "lag": 2,
        "oldest_seconds": 5,
    }
