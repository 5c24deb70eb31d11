"""What the broker speaks of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from microd.services.broker.headers import block_from, map_from

#: What becomes of messages that wait for a subscriber who is too slow.
Slow = Literal["drop-oldest", "drop-new", "disconnect"]

#: What a message in memory weighs beyond its text and its body: the objects around it.
_OVERHEAD = 200

_NO_HEADER: Mapping[str, str] = MappingProxyType({})


class Message:
    """What is published; never changed afterwards. A plain class with slots, because one is made for every call.

    What is said about it comes as a map from gRPC and as a block of bytes from NATS, and is made into the other when
    somebody asks.

    @ivar reply: the subject that an answer goes to; empty: none is wanted.
    @ivar size: bytes that it takes in memory, roughly.
    @ivar shown: a place for what was made of it for those who read it.
    @ivar topic: where it was published; there once it was handed to a subscriber who may not know.
    """

    __slots__ = ("_block", "_header", "body", "reply", "shown", "size", "topic")

    topic: str

    def __init__(
        self,
        header: Mapping[str, str] | None = None,
        body: bytes = b"",
        reply: str = "",
        block: bytes | None = None,
    ) -> None:
        self._header = header if block is not None or header is not None else _NO_HEADER
        self._block = block
        self.body = body
        self.reply = reply
        self.size = len(body) + _OVERHEAD + len(reply)
        if block is not None:
            # As a map it takes more than the block.
            self.size += 4 * len(block)
        elif header:
            self.size += sum(len(name) + len(value) for name, value in header.items())
        self.shown: object = None

    @property
    def header(self) -> Mapping[str, str]:
        """What is said about the body, such as its C{Content-Type}."""
        if self._header is None:
            self._header = map_from(self._block or b"")
        return self._header

    @property
    def block(self) -> bytes:
        """The same as NATS has it, from C{NATS/1.0} to the empty line; nothing where nothing is said."""
        if self._block is None:
            self._block = block_from(self._header or _NO_HEADER)
        return self._block


@dataclass(frozen=True, slots=True)
class Limits:
    """How much there may be. Sizes are in bytes.

    @ivar message: body and headers of one message.
    @ivar topic: a topic's name, and a queue's.
    @ivar headers: how many a message may have, and how large they may be together.
    @ivar backlog: messages that wait for one subscriber, and what they take in memory.
    @ivar memory: what all messages that wait in one namespace take. No subscriber gets more than what is still free,
        so that the first who stops to read does not take it all.
    @ivar subscriptions: at once in one namespace, over all protocols. A pattern counts once more for every 256 bytes that it has.
    @ivar connection_subscriptions: at once over one connection of NATS.
    @ivar streams: subscriptions of gRPC at once in one namespace, and C{connection_streams} over one connection; each
        costs far more than one of NATS.
    """

    message: int = 4 << 20
    topic: int = 255
    headers: int = 64
    header_size: int = 16 << 10
    backlog: int = 8192
    backlog_size: int = 16 << 20
    memory: int = 128 << 20
    subscriptions: int = 100_000
    connection_subscriptions: int = 10_000
    streams: int = 4096
    connection_streams: int = 512
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
