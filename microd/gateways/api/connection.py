"""HTTP/1.1 over a transport: order and time. L{Intake} parses, L{Outlet} sends.

::

    idle ──first byte──▶ head ──▶ body ──▶ asked ──answered──▶ idle
      │                    │        │                            │
      └── idle time        └ 431    └ 413, 408                   └ closed, where either side wants it

Requests of one connection are answered in the order in which they came, one at a time; those that came early wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import ISSLTransport, ITCPTransport
from twisted.internet.protocol import Protocol as TwistedProtocol

from microd.gateways.api.intake import Intake
from microd.gateways.api.limits import Limits
from microd.gateways.api.outlet import Outlet
from microd.gateways.api.replies import CONTINUE, Dated, error_reply
from microd.gateways.api.request import Request
from microd.kernel.errors import BadGateway, MicroError, TimedOut, Unavailable

NEVER = float("inf")

#: Seconds for which a refused client's bytes are still read, so that it gets to see why.
LINGER = 2.0


class House(Protocol):
    """What a connection knows of its server.

    @ivar now: the time, to the second.
    @ivar buffered: bytes of bodies held at present, of all connections.
    """

    limits: Limits
    dated: Dated
    now: float
    buffered: int
    draining: bool
    ask: Callable[[Request], None]
    refused: Callable[[Request], None]

    def opened(self, connection: HttpConnection) -> None:
        """A connection has come."""

    def closed(self, connection: HttpConnection) -> None:
        """A connection has gone."""


class HttpConnection(TwistedProtocol):
    """One client's connection.

    @ivar deadline: when the server's look will find it too late for what is awaited.
    """

    transport: Any
    _outlet: Outlet

    def __init__(self, house: House) -> None:
        self._house = house
        self._limits = house.limits
        self._intake = Intake(self, house, house.limits, self._arrived, self._asks_leave)
        self._current: Request | None = None
        self._queue: deque[Request] = deque()
        self._advancing = False
        self._deaf = False
        self._unread = False
        self._last_answer = False
        self._ending = False
        self._lost: list[Callable[[], None]] = []
        self.deadline = NEVER
        self.peer = ""

    # Twisted calls these.

    def connectionMade(self) -> None:
        transport = self.transport
        if ITCPTransport.providedBy(transport):
            transport.setTcpNoDelay(True)
        peer = transport.getPeer()
        host = getattr(peer, "host", None)
        self.peer = f"{host}:{peer.port}" if host is not None else "unix"
        self._outlet = Outlet(transport, self._drained)
        self._house.opened(self)
        self.deadline = self._house.now + self._limits.head_time

    def dataReceived(self, data: bytes) -> None:
        if self._deaf:
            return
        intake = self._intake
        already = intake.reading
        try:
            intake.feed(data)
        except MicroError as error:
            self._refuse(error)
            return
        if intake.reading is not None:
            if intake.in_body:
                self._progress()
            elif intake.reading is not already and self._current is None:
                self.deadline = self._house.now + self._limits.head_time

    def connectionLost(self, reason: object = None) -> None:
        self._ending = self._deaf = True
        self._house.closed(self)
        self._outlet.close()
        self._forget()
        self._abandon()
        lost, self._lost = self._lost, []
        for told in lost:
            told()

    @property
    def answering(self) -> bool:
        """Whether a request awaits its answer."""
        return self._current is not None

    # Requests call these.

    def answered(self, request: Request, reply: bytes) -> None:
        """Send the (rest of the) answer of the current request, and turn to the next."""
        if request is not self._current:
            return
        outlet = self._outlet
        outlet.send(reply)
        self._current = request.gone = None
        self._house.buffered -= len(request.body)
        if not request.keep_alive or (self._house.draining and not self._queue):
            self._last_answer = True
        if not self._advancing:
            if self._queue:
                self._advance()
            else:
                self._rest()

    def sent(self, request: Request, part: bytes) -> Deferred[None] | None:
        """Send a part of the answer of the current request.

        @raise CancelledError: the client is gone.
        """
        if request is not self._current:
            raise CancelledError
        request.begun = True
        room = self._outlet.part(part)
        if room is not None:
            self._be_patient()
        return room

    def on_lost(self, told: Callable[[], None]) -> None:
        """Have C{told} called once the client is gone."""
        self._lost.append(told)

    # The server calls these.

    def overdue(self) -> None:
        """What is awaited did not come in time."""
        if self._outlet.full or self._ending:
            self._ending = self._deaf = True
            self.transport.abortConnection()
        elif self._intake.reading is None:
            self._end()
        else:
            self._refuse(TimedOut("the request did not arrive in time"))

    def drain(self) -> None:
        """Take no more requests; close once those that came are answered, but for what never ends."""
        current = self._current
        if current is None:
            if not self._queue and self._intake.reading is None:
                self._end()
        elif current.endless:
            self._abandon()
            self._end()

    def break_off(self) -> None:
        """The drain is over: tell who still waits for an answer that there will be none."""
        current = self._current
        if self._ending:
            return
        if current is None:
            if self._intake.reading is not None:
                self._refuse(
                    Unavailable("the daemon is stopping, and the request had not come: send it again")
                )
        elif current.begun:
            # Only a connection that breaks tells that this was not all.
            self.transport.abortConnection()
        else:
            gone = current.gone
            current.keep_alive = False
            error = BadGateway(
                "the daemon is stopping, and could not wait for the answer: the outcome of the call is unknown"
            )
            current.answer(error_reply(current, error, self._house.dated))
            if gone is not None:
                gone()

    # The intake and the outlet call these.

    def _arrived(self, request: Request) -> None:
        if self._house.draining:
            request.keep_alive = False
        if not self._outlet.full:
            self.deadline = NEVER
        self._queue.append(request)
        if self._current is None:
            self._advance()
        elif len(self._queue) >= self._limits.pipelined:
            self.transport.pauseProducing()

    def _asks_leave(self) -> None:
        if self._current is None:
            self._await_more()

    def _drained(self) -> None:
        self.deadline = NEVER
        self._advance()

    # Taking turns.

    def _advance(self) -> None:
        """Take up requests until one of them waits. A loop, because answers may come at once."""
        if self._advancing or self._ending:
            return
        self._advancing = True
        outlet, queue = self._outlet, self._queue
        if len(queue) > 1:
            outlet.collect()
        try:
            while self._current is None and queue and not self._last_answer and not outlet.full:
                if len(queue) == self._limits.pipelined:
                    self.transport.resumeProducing()
                request = self._current = queue.popleft()
                if request.refusal is not None:
                    request.answer(error_reply(request, request.refusal, self._house.dated))
                    self._house.refused(request)
                else:
                    self._house.ask(request)
        finally:
            self._advancing = False
            outlet.release()
        self._rest()

    def _rest(self) -> None:
        """Nothing is to be done now; what is awaited?"""
        if self._outlet.full:
            self._be_patient()
        elif self._last_answer:
            self._end()
        elif self._current is None:
            self._await_more()

    def _refuse(self, error: MicroError) -> None:
        """Hear nothing more; say why, after the answers to what came before; close."""
        self._deaf = self._unread = True
        request = self._intake.give_up()
        request.refusal = error
        request.keep_alive = False
        self.deadline = NEVER
        self._queue.append(request)
        if self._current is None:
            self._advance()

    def _abandon(self) -> None:
        """Have no more interest in the request that is being answered."""
        current, self._current = self._current, None
        if current is not None:
            self._house.buffered -= len(current.body)
            if current.gone is not None:
                current.gone()

    # Time.

    def _await_more(self) -> None:
        intake = self._intake
        if intake.reading is None:
            self.deadline = self._house.now + self._limits.idle
        elif not intake.in_body:
            self.deadline = self._house.now + self._limits.head_time
        else:
            self._progress()
            if intake.awaits_leave:
                intake.awaits_leave = False
                self._outlet.part(CONTINUE)

    def _progress(self) -> None:
        """A body must not pause for long, nor come too slowly on the whole."""
        limits, intake = self._limits, self._intake
        fair = intake.began + limits.stall + intake.size / limits.slowest
        self.deadline = min(self._house.now + limits.stall, fair)

    def _be_patient(self) -> None:
        """A client that does not keep up has the time that the slowest would take."""
        limits = self._limits
        self.deadline = self._house.now + limits.stall + self._outlet.unsent / limits.slowest

    # Ending.

    def _forget(self) -> None:
        self._intake.forget()
        self._house.buffered -= sum(len(each.body) for each in self._queue)
        self._queue.clear()

    def _end(self) -> None:
        """Close for good, once all is sent.

        A client which was refused may still be sending: if that were left unread, the system would take back the
        answer that is on its way. So what comes is read and dropped for a while.
        """
        if self._ending:
            return
        self._ending = self._deaf = True
        self._forget()
        self._outlet.close()
        transport = self.transport
        if self._unread and ITCPTransport.providedBy(transport) and not ISSLTransport.providedBy(transport):
            self.deadline = self._house.now + LINGER
            transport.loseWriteConnection()
        else:
            self.deadline = self._house.now + self._limits.stall
            transport.loseConnection()
