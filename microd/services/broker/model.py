"""What the broker speaks of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

#: What becomes of messages that wait for a subscriber who is too slow.
Slow = Literal["drop-oldest", "drop-new", "disconnect"]

#: What a message in memory weighs beyond its text and its body: the objects around it.
_OVERHEAD = 200


class Message:
    """What is published; never changed afterwards. A plain class with slots, because one is made for every call.

    @ivar header: what is said about the body, such as its C{Content-Type}.
    @ivar size: bytes that it takes in memory, roughly.
    @ivar shown: a place for what was made of it for those who read it.
    """

    __slots__ = ("body", "header", "shown", "size")

    def __init__(self, header: Mapping[str, str] = MappingProxyType({}), body: bytes = b"") -> None:
        self.header = header
        self.body = body
        self.size = len(body) + _OVERHEAD + sum(len(name) + len(value) for name, value in header.items())
        self.shown: object = None


@dataclass(frozen=True, slots=True)
class Limits:
    """How much there may be. Sizes are in bytes.

    @ivar message: body and headers of one message.
    @ivar topic: a topic's name, and a queue's.
    @ivar headers: how many a message may have, and how large they may be together.
    @ivar backlog: messages that wait for one subscriber, and what they take in memory.
    @ivar memory: what all messages that wait in one namespace take. No subscriber gets more than what is still free,
        so that the first who stops to read does not take it all.
    @ivar subscriptions: at once, in one namespace and over one connection.
    """

    message: int = 4 << 20
    topic: int = 255
    headers: int = 64
    header_size: int = 16 << 10
    backlog: int = 8192
    backlog_size: int = 16 << 20
    memory: int = 128 << 20
    subscriptions: int = 4096
    connection_subscriptions: int = 512
    slow: Slow = "drop-oldest"


@dataclass(slots=True)
class Counts:
    """What the broker did since it was started.

    @ivar published: messages taken.
    @ivar delivered: messages handed to a subscriber, or put into its backlog.
    @ivar dropped: messages taken out of a backlog again, or never put there, because its subscriber is too slow.
    @ivar disconnected: subscribers cut off for that.
    """

    published: int = 0
    delivered: int = 0
    dropped: int = 0
    disconnected: int = 0
