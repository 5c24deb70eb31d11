"""What a message's bytes mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from microd.framework import BadRequest, SchemaError
from microd.framework.messages.payloads import BYTES, JSON, PROTO, TEXT, Payload, decoder, encoded
from microd.wire.broker_pb2 import SubscribeRequest


@dataclass
class Item:
    name: str
    count: int = 0


@dataclass
class Order:
    id: int
    items: list[Item] = field(default_factory=list)
    note: str = ""


ORDER = Order(2**53, [Item("a", 5)])
ORDER_JSON = b'{"id":9007199254740992,"items":[{"name":"a","count":5}],"note":""}'


@pytest.mark.parametrize(
    ("value", "data", "content_type"),
    [
        (ORDER, ORDER_JSON, JSON),
        ({"a": [1, None]}, b'{"a":[1,null]}', JSON),
        ([1, 2], b"[1,2]", JSON),
        (5, b"5", JSON),
        ("grüezi", "grüezi".encode(), TEXT),
        (b"\x00\xff", b"\x00\xff", BYTES),
        (bytearray(b"ab"), b"ab", BYTES),
        (SubscribeRequest(topic="a"), b"\n\x01a", PROTO),
    ],
)
def test_sent(value: object, data: bytes, content_type: str) -> None:
    """Dataclasses and containers go out as JSON in which integers are numbers, messages in protobuf's form, the rest as it is."""
    assert encoded(value, proto=True) == Payload(data, content_type)


def test_sent_as_event() -> None:
    """A protobuf message which is an event is JSON, as events of services in Go are."""
    assert encoded(SubscribeRequest(topic="a"), proto=False) == Payload(b'{"topic":"a","queue":""}', JSON)


@pytest.mark.parametrize("value", [object(), Item(5, 1), {1, 2}])  # type: ignore[arg-type]
def test_cannot_be_sent(value: object) -> None:
    """What has no form, or does not fit its own class, is refused before anything is sent."""
    with pytest.raises(BadRequest, match="the message cannot be sent"):
        encoded(value, proto=True)


@pytest.mark.parametrize(
    ("kind", "data", "content_type", "value"),
    [
        (Order, ORDER_JSON, JSON, ORDER),
        (Order, b'{"id":"9007199254740992","items":[{"name":"a","count":"5"}]}', "", ORDER),
        (Order, ORDER_JSON, "Application/JSON; charset=utf-8", ORDER),
        (Order, ORDER_JSON, BYTES, ORDER),
        (Item, b"\n\x01a\x10\x05", PROTO, Item("a", 5)),
        (Item, b"\n\x01a\x10\x05", "application/protobuf", Item("a", 5)),
        (Item, b"\n\x01a\x10\x05", "", Item("a", 5)),
        (SubscribeRequest, b"\n\x01a", PROTO, SubscribeRequest(topic="a")),
        (SubscribeRequest, b'{"topic":"a"}', "", SubscribeRequest(topic="a")),
        (SubscribeRequest, b"\n{" + b"x" * 123, "", SubscribeRequest(topic="x" * 123)),
        (dict, b'{"a":1}', "", {"a": 1}),
        (dict[str, int], b'{"a":1}', JSON, {"a": 1}),
        (Mapping, b'{"a":1}', JSON, {"a": 1}),
        (list[int], b"[1]", JSON, [1]),
        (str, b"{}", JSON, "{}"),
        (bytes, b"{}", JSON, b"{}"),
        (Any, b'{"a":1}', "", {"a": 1}),
        (Any, b"5", TEXT, "5"),
        (Any, b"word", "", "word"),
        (Any, b"\xff", "", b"\xff"),
        (object, b"5", BYTES, b"5"),
    ],
)
def test_read(kind: Any, data: bytes, content_type: str, value: object) -> None:
    """The content type says how a message is read; without one, what it looks like."""
    assert decoder(kind)(data, content_type) == value


@pytest.mark.parametrize(
    ("kind", "data", "content_type", "said"),
    [
        (Order, b'{"id":"x"}', JSON, 'the message is not a Order: field "id" wants'),
        (Order, b"{", JSON, "the message is not JSON"),
        (Order, b"hello", TEXT, "the message is text, not a Order"),
        (Order, b"\xff\xff", PROTO, "the message is not a"),
        (Order, b"hello", "", "the message is no Order: it is neither JSON nor protobuf of that kind"),
        (dict, b"[]", JSON, "the message is a list in JSON, and a dict is wanted"),
        (dict, b"\n\x01a", PROTO, "and JSON is wanted"),
        (list, b"{", JSON, "the message is not JSON"),
        (str, b"\xff", "", "can't decode byte"),
    ],
)
def test_unreadable(kind: Any, data: bytes, content_type: str, said: str) -> None:
    """What is not what is wanted is told in a sentence."""
    with pytest.raises(ValueError, match=said):
        decoder(kind)(data, content_type)


@pytest.mark.parametrize("kind", [int, "Order", set[str], float | None])
def test_no_such_kind(kind: Any) -> None:
    """What messages cannot be read as is refused, with what they can."""
    with pytest.raises(
        SchemaError, match="write a dataclass, a protobuf message, dict, list, str, bytes or Any"
    ):
        decoder(kind)
