"""The client's side: one address, one connection at a time, many calls.

::

    idle ──call──▶ connecting ──SETTINGS──▶ ready ──GOAWAY, numbers used up──▶ idle (the old one finishes its calls)
                     │ refused, silent         │ connection lost
                     ▼                         ▼
                   resting ──time over and a call waits──▶ connecting
    any ──close──▶ closed

Until the server's SETTINGS have come nothing is sent, so a call which fails before then is known to be
undelivered.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from microd.txgrpc import requests
from microd.txgrpc.call import CURRENT
from microd.txgrpc.callables import Deserialize, Serialize, StreamStream, StreamUnary, UnaryStream, UnaryUnary
from microd.txgrpc.clientcall import Outbound
from microd.txgrpc.clientprotocol import ClientFactory, ClientProtocol
from microd.txgrpc.connection import Http2Connection
from microd.txgrpc.deadlines import Deadlines
from microd.txgrpc.limits import DEFAULT, Keepalive, Limits
from microd.txgrpc.timeouts import FOREVER


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long a channel rests after the server could not be reached: a random part of a doubling time, in seconds."""

    first: float = 0.1
    most: float = 5.0

    def delay(self, failures: int, random: Callable[[], float]) -> float:
        """The rest after so many failures in a row."""
        return random() * min(self.most, self.first * 2.0 ** min(failures - 1, 30))


#: Servers of other makers end connections that are pinged more often than every five minutes.
KEEPALIVE = Keepalive(interval=310.0)
_BACKOFF = Backoff()


class Channel:
    """Calls to the server at one endpoint.

    It connects with the first call and again when a call needs it. A call that finds no connection fails at once
    while the channel rests after a failure, unless it asks to wait (C{wait_for_ready}).

    @ivar deadlines: of the calls in flight.
    @ivar on_closed: called once, when C{close} has run its course.
    @ivar down: the server was lost, or could not be reached, and has not been reached since.
    """

    _log = Logger()

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        clock: IReactorTime,
        *,
        authority: str = "localhost",
        limits: Limits = DEFAULT,
        wait_for_ready: bool = False,
        secure: bool = False,
        keepalive: Keepalive = KEEPALIVE,
        backoff: Backoff = _BACKOFF,
        connect_timeout: float = 20.0,
        random: Callable[[], float] = random.random,
    ) -> None:
        self.clock = clock
        self.limits = limits
        self.keepalive = keepalive
        self.deadlines = Deadlines(clock)
        self.on_closed: Callable[[], None] | None = None
        self.down = False
        self.authority = authority
        self.scheme = "https" if secure else "http"
        self._endpoint = endpoint
        self._wait_for_ready = wait_for_ready
        self._backoff = backoff
        self._random = random
        self._connect_timeout = connect_timeout
        self._ready: ClientProtocol | None = None
        self._protocols: set[ClientProtocol] = set()
        self._connecting = False
        self._attempt: Deferred[Any] | None = None
        self._waiting: dict[Outbound, None] = {}
        self._failures = 0
        self._rest: IDelayedCall | None = None
        self._trouble = "not connected"
        self._closed: list[Deferred[None]] | None = None
        self._sweep: IDelayedCall | None = None

    # Making calls.

    def unary_unary(
        self, path: str, serialize: Serialize = None, deserialize: Deserialize = None
    ) -> UnaryUnary:
        """One request, one reply."""
        return UnaryUnary(self, path, serialize, deserialize)

    def unary_stream(
        self, path: str, serialize: Serialize = None, deserialize: Deserialize = None
    ) -> UnaryStream:
        """One request, many replies."""
        return UnaryStream(self, path, serialize, deserialize)

    def stream_unary(
        self, path: str, serialize: Serialize = None, deserialize: Deserialize = None
    ) -> StreamUnary:
        """Many requests, one reply."""
        return StreamUnary(self, path, serialize, deserialize)

    def stream_stream(
        self, path: str, serialize: Serialize = None, deserialize: Deserialize = None
    ) -> StreamStream:
        """Many of both."""
        return StreamStream(self, path, serialize, deserialize)

    @property
    def connection(self) -> Http2Connection | None:
        """The connection on which the next call will be opened, if there is one now."""
        return None if self._ready is None else self._ready.connection

    @property
    def in_flight(self) -> int:
        """How many calls are open, or wait for a connection."""
        return len(self._waiting) + sum([len(protocol.connection.streams) for protocol in self._protocols])

    def connect(self) -> None:
        """Connect, unless there is a connection or the channel rests, so that the next call need not wait for it."""
        if self._ready is None and self._rest is None and self._closed is None:
            self._connect()

    def submit(self, call: Outbound, timeout: float | None, wait_for_ready: bool | None) -> None:
        """Send a call, now or when the server can be reached."""
        outer = CURRENT.get()
        if outer is not None and outer.deadline is not None:
            left = outer.time_remaining() or 0.0
            timeout = left if timeout is None else min(left, timeout)
        if timeout is not None:
            if timeout <= 0:
                call.expired()
                return
            if timeout < FOREVER:
                call.expires = self.clock.seconds() + timeout
                call.timed = self.deadlines.add(call)
            else:
                timeout = None
        protocol = self._ready
        if protocol is not None and not self._waiting and protocol.connection.can_open:
            self._open(call, protocol, timeout)
            return
        call.wait_for_ready = self._wait_for_ready if wait_for_ready is None else wait_for_ready
        self._enqueue(call)

    def _open(self, call: Outbound, protocol: ClientProtocol, left: float | None) -> None:
        connection = protocol.connection
        call.join(connection)
        call.is_open = True
        block = call.block
        if left is not None:
            block += requests.timeout(left)
        if call.tail:
            block += call.tail
        connection.open(call, block, call.first, end=call.whole)
        call.has_opened()

    def _enqueue(self, call: Outbound) -> None:
        if self._closed is not None:
            call.failed_to_open("the channel is closed")
        elif self._rest is not None and not call.wait_for_ready:
            call.failed_to_open(self._trouble)
        else:
            self._waiting[call] = None
            if self._ready is None and self._rest is None:
                self._connect()
            elif self._ready is not None and self._ready.connection.exhausted:
                self.retire(self._ready)

    def done(self, call: Outbound) -> None:
        """A call is over."""
        if self._waiting:
            self._waiting.pop(call, None)
            self._send_waiting()
        if self._closed is not None:
            self._maybe_closed()

    def _send_waiting(self) -> None:
        protocol = self._ready
        if protocol is None:
            return
        waiting = self._waiting
        while waiting and protocol.connection.can_open:
            call = next(iter(waiting))
            del waiting[call]
            self._open(call, protocol, None if call.timed is None else call.expires - self.clock.seconds())
        if waiting and protocol.connection.exhausted:
            self.retire(protocol)

    # Connecting.

    def _connect(self) -> None:
        if self._connecting:
            return
        self._connecting = True
        attempt = self._attempt = self._endpoint.connect(ClientFactory(self))
        late = self.clock.callLater(self._connect_timeout, self._too_late)

        def settled(result: Any) -> Any:
            self._attempt = None
            if late.active():
                late.cancel()
            return result

        attempt.addBoth(settled)
        attempt.addErrback(self._refused)

    def _too_late(self) -> None:
        if self._attempt is not None:
            self._attempt.cancel()

    def _refused(self, failure: Failure) -> None:
        self._connecting = False
        if failure.check(CancelledError):
            self._failed("the server cannot be reached: it does not answer")
        else:
            self._failed(f"the server cannot be reached: {failure.getErrorMessage()}")

    def made(self, protocol: ClientProtocol) -> None:
        """A connection is up; the server has not said anything yet."""
        self._protocols.add(protocol)
        if self._closed is not None:
            protocol.close()
        elif self._sweep is None:
            self._look_after_later()

    def settled(self, protocol: ClientProtocol) -> None:
        """The server's settings have come, the first time or again."""
        if self._ready is None and not protocol.retired:
            self._connecting = False
            self._ready = protocol
            self._failures = 0
            self.down = False
        self._send_waiting()

    def retire(self, protocol: ClientProtocol) -> None:
        """Open no more calls on this connection; it lives until those in flight are over."""
        if protocol.retired:
            return
        protocol.retired = True
        if self._ready is protocol:
            self._ready = None
        if not protocol.connection.streams:
            protocol.close()
        if self._waiting and self._ready is None and self._rest is None:
            self._connect()

    def lost(self, protocol: ClientProtocol, reason: str) -> None:
        """A connection is gone; its calls have been told."""
        self._protocols.discard(protocol)
        if self._ready is protocol:
            self._ready = None
            self.down = True
            self._trouble = reason
        elif self._ready is None and not protocol.retired:
            # It broke before the server had said anything.
            self._connecting = False
            self._failed(reason)
        if not self._protocols and self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        if self._closed is not None:
            self._maybe_closed()
        elif self._waiting and self._ready is None and self._rest is None:
            self._connect()

    def _failed(self, trouble: str) -> None:
        """The server could not be reached: rest, and tell those who did not want to wait."""
        self._trouble = trouble
        self._failures += 1
        self.down = True
        if self._closed is not None:
            self._maybe_closed()
            return
        delay = self._backoff.delay(self._failures, self._random)
        self._rest = self.clock.callLater(delay, self._rested)
        for call in [call for call in self._waiting if not call.wait_for_ready]:
            call.failed_to_open(trouble)

    def _rested(self) -> None:
        self._rest = None
        if self._waiting and self._ready is None:
            self._connect()

    def ping_less(self) -> None:
        """The server finds our PINGs too many: later connections send half as many."""
        self.keepalive = replace(self.keepalive, interval=self.keepalive.interval * 2)

    def _look_after_later(self) -> None:
        keepalive = self.keepalive
        every = max(0.1, min(keepalive.handshake, keepalive.interval, keepalive.timeout) / 2)
        self._sweep = self.clock.callLater(every, self._look_after)

    def _look_after(self) -> None:
        self._look_after_later()
        now = self.clock.seconds()
        for protocol in list(self._protocols):
            protocol.look_after(now)

    # Ending.

    async def close(self, grace: float = 0.0) -> None:
        """Take no more calls; after C{grace} seconds, end those still in flight as UNAVAILABLE, and hang up."""
        if self._closed is None:
            self._closed = []
            if self._rest is not None:
                self._rest.cancel()
                self._rest = None
            for call in list(self._waiting):
                call.failed_to_open("the channel is closed")
            if self._attempt is not None:
                self._attempt.cancel()
            for protocol in list(self._protocols):
                self.retire(protocol)
        if not self._protocols:
            self._maybe_closed()
            return
        closed: Deferred[None] = Deferred()
        self._closed.append(closed)
        late = self.clock.callLater(grace, self._hang_up)
        try:
            await closed
        finally:
            if late.active():
                late.cancel()

    def _hang_up(self) -> None:
        for protocol in list(self._protocols):
            protocol.give_up("the channel is closed")

    def _maybe_closed(self) -> None:
        if self._closed is None or self._protocols:
            return
        self.deadlines.stop()
        waiting, self._closed = self._closed, []
        for closed in waiting:
            closed.callback(None)
        if self.on_closed is not None:
            told, self.on_closed = self.on_closed, None
            told()
