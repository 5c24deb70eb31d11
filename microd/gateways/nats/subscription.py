"""A subscription of one connection."""

from __future__ import annotations

from typing import Protocol

from microd.gateways.nats.outlet import Outlet
from microd.gateways.nats.parser import Publication
from microd.services.broker.model import Message


class Holder(Protocol):
    """The connection which has subscriptions.

    @ivar headers: it can be sent headers.
    """

    headers: bool
    outlet: Outlet

    def forget(self, sub: Sub) -> None:
        """End a subscription."""


class Sub:
    """A subscription; a L{microd.services.broker.interface.Receiver}.

    @ivar out: its connection's pieces; always the same list.
    @ivar delivered: messages that it was sent.
    @ivar most: it ends after so many; 0: it does not.
    """

    __slots__ = ("delivered", "holder", "most", "out", "outlet", "pattern", "queue", "sid")

    subjects_only = True

    def __init__(self, holder: Holder, sid: bytes, pattern: bytes, queue: str) -> None:
        self.holder = holder
        self.outlet = holder.outlet
        self.out = holder.outlet.out
        self.sid = sid
        self.pattern = pattern
        self.queue = queue
        self.delivered = 0
        self.most = 0

    @property
    def waiting(self) -> int:
        """Bytes which its connection does not take."""
        return self.outlet.waiting

    def deliver(self, topic: str, message: Message) -> None:
        """Pass on what another protocol published."""
        block = message.block
        size = len(block) + len(message.body)
        sizes = b"%d %d" % (len(block), size) if block else b"%d" % size
        said = Publication(topic.encode(), message.reply.encode(), len(block) if block else -1, size, sizes)
        self.take(said, block + message.body + b"\r")
        self.outlet.flush()

    def take(self, said: Publication, payload: bytes) -> None:
        """Put a message to what its connection is sent when the turn ends.

        @param payload: with a C{\\r} at its end.
        """
        holder = self.holder
        reply = said.reply + b" " if said.reply else b""
        if said.headers <= 0:
            head = b"MSG %b %b %b%b\r" % (said.subject, self.sid, reply, said.sizes.rpartition(b" ")[2])
        elif holder.headers:
            head = b"HMSG %b %b %b%b\r" % (said.subject, self.sid, reply, said.sizes)
        else:
            payload = payload[said.headers :]
            head = b"MSG %b %b %b%d\r" % (said.subject, self.sid, reply, len(payload) - 1)
        self.outlet.put(head, payload)
        self.delivered += 1
        if self.delivered == self.most:
            holder.forget(self)
