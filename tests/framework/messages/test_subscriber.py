"""What may be subscribed, and on which terms."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from twisted.internet.defer import Deferred, inlineCallbacks

from microd.framework import Message, SchemaError, Service
from microd.framework.handlers import Style
from microd.framework.messages.subscriber import Subscriber
from microd.wire.broker_pb2 import SubscribeRequest


@dataclass
class Order:
    id: str
    customer: str = ""


def subscribed(function: Callable[..., Any], topic: str = "orders", **terms: Any) -> Subscriber:
    """The one subscription of a service."""
    service = Service("billing", environ={})
    service.subscribe(topic, **terms)(function)
    return service.subscribers.published()[0]


async def bill(order: Order) -> None:
    """Bill an order."""


def test_broker() -> None:
    """Without more it is a subscription to the broker, of this copy; with a queue, of one copy."""
    assert subscribed(bill).wish.terms is None
    assert subscribed(bill, queue="mail").wish.queue == "mail"
    assert subscribed(bill).name == "Billing.Bill"
    assert subscribed(bill).doc == "Bill an order."


def test_events() -> None:
    """A group begins with the first event that is kept, and a private one with what comes; what waits is bounded by what runs."""
    terms = subscribed(bill, group="billing").wish.terms
    assert terms is not None
    assert (terms.group, terms.start, terms.retries, terms.in_flight) == ("billing", "earliest", 5, 16)
    assert (terms.ack_wait, terms.backoff, terms.backoff_max) == (30, 1, 60)
    terms = subscribed(bill, ephemeral=True, concurrency=2, key="customer").wish.terms
    assert terms is not None
    assert (terms.group, terms.start, terms.in_flight) == ("", "latest", 8)
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    for start in ("latest", 7, moment):
        terms = subscribed(bill, group="g", start=start).wish.terms
        assert terms is not None
        assert terms.start == start


def test_styles() -> None:
    """A function is a coroutine, gives a Deferred, or runs in a thread, as with endpoints."""

    def plain(order: Order) -> None: ...
    def unannotated(order: Order): ...  # type: ignore[no-untyped-def]
    def deferred(order: Order) -> Deferred[None]: ...  # type: ignore[empty-body]

    @inlineCallbacks
    def old(order: Order) -> Any:
        yield None

    assert [subscribed(each).style for each in (bill, plain, unannotated, deferred, old)] == [
        Style.COROUTINE,
        Style.THREAD,
        Style.THREAD,
        Style.DEFERRED,
        Style.DEFERRED,
    ]


def test_parameters() -> None:
    """The message and what came with it stand in either order, or alone; what has a default is left alone."""

    async def both(order: Order, message: Message, more: int = 0) -> None: ...
    async def other(message: Message, order: Order) -> None: ...
    async def only(message: Message) -> None: ...

    order, message = Order("1"), Message("orders", b"", {})
    assert subscribed(both).arguments(order, message) == (order, message)
    assert subscribed(other).arguments(order, message) == (message, order)
    assert subscribed(only).arguments(b"", message) == (message,)
    assert subscribed(bill).arguments(order, message) == (order,)


def test_keys() -> None:
    """A key is a field of the message, or what a function makes of it."""

    async def loose(order: dict[str, Any]) -> None: ...
    async def wire(order: SubscribeRequest) -> None: ...

    def key(function: Callable[..., Any], key: Any, value: object) -> object:
        found = subscribed(function, key=key).key
        assert found is not None
        return found(value)

    assert key(bill, "customer", Order("1", "ada")) == "ada"
    assert key(bill, lambda order: order.id[:1], Order("17")) == "1"
    assert key(loose, "customer", {"customer": "ada"}) == "ada"
    assert key(loose, "customer", {}) is None
    assert key(wire, "topic", SubscribeRequest(topic="t")) == "t"


def no_annotation(order) -> None: ...  # type: ignore[no-untyped-def]
def nothing() -> None: ...
def two(order: Order, other: Order) -> None: ...
def twice(order: Order, one: Message, two: Message) -> None: ...
def keyword(order: Order, *, more: int) -> None: ...
def number(order: int) -> None: ...
async def many(order: Order) -> AsyncIterator[Order]:
    yield order


def some(order: Order) -> Iterator[Order]:
    yield order


def text(order: str) -> None: ...


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (no_annotation, "order has no annotation"),
        (nothing, "takes nothing"),
        (two, "other is one too many"),
        (twice, "takes the Message twice"),
        (keyword, "nothing would give a value to more"),
        (number, "no message can be read as int"),
        (many, "yields; a subscriber returns"),
        (some, "yields; a subscriber returns"),
    ],
)
def test_functions_which_cannot_be(function: Callable[..., Any], said: str) -> None:
    """What is wrong with a function is said when it is decorated, with its file and its line."""
    with pytest.raises(SchemaError, match=rf"test_subscriber\.py:\d+: {function.__name__}\(\).*{said}"):
        subscribed(function)


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ({"queue": "a", "group": "b"}, "give one of queue="),
        ({"group": "b", "ephemeral": True}, "give one of queue="),
        ({"topic": ""}, "the topic is missing"),
        ({"topic": "a\nb"}, "cannot be printed"),
        ({"topic": "a" * 256}, "the topic is longer than 255 bytes"),
        ({"topic": "a" * 101, "group": "g"}, "the topic is longer than 100 bytes"),
        ({"topic": "a.*", "group": "g"}, "without wildcards"),
        ({"group": "$dlq"}, "are the platform's"),
        ({"concurrency": 0}, "concurrency is 1 to 1000"),
        ({"timeout": 0}, "timeout is a number of seconds"),
        ({"retries": 3}, "retries= is for events"),
        ({"start": "latest", "queue": "a"}, "start= is for events"),
        ({"group": "g", "start": "now"}, "start is"),
        ({"group": "g", "start": -1}, "start is"),
        ({"group": "g", "retries": -2}, "retries is"),
        ({"group": "g", "ack_wait": 0.0}, "ack_wait is a number of seconds"),
        ({"group": "g", "backoff": 10.0, "backoff_max": 5.0}, "backoff_max is from backoff"),
        ({"key": "nobody"}, "key='nobody' is no field of Order: customer, id"),
        ({"key": 5}, "key is the name of a field"),
    ],
)
def test_terms_which_cannot_be(terms: dict[str, Any], said: str) -> None:
    """What is wrong with the terms is said likewise."""
    with pytest.raises(SchemaError, match=rf"test_subscriber\.py:\d+: bill\(\).*{said}"):
        subscribed(bill, **terms)


def test_without_a_topic() -> None:
    """Who forgets to say what the subscription is to is told so."""
    service = Service("billing", environ={})
    with pytest.raises(SchemaError, match=r"bill\(\): say to what"):
        service.subscribe(bill)  # type: ignore[arg-type]


def test_key_of_text() -> None:
    """Text has no fields to be a key."""
    with pytest.raises(SchemaError, match="the message has none; give a function"):
        subscribed(text, key="customer")


def test_twice_for_one_group() -> None:
    """Two functions of one service for the same group would each get a part; that is refused, and both are named."""
    service = Service("billing", environ={})
    service.subscribe("orders", group="billing")(bill)
    service.subscribe("orders", group="other")(bill)
    service.subscribe("orders")(bill)
    service.subscribe("orders")(text)
    with pytest.raises(
        SchemaError, match=r"text\(\): .*bill\(\) is subscribed to orders for the group billing"
    ):
        service.subscribe("orders", group="billing")(text)


def test_unknown_class() -> None:
    """An annotation that names nothing is told when the service starts, with the place."""
    service = Service("billing", environ={})

    @service.subscribe("orders")
    async def later(order: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(
        SchemaError, match=r"test_subscriber\.py:\d+: later\(\): name 'Nowhere' is not defined"
    ):
        service.subscribers.published()
