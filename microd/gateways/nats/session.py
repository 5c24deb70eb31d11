"""One connection of a NATS client.

This is the seam to the door, which has the listener, TLS and the accounts::

    exchange = Exchange(broker)                       one a door: what its connections share; exchange.counts
    session = Session(exchange, limits, clock, info=..., authenticate=..., ended=..., begin_tls=..., events=...)
    session.connected(transport, peer)                INFO goes out; then begin_tls(), where the door wants TLS at once
    session.data_received(data)
    session.lost()                                    the connection is gone; ended(session) was called, or is now, once

    info: () -> bytes                                 the JSON of INFO as it stands now, without "INFO " and line end
    authenticate: (Connect) -> Awaitable[Admitted]    who it is; a MicroError or any failure: -ERR 'Authorization Violation'
    ended: (Session) -> None                          it takes nothing any more; leave it out of the door's books
    events: IEvents | None                            who keeps what is published to $EVENTS.<topic>

    session.permit(publish=..., subscribe=..., store=...)  the account's rights have changed
    session.say_info()                                send INFO once more (lame duck: the door's info says "ldm": true then)
    session.close(text="")                            -ERR 'text', then hang up once that is sent, or after limits.write_deadline
    session.abort()                                   hang up now
    session.account, .connect, .peer                  who it is; None before it is known

The transport is Twisted's, plain or TLS: C{write}, C{loseConnection}, C{abortConnection}, C{pauseProducing}, C{resumeProducing}, C{registerProducer}.
Until somebody has come in the transport is paused; what it had read already, 64 KiB or so, waits.

::

    connected ──CONNECT──▶ asking ──admitted──▶ open ──close, lost, an error──▶ over
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from microd.gateways.nats import parser
from microd.gateways.nats.exchange import Exchange
from microd.gateways.nats.holding import TOO_MANY, Holding
from microd.gateways.nats.inbound import Inbound
from microd.gateways.nats.model import Admitted, Connect, Limits
from microd.gateways.nats.outlet import Outlet, Transport
from microd.gateways.nats.parser import UNKNOWN, ProtocolError
from microd.gateways.nats.plans import Plan
from microd.gateways.nats.publishing import Publishing
from microd.gateways.nats.storing import Storing
from microd.gateways.nats.subscription import Sub
from microd.kernel.caller import Account
from microd.kernel.errors import MicroError
from microd.services.broker.service import Place
from microd.services.events.interface import IEvents

__all__ = ["LATE", "NOT_IN", "SLOW", "STALE", "TOO_MANY", "Exchange", "Session"]

NOT_IN = "Authorization Violation"
STALE = "Stale Connection"
SLOW = "Slow Consumer"
LATE = "Authentication Timeout"
#: Bytes which a connection that is cut off may leave in its transport.
_KEPT = 256 << 10


class Session:
    """See the top of the module.

    @ivar headers: it can be sent headers.
    """

    log = Logger()

    __slots__ = (
        "_asking",
        "_authenticate",
        "_begin_tls",
        "_clock",
        "_ended",
        "_events",
        "_holding",
        "_info",
        "_is_deaf",
        "_over",
        "_pings",
        "_place",
        "_publishing",
        "_question",
        "_resting",
        "_timer",
        "_transport",
        "account",
        "connect",
        "exchange",
        "headers",
        "inbound",
        "limits",
        "outlet",
        "peer",
    )

    def __init__(
        self,
        exchange: Exchange,
        limits: Limits,
        clock: IReactorTime,
        *,
        info: Callable[[], bytes],
        authenticate: Callable[[Connect], Awaitable[Admitted]],
        ended: Callable[[Session], None],
        begin_tls: Callable[[], None] | None = None,
        events: IEvents | None = None,
    ) -> None:
        self.exchange = exchange
        self.limits = limits
        self.outlet = Outlet(limits, exchange.counts, exchange.touched, self._slow)
        self.inbound = Inbound(self, exchange.counts, limits.control_line)
        self.account: Account | None = None
        self.connect = Connect()
        self.peer = ""
        self.headers = False
        self._clock = clock
        self._info = info
        self._authenticate = authenticate
        self._ended = ended
        self._begin_tls = begin_tls
        self._events = events
        self._transport: Transport | None = None
        self._place: Place | None = None
        self._publishing: Publishing | None = None
        self._holding: Holding | None = None
        self._asking = self._is_deaf = False
        self._question: Deferred[None] | None = None
        self._resting: IDelayedCall | None = None
        self._over = False
        self._pings = 0
        self._timer: IDelayedCall | None = None

    def connected(self, transport: Transport, peer: str) -> None:
        """Greet."""
        self._transport = transport
        self.peer = peer
        self.outlet.open(transport)
        self._timer = self._clock.callLater(self.limits.authentication, self.close, LATE)
        self.say_info()
        if self._begin_tls is not None:
            self._begin_tls()

    def data_received(self, data: bytes) -> None:
        """Do what a client says."""
        if self._over:
            return
        self.exchange.counts.in_bytes += len(data)
        self._take(self.inbound.feed, data)

    def lost(self) -> None:
        """The connection is gone."""
        self._end()
        self.outlet.close()
        self._transport = None

    def permit(self, *, publish: bool, subscribe: bool, store: bool = True) -> None:
        """The account may do this from now on; subscriptions which it may not have end, which it is told."""
        if self._over:
            return
        if self._publishing is not None and self._holding is not None:
            if subscribe:
                self._holding.permitted = True
            else:
                for each in self._holding.forbid():
                    self.error(each)
                self.outlet.flush()
            self._publishing.refresh(permitted=publish, storable=store)
            self._look()

    def say_info(self) -> None:
        """Send INFO."""
        self.outlet.say(b"INFO " + self._info())
        self.outlet.flush()

    def close(self, text: str = "") -> None:
        """Take nothing any more, send what waits, hang up."""
        if self._over or self._transport is None:
            return
        if text:
            self.error(text)
        self._end()
        self.outlet.flush()
        if self._transport is not None:
            self._timer = self._clock.callLater(self.limits.write_deadline, self.abort)
            # TLS hears only by reading that the other side lets go, too.
            self._transport.resumeProducing()
            self.outlet.finish()

    def abort(self) -> None:
        """Hang up now."""
        self._end()
        transport, self._transport = self._transport, None
        self.outlet.close()
        if transport is not None:
            transport.abortConnection()

    # -- what those who do the work ask for

    def line(self, line: bytes) -> Plan | None:
        """Hear who it is; after that L{Publishing.line} is asked."""
        self._introduce(line)
        return None

    def command(self, line: bytes) -> None:
        """Do what a line says that is no publication."""
        parser.require_short(line, self.limits.control_line)
        self._command(line[:4].upper(), line)

    def error(self, text: str) -> None:
        """Say what was wrong."""
        self.outlet.say(b"-ERR '%b'" % text.encode())

    def done(self) -> None:
        """Say that it was done, to who wants to hear it."""
        if self.connect.verbose:
            self.outlet.say(b"+OK")

    def forget(self, sub: Sub) -> None:
        """End a subscription."""
        assert self._holding is not None
        self._holding.forget(sub)

    def rest(self) -> None:
        """Let others have their turn, then go on."""
        if self._resting is None and not self._over:
            self._halt()
            self._resting = self._clock.callLater(0, self._rested)

    # -- the rest

    def _take(self, take: Callable[..., None], *what: bytes) -> None:
        try:
            take(*what)
        except ProtocolError as error:
            text = str(error)
            self.close(NOT_IN if self.account is None and text == UNKNOWN else text)
        if self._publishing is not None:
            self._publishing.settle()
        if self.exchange.touched:
            self.exchange.flush()

    def _rested(self) -> None:
        self._resting = None
        self._go_on()

    def _listen(self, listens: bool) -> None:
        """Whether the client is heard; what it says meanwhile stays in its socket."""
        self._is_deaf = not listens
        if self._over:
            return
        if listens:
            self.rest()
        else:
            self._halt()

    def _halt(self) -> None:
        self.inbound.halted = True
        if self._transport is not None:
            self._transport.pauseProducing()

    def _go_on(self) -> None:
        if self._over or self._asking or self._is_deaf or self._resting is not None:
            return
        if self._transport is not None:
            self._transport.resumeProducing()
        self._take(self.inbound.go_on)

    def _introduce(self, line: bytes) -> None:
        """Only C{CONNECT} is heard from somebody who is not known."""
        if not parser.is_connect(line):
            raise ProtocolError(NOT_IN)
        self.connect = self._read_connect(line)
        self._halt()
        self._asking = True
        self._question = Deferred.fromCoroutine(self._ask(self.connect))

    def _read_connect(self, line: bytes) -> Connect:
        parser.require_short(line, self.limits.control_line)
        connect = parser.connect(line[8:])
        if connect.no_responders and not connect.headers:
            raise ProtocolError("no responders requires headers support")
        if connect.protocol not in (0, 1):
            raise ProtocolError("invalid client protocol")
        return connect

    async def _ask(self, connect: Connect) -> None:
        admitted: Admitted | None = None
        try:
            admitted = await self._authenticate(connect)
        except (MicroError, CancelledError):
            # It is not let in, or has gone.
            pass
        except Exception:  # noqa: BLE001 - whoever cannot be told apart stays outside
            self.log.failure("authentication of {peer} failed", peer=self.peer)
        self._asking = False
        if self._over:
            return
        # What was shown is of no use any more, and is a secret.
        self.connect = replace(self.connect, token="", jwt="", password="")
        if admitted is None:
            self.close(NOT_IN)
        else:
            self._come_in(admitted)

    def _come_in(self, admitted: Admitted) -> None:
        exchange = self.exchange
        self.account = admitted.account
        self.headers = self.connect.headers
        self._place = place = exchange.broker.enter(admitted.account.issuer)
        self._holding = Holding(self, exchange, place, self.limits.subscriptions, admitted.subscribe)
        self.outlet.budget = place.budget
        self.inbound.budget = place.unfinished
        events = self._events
        storing = None if events is None else Storing(events, place, exchange, self._clock, self._listen)
        self._publishing = Publishing(
            self, exchange, place, self.limits, storing, admitted.publish, admitted.store
        )
        self._look()
        self._pinging()
        self.done()
        self._go_on()

    def _look(self) -> None:
        """Have what is remembered looked at, where that holds for this client."""
        assert self._place is not None
        assert self._publishing is not None
        memo = self._place.topics.memo if self._publishing.plain else {}
        self.inbound.look(memo, self._publishing.line)

    def _command(self, verb: bytes, line: bytes) -> None:
        if verb == b"PING":
            self.outlet.say(b"PONG")
        elif verb == b"PONG":
            self._pings = 0
        elif verb in (b"SUB ", b"SUB\t"):
            self._subscribe(line)
        elif parser.is_unsub(line):
            self._unsubscribe(line)
        elif parser.is_connect(line):
            self._connect_again(line)
        elif verb[:3] == b"+OK" or parser.is_info(line):
            pass
        elif verb == b"-ERR":
            raise ProtocolError(parser.BAD_ARGUMENTS)
        else:
            raise ProtocolError(parser.UNKNOWN)

    def _connect_again(self, line: bytes) -> None:
        """Other wishes; who it is, and what it can be sent, stays."""
        assert self._publishing is not None
        self.connect = replace(self._read_connect(line), token="", jwt="", password="")
        self._publishing.refresh()
        self._look()
        self.done()

    def _subscribe(self, line: bytes) -> None:
        assert self._holding is not None
        wrong = self._holding.subscribe(*parser.subscription(parser.words(line)))
        if wrong:
            self.error(wrong)
        else:
            self.done()

    def _unsubscribe(self, line: bytes) -> None:
        assert self._holding is not None
        self._holding.unsubscribe(*parser.unsubscription(parser.words(line)))
        self.done()

    def _pinging(self) -> None:
        """Ask from time to time whether somebody is there."""
        self._stop_timer()
        self._timer = self._clock.callLater(self.limits.ping_interval, self._ping)

    def _ping(self) -> None:
        if self._pings >= self.limits.pings:
            self.close(STALE)
            return
        self._pings += 1
        self.outlet.say(b"PING")
        self.exchange.flush()
        self._pinging()

    def _slow(self, cut: bool) -> None:
        """Messages were lost for the first time, or the connection must go."""
        account = self.account
        if cut or self.limits.slow != "disconnect":
            self.log.warn(
                "{id} of {namespace} at {peer} reads too slowly: {policy} (broker.slow)",
                id=account.id if account else "somebody",
                namespace=account.issuer if account else "nowhere",
                peer=self.peer,
                policy="disconnect" if cut else self.limits.slow,
            )
        if cut:
            self._cut()

    def _cut(self) -> None:
        """End it; who begins to read in time is told why, unless much would be kept for them until then."""
        if self.outlet.begun > _KEPT:
            self.abort()
            return
        self.outlet.drop()
        if self._transport is not None:
            self._transport.write(b"-ERR '%b'\r\n" % SLOW.encode())
        self.close()

    def _stop_timer(self) -> None:
        for each in (self._timer, self._resting):
            if each is not None and each.active():
                each.cancel()
        self._timer = self._resting = None

    def _end(self) -> None:
        """Stop all but sending."""
        self._stop_timer()
        if self._over:
            return
        self._over = True
        self.inbound.halted = True
        self.inbound.clear()
        question, self._question = self._question, None
        if self._asking and question is not None:
            question.cancel()
        if self._place is not None and self._holding is not None:
            self._holding.forget_all()
            self.exchange.broker.leave(self._place)
        self._ended(self)
