"""The part of a relayed call between us and its node."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from microd.txgrpc import RpcError
from microd.txgrpc.clientcall import Outbound
from microd.txgrpc.frames import NO_ERROR, PREFIX
from microd.txgrpc.heads import ResponseHead
from microd.txgrpc.messages import frame_again
from microd.txgrpc.stream import CLOSED

if TYPE_CHECKING:
    from microd.gateways.proxy.relay import Relayed
    from microd.txgrpc.channel import Channel
    from microd.txgrpc.connection import Http2Connection


class Onward(Outbound):
    """The part of a relayed call between us and its node."""

    opaque = True

    __slots__ = ("_call", "_unpaid")

    def __init__(self, call: Relayed, channel: Channel, block: bytes, first: bytes, whole: bool) -> None:
        super().__init__(channel, block, first, whole, None)
        self.tail = call.tail
        self._call = call
        self._unpaid = 0

    def send(self, message: bytes, last: bool) -> bool:
        """Send a request on; whether the node can take more."""
        if last or type(message) is not bytes:
            return self.connection.send_data(self, frame_again(message), end=last)
        return self.connection.send_message(self, message)

    def has_opened(self) -> None:
        if not self.over:
            self._call.has_opened(self)

    def head_received(self, head: ResponseHead) -> None:
        hold(self._call.connection, self.connection)
        super().head_received(head)
        if not self.over:
            self._call.answered(head)
            self.connection.afterwards.append(self._call.headers_only)

    def message_received(self, message: bytes, last: bool) -> None:
        if not last:
            self._unpaid += len(message) + PREFIX.size
        if self._call.replied(message, self):
            self.pay()
        if last:
            self.half_closed()

    def trailers_received(self, head: ResponseHead) -> None:
        if self.partial is not None or head.grpc_status is None or head.grpc_status < 0:
            super().trailers_received(head)
            return
        if self.state != CLOSED:
            # It does not want the rest of the request.
            self.connection.reset(self, NO_ERROR)
        self._over()
        self._call.finished(head)

    def pay(self) -> None:
        """The client has taken all replies: let the node send more."""
        if self._unpaid and not self.over:
            unpaid, self._unpaid = self._unpaid, 0
            self.consumed(unpaid - PREFIX.size)

    def writable(self) -> None:
        self._call.pay()

    def failed(self, error: RpcError) -> None:
        self._call.went_wrong(error)


def hold(connection: Http2Connection, turn: Http2Connection) -> None:
    """Collect what is sent on C{connection} until all that arrived on C{turn} has been taken in, for one write."""
    if not connection.busy:
        connection.busy = True
        turn.afterwards.append(partial(_release, connection))


def _release(connection: Http2Connection) -> None:
    connection.busy = False
    if connection.on_output is not None:
        connection.on_output()
