"""The relay: a call comes in at a door and goes on to a node; messages pass as they are, both ways.

::

    client ──▶ Relayed (our server's end of the call) ──▶ Onward (our client's end of it) ──▶ node
           ◀──                                        ◀──

The two ends are streams of txgrpc which call each other: no coroutine, no Deferred and no timer of its own for a call,
since every call of every service passes through here. Whoever is slow stops the other: a message counts as read on one
side only when the other side has taken it.

A call goes on to the next node when, and only when, the one before surely did not process it, and then from its
beginning; so what was sent is kept until the node has answered something.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from twisted.logger import LogLevel
from twisted.python.failure import Failure

from microd.gateways.proxy.onward import Onward, hold
from microd.gateways.proxy.verdicts import verdict
from microd.gateways.proxy.way import Way, answer_block, trailers
from microd.gateways.refusals import is_ours, rpc_error
from microd.gateways.tally import Ended, Row, Tally
from microd.kernel.caller import Account
from microd.kernel.errors import Internal, MicroError
from microd.services.registry.model import Node
from microd.txgrpc import Method, RpcError, StatusCode, replies
from microd.txgrpc.call import ServerCall
from microd.txgrpc.frames import PREFIX
from microd.txgrpc.heads import RequestHead, ResponseHead
from microd.txgrpc.messages import frame_again
from microd.txgrpc.status import decode_message
from microd.txgrpc.stream import LOCAL
from microd.txgrpc.tail import begin, trace_of

if TYPE_CHECKING:
    from microd.services.network.dialer import Dialer
    from microd.txgrpc.connection import Http2Connection
    from microd.txgrpc.protocol import ServerProtocol

#: How much of a request is kept for another node; a longer one is not sent anew.
_MOST_KEPT = 1 << 20
#: The last status that gRPC knows, and how much of what goes with one is looked at.
_MOST_STATUS, _LONGEST_TEXT = max(StatusCode), 4096
#: Nodes which are tried for one call.
_MOST_TRIED = 16


async def _never(*_: object) -> None:
    """Relayed calls have no handler."""


_RELAYED = Method("stream_stream", _never)


class Relayed(ServerCall):
    """A call that goes on to a node.

    @ivar account: who makes it; None for nobody.
    @ivar namespace: where it goes.
    @ivar _kept: what was sent of the request, for another node; None when that is too much or too late.
    @ivar _held: messages which wait until the node can take them.
    @ivar _unpaid: bytes of requests, prefixes and all, which the client is told about once the node has taken them.
    @ivar _only: the first reply, until it is known what comes after it.
    @ivar _extra: the node's own headers, for ours.
    @ivar notes: how it ends unless it is unary, once who calls may do so no more; or the defect that has ended it.
    """

    opaque = True

    __slots__ = (
        "_answered",
        "_dialer",
        "_extra",
        "_held",
        "_kept",
        "_kept_size",
        "_nodes",
        "_only",
        "_onward",
        "_row",
        "_state",
        "_tally",
        "_tried",
        "_unpaid",
        "_whole",
        "account",
        "namespace",
        "way",
    )

    def __init__(
        self,
        protocol: ServerProtocol,
        head: RequestHead,
        way: Way,
        namespace: str,
        nodes: Sequence[Node],
        dialer: Dialer,
        tally: Tally,
        row: Row,
        account: Account | None,
    ) -> None:
        super().__init__(protocol, head, _RELAYED)
        self._tally = tally
        self._row = row
        self.account = account
        self.way = way
        self.namespace = namespace
        self._nodes = nodes
        self._dialer = dialer
        self._tried = 0
        self._onward: Onward | None = None
        self._held: list[bytes] = []
        self._kept: list[bytes] | None = []
        self._kept_size = self._unpaid = 0
        self._whole = self._answered = False
        self._only: bytes | None = None
        self._extra = b""

    # What the client sends.

    def opened(self) -> None:
        protocol = self._protocol
        self.began = protocol.arrived
        ids = self.way.ids
        if self.tail or ids.trace:
            # The trace goes on with the caller's span: here is none.
            self.tail = self.tail or ids.tail
            self._state = self.way.state
        else:
            self.tail = begin()
            self._state = b""
        timeout = self.head.timeout
        if timeout is not None:
            self.expires = protocol.arrived + timeout
        protocol.fresh.append(self)

    def message_received(self, message: bytes, last: bool) -> None:
        if self._done:
            return
        self._tally.received += len(message)
        if last:
            self._whole = True
        else:
            self._unpaid += len(message) + PREFIX.size
        onward = self._onward
        if onward is None or not onward.is_open:
            self._held.append(frame_again(message))
            return
        if self._kept is not None:
            self._keep(frame_again(message))
        if onward.send(message, last):
            self.pay()

    def half_closed(self) -> None:
        self._whole = True
        onward = self._onward
        if onward is not None and onward.is_open and not self._done:
            onward.connection.send_data(onward, b"", end=True)

    def settle(self) -> None:
        """All that came with the headers has been taken in: go on."""
        if self._done:
            return
        self._begun = True
        try:
            self._next(self.connection)
        except Exception as error:  # noqa: BLE001 - the connection that calls us must live
            self._defect(error)

    def pay(self) -> None:
        """The node has taken all that was sent: let the client send more."""
        if self._unpaid:
            unpaid, self._unpaid = self._unpaid, 0
            self.consumed(unpaid - PREFIX.size)

    def _keep(self, framed: bytes) -> None:
        """Remember what was sent, while that is little."""
        kept = self._kept
        if kept is not None:
            kept.append(framed)
            self._kept_size += len(framed)
            if self._kept_size > _MOST_KEPT and len(kept) > 1:
                self._kept = None

    # Going on.

    def _next(self, turn: Http2Connection | None) -> None:
        """Send the call to the next node.

        @param turn: the connection whose bytes are being taken in, if it is for their sake.
        """
        node = self._nodes[self._tried]
        self._tried += 1
        channel = self._dialer.channel(node.address)
        first = (self._kept or []) + self._held
        self._held, self._kept, self._kept_size = [], [], 0
        for framed in first:
            self._keep(framed)
        ready = channel.connection
        if ready is not None and turn is not None:
            hold(ready, turn)
        block = self.way.block(channel.scheme, channel.authority, self.namespace)
        if self._state:
            block += self._state
        whole = first[0] if len(first) == 1 else b"".join(first)
        self._onward = onward = Onward(self, channel, block, whole, self._whole)
        channel.submit(onward, self.time_remaining(), False)

    def has_opened(self, onward: Onward) -> None:
        """The call is on its way to a node; send what came meanwhile."""
        held, self._held = self._held, []
        for framed in held:
            self._keep(framed)
            onward.connection.send_data(onward, framed)
        if self._whole and not onward.whole and not onward.state & LOCAL:
            onward.connection.send_data(onward, b"", end=True)
        if onward.outbox is None:
            self.pay()

    def went_wrong(self, error: RpcError) -> None:
        """The node did not do it: the next one, or the client, must know."""
        if self._done:
            return
        try:
            can_go_on = error.undelivered and error.code is not StatusCode.DEADLINE_EXCEEDED
            if can_go_on and self.notes is not None:
                self.refuse(self.notes)
                return
            if can_go_on and self._kept is not None and self._tried < min(len(self._nodes), _MOST_TRIED):
                self._next(None)
                return
            self._flush()
            if not error.answered:
                error = rpc_error(verdict(self.way.service, self._tried, error))
            self._fail(error.code, error.message, error.details, error.trailing_metadata)
        except Exception as defect:  # noqa: BLE001 - the connection that calls us must live
            self._defect(defect)

    def end(self, error: MicroError) -> bool:
        """Who calls may do so no more: end what is a stream for sure.

        A unary call finishes: its node does it anyway, and who were told to log in would have it done twice. What has
        neither been answered nor is still being asked may be one; of its answers one gets through, if it is the last.

        @return: whether it is over.
        """
        if not self._done:
            refusal = rpc_error(error)
            if not self._headers_sent and self._whole and self._only is None:
                self.notes = refusal
                return False
            self.refuse(refusal)
        return True

    # What the node sends.

    def answered(self, head: ResponseHead) -> None:
        """The node has begun to answer, so no other will be asked."""
        self._kept = None
        self._answered = True
        self._extra = answer_block(head)

    def replied(self, message: bytes, onward: Onward) -> bool:
        """Pass on a reply; whether the client can take more."""
        self._tally.sent += len(message)
        if self._only is None and not self._headers_sent:
            # Mostly it is the only one, and goes out together with what follows.
            self._only = message
            onward.connection.afterwards.append(self._flush)
            return True
        if self.notes is not None:
            # What is no unary call ends here.
            self.refuse(self.notes)
            return True
        self._flush()
        return self._write_bytes(message)

    def finished(self, head: ResponseHead) -> None:
        """The node is done: so are we."""
        if self._done:
            return
        request, block = self.head, trailers(head)
        reply, self._only = self._only, None
        if type(reply) is bytes and len(block) < 256:
            self._done = True
            head_block = request.reply_block or replies.head_block(request)
            self.connection.send_unary(self, head_block + self._extra, reply, block)
        elif not self._answered:
            # Headers and trailers in one: so came it.
            self._done = self._headers_sent = True
            self.connection.send_headers(self, self._head_block() + block, end=True)
        else:
            if reply is not None:
                self._write_bytes(reply)
            elif not self._headers_sent:
                self._send_head()
            self._done = True
            self.connection.send_trailers(self, block)
        self._onward = None
        status = head.grpc_status or 0
        if status > _MOST_STATUS:
            status = StatusCode.UNKNOWN
        self._over(status, "" if status == 0 else _text(head))

    def _flush(self) -> None:
        """Send the reply which waited for what comes after it; where only a unary call may go on, it waits longer."""
        reply = self._only
        if reply is not None and self.notes is None:
            self._only = None
            if not self._done:
                self._write_bytes(reply)

    def headers_only(self) -> None:
        """The node has sent headers and nothing else for now: so do we."""
        if not self._done and not self._headers_sent and self._only is None and self.notes is None:
            self._send_head()

    def _write_bytes(self, message: bytes) -> bool:
        if not self._headers_sent:
            self._send_head()
        if type(message) is bytes:
            return self.connection.send_message(self, message)
        return self.connection.send_data(self, frame_again(message))

    def _send_head(self) -> None:
        self._headers_sent = True
        self.connection.send_headers(self, self._head_block())

    def _head_block(self) -> bytes:
        return replies.head_block(self.head) + self._extra

    # How the client takes it, and how the call ends.

    def writable(self) -> None:
        onward = self._onward
        if onward is not None:
            onward.pay()

    def _over(self, code: int, text: str) -> None:
        tally = self._tally
        took = tally.count(self._row, code, self.began)
        if code or tally.every:
            notes, self.notes = self.notes, None
            failure = notes if type(notes) is Failure else None
            if tally.every or failure is not None or is_ours(code, text):
                way = self.way
                name = tally.name_of(code)
                trace = trace_of(self.tail).decode() or way.ids.trace
                ended = Ended(
                    trace, way.service, way.endpoint, self.account, self.namespace, name, took, text
                )
                tally.say(ended, LogLevel.warn if is_ours(code, text) else LogLevel.info, failure)

    def _defect(self, error: Exception) -> None:
        self.notes = Failure(error)
        refusal = rpc_error(Internal(f"{type(error).__name__}: {error}", "proxy"))
        self._fail(refusal.code, refusal.message, refusal.details)

    def _finish(self) -> None:
        super()._finish()
        self._held, self._kept, self._only = [], None, None
        onward, self._onward = self._onward, None
        if onward is not None:
            onward.abandon()


def _text(head: ResponseHead) -> str:
    """What an answer says of its status."""
    return decode_message(head.grpc_message[:_LONGEST_TEXT])
