"""Messages on the command line, from end to end: what a user types in the first hour, through a daemon that is killed."""

from __future__ import annotations

import json
import signal
import sys
from typing import Any

import pytest

from microd.testing.platform import Platform, Process

pytestmark = pytest.mark.e2e

SERVICE = """
import os
from dataclasses import dataclass

from microd.framework import Drop, Service

service = Service("shipping")


@dataclass
class Order:
    id: int


@service.subscribe("orders", group="shipping")
async def ship(order: Order) -> None:
    if order.id == 13 and not os.path.exists(MENDED):
        raise Drop("unlucky")
    print("shipped", order.id, flush=True)


service.run()
"""


def lag(platform: Platform, group: str) -> dict[str, Any]:
    """How far a group of the topic orders is."""
    found = json.loads(platform.ok("events", "lag", "orders", "--json"))
    (only,) = [each for each in found if each["group"] == group]
    assert isinstance(only, dict)
    return only


def offsets(text: str) -> list[int]:
    """The offsets of events which were printed as lines."""
    return [int(line.split()[0]) for line in text.splitlines()]


def interrupted(process: Process) -> int:
    """Press Ctrl-C; the exit code."""
    process.signal(signal.SIGINT)
    return process.wait()


def test_messages(platform: Platform) -> None:
    """Groups share events and remember; consumers and subscribers outlive the daemon; nothing that was stored is missed."""
    daemon = platform.start()
    (platform.work / "orders.jsonl").write_text('{"id":1}\n{"id":2}\n{"id":3}\n')
    told = platform.ok("events", "publish", "orders", "--lines", "--file", "orders.jsonl")
    assert told == "3 events were stored at offsets 1 to 3.\n"

    assert offsets(platform.ok("events", "consume", "orders", "--group", "billing", "--count", "2")) == [1, 2]
    assert (lag(platform, "billing")["acknowledged"], lag(platform, "billing")["lag"]) == (2, 1)

    subscriber = platform.spawn("micro", "broker", "subscribe", "news.*")
    audit = platform.spawn("micro", "events", "consume", "orders", "--from", "earliest")
    audit.output.wait_for("3  20")
    billing = platform.spawn("micro", "events", "consume", "orders", "-g", "billing", "-o", "payload")
    billing.output.wait_for('{"id":3}')

    daemon.signal(signal.SIGKILL)
    daemon.wait()
    billing.output.wait_for("Disconnected. ")
    platform.start()
    platform.ok("events", "publish", "orders", '{"id":4}', "--metadata", "shop=berlin")
    for process in (billing, audit):
        process.output.wait_for("Connected again after ")
        process.output.wait_for('{"id":4}')
    subscriber.output.wait_for("Connected again after ")
    platform.ok("broker", "publish", "news.today", "still here")
    subscriber.output.wait_for("still here")
    assert [interrupted(each) for each in (billing, audit, subscriber)] == [0, 0, 0]
    # The acknowledgement of the third may not have been on disk yet when the daemon was killed.
    paid = [line for line in billing.output.lines if line.startswith("{")]
    assert list(dict.fromkeys(paid)) == ['{"id":3}', '{"id":4}']
    assert lag(platform, "billing")["lag"] == 0

    assert "4 events are to come" in platform.ok("events", "seek", "orders", "billing", "--to", "earliest")
    again = platform.ok("events", "consume", "orders", "-g", "billing", "-n", "4")
    assert offsets(again) == [1, 2, 3, 4]
    (newest,) = json.loads(platform.ok("events", "read", "orders", "--last", "1", "--json"))
    assert (newest["payload"], newest["metadata"]) == ({"id": 4}, {"shop": "berlin"})

    assert "max-age:  7d" in platform.ok("events", "configure", "orders", "--max-age", "7d")
    (topic,) = [
        each for each in json.loads(platform.ok("events", "topics", "--json")) if each["topic"] == "orders"
    ]
    assert (topic["first"], topic["last"], topic["groups"], topic["max_age"]) == (1, 4, 1, 604800)
    platform.ok("events", "groups", "delete", "orders", "billing")
    platform.ok("events", "delete", "orders")
    assert "orders" not in platform.ok("events", "topics", "--json")


def test_dead_letters(platform: Platform) -> None:
    """What a service gave up is listed with its reason, is tried again once that is mended, or is dropped."""
    platform.start()
    mended = platform.work / "mended"
    folder = platform.service("shipping", f"MENDED = {str(mended)!r}\n{SERVICE}")
    shipping = platform.spawn(sys.executable, str(folder / "main.py"))
    shipping.output.wait_for("shipping latest is running")
    for number in (12, 13, 13, 14):
        platform.ok("events", "publish", "orders", json.dumps({"id": number}))
    shipping.output.wait_for("shipped 14")

    letters = json.loads(platform.ok("events", "dlq", "list", "orders", "--group", "shipping", "--json"))
    assert [(each["event"]["offset"], each["error"], each["payload"]) for each in letters] == [
        (2, "unlucky", {"id": 13}),
        (3, "unlucky", {"id": 13}),
    ]
    refused = platform.micro("events", "dlq", "retry", "orders")
    assert (refused.returncode, "--all" in refused.stderr) == (1, True)
    mended.touch()
    assert platform.ok("events", "dlq", "retry", "orders", letters[0]["id"]) == (
        "1 dead letter of orders will be tried again.\n"
    )
    shipping.output.wait_for("shipped 13")
    assert platform.ok("events", "dlq", "drop", "orders", "--all") == "1 dead letter of orders was dropped.\n"
    assert json.loads(platform.ok("events", "dlq", "list", "orders", "--json")) == []
    assert lag(platform, "shipping")["lag"] == 0
    assert platform.ok("debug", "health", "events").endswith("\tok\n")
    assert "events" in platform.ok("services").split()
