"""Calls to nodes, with what they share kept: header blocks, and the write at the end of the reactor's turn."""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from microd.gateways.api.interface import IDialer
from microd.txgrpc import messages, requests
from microd.txgrpc.channel import Channel
from microd.txgrpc.clientcall import UnaryCall
from microd.txgrpc.frames import PREFIX
from microd.txgrpc.heads import ResponseHead
from microd.txgrpc.metadata import Metadata
from microd.txgrpc.status import MetadataLike, RpcError, StatusCode

_prefix = PREFIX.pack


class Asker(Protocol):
    """Whoever waits for the answer to a call."""

    def answered(self, body: bytes) -> None:
        """The reply has come."""

    def unanswered(self, error: RpcError) -> None:
        """There is none."""

    def broken(self, failure: Failure) -> None:
        """One of the others raised."""


class NodeCall(UnaryCall):
    """A call with one reply, which is told to an L{Asker}: a Deferred would take a tenth of the gateway's time."""

    __slots__ = ("_asker",)

    def __init__(self, channel: Channel, block: bytes, first: bytes, tail: bytes, asker: Asker) -> None:
        # What the constructors of Outbound and Stream would do, in one go.
        self.id = self.state = self.unread = self.held = self.debt = self.credit = self.need = 0
        self.outbox = self.last_block = self.partial = self.encoding = self.head = None
        self._message = self.timed = self.deserialize = None
        self.headed = self.over = self.is_open = self.wait_for_ready = False
        self.expected = -1
        self.channel = channel
        self.block = block
        self.first = first
        self.whole = True
        self.tail = tail
        self._asker = asker

    def went_well(self, head: ResponseHead) -> None:
        asker, message = self._asker, self._message
        if message is None:
            self.failed(RpcError(StatusCode.INTERNAL, "the server said OK and gave no reply"))
            return
        del self._asker
        try:
            asker.answered(message)
        except Exception:  # noqa: BLE001 - the connection to the node must live
            asker.broken(Failure())

    def failed(self, error: RpcError) -> None:
        asker = self._asker
        del self._asker
        try:
            asker.unanswered(error)
        except Exception:  # noqa: BLE001 - as above
            asker.broken(Failure())


class Wires:
    """Knows how to call a method at an address."""

    def __init__(self, dialer: IDialer, clock: IReactorTime) -> None:
        self._dialer = dialer
        self._later = partial(clock.callLater, 0)

    def call(
        self,
        address: str,
        path: str,
        body: bytes,
        metadata: MetadataLike,
        content_type: str,
        timeout: float,
        tail: bytes,
        asker: Asker,
    ) -> NodeCall:
        """Call a method now; C{asker} may be told before this returns.

        @param metadata: where it is L{Metadata}, the header block made of it is kept with it.
        """
        channel: Channel = self._dialer.channel(address)
        connection = channel.connection
        if connection is not None:
            # What the requests of this turn have to say to the node goes out in one write, when the turn is over.
            connection.hold(self._later)
        if type(metadata) is Metadata:
            key = (channel, path, content_type)
            kept = metadata.kept
            if kept is not None and kept[0] == key:
                block = kept[1]
            else:
                block = requests.block(channel.scheme, channel.authority, path, metadata, content_type)
                metadata.kept = (key, block)
        else:
            block = requests.block(channel.scheme, channel.authority, path, metadata, content_type)
        size = len(body)
        call = NodeCall(channel, block, _prefix(0, size) + body, tail, asker)
        if size > channel.limits.max_message:
            bad = messages.too_large(size, channel.limits.max_message)
            call.over = True
            call.failed(RpcError(bad.code, bad.text, delivered=False))
        else:
            channel.submit(call, timeout, None)
        return call

    def streaming(self, address: str, path: str) -> Any:
        """The streaming method."""
        return self._dialer.channel(address).unary_stream(path)
