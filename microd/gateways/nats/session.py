"""One connection of a NATS client.

This is the seam to the door, which has the listener, TLS and the accounts::

    exchange = Exchange(broker)                       one a door: what its connections share; exchange.counts, exchange.figures()
    session = Session(exchange, limits, clock, info=..., authenticate=..., ended=..., begin_tls=..., events=...)
    session.connected(transport, peer)                INFO goes out; then begin_tls(), where the door wants TLS at once
    session.data_received(data)
    session.lost()                                    the connection is gone; ended(session) was called, or is now, once

    info: () -> bytes                                 the JSON of INFO as it stands now, without "INFO " and line end
    authenticate: (Connect) -> Awaitable[Admitted]    who it is; a MicroError or any failure: -ERR 'Authorization Violation'
    ended: (Session) -> None                          it takes nothing any more; leave it out of the door's books
    events: IEvents | None                            who keeps what is published to $EVENTS.<topic>

    session.permit(publish=..., subscribe=...)        the account's rights have changed
    session.say_info()                                send INFO once more (lame duck: the door's info says "ldm": true then)
    session.close(text="")                            -ERR 'text', then hang up once that is sent, or after limits.write_deadline
    session.abort()                                   hang up now
    session.account, .connect, .peer                  who it is; None before it is known

The transport is Twisted's, plain or TLS: C{write}, C{loseConnection}, C{abortConnection}, C{pauseProducing}, C{resumeProducing}, C{registerProducer}.
Until somebody has come in no more is read than one control line's worth beyond what C{CONNECT} came with.

::

    connected ──CONNECT──▶ asking ──admitted──▶ open ──close, lost, an error──▶ over
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from microd.gateways.nats import parser
from microd.gateways.nats.model import Admitted, Connect, Limits
from microd.gateways.nats.outlet import Counts, Outlet, Transport
from microd.gateways.nats.parser import ProtocolError, Publication
from microd.kernel.caller import Account
from microd.kernel.errors import MicroError
from microd.services.broker import rules
from microd.services.broker.model import Message
from microd.services.broker.service import Broker, Place
from microd.services.broker.subjects import is_pattern, is_subject
from microd.services.events.interface import IEvents

NOT_IN = "Authorization Violation"
STALE = "Stale Connection"
SLOW = "Slow Consumer"
LATE = "Authentication Timeout"
TOO_MANY = "maximum subscriptions exceeded"


class Exchange:
    """What the connections of a door share."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.counts = Counts()
        self.touched: list[Session] = []

    def flush(self) -> None:
        """Send to all who were given something."""
        touched, self.touched = self.touched, []
        for session in touched:
            session.outlet.flush()


class Sub:
    """A subscription of a connection; a L{microd.services.broker.interface.Receiver}.

    @ivar most: it ends after so many messages; 0: it does not.
    """

    __slots__ = ("delivered", "most", "pattern", "queue", "session", "sid")

    subjects_only = True

    def __init__(self, session: Session, sid: bytes, pattern: bytes, queue: str) -> None:
        self.session = session
        self.sid = sid
        self.pattern = pattern
        self.queue = queue
        self.delivered = 0
        self.most = 0

    @property
    def waiting(self) -> int:
        """Bytes which wait for the connection."""
        outlet = self.session.outlet
        return outlet.held + len(outlet.out)

    def deliver(self, topic: str, message: Message) -> None:
        """Pass on what another protocol published."""
        block = message.block
        size = len(block) + len(message.body)
        sizes = b"%d %d" % (len(block), size) if block else b"%d" % size
        said = Publication(topic.encode(), message.reply.encode(), len(block) if block else -1, size, sizes)
        self.take(said, block + message.body)
        self.session.exchange.flush()

    def take(self, said: Publication, payload: bytes) -> None:
        """Send a message."""
        session = self.session
        reply = said.reply + b" " if said.reply else b""
        if said.headers <= 0:
            head = b"MSG %b %b %b%b" % (said.subject, self.sid, reply, said.sizes.split(b" ")[-1])
        elif session.headers:
            head = b"HMSG %b %b %b%b" % (said.subject, self.sid, reply, said.sizes)
        else:
            payload = payload[said.headers :]
            head = b"MSG %b %b %b%d" % (said.subject, self.sid, reply, len(payload))
        if not session.outlet.out:
            session.exchange.touched.append(session)
        session.outlet.out += (head, payload)
        self.delivered += 1
        if self.delivered == self.most:
            session.forget(self)


class Session:
    """See the top of the module.

    @ivar headers: it can be sent headers.
    """

    log = Logger()

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
        self.outlet = Outlet(limits, exchange.counts, self._too_slow)
        self.account: Account | None = None
        self.connect: Connect | None = None
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
        self._subs: dict[bytes, Sub] = {}
        self._rest = b""
        self._asking = False
        self._question: Deferred[None] | None = None
        self._publishes = self._subscribes = False
        self._over = False
        self._pings = 0
        self._timer: IDelayedCall | None = None

    def connected(self, transport: Transport, peer: str) -> None:
        """Greet."""
        self._transport = transport
        self.peer = peer
        self.exchange.counts.connections += 1
        self.outlet.open(transport)
        self._timer = self._clock.callLater(self.limits.authentication, self.close, LATE)
        self.say_info()
        if self._begin_tls is not None:
            self._begin_tls()

    def data_received(self, data: bytes) -> None:
        """Do what a client says."""
        if self._over:
            return
        if self._rest:
            data = self._rest + data
        self._rest = b""
        if self._asking:
            self._rest = data
            return
        try:
            self._rest = self._read(data)
        except ProtocolError as error:
            self.close(str(error))
        self.exchange.flush()

    def lost(self) -> None:
        """The connection is gone."""
        self._end()
        self.outlet.close()
        self._transport = None

    def permit(self, *, publish: bool, subscribe: bool) -> None:
        """The account may do this from now on; subscriptions which it may not have end."""
        self._publishes, self._subscribes = publish, subscribe
        if not subscribe:
            self._forget_all()

    def say_info(self) -> None:
        """Send INFO."""
        self.outlet.say(b"INFO " + self._info())
        self.outlet.flush()

    def close(self, text: str = "") -> None:
        """Take nothing any more, send what waits, hang up."""
        if self._over or self._transport is None:
            return
        if text:
            self._error(text)
        self._end()
        self.outlet.flush()
        if self._transport is not None:
            self._timer = self._clock.callLater(self.limits.write_deadline, self.abort)
            self.outlet.finish()

    def abort(self) -> None:
        """Hang up now."""
        self._end()
        transport, self._transport = self._transport, None
        self.outlet.close()
        if transport is not None:
            transport.abortConnection()

    def forget(self, sub: Sub) -> None:
        """End a subscription."""
        if self._subs.pop(sub.sid, None) is not None:
            self._leave(sub)

    def _read(self, data: bytes) -> bytes:
        """Take what is complete; what is not is left."""
        start = 0
        while not self._over and not self._asking:
            end = data.find(b"\n", start)
            if end < 0:
                self._require_short(data[start:])
                break
            line = data[start : end + 1]
            words = line.split()
            verb = line[:4].upper()
            after = end + 1
            if self.account is None:
                self._introduce(verb, line)
                start = after
            elif verb.rstrip() == b"PUB" or verb == b"HPUB":
                self._require_short(line)
                said = parser.publication(words, verb == b"HPUB")
                until = after + said.size
                self._require_payload(said)
                if len(data) < until + 2:
                    break
                if data[until : until + 2] != b"\r\n":
                    raise ProtocolError(parser.UNKNOWN)
                self._publish(said, data[after:until])
                start = until + 2
            else:
                self._command(verb, line, words)
                start = after
        return data[start:]

    def _require_short(self, line: bytes) -> None:
        if len(line) > self.limits.control_line + 8:
            raise ProtocolError(parser.LONG_LINE)

    def _require_payload(self, said: Publication) -> None:
        if said.size > self.limits.payload:
            raise ProtocolError(parser.LARGE)
        if said.headers >= 0 and not self.headers:
            raise ProtocolError(parser.NO_HEADERS)

    def _introduce(self, verb: bytes, line: bytes) -> None:
        """Only C{CONNECT} is heard from somebody who is not known."""
        if line[:8].upper() != b"CONNECT " and line[:8].upper() != b"CONNECT\t":
            raise ProtocolError(NOT_IN)
        self._require_short(line)
        self.connect = connect = parser.connect(line[8:])
        if connect.no_responders and not connect.headers:
            raise ProtocolError("no responders requires headers support")
        if self._transport is not None:
            self._transport.pauseProducing()
        self._asking = True
        self._question = Deferred.fromCoroutine(self._ask(connect))

    async def _ask(self, connect: Connect) -> None:
        try:
            admitted = await self._authenticate(connect)
        except MicroError:
            self._asking = False
            self.close(NOT_IN)
            return
        except Exception:  # noqa: BLE001 whoever cannot be told apart stays outside
            self.log.failure("authentication of {peer} failed", peer=self.peer)
            self._asking = False
            self.close(NOT_IN)
            return
        self._asking = False
        if not self._over:
            self._come_in(connect, admitted)

    def _come_in(self, connect: Connect, admitted: Admitted) -> None:
        self.account = admitted.account
        self.headers = connect.headers
        self._publishes, self._subscribes = admitted.publish, admitted.subscribe
        self._place = self.exchange.broker.enter(admitted.account.issuer)
        self.outlet.budget = self._place.budget
        self._pinging()
        self._done()
        if self._transport is not None:
            self._transport.resumeProducing()
        rest, self._rest = self._rest, b""
        if rest:
            self.data_received(rest)
        self.exchange.flush()

    def _command(self, verb: bytes, line: bytes, words: list[bytes]) -> None:
        if verb == b"PING":
            self._answer(b"PONG")
        elif verb == b"PONG":
            self._pings = 0
        elif verb in (b"SUB ", b"SUB\t"):
            self._require_short(line)
            self._subscribe(*parser.subscription(words))
        elif words and words[0].upper() == b"UNSUB" and line[5:6] in (b" ", b"\t"):
            self._require_short(line)
            self._unsubscribe(*parser.unsubscription(words))
        elif line[:8].upper() in (b"CONNECT ", b"CONNECT\t"):
            self._require_short(line)
            self.connect = parser.connect(line[8:])
            self.headers = self.connect.headers
            self._done()
        elif verb[:3] == b"+OK" or (verb == b"INFO" and line[4:5] in (b" ", b"\t")):
            pass
        elif verb == b"-ERR":
            self.close()
        else:
            raise ProtocolError(parser.UNKNOWN)

    def _answer(self, line: bytes) -> None:
        if not self.outlet.out:
            self.exchange.touched.append(self)
        self.outlet.say(line)

    def _error(self, text: str) -> None:
        self._answer(b"-ERR '%b'" % text.encode())

    def _done(self) -> None:
        if self.connect is not None and self.connect.verbose:
            self._answer(b"+OK")

    def _subscribe(self, pattern: bytes, queue: bytes, sid: bytes) -> None:
        place = self._place
        assert place is not None
        if not is_pattern(pattern):
            self._error("Invalid Subject")
            return
        if not self._subscribes:
            self._error(f'Permissions Violation for Subscription to "{pattern.decode("utf-8", "replace")}"')
            return
        if sid not in self._subs:
            if len(self._subs) >= self.limits.subscriptions:
                self._error(TOO_MANY)
                return
            try:
                rules.require_room(place.weight, place.namespace, self.exchange.broker.limits)
            except MicroError:
                self._error(TOO_MANY)
                return
            sub = Sub(self, sid, pattern, queue.decode("utf-8", "surrogateescape"))
            self._subs[sid] = sub
            place.topics.add(pattern, sub.queue, sub)
            place.weight += rules.weight(pattern)
            self.exchange.counts.subscriptions += 1
        self._done()

    def _unsubscribe(self, sid: bytes, most: int) -> None:
        sub = self._subs.get(sid)
        if sub is not None:
            if most > sub.delivered:
                sub.most = most
            else:
                self.forget(sub)
        self._done()

    def _publish(self, said: Publication, payload: bytes) -> None:
        place, connect = self._place, self.connect
        assert place is not None
        assert connect is not None
        counts = self.exchange.counts
        counts.in_messages += 1
        counts.in_bytes += len(payload)
        if not is_subject(said.subject):
            self._error("Invalid Publish Subject")
            return
        if not self._publishes:
            self._error(f'Permissions Violation for Publish to "{said.subject.decode("utf-8", "replace")}"')
            return
        self._done()
        heard = self._hand_out(place, said, payload, connect.echo)
        if not heard and said.reply and connect.no_responders:
            self._nobody(place, said.reply)

    def _hand_out(self, place: Place, said: Publication, payload: bytes, echo: bool) -> int:
        heard = 0
        message: Message | None = None
        for each in place.topics.audience(said.subject).chosen():
            if isinstance(each, Sub):
                if echo or each.session is not self:
                    each.take(said, payload)
                    heard += 1
                continue
            if message is None:
                ahead = max(said.headers, 0)
                reply = said.reply.decode("utf-8", "replace")
                message = Message(None, payload[ahead:], reply, payload[:ahead])
            each.deliver(said.subject.decode("utf-8", "replace"), message)
            heard += 1
        return heard

    def _nobody(self, place: Place, reply: bytes) -> None:
        """Tell the publisher that nobody answers."""
        for each in place.topics.audience(reply).all:
            if isinstance(each, Sub) and each.session is self:
                status = b"NATS/1.0 503\r\n\r\n"
                self._answer(b"HMSG %b %b %d %d\r\n%b" % (reply, each.sid, len(status), len(status), status))
                return

    def _pinging(self) -> None:
        """Ask from time to time whether somebody is there."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = self._clock.callLater(self.limits.ping_interval, self._ping)

    def _ping(self) -> None:
        if self._pings >= self.limits.pings:
            self.close(STALE)
            return
        self._pings += 1
        self._answer(b"PING")
        self.exchange.flush()
        self._pinging()

    def _too_slow(self) -> None:
        self.log.warn("{peer} reads too slowly: it is cut off (broker.slow)", peer=self.peer)
        self.abort()

    def _leave(self, sub: Sub) -> None:
        place = self._place
        assert place is not None
        place.topics.remove(sub.pattern, sub.queue, sub)
        place.weight -= rules.weight(sub.pattern)
        self.exchange.counts.subscriptions -= 1

    def _forget_all(self) -> None:
        subs, self._subs = self._subs, {}
        for sub in subs.values():
            self._leave(sub)

    def _end(self) -> None:
        """Stop all but sending."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self._over:
            return
        self._over = True
        self._rest = b""
        if self._transport is not None:
            self.exchange.counts.connections -= 1
        question, self._question = self._question, None
        if self._asking and question is not None:
            question.cancel()
        self._forget_all()
        if self._place is not None:
            self.exchange.broker.leave(self._place)
        self._ended(self)
