"""Events, as authors use them."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from microd.framework import BadRequest, Delivery, Draft, Drop, Event, Message, NotFound, Service
from microd.framework.messages.model import Stored
from microd.testing.outcome import StillWaitingError, done
from microd.testing.services import ServiceTester


@dataclass
class Order:
    id: str
    customer: str = ""


def run(waiting: Awaitable[Any]) -> Any:
    """What an awaitable of ours comes to, at once."""

    async def wait() -> Any:
        return await waiting

    return done(Deferred.fromCoroutine(wait()))


class Bench:
    """A service whose function does as it is told."""

    def __init__(self, group: str = "billing", daemon: Any = None, **terms: Any) -> None:
        self.service = Service("billing", environ={})
        self.clock = daemon.clock if daemon else Clock()
        self.got: list[tuple[str, int]] = []
        self.running: dict[str, Deferred[None]] = {}
        self.messages: list[Message] = []
        self.outcomes: dict[str, Any] = {}
        where = {"group": group} if group else {"ephemeral": True}
        self.service.subscribe("orders", **where, **terms)(self.bill)
        self.tester = ServiceTester(self.service, self.clock, daemon)
        self.daemon = self.tester.daemon
        self.advance(0.05)

    async def bill(self, order: Order, message: Message) -> None:
        self.got.append((order.id, message.attempt))
        self.messages.append(message)
        outcome = self.outcomes.get(order.id)
        if outcome == "wait":
            self.running[order.id] = Deferred()
            await self.running[order.id]
        elif outcome is not None:
            raise outcome

    def publish(self, *ids: str, customer: str = "") -> None:
        """Publish orders."""
        for id in ids:
            self.tester.publish("orders", Order(id, customer))

    def advance(self, seconds: float) -> None:
        """Let time pass, by and by."""
        steps = max(1, round(seconds / 0.25))
        self.clock.pump([seconds / steps] * steps)

    def group(self, name: str = "billing") -> Any:
        """What the daemon says of the group."""
        (found,) = [each for each in done(self.daemon.events.lag("micro")) if each.name == name]
        return found


def test_published() -> None:
    """Publishing gives the event's id and place; several are published at once, and read in order."""
    events = ServiceTester(Service("shop", environ={})).client.events
    first = run(events.publish("orders", Order("1"), metadata={"colour": "red"}, timestamp=1e9))
    assert isinstance(first, Stored)
    assert first.offset == 1
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    drafts = [{"id": "2"}, Draft("text", {"k": "v"}, moment), b"\x00"]
    assert list(run(events.publish_many("orders", drafts))) == [2, 3, 4]

    async def read(**options: Any) -> list[Event]:
        return [event async for event in events.read("orders", **options)]

    found = run(read())
    assert [(event.offset, event.payload) for event in found] == [
        (1, b'{"id":"1","customer":""}'),
        (2, b'{"id":"2"}'),
        (3, b"text"),
        (4, b"\x00"),
    ]
    assert (found[0].id, found[0].topic, found[0].timestamp) == (first.id, "orders", 1e9)
    assert found[0].metadata["colour"] == "red"
    assert "Content-Type" not in found[0].metadata
    assert found[0].read(Order) == Order("1")
    assert found[1].json() == {"id": "2"}
    assert (found[2].text, found[2].timestamp) == ("text", moment.timestamp())
    assert [event.offset for event in run(read(after=2))] == [3, 4]
    assert [event.offset for event in run(read(limit=2))] == [1, 2]
    assert [event.offset for event in run(read(limit=2, newest=True))] == [3, 4]
    assert [event.offset for event in run(read(since=moment, limit=1))] == [3]


def test_read_of_many() -> None:
    """Reading goes through as many pages as there are."""
    events = ServiceTester(Service("shop", environ={})).client.events
    run(events.publish_many("orders", [str(at) for at in range(600)]))

    async def read(limit: int) -> list[int]:
        return [event.offset async for event in events.read("orders", limit=limit)]

    assert run(read(0)) == list(range(1, 601))
    assert run(read(501)) == list(range(1, 502))
    assert run(read(250)) == list(range(1, 251))


@pytest.mark.parametrize(
    ("options", "said"),
    [({"newest": True}, "give a limit"), ({"limit": -1}, "0 or more"), ({"since": -1}, "before 1970")],
)
def test_cannot_be_read(options: dict[str, Any], said: str) -> None:
    """What cannot be asked is refused before it is."""
    events = ServiceTester(Service("shop", environ={})).client.events

    async def read() -> None:
        async for _ in events.read("orders", **options):
            pass

    with pytest.raises(BadRequest, match=said):
        run(read())


def test_nothing_to_publish() -> None:
    """None are not published."""
    with pytest.raises(BadRequest, match="no events to publish"):
        ServiceTester(Service("shop", environ={})).client.events.publish_many("orders", [])


def test_acknowledged_after_it_returned() -> None:
    """An event is done with when the function has returned, and not before."""
    bench = Bench()
    bench.outcomes["1"] = "wait"
    bench.publish("1", "2")
    assert bench.got == [("1", 1), ("2", 1)]
    assert bench.group().acknowledged == 0
    bench.running["1"].callback(None)
    assert (bench.group().acknowledged, bench.group().lag) == (2, 0)


def test_what_comes_along() -> None:
    """A function gets the event's place, its metadata, and how often it was given."""
    bench = Bench()
    bench.clock.advance(1000.45)
    bench.tester.publish("orders", Order("1"), headers={"Colour": "red"})
    (message,) = bench.messages
    assert (message.topic, message.offset, message.attempt, message.redelivered) == ("orders", 1, 1, False)
    assert (message.timestamp, message.header("colour"), message.metadata["Colour"]) == (1000.5, "red", "red")
    assert message.id


def test_a_new_group_begins_with_the_first() -> None:
    """What was published before the group was there is for it, too; unless it says otherwise."""
    daemon = Bench().daemon
    run(
        ServiceTester(Service("shop", environ={}), daemon.clock, daemon).client.events.publish(
            "orders", Order("0")
        )
    )
    assert Bench("new", daemon).got == [("0", 1)]
    assert Bench("late", daemon, start="latest").got == []
    assert Bench("", daemon).got == []
    assert Bench("", daemon, start="earliest").got == [("0", 1)]


def test_retried(log: list[dict[str, Any]]) -> None:
    """What failed comes again after the backoff, which doubles; later events wait for it; then it goes to the dead letters."""
    bench = Bench(retries=2, backoff=1, backoff_max=3)
    bench.outcomes["1"] = NotFound("no such customer")
    bench.publish("1", "2")
    assert bench.got == [("1", 1)]
    bench.advance(0.9)
    assert bench.got == [("1", 1)]
    bench.advance(0.2)
    assert bench.got == [("1", 1), ("1", 2)]
    bench.advance(2.1)
    assert bench.got == [("1", 1), ("1", 2), ("1", 3), ("2", 1)]
    (letter,) = bench.tester.dead_letters("orders")
    assert (letter.group, letter.attempts, letter.error) == ("billing", 3, "no such customer")
    assert letter.event.payload == b'{"id":"1","customer":""}'
    said = [event for event in log if event["log_format"].startswith("{subscriber} failed")]
    assert [event["then"] for event in said] == [
        "attempt 1, it comes again",
        "attempt 2, it comes again",
        "attempt 3, it goes to orders.dlq",
    ]
    assert bench.messages[1].redelivered


def test_dropped() -> None:
    """Who raises Drop has the event in the dead letters at once."""
    bench = Bench()
    bench.outcomes["1"] = Drop("no such customer")
    bench.publish("1", "2")
    assert bench.got == [("1", 1), ("2", 1)]
    (letter,) = bench.tester.dead_letters("orders")
    assert (letter.attempts, letter.error) == (1, "no such customer")


def test_error_which_is_no_text() -> None:
    """Whatever an error says, it goes with the event."""
    bench = Bench(retries=0)
    bench.outcomes["1"] = ValueError("a\ud800b" + "c" * 5000)
    bench.publish("1", "2")
    (letter,) = bench.tester.dead_letters("orders")
    assert letter.error.startswith("ValueError: a?bccc")
    assert len(letter.error) == 1000
    assert bench.got == [("1", 1), ("2", 1)]


def test_unreadable() -> None:
    """An event which is not what the function takes goes to the dead letters at once, with the reason."""
    bench = Bench()
    bench.tester.publish("orders", {"id": [1]})
    bench.publish("2")
    assert bench.got == [("2", 1)]
    (letter,) = bench.tester.dead_letters("orders")
    assert letter.error.startswith('the message is not a Order: field "id" wants a string')


def test_key_which_fails() -> None:
    """Where the author's function of the key fails, that is a failure like any other."""
    bench = Bench(key=lambda order: order.nothing, retries=0)
    bench.publish("1")
    assert bench.got == []
    (letter,) = bench.tester.dead_letters("orders")
    assert letter.error.startswith("its key: AttributeError")


def test_worked_on() -> None:
    """An event whose function takes longer than the wait for its acknowledgement is not given to anybody else meanwhile."""
    bench = Bench(ack_wait=4)
    other = Bench(daemon=bench.daemon)
    bench.outcomes["1"] = other.outcomes["1"] = "wait"
    bench.publish("1")
    (worker,) = [each for each in (bench, other) if each.got]
    bench.advance(60)
    assert bench.got + other.got == [("1", 1)]
    worker.running["1"].callback(None)
    assert bench.group().lag == 0


def test_concurrency() -> None:
    """No more run, or are fetched, than may."""
    bench = Bench(concurrency=2)
    for at in range(5):
        bench.outcomes[str(at)] = "wait"
    bench.publish("0", "1", "2", "3", "4")
    assert len(bench.running) == 2
    assert bench.group().in_flight == 2
    for at in range(5):
        bench.running[str(at)].callback(None)
    assert bench.group().lag == 0


def test_key() -> None:
    """Events with the same key are dealt with in order: a retried one is not overtaken, those of other keys are not held up."""
    bench = Bench(key="customer", retries=1)
    bench.outcomes.update({"a1": ValueError("oh"), "b1": "wait"})
    for id in ("b1", "a1", "a2", "b2"):
        bench.publish(id, customer=id[0])
    assert bench.got == [("b1", 1), ("a1", 1)]
    bench.running["b1"].callback(None)
    bench.advance(1.1)
    assert bench.got == [("b1", 1), ("a1", 1), ("a1", 2), ("a2", 1), ("b2", 1)]
    assert len(bench.tester.dead_letters("orders")) == 1


def test_key_of_what_is_here() -> None:
    """Events of a key which are here already wait until the failed one has come again, and went well or to the dead letters."""
    bench = Bench(key="customer", retries=1)
    bench.outcomes["a1"] = "wait"
    for id in ("a1", "a2", "a3"):
        bench.publish(id, customer=id[0])
    bench.outcomes["a1"] = None
    bench.running["a1"].errback(ValueError("oh"))
    bench.advance(0.9)
    assert bench.got == [("a1", 1)]
    bench.advance(0.2)
    assert bench.got == [("a1", 1), ("a1", 2), ("a2", 1), ("a3", 1)]


def test_key_is_not_held_for_ever() -> None:
    """Where another copy of the service had the retry, the events of its key go on here after the longest it could have taken."""
    bench = Bench(key="customer", backoff_max=2, ack_wait=10)
    bench.outcomes["a1"] = "wait"
    for id in ("a1", "a2"):
        bench.publish(id, customer=id[0])
    other = Bench(daemon=bench.daemon, key="customer")
    bench.outcomes["c1"] = other.outcomes["c1"] = "wait"
    bench.running["a1"].errback(ValueError("oh"))
    # The other copy holds less, and is given the retry.
    bench.advance(1.1)
    assert other.got == [("a1", 2)]
    assert bench.got == [("a1", 1)]
    bench.advance(12)
    assert bench.got == [("a1", 1), ("a2", 1)]
    assert bench.group().lag == 0


def test_timeout() -> None:
    """A call which takes too long is cancelled, and its event comes again."""
    bench = Bench(timeout=3, retries=1)
    bench.outcomes["1"] = "wait"
    bench.publish("1")
    bench.advance(8)
    assert bench.got == [("1", 1), ("1", 2)]
    assert bench.tester.dead_letters("orders")[0].error == "it took longer than 3 s (timeout=)"


def lose_daemon(bench: Bench, seconds: float, meanwhile: Any = None) -> None:
    """The daemon is away for a while."""
    bench.daemon.endpoint.refusing = True
    bench.daemon.restart()
    bench.advance(seconds / 2)
    if meanwhile is not None:
        meanwhile()
    bench.advance(seconds / 2)
    bench.daemon.endpoint.refusing = False
    bench.advance(20)


def stored(bench: Bench, *ids: str) -> None:
    """Events which somebody publishes over a connection that has nothing to do with the service's."""
    from microd.services.events.model import Draft as Wanted

    for id in ids:
        publishing = Deferred.fromCoroutine(
            bench.daemon.events.publish("micro", "orders", [Wanted(f'{{"id":"{id}"}}'.encode())])
        )
        bench.daemon.prompt.run()
        done(publishing)


def test_survives() -> None:
    """What is published while the connection is gone arrives when there is one again."""
    bench = Bench()
    bench.publish("1")
    lose_daemon(bench, 30, lambda: stored(bench, "2", "3"))
    assert bench.got == [("1", 1), ("2", 1), ("3", 1)]
    assert bench.group().lag == 0


def test_at_work_when_the_connection_is_lost() -> None:
    """A function which is at work goes on; its event comes again and is not begun a second time, and is acknowledged."""
    bench = Bench()
    bench.outcomes["1"] = "wait"
    bench.publish("1", "2")
    lose_daemon(bench, 10)
    assert bench.got == [("1", 1), ("2", 1)]
    bench.running["1"].callback(None)
    assert bench.got == [("1", 1), ("2", 1)]
    assert bench.group().lag == 0


def test_done_while_the_connection_was_lost() -> None:
    """A function which ended meanwhile is not called again: its event is acknowledged as soon as that can be."""
    bench = Bench()
    bench.outcomes["1"] = bench.outcomes["2"] = "wait"
    bench.publish("1", "2")

    def meanwhile() -> None:
        bench.running["1"].callback(None)
        bench.running["2"].errback(Drop("no"))

    lose_daemon(bench, 10, meanwhile)
    assert bench.got == [("1", 1), ("2", 1)]
    assert bench.group().lag == 0


def test_done_while_another_has_it() -> None:
    """What was given to another copy of the service meanwhile is done with as soon as one of the two is."""
    bench = Bench()
    bench.outcomes["1"] = "wait"
    bench.publish("1")
    other = Bench(daemon=bench.daemon)
    other.outcomes["1"] = "wait"
    ours, _ = bench.daemon.endpoint.connections[0]
    ours.abortConnection()
    bench.advance(5)
    assert (bench.got, other.got) == ([("1", 1)], [("1", 2)])
    bench.running["1"].callback(None)
    assert bench.group().lag == 0
    other.running["1"].callback(None)
    bench.advance(5)
    assert (bench.got, other.got) == ([("1", 1)], [("1", 2)])


def test_failed_while_the_connection_was_lost() -> None:
    """One which failed meanwhile comes again."""
    bench = Bench()
    bench.outcomes["1"] = "wait"
    bench.publish("1")

    def meanwhile() -> None:
        bench.outcomes["1"] = None
        bench.running["1"].errback(ValueError("oh"))

    lose_daemon(bench, 10, meanwhile)
    assert bench.got == [("1", 1), ("1", 2)]
    assert bench.group().lag == 0


def test_waiting_when_the_connection_is_lost() -> None:
    """What had arrived and was not begun comes again, once."""
    bench = Bench(key="customer")
    bench.outcomes["1"] = "wait"
    bench.publish("1", "2", "3", customer="a")
    lose_daemon(bench, 10)
    assert bench.got == [("1", 1)]
    bench.running["1"].callback(None)
    assert [id for id, _ in bench.got] == ["1", "2", "3"]
    assert bench.group().lag == 0


def test_ephemeral_survives() -> None:
    """A private consumer goes on behind what it has seen; what was to come again does, and what was done does not."""
    bench = Bench("")
    bench.outcomes.update({"2": ValueError("oh")})
    bench.publish("1", "2")
    bench.outcomes["2"] = None
    lose_daemon(bench, 20, lambda: stored(bench, "3", "4"))
    assert [id for id, _ in bench.got] == ["1", "2", "2", "3", "4"]


def test_ephemeral_from_the_beginning() -> None:
    """Nothing is left out between the first connection and the first event, either."""
    bench = Bench("")
    lose_daemon(bench, 10, lambda: stored(bench, "1"))
    assert [id for id, _ in bench.got] == ["1"]


def test_refused_for_a_while(log: list[dict[str, Any]]) -> None:
    """What is refused for good is logged once, and tried again slowly."""
    bench = Bench()
    answer = bench.daemon.events.consume
    asked: list[float] = []

    async def refuse(*args: Any, **named: Any) -> Any:
        asked.append(bench.clock.seconds())
        raise BadRequest("no such topic")

    bench.daemon.events.consume = refuse  # type: ignore[method-assign]
    bench.daemon.restart()
    bench.advance(300)
    said = [event for event in log if "is refused" in event["log_format"]]
    assert [event["problem"] for event in said] == ["400 no such topic"]
    assert 10 < len(asked) < 60
    bench.daemon.events.consume = answer  # type: ignore[method-assign]
    bench.advance(40)
    bench.publish("1")
    assert bench.got == [("1", 1)]


def test_defect_of_ours(log: list[dict[str, Any]]) -> None:
    """Whatever goes wrong where events are read, is logged, and does not leave the service deaf."""
    bench = Bench()
    arrived = bench.tester._subscriptions._all[0]._attending

    def fails(message: Message) -> None:
        raise ZeroDivisionError

    arrived.arrived, right = fails, arrived.arrived  # type: ignore[method-assign]
    bench.publish("1")
    arrived.arrived = right  # type: ignore[method-assign]
    bench.advance(40)
    assert bench.got == [("1", 1)]
    assert any("reading for {subscriber} failed" in event["log_format"] for event in log)


def test_stopped() -> None:
    """A stop begins nothing more; what ran is acknowledged before the connection ends, what had not begun goes to others."""
    bench = Bench(concurrency=1, key="customer")
    bench.outcomes["1"] = "wait"
    bench.publish("1", "2", "3")
    ending = Deferred.fromCoroutine(bench.tester._subscriptions.end(20))
    with pytest.raises(StillWaitingError):
        done(ending)
    bench.advance(5)
    bench.running["1"].callback(None)
    bench.advance(1)
    assert bench.got == [("1", 1)]
    group = bench.group()
    assert (group.consumers, group.acknowledged, group.lag, group.in_flight) == (0, 1, 2, 0)
    again = Bench(daemon=bench.daemon)
    assert [id for id, _ in again.got] == ["2", "3"]


def test_stopped_in_the_middle() -> None:
    """A function which does not finish in time is cancelled, and its event counts as tried."""
    bench = Bench()
    bench.outcomes["1"] = "wait"
    bench.publish("1")
    ending = Deferred.fromCoroutine(bench.tester._subscriptions.end(20))
    bench.advance(19)
    assert not ending.called
    bench.advance(2)
    assert ending.called
    assert bench.running["1"].called
    again = Bench(daemon=bench.daemon)
    bench.advance(2)
    assert again.got == [("1", 2)]


def test_stopped_while_the_daemon_is_away() -> None:
    """A stop does not wait for a daemon that is not there."""
    bench = Bench()
    bench.publish("1")
    bench.daemon.endpoint.refusing = True
    bench.daemon.restart()
    bench.advance(10)
    ending = Deferred.fromCoroutine(bench.tester._subscriptions.end(20))
    assert ending.called


def test_consumed() -> None:
    """Events can be iterated over, and what is to become of each is said; else it is acknowledged when the next is asked for."""
    bench = Bench()
    stored(bench, "1", "2", "3", "4", "5")
    seen: list[tuple[str, int]] = []
    left: list[Delivery] = []

    async def consume() -> None:
        async for delivery in bench.tester.client.events.consume(
            "orders", group="mine", type=Order, retries=3
        ):
            seen.append((delivery.value.id, delivery.attempt))
            match delivery.value.id:
                case "1":
                    delivery.ack()
                    delivery.ack()
                case "2" if delivery.attempt == 1:
                    delivery.nack(ValueError("oh"), delay=7)
                case "3":
                    delivery.drop("no")
                case "5":
                    left.append(delivery)
                    break

    consuming = Deferred.fromCoroutine(consume())
    bench.advance(6.5)
    assert seen == [("1", 1), ("2", 1)]
    bench.advance(1)
    done(consuming)
    assert [id for id, _ in seen] == ["1", "2", "2", "3", "4", "5"]
    (letter,) = bench.tester.dead_letters("orders")
    assert (letter.group, letter.error) == ("mine", "no")
    group = bench.group("mine")
    assert (group.consumers, group.lag) == (0, 1)
    assert left[0].event.offset == 5
    assert not left[0].redelivered


def test_consumed_without_a_word() -> None:
    """Where nothing is acknowledged by itself, an event of which nothing is said comes again, unless it is being worked on."""
    bench = Bench()
    stored(bench, "1", "2")
    seen: list[Delivery] = []

    async def consume() -> None:
        async for delivery in bench.tester.client.events.consume(
            "orders", group="mine", type=Order, auto_ack=False, ack_wait=5
        ):
            seen.append(delivery)

    consuming = Deferred.fromCoroutine(consume())
    bench.advance(4)
    seen[0].working()
    bench.advance(4)
    assert [(each.value.id, each.attempt) for each in seen] == [("1", 1), ("2", 1), ("2", 2)]
    seen[0].ack()
    seen[2].ack()
    bench.advance(10)
    assert bench.group("mine").lag == 0
    consuming.addErrback(lambda failure: failure.trap(CancelledError))
    consuming.cancel()
    assert bench.group("mine").consumers == 0


def test_consumed_through_a_restart() -> None:
    """Iteration goes on by itself."""
    bench = Bench()
    seen: list[str] = []

    async def consume() -> None:
        async for delivery in bench.tester.client.events.consume("orders", type=Order):
            seen.append(delivery.value.id)

    consuming = Deferred.fromCoroutine(consume())
    bench.publish("1")
    lose_daemon(bench, 10, lambda: stored(bench, "2"))
    bench.publish("3")
    assert seen == ["1", "2", "3"]
    consuming.addErrback(lambda failure: failure.trap(CancelledError))
    consuming.cancel()


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ({"in_flight": 0}, "events in flight are 1 to 1000"),
        ({"start": "soon"}, "start is"),
        ({"ack_wait": -1}, "ack_wait is"),
    ],
)
def test_terms_which_cannot_be(terms: dict[str, Any], said: str) -> None:
    """What cannot be is refused before anything is sent."""
    with pytest.raises(BadRequest, match=said):
        Bench().tester.client.events.consume("orders", **terms)


def test_plain_function() -> None:
    """A plain function publishes and reads events, and waits for each."""
    service = Service("billing", environ={})
    seen: list[Any] = []

    @service.subscribe("orders", group="billing")
    def bill(order: Order) -> None:
        events = service.blocking.events
        seen.append(events.publish("bills", order).offset)
        seen.append(list(events.publish_many("bills", [b"2", b"3"])))
        seen.append([event.offset for event in events.read("bills")])

    tester = ServiceTester(service)
    tester.publish("orders", Order("1"))
    assert seen == [1, [2, 3], [1, 2, 3]]


def test_trace() -> None:
    """What an event leads to, attempts included, belongs to the trace in which it was published."""
    bench = Bench(retries=1)
    bench.outcomes["1"] = ValueError("oh")
    trace = "0af7651916cd43dd8448eb211c80319c"

    @bench.service.endpoint
    async def order(request: Order) -> None:
        await bench.service.client.events.publish("orders", request)

    tester = ServiceTester(bench.service, bench.clock, bench.daemon)
    tester.call("Billing.Order", Order("1"), metadata={"traceparent": f"00-{trace}-b7ad6b7169203331-01"})
    bench.daemon.prompt.run()
    bench.advance(2)
    assert {message.trace_id for message in bench.messages} == {trace}
    assert len(bench.messages) == 2
