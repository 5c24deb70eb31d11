"""Dead letters: when an event becomes one, what is said about it, and how it is dealt with."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from microd.kernel.errors import BadRequest, MicroError, NotFound
from microd.services.events.groups import dealt
from microd.services.events.groups.dealt import Dealt
from microd.services.events.groups.state import Damaged
from microd.services.events.model import Ack, Draft, Limits, Verdict
from microd.services.store.errors import OutOfSpace
from microd.services.store.model import Record

Town = Any
AGAIN, DROP, UNTRIED = Verdict.AGAIN, Verdict.DROP, Verdict.UNTRIED


def letters(town: Town, group: Any = "", **more: Any) -> list[Any]:
    """The dead letters of orders."""
    found, _ = town.done(town.events.dead_letters("acme", "orders", group=group, **more))
    return list(found)


def give_up(town: Town, *payloads: bytes, group: str = "billing") -> Any:
    """Publish events, and have a group give them up."""
    reader = town.consume(group)
    town.publish(*payloads)
    for number in range(len(reader.got)):
        reader.ack(number, DROP, error=f"no good: {number}")
    town.turns()
    return reader


def test_retry_limit(town: Town) -> None:
    """After its last attempt an event goes to the dead letters, with what is known of it; the group goes on."""
    event, _ = town.publish(b"bad", b"good", metadata={"k": "v"})
    town.wait(60)
    reader = town.consume("billing", retry_limit=2, max_in_flight=1, backoff=0.0)
    for attempt in range(3):
        assert letters(town) == []
        assert reader.offsets == [1] * (attempt + 1)
        reader.ack(-1, AGAIN, error=f"error {attempt}")
        town.wait(0)
    (letter,) = letters(town)
    assert (letter.group, letter.id, letter.offset) == ("billing", event.id, 1)
    assert (letter.attempts, letter.error) == (3, "error 2")
    assert (letter.event.topic, letter.event.payload) == ("orders.dlq", b"bad")
    assert letter.event.metadata == {
        "k": "v",
        "Micro-Dead-Topic": "orders",
        "Micro-Dead-Group": "billing",
        "Micro-Dead-Id": event.id,
        "Micro-Dead-Offset": "1",
        "Micro-Dead-Attempts": "3",
        "Micro-Dead-Error": "error 2",
        "Micro-Dead-Time": str(event.timestamp),
    }
    assert reader.offsets == [1, 1, 1, 2]
    facts = town.facts("billing")
    assert (facts.dead, facts.acknowledged) == (1, 1)


def test_no_retries(town: Town) -> None:
    """With no retries the first failure is the last."""
    reader = town.consume("billing", retry_limit=0)
    town.publish(b"1")
    reader.ack(0, AGAIN)
    town.turns()
    assert [letter.attempts for letter in letters(town)] == [1]


def test_not_acknowledged(town: Town) -> None:
    """What is not acknowledged in time, the last time too, is a dead letter that says so."""
    town.publish(b"1")
    reader = town.consume("billing", retry_limit=1, ack_wait=5.0)
    town.wait(5)
    town.wait(5)
    assert reader.offsets == [1, 1]
    assert [letter.error for letter in letters(town)] == ["not acknowledged within 5 s"]


def test_for_ever(town: Town) -> None:
    """Without a limit an event comes again for ever."""
    town.publish(b"1")
    reader = town.consume("billing", retry_limit=-1)
    for _ in range(50):
        reader.ack(-1, AGAIN, delay=0)
        town.turns(2)
    assert len(reader.got) == 51
    assert letters(town) == []


def test_drop(town: Town) -> None:
    """Who says that an event is no good has it put with the dead letters at once."""
    give_up(town, b"1")
    (letter,) = letters(town)
    assert (letter.attempts, letter.error) == (1, "no good: 0")


def test_not_the_consumers_fault(town: Town) -> None:
    """A consumer that leaves, a restart, or that an event was not tried are no failures; but it does not go on for ever."""
    town.publish(b"1")
    for number in range(9):
        assert letters(town) == [], number
        reader = town.consume("billing", retry_limit=0, most=1)
        reader.ack(0, UNTRIED)
        reader.go_on(2)
        assert reader.offsets == [1, 1]
        town.again()
        reader = town.consume("billing", retry_limit=0)
        assert reader.offsets == [1]
        reader.consumer.close()
        town.turns()
    (letter,) = letters(town)
    assert letter.error == "9 consumers left before they had acknowledged it"


def test_one_commit(town: Town) -> None:
    """The letter is written, and the group is done with the event, in one commit: a crash leaves both or neither."""
    reader = give_up(town, b"1")
    town.publish(b"2")
    town.wait(1)
    before = town.store.commits
    reader.ack(1, DROP)
    town.turns()
    assert town.store.commits == before + 1
    town.crash()
    assert len(letters(town)) == 2
    assert town.facts("billing").lag == 0


def test_disk_full(town: Town) -> None:
    """While it cannot be written an event is neither lost nor given again; it is written when there is room, also after a restart."""
    town.publish(b"1", b"2")
    reader = town.consume("billing", max_in_flight=1)
    town.store.error = OutOfSpace("the disk is full")
    reader.ack(0, DROP, error="why")
    town.wait(1)
    assert reader.offsets == [1, 2]
    assert town.facts("billing").lag == 2
    town.store.error = None
    town.again()
    town.consume("billing")
    town.wait(6)
    assert [(letter.offset, letter.error) for letter in letters(town)] == [(1, "why")]
    assert town.facts("billing").acknowledged == 1


def test_tried_again(town: Town) -> None:
    """What could not be written is written five seconds later."""
    town.publish(b"1")
    reader = town.consume("billing")
    reader.ack(0, DROP)
    town.store.error = OutOfSpace("the disk is full")
    town.turns()
    town.store.error = None
    assert letters(town) == []
    town.wait(5)
    assert len(letters(town)) == 1


def test_of_dead_letters(town: Town) -> None:
    """Who consumes dead letters and gives one up has dealt with it: it does not die twice."""
    give_up(town, b"1")
    reader = town.consume("undertaker", topic="orders.dlq")
    reader.ack(0, DROP)
    town.turns()
    assert town.facts("undertaker", "orders.dlq").lag == 0
    names = [topic.name for topic in town.done(town.events.topics("acme"))[0]]
    assert names == ["orders", "orders.dlq"]
    assert len(letters(town)) == 1


def test_private_groups(town: Town) -> None:
    """A private group that gives an event up is done with it: there is nobody to give it back to."""
    town.publish(b"1", b"2")
    reader = town.consume(retry_limit=0, max_in_flight=1)
    reader.ack(0, AGAIN)
    town.turns()
    assert reader.offsets == [1, 2]
    assert letters(town) == []


def test_largest(make_town: Any) -> None:
    """An event as large as is allowed, with as much metadata, can die of the longest error."""
    limits = Limits()
    town = make_town(limits)
    metadata = {"k": "v" * (limits.metadata - 20)}
    size = limits.event - limits.metadata
    reader = town.consume("g" * 100, topic="t" * 100)
    town.publish(b"x" * size, topic="t" * 100, metadata=metadata)
    reader.ack(0, DROP, error="\N{SNOWMAN}\x00" * 2000)
    town.turns()
    found, _ = town.done(town.events.dead_letters("acme", "t" * 100))
    assert found[0].error == "\N{SNOWMAN}\x00" * 500


def test_kept_no_longer(make_town: Any) -> None:
    """An event that is kept no longer when it is given up was missed."""
    town = make_town(Limits(age=100))
    town.publish(b"1")
    reader = town.consume("billing", ack_wait=10_000.0)
    town.wait(200)
    town.done(town.logs.sweep())
    reader.ack(0, DROP)
    town.turns()
    facts = town.facts("billing")
    assert (facts.missed, facts.dead, facts.lag) == (1, 0, 0)


def test_many(town: Town) -> None:
    """Many which are given up at once are written together."""
    reader = town.consume("billing", max_in_flight=1000)
    town.publish(*(b"%d" % number for number in range(200)))
    before = town.store.commits
    for number in range(200):
        reader.ack(number, DROP)
    town.turns(50)
    assert len(letters(town, limit=1000)) == 200
    assert town.store.commits - before <= 8


def test_retry(town: Town) -> None:
    """A dead letter is given to its group once more, as it was, with all its attempts, and to no other; then it is dealt with."""
    other = town.consume("other")
    reader = give_up(town, b"1")
    (event,) = (each.event for each in reader.got)
    assert town.done(town.events.retry("acme", "orders")) == 1
    town.turns()
    assert letters(town) == []
    again = reader.got[-1]
    assert (again.event.payload, again.attempt, again.redelivered) == (b"1", 1, False)
    assert (again.event.timestamp, again.event.metadata) == (event.timestamp, {"Micro-Only-Group": "billing"})
    assert other.offsets == [1]
    reader.ack(-1, DROP, error="still")
    town.turns()
    (letter,) = letters(town)
    assert (letter.error, letter.offset) == ("still", 2)
    assert "Micro-Only-Group" not in letter.event.metadata
    town.crash()
    assert len(letters(town)) == 1


def test_retry_is_one_commit(town: Town) -> None:
    """A letter is given back and dealt with in one commit; where that fails, nothing has happened."""
    reader = give_up(town, b"1")
    town.wait(1)
    town.store.error = OutOfSpace("the disk is full")
    with pytest.raises(OutOfSpace):
        town.done(town.events.retry("acme", "orders"))
    town.store.error = None
    assert len(letters(town)) == 1
    assert reader.offsets == [1]
    before = town.store.commits
    town.done(town.events.retry("acme", "orders"))
    assert town.store.commits == before + 1


def test_chosen(town: Town) -> None:
    """Letters are chosen by group, by their own ids, or by those of the events."""
    give_up(town, b"1", b"2", b"3")
    give_up(town, b"4", group="shipping").consumer.close()
    assert [letter.group for letter in letters(town)].count("shipping") == 4
    assert {letter.group for letter in letters(town, "billing")} == {"billing"}
    mine = letters(town, "billing")
    assert town.done(town.events.drop("acme", "orders", ids=[mine[0].event.id])) == 1
    assert town.done(town.events.drop("acme", "orders", group="billing", ids=[mine[1].id])) == 1
    assert [letter.offset for letter in letters(town, "billing")] == [3]
    with pytest.raises(NotFound, match="dealt with"):
        town.done(town.events.drop("acme", "orders", ids=[mine[0].event.id]))
    with pytest.raises(NotFound):
        town.done(town.events.drop("acme", "orders", group="shipping", ids=[mine[2].event.id]))
    with pytest.raises(NotFound):
        town.done(town.events.retry("acme", "orders", ids=["nonsense"]))
    assert town.done(town.events.drop("acme", "orders", group="shipping")) == 4
    assert town.done(town.events.drop("acme", "orders")) == 1
    assert letters(town) == []


def test_pages(town: Town) -> None:
    """Letters come a page at a time."""
    give_up(town, *(b"%d" % number for number in range(10)))
    got, after = [], 0
    while True:
        page, after = town.done(town.events.dead_letters("acme", "orders", after=after, limit=4))
        got.append([int(letter.event.payload) for letter in page])
        if not after:
            break
    assert got == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    bad: dict[str, Any]
    for bad in ({"limit": 0}, {"limit": 10_001}, {"after": -1}):
        with pytest.raises(BadRequest):
            letters(town, **bad)


def test_group_is_gone(town: Town) -> None:
    """A letter whose group is forgotten is left where it is, and who asks for it by name is told."""
    give_up(town, b"1").consumer.close()
    town.done(town.events.delete_group("acme", "orders", "billing"))
    assert town.done(town.events.retry("acme", "orders")) == 0
    with pytest.raises(NotFound, match="no group billing"):
        town.done(town.events.retry("acme", "orders", group="billing"))
    assert len(letters(town)) == 1


def test_published_there(town: Town) -> None:
    """What somebody published among the dead letters himself can be listed and dropped; it is nobody's to be tried again."""
    town.publish(b"1")
    town.publish(b"odd", topic="orders.dlq")
    (letter,) = letters(town)
    assert (letter.group, letter.attempts) == ("", 0)
    assert town.done(town.events.retry("acme", "orders")) == 0
    with pytest.raises(NotFound, match="by no group"):
        town.done(town.events.retry("acme", "orders", ids=[letter.event.id]))
    assert town.done(town.events.drop("acme", "orders", ids=[letter.event.id])) == 1


def test_no_letters(town: Town) -> None:
    """Where nothing was given up there are none; a topic that is not there is not found."""
    town.publish(b"1")
    assert letters(town) == []
    assert town.done(town.events.drop("acme", "orders")) == 0
    assert town.done(town.events.retry("acme", "orders")) == 0
    for asked in (town.events.drop, town.events.retry, town.events.dead_letters):
        with pytest.raises(NotFound):
            town.done(asked("acme", "nothing"))
        with pytest.raises(BadRequest, match="without"):
            town.done(asked("acme", "orders.dlq"))


def test_not_readable(town: Town) -> None:
    """What is dealt with cannot be guessed where that is damaged."""
    give_up(town, b"1")
    town.done(town.store.write("acme", "groups:orders.dlq", Record("$dlq", b"[]")))
    with pytest.raises(MicroError, match="cannot be read") as caught:
        letters(town)
    assert caught.value.code == 500


def test_reserved(town: Town) -> None:
    """The group that says what is dealt with is nobody's to consume for, and no group in lists."""
    give_up(town, b"1")
    town.done(town.events.drop("acme", "orders"))
    with pytest.raises(BadRequest):
        town.consume("$dlq", topic="orders.dlq")
    assert town.done(town.events.lag("acme", "orders.dlq")) == []


def test_retained(make_town: Any) -> None:
    """Letters which are kept no longer are not listed."""
    town = make_town(Limits(age=100))
    give_up(town, b"1").consumer.close()
    town.wait(200)
    town.done(town.logs.sweep())
    assert letters(town) == []
    give_up(town, b"2")
    assert [letter.event.payload for letter in letters(town)] == [b"2"]
    assert town.done(town.events.drop("acme", "orders")) == 1


def test_retry_while_only_appended(town: Town) -> None:
    """What the platform adds cannot be forged: reserved metadata are refused from publishers."""
    for name in ("Micro-Only-Group", "micro-dead-error"):
        with pytest.raises(BadRequest):
            town.done(town.events.publish("acme", "orders", [Draft(b"1", {name: "x"})]))


def test_ranges() -> None:
    """Offsets that are dealt with are kept as ranges, in any order, and survive being written down."""
    found = Dealt()
    for offset in (5, 3, 4, 9, 1, 3):
        found.add(offset)
    assert found.to_bytes() == b'{"version":1,"ranges":[[1,1],[3,5],[9,9]]}'
    again = Dealt.from_bytes(found.to_bytes())
    assert [offset for offset in range(12) if offset in again] == [1, 3, 4, 5, 9]
    assert [again.behind(offset) for offset in (1, 2, 3, 9, 20)] == [2, 2, 6, 10, 20]
    again.forget(5)
    assert again.to_bytes() == b'{"version":1,"ranges":[[1,5],[9,9]]}'
    again.forget(8)
    again.add(8)
    assert again.to_bytes() == b'{"version":1,"ranges":[[1,9]]}'


def test_ranges_are_bounded() -> None:
    """So many gaps can be remembered and no more; closing one is always possible."""
    found = Dealt((2 * number + 1, 2 * number + 1) for number in range(dealt.MOST))
    with pytest.raises(MicroError, match="oldest") as caught:
        found.add(10 * dealt.MOST)
    assert caught.value.code == 413
    found.add(2)
    assert 2 in found


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[1]",
        b'{"version":2,"ranges":[]}',
        b'{"version":1,"ranges":[[3,2]]}',
        b'{"version":1,"ranges":[[1,2],[2,3]]}',
        b'{"version":1,"ranges":[[0,2]]}',
        b'{"version":1,"ranges":[1]}',
    ],
)
def test_damaged_ranges(data: bytes) -> None:
    """What was not written by us is refused."""
    with pytest.raises(Damaged):
        Dealt.from_bytes(data)


def test_no_later_state_beside(town: Town) -> None:
    """While a letter is on its way to the disk nothing is kept which still has its event: a crash leaves it once."""
    reader = give_up(town, b"1")
    town.publish(b"2", b"3")
    town.wait(1)
    town.store.is_slow = True
    reader.ack(1, DROP)
    town.turns()
    # The store has the letter, and does not say so. Another word about the group comes meanwhile.
    acked = Deferred.fromCoroutine(
        town.events.ack("acme", "orders", "billing", [Ack(reader.got[2].event.id, Verdict.DONE)])
    )
    town.wait(1)
    assert not acked.called
    town.crash()
    town.consume("billing")
    town.wait(1)
    assert [letter.offset for letter in letters(town)] == [1, 2]
