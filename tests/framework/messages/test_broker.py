"""The broker, as authors use it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import Logger

from microd.framework import BadRequest, Message, NotFound, Service, current_call
from microd.services.broker.model import Message as Sent
from microd.testing.outcome import StillWaitingError, done
from microd.testing.services import ServiceTester
from microd.wire.broker_pb2 import SubscribeRequest


@dataclass
class Price:
    what: str
    cents: int = 0


def run(waiting: Awaitable[Any]) -> Any:
    """What an awaitable of ours comes to, at once."""

    async def wait() -> Any:
        return await waiting

    return done(Deferred.fromCoroutine(wait()))


def heard(tester: ServiceTester, topic: str) -> list[Sent]:
    """The messages of a topic from now on, as the daemon hands them out."""
    found: list[Sent] = []

    class Listener:
        subjects_only = False
        waiting = 0

        def deliver(self, topic: str, message: Sent) -> None:
            found.append(message)

    tester.daemon.broker.attach("micro", topic, "", Listener())
    return found


def shop(**terms: Any) -> tuple[Service, list[Any]]:
    """A service which keeps what it gets."""
    service = Service("shop", environ={})
    got: list[Any] = []

    @service.subscribe("prices", **terms)
    async def price(price: Price, message: Message) -> None:
        got.append((price, message))

    return service, got


def test_published_as_go_does() -> None:
    """A message has the headers by which subscribers in Go read it (spec 6.5), and the author's, which win."""
    tester = ServiceTester(shop()[0])
    found = heard(tester, "prices")
    run(tester.client.broker.publish("prices", Price("a", 5), headers={"Colour": "red"}))
    run(tester.client.broker.publish("prices", SubscribeRequest(topic="t")))
    run(tester.client.broker.publish("prices", b"x", headers={"Content-Type": "image/png"}))
    assert [(each.header["Micro-Topic"], each.header["Content-Type"], each.body) for each in found] == [
        ("prices", "application/json", b'{"what":"a","cents":5}'),
        ("prices", "application/grpc+proto", b"\n\x01t"),
        ("prices", "image/png", b"x"),
    ]
    assert found[0].header["Colour"] == "red"


def test_headers_are_text() -> None:
    """What is no text is no header, and is refused before anything is sent."""
    tester = ServiceTester(shop()[0])
    with pytest.raises(BadRequest, match="headers and metadata are text: 'n' is int"):
        tester.client.broker.publish("prices", "x", headers={"n": 5})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("topic", "message", "headers"),
    [("\ud800", "x", None), ("a", "\ud800", None), ("a", "x", {"k": "\ud800"}), (5, "x", None)],
)
def test_no_text(topic: Any, message: str, headers: dict[str, str] | None) -> None:
    """What cannot travel as text is refused before anything is sent."""
    client = ServiceTester(shop()[0]).client
    with pytest.raises(BadRequest):
        client.broker.publish(topic, message, headers=headers)
    with pytest.raises(BadRequest):
        client.events.publish(topic, message, metadata=headers)


def test_returns_what_nobody_waits_for(log: list[dict[str, Any]]) -> None:
    """A plain function which returns a coroutine has failed, rather than done nothing without a word."""
    service = Service("shop", environ={})

    async def later(price: Price) -> None: ...

    @service.subscribe("prices")
    def price(price: Price):  # type: ignore[no-untyped-def]
        waiting = later(price)
        waiting.close()
        return waiting

    ServiceTester(service).publish("prices", Price("a"))
    assert "make it 'async def'" in next(event["problem"] for event in log if "problem" in event)


def test_subscribed() -> None:
    """A subscribed function gets what is published, as what it wants, with its headers."""
    service, got = shop()
    tester = ServiceTester(service)
    tester.publish("prices", Price("a", 5), headers={"colour": "red"})
    tester.publish("prices", {"what": "b"})
    assert [price for price, _ in got] == [Price("a", 5), Price("b")]
    message = got[0][1]
    assert (message.topic, message.header("Colour"), message.text) == (
        "prices",
        "red",
        '{"what":"a","cents":5}',
    )


def test_nobody_is_subscribed() -> None:
    """A test which publishes what the service does not listen to is told so."""
    with pytest.raises(LookupError, match="no function of shop is subscribed to orders"):
        ServiceTester(shop()[0]).publish("orders", {})


def test_wildcards() -> None:
    """A pattern stands for many topics, and the message says which one it is of."""
    service = Service("shop", environ={})
    got: list[str] = []

    @service.subscribe("prices.*.low")
    @service.subscribe("news.>")
    def each(message: Message) -> None:
        got.append(message.topic)

    tester = ServiceTester(service)
    tester.publish("prices.a.low", "x")
    tester.publish("news.b.c", "x")
    with pytest.raises(LookupError):
        tester.publish("news", "x")
    assert got == ["prices.a.low", "news.b.c"]


def test_queue() -> None:
    """Of two copies of a service with the same queue one gets each message; without one both do."""
    first, got = shop(queue="q")
    second, got_too = shop(queue="q")
    one = ServiceTester(first)
    two = ServiceTester(second, one.clock, one.daemon)
    for _ in range(4):
        one.publish("prices", Price("a"))
    assert len(got) == len(got_too) == 2
    assert two.daemon is one.daemon


def test_unreadable(log: list[dict[str, Any]]) -> None:
    """A message which is not what the function takes is logged and counted, and the next one is dealt with."""
    service, got = shop()
    tester = ServiceTester(service)
    before = service.client.activity.requests
    tester.publish("prices", {"cents": "x"})
    tester.publish("prices", Price("a"))
    assert [price for price, _ in got] == [Price("a")]
    (said,) = [event for event in log if "failed on" in event["log_format"]]
    assert said["problem"].startswith('the message is not a Price: field "cents"')
    assert said["subscriber"] == "Shop.Price"
    assert service.client.activity.requests == before + 1


def test_failure(log: list[dict[str, Any]]) -> None:
    """What a function raises is logged with its traceback, a bounded number of times, and ends nothing."""
    service = Service("shop", environ={})
    count = 0

    @service.subscribe("prices")
    async def price(price: Price) -> None:
        nonlocal count
        count += 1
        if count == 25:
            raise NotFound("no such thing")
        raise ZeroDivisionError("oh")

    clock = Clock()
    tester = ServiceTester(service, clock)
    for _ in range(24):
        tester.publish("prices", Price("a"))
    clock.advance(60)
    tester.publish("prices", Price("a"))
    assert count == 25
    tracebacks = [event for event in log if "log_failure" in event]
    assert len(tracebacks) == 10
    assert tracebacks[0]["log_failure"].check(ZeroDivisionError)
    last = [event for event in log if "failed" in event["log_format"]][-2:]
    assert last[0]["count"] == 14
    assert last[1]["problem"] == "no such thing"
    assert service.client.activity.errors == 25


def test_exit() -> None:
    """A function which would end the process ends its own call."""
    service, got = shop()

    @service.subscribe("prices")
    async def leave(price: Price) -> None:
        raise SystemExit(1)

    tester = ServiceTester(service)
    tester.publish("prices", Price("a"))
    tester.publish("prices", Price("b"))
    assert len(got) == 2


def test_concurrency() -> None:
    """No more run at once than may; the others wait, and what waits here is bounded."""
    service = Service("shop", environ={})
    running: list[Deferred[None]] = []

    @service.subscribe("prices", concurrency=2)
    def price(price: Price) -> Deferred[None]:
        running.append(Deferred())
        return running[-1]

    tester = ServiceTester(service)
    for _ in range(20):
        tester.publish("prices", Price("a"))
    assert len(running) == 2
    for at in range(20):
        running[at].callback(None)
        assert len(running) == min(20, at + 3)


def test_key() -> None:
    """Messages with the same key are dealt with one after the other, those with others meanwhile."""
    service = Service("shop", environ={})
    running: list[tuple[str, int, Deferred[None]]] = []

    @service.subscribe("prices", key="what")
    async def price(price: Price) -> None:
        waiting: Deferred[None] = Deferred()
        running.append((price.what, price.cents, waiting))
        await waiting

    tester = ServiceTester(service)
    for what, cents in (("a", 1), ("a", 2), ("b", 1), ("a", 3)):
        tester.publish("prices", Price(what, cents))
    assert [each[:2] for each in running] == [("a", 1), ("b", 1)]
    running[0][2].callback(None)
    assert [each[:2] for each in running[2:]] == [("a", 2)]
    running[2][2].errback(ValueError("oh"))
    assert [each[:2] for each in running[3:]] == [("a", 3)]


def test_timeout(log: list[dict[str, Any]]) -> None:
    """A call which takes too long is cancelled, and counts as failed."""
    service = Service("shop", environ={})
    ended: list[str] = []

    @service.subscribe("prices", timeout=5, concurrency=1)
    async def price(price: Price) -> None:
        try:
            await Deferred()
        except CancelledError:
            ended.append(price.what)
            raise

    clock = Clock()
    tester = ServiceTester(service, clock)
    tester.publish("prices", Price("a"))
    tester.publish("prices", Price("b"))
    clock.advance(4.9)
    assert ended == []
    clock.advance(0.2)
    assert ended == ["a"]
    clock.advance(5)
    assert ended == ["a", "b"]
    assert [event["problem"] for event in log if "problem" in event] == [
        "it took longer than 5 s (timeout=)"
    ] * 2


def test_plain_function() -> None:
    """A plain function publishes, too, and waits for it."""
    service = Service("shop", environ={})

    @service.subscribe("prices")
    def price(price: Price) -> None:
        service.blocking.broker.publish("cheap", price)

    tester = ServiceTester(service)
    found = heard(tester, "cheap")
    tester.publish("prices", Price("a"))
    assert [each.body for each in found] == [b'{"what":"a","cents":0}']


def test_reply() -> None:
    """Who asks in the way of NATS gets what the function returns, or its error; a function that returns nothing answers nothing."""
    service = Service("shop", environ={})

    @service.subscribe("prices")
    async def price(price: Price) -> Price | None:
        if price.cents < 0:
            raise ValueError("too\ncheap")
        return Price("b", price.cents + 1) if price.cents else None

    tester = ServiceTester(service)
    found = heard(tester, "_INBOX.1")
    for cents in (1, 0, -1):
        tester.publish("prices", Price("a", cents), headers={"Reply-To": "_INBOX.1"})
    assert [each.body for each in found] == [b'{"what":"b","cents":2}', b""]
    assert found[1].header["Nats-Service-Error"] == "ValueError: too cheap"


def test_trace() -> None:
    """What a message leads to belongs to the trace of the call that published it."""
    service, got = shop()
    seen: list[str] = []

    @service.endpoint
    async def change(request: Price) -> None:
        await service.client.broker.publish("prices", request)

    @service.subscribe("prices")
    async def again(price: Price, message: Message) -> None:
        call = current_call()
        assert call is not None
        assert await call.account() is None
        seen.append(message.trace_id)
        if price.cents:
            await service.client.broker.publish("prices", Price("a"))

    trace = "0af7651916cd43dd8448eb211c80319c"
    tester = ServiceTester(service)
    tester.call("Shop.Change", Price("a", 1), metadata={"traceparent": f"00-{trace}-b7ad6b7169203331-01"})
    assert seen == [trace, trace]
    assert {message.trace_id for _, message in got} == {trace}
    spans = service.client.activity.spans(trace)
    assert [each.name for each in spans].count("shop.Shop.Again") == 2
    assert len({each.id for each in spans}) == len(spans)


def test_context_of_its_own() -> None:
    """A function does not see the circumstances of the one whose end let it begin."""
    service = Service("shop", environ={})
    waiting: Deferred[None] = Deferred()
    traces: list[str] = []

    @service.subscribe("prices", concurrency=1)
    async def price(price: Price) -> None:
        Logger().info("at work")
        call = current_call()
        assert call is not None
        traces.append(call.trace_id)
        if len(traces) == 1:
            await waiting

    tester = ServiceTester(service)
    for _ in range(2):
        tester.publish("prices", Price("a"))
    waiting.callback(None)
    assert len(set(traces)) == 2


def test_iterated() -> None:
    """Messages can be iterated over; leaving the loop ends the subscription."""
    tester = ServiceTester(shop()[0])
    got: list[Any] = []

    async def read() -> None:
        messages = tester.client.broker.subscribe("other.*", queue="q")
        async for message in messages:
            got.append((message.topic, message.read(Price)))
            if len(got) == 2:
                break
        await messages.aclose()  # type: ignore[attr-defined]

    before = tester.daemon.broker.subscriptions
    reading = Deferred.fromCoroutine(read())
    assert tester.daemon.broker.subscriptions == before + 1
    for cents in (1, 2, 3):
        run(tester.client.broker.publish("other.x", Price("a", cents)))
    done(reading)
    assert got == [("other.x", Price("a", 1)), ("other.x", Price("a", 2))]
    assert tester.daemon.broker.subscriptions == before


def test_survives(log: list[dict[str, Any]]) -> None:
    """When the daemon restarts, all is subscribed again without anybody's doing."""
    service, got = shop()
    clock = Clock()
    tester = ServiceTester(service, clock)
    tester.daemon.endpoint.refusing = True
    tester.daemon.restart()
    clock.pump([0.5] * 20)
    assert tester.daemon.broker.subscriptions == 0
    tester.daemon.endpoint.refusing = False
    clock.pump([0.5] * 40)
    assert tester.daemon.broker.subscriptions == 1
    tester.publish("prices", Price("a"))
    assert len(got) == 1


def test_refused(log: list[dict[str, Any]]) -> None:
    """What the broker refuses for good is told to who iterates, and to a service's log once; it tries again, slowly."""
    service, got = shop()
    tester = ServiceTester(service)

    async def read() -> None:
        async for _ in tester.client.broker.subscribe(""):
            pass

    with pytest.raises(BadRequest, match="Missing topic"):
        done(Deferred.fromCoroutine(read()))
    clock = tester.clock
    answer: Callable[..., Any] = tester.daemon.broker.subscribe
    asked: list[float] = []

    def refuse(*args: Any, **named: Any) -> Any:
        asked.append(clock.seconds())
        raise BadRequest("no such topic")

    tester.daemon.broker.subscribe = refuse  # type: ignore[method-assign]
    tester.daemon.restart()
    clock.pump([1.0] * 300)
    said = [event for event in log if "is refused" in event["log_format"]]
    assert [event["problem"] for event in said] == ["400 no such topic"]
    assert 10 < len(asked) < 60
    tester.daemon.broker.subscribe = answer  # type: ignore[method-assign]
    clock.pump([1.0] * 40)
    tester.publish("prices", Price("a"))
    assert len(got) == 1
    assert any("no longer refused" in event["log_format"] for event in log)


def test_drained() -> None:
    """A stop begins nothing more, and lets what runs finish for a while; then it is cancelled."""
    service = Service("shop", environ={})
    running: list[Deferred[None]] = []
    ended: list[str] = []

    @service.subscribe("prices", concurrency=2)
    async def price(price: Price) -> None:
        running.append(Deferred())
        try:
            await running[-1]
            ended.append("done")
        except CancelledError:
            ended.append("cancelled")
            raise

    clock = Clock()
    tester = ServiceTester(service, clock)
    for _ in range(3):
        tester.publish("prices", Price("a"))
    ending = Deferred.fromCoroutine(tester._subscriptions.end(20))
    tester.daemon.broker.publish("micro", "prices", Sent({}, b"{}"))
    running[0].callback(None)
    assert (len(running), ended) == (2, ["done"])
    with pytest.raises(StillWaitingError):
        done(ending)
    clock.advance(20)
    assert ended == ["done", "cancelled"]
    assert tester.daemon.broker.subscriptions == 0
