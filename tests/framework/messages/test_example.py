"""The example of the README."""

from __future__ import annotations

from dataclasses import dataclass

from microd.framework import Drop, Message, Service
from microd.testing.services import ServiceTester

service = Service("billing", environ={})


@dataclass
class Order:
    id: str
    customer: str
    cents: int


sent: list[str] = []


@service.subscribe("orders", group="billing", key="customer")
async def bill(order: Order, message: Message) -> None:
    if order.cents <= 0:
        raise Drop("nothing to pay")
    await service.client.events.publish("bills", order, metadata={"attempt": str(message.attempt)})
    await service.client.broker.publish("bills.new", order)


@service.subscribe("bills.*", queue="mail")
def mail(order: Order) -> None:
    sent.append(order.customer)


def test_example() -> None:
    """An order leads to a bill and to a mail; one without a price to a dead letter."""
    sent.clear()
    tester = ServiceTester(service)
    tester.publish("orders", Order("1", "ada", 1200))
    tester.publish("orders", Order("2", "bob", 0))
    assert sent == ["ada"]
    (letter,) = tester.dead_letters("orders")
    assert letter.error == "nothing to pay"
