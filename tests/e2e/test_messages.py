"""Messages from end to end: a service with subscriptions, through restarts of the daemon of both kinds."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from contextlib import suppress

import pytest

from microd.framework.blocking import BlockingClient
from microd.kernel.errors import BadGateway, Unavailable
from microd.testing.platform import Platform, Process

pytestmark = pytest.mark.e2e

SERVICE = """
from dataclasses import dataclass

from microd.framework import Drop, Message, Service

service = Service("billing")


@dataclass
class Order:
    id: str


def say(*words: object) -> None:
    print(*words, flush=True)


@service.subscribe("orders", group="billing", concurrency=1, backoff=0.2, retries=2)
async def bill(order: Order, message: Message) -> None:
    if order.id == "nobody":
        raise Drop("no such customer")
    if order.id == "never":
        raise ValueError("it cannot be")
    stored = await service.client.events.publish("bills", order)
    say("billed", order.id, stored.offset)


@service.subscribe("orders", ephemeral=True, concurrency=1)
def watch(order: Order) -> None:
    say("watched", order.id)


@service.subscribe("news.*", queue="mail")
async def news(text: str, message: Message) -> None:
    say("news", message.topic, text)


@service.subscribe("ask")
def ask(text: str) -> str:
    events = service.blocking.events
    first = next(iter(events.consume("bills", group=text, type=Order)))
    return first.value.id


@service.on_connected
def connected() -> None:
    say("connected")


@service.on_disconnected
async def disconnected() -> None:
    say("disconnected")


service.run()
"""


AUDIT = """
import asyncio

from microd.framework import Message, Service

service = Service("audit", reactor="asyncio")


@service.subscribe("bills", group="audit", key="id")
async def audit(bill: dict, message: Message) -> None:
    await asyncio.sleep(0.01)
    await service.client.events.publish("audited", bill)
    await service.client.broker.publish("news.audited", bill["id"])


@service.on_start
async def follow() -> None:
    service.following = asyncio.ensure_future(followed())


async def followed() -> None:
    async for delivery in service.client.events.consume("audited", group="follower"):
        await asyncio.sleep(0)
        print("audited", delivery.value["id"], flush=True)
        delivery.ack()


@service.on_stop
async def end() -> None:
    service.following.cancel()


service.run()
"""


def until(process: Process, line: str, act: Callable[[], object]) -> None:
    """Do something again and again until it shows; for messages which reach only those who listen already."""
    for _ in range(200):
        with suppress(BadGateway, Unavailable):
            act()
        with suppress(AssertionError):
            process.output.wait_for(line, 0.1)
        if line in process.output.lines:
            return
    raise AssertionError(f"{line} never showed:\n{process.output}")


def shown(process: Process, line: str) -> None:
    """Wait for a line, which may have been looked at already."""
    if line not in process.output.lines:
        process.output.wait_for(line)


def lines(process: Process, word: str) -> list[str]:
    """What the service said of one kind."""
    return [line.removeprefix(word + " ") for line in process.output.lines if line.startswith(word + " ")]


def order(client: BlockingClient, *ids: str) -> None:
    """Publish orders."""
    for id in ids:
        client.events.publish("orders", {"id": id})


def test_messages(platform: Platform) -> None:
    """A service gets all events that were stored, in order, through a stop and a kill of the daemon; it hears the broker again, and
    says when it was alone."""
    daemon = platform.start()
    with platform.client() as client:
        order(client, "1")
    billing = platform.spawn(sys.executable, str(platform.service("billing", SERVICE) / "main.py"))
    billing.output.wait_for("connected")
    billing.output.wait_for("billed 1 1")

    audit = platform.spawn(sys.executable, str(platform.service("audit", AUDIT) / "main.py"))
    audit.output.wait_for("audited 1")
    shown(billing, "news news.audited 1")

    with platform.client() as client:
        until(billing, "news news.a x", lambda: client.broker.publish("news.a", "x"))
        order(client, "2", "nobody", "never", "3")
        billing.output.wait_for("billed 3")
        shown(billing, "watched 3")

    daemon.signal(signal.SIGTERM)
    daemon.wait()
    billing.output.wait_for("disconnected")
    daemon = platform.start()
    billing.output.wait_for("connected")
    with platform.client() as client:
        order(client, "4")
        billing.output.wait_for("billed 4")
        order(client, "5", "6")
        daemon.signal(signal.SIGKILL)
        daemon.wait()
    daemon = platform.start()
    with platform.client() as client:
        order(client, "7")
        billing.output.wait_for("billed 7")
        until(billing, "news news.b y", lambda: client.broker.publish("news.b", "y"))
        asking = {"Reply-To": "news.answer"}
        until(billing, "news news.answer 1", lambda: client.broker.publish("ask", "asker", headers=asking))
        billed = [line.split()[0] for line in lines(billing, "billed")]
        # What was done when the daemon was killed may have been done once more.
        assert list(dict.fromkeys(billed)) == ["1", "2", "3", "4", "5", "6", "7"]
        assert list(dict.fromkeys(event.json()["id"] for event in client.events.read("bills"))) == list(
            dict.fromkeys(billed)
        )
        shown(billing, "watched 7")
        shown(audit, "audited 7")
        watched = lines(billing, "watched")
        assert watched[-3:] == ["5", "6", "7"]
        assert {"2", "3", "4"} <= set(watched)
        assert "1" not in watched
        letters = {event.json()["id"]: event.metadata for event in client.events.read("orders.dlq")}
        assert letters["nobody"]["Micro-Dead-Error"] == "no such customer"
        assert letters["never"]["Micro-Dead-Error"] == "ValueError: it cannot be"
        assert (letters["nobody"]["Micro-Dead-Attempts"], letters["never"]["Micro-Dead-Attempts"]) == (
            "1",
            "3",
        )

        consumed = []
        for delivery in client.events.consume("orders", group="script"):
            consumed.append(delivery.value["id"])
            if len(consumed) == 9:
                break
        assert consumed == ["1", "2", "nobody", "never", "3", "4", "5", "6", "7"]
        assert next(iter(client.events.consume("orders", group="script"))).value["id"] == "7"

    audit.signal(signal.SIGTERM)
    assert audit.wait() == 0
    assert "Traceback" not in str(audit.output)
    billing.signal(signal.SIGTERM)
    assert billing.wait() == 0
    text = "\n".join(billing.output.lines)
    assert "lost the daemon at " in text
    assert "connected to the daemon at " in text
    assert text.count("Traceback") == 3
