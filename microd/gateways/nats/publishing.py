"""Plans what one client publishes, and hands out by itself what no plan fits.

Plain: somebody who wants their own messages, no C{+OK}, and may publish. All others, and messages which somebody else than a few clients of NATS
gets, are dealt with one by one, where everything is looked at that can be.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol, cast

from microd.gateways.nats import parser
from microd.gateways.nats.exchange import Exchange
from microd.gateways.nats.inbound import Inbound
from microd.gateways.nats.model import Connect, Limits
from microd.gateways.nats.parser import LARGE, NO_HEADERS, ProtocolError, Publication
from microd.gateways.nats.plans import Heads, Plan, heads_of
from microd.gateways.nats.storing import EVENTS, Storing
from microd.gateways.nats.subscription import Holder, Sub
from microd.services.broker.model import Message
from microd.services.broker.service import Place
from microd.services.broker.subjects import is_subject

_STATUS = b"NATS/1.0 503\r\n\r\n"
#: Sizes as they stand at the end of a line, and what payloads have then with their C{\\r}; the usual ones.
_SIZES: dict[bytes, int] = {}
_USUAL = 16 << 10
#: Lines longer than this are not remembered.
_LONGEST = 300
#: Lines about events which are remembered of a client.
_STORED = 64
#: Reads in which no lines are learned, after one in which more were new than known.
_PAUSE = 16
_ENOUGH = 64
#: Deliveries, and bytes of them, after which a large audience is sent what it has.
_STEP, _STEP_SIZE = 2048, 1 << 20
#: Work after which others have their turn: deliveries, and places in the tree of patterns which were looked at.
_TURN, _CARE = 3500, 8


class Publisher(Holder, Protocol):
    """The connection that publishes."""

    connect: Connect
    inbound: Inbound

    def command(self, line: bytes) -> None:
        """Do what a line says that is no publication."""

    def error(self, text: str) -> None:
        """Say what was wrong."""

    def done(self) -> None:
        """Say that it was done, to who wants to hear it."""

    def rest(self) -> None:
        """Let others have their turn, then go on."""


class Publishing:
    """See the top of the module.

    @ivar plain: see the top.
    @param storing: takes what is published to C{$EVENTS.}; None: these are subjects like others.
    @param permitted: the client may publish; C{storable}: to C{$EVENTS.}.
    """

    def __init__(
        self,
        client: Publisher,
        exchange: Exchange,
        place: Place,
        limits: Limits,
        storing: Storing | None,
        permitted: bool,
        storable: bool = True,
    ) -> None:
        self._client = client
        self._exchange = exchange
        self._topics = place.topics
        self._found = place.topics.found.get
        self._most = limits.payload
        self._longest = limits.control_line
        self._storing = storing
        self._stored: dict[bytes, Plan] = {}
        self._permitted = permitted
        self._storable = storable
        self.plain = False
        self._largest = min(limits.payload, _USUAL - 1)
        self._learning = 0
        self._new = 0
        self._seen = 0
        self._work = 0
        self.refresh()

    def refresh(self, *, permitted: bool | None = None, storable: bool | None = None) -> None:
        """What holds for the client has changed."""
        connect = self._client.connect
        if permitted is not None:
            self._permitted = permitted
        if storable is not None:
            self._storable = storable
        self._stored.clear()
        self.plain = self._permitted and connect.echo and not connect.verbose

    def line(self, line: bytes) -> Plan | None:
        """Do what a line says; for a publication, plan it.

        @raise ProtocolError: it is against the protocol.
        """
        if self.plain:
            if self._stored:
                stored = self._stored.get(line)
                if stored is not None:
                    return stored
            words = line.split(b" ")
            if len(words) == 3 and words[0] == b"PUB":
                _, subject, numbers = words
                audience = self._found(subject)
                size = _SIZES.get(numbers, _USUAL)
                if audience is not None and size <= self._largest:
                    heads: Any = audience.made
                    if heads is not None:
                        plan: Plan
                        if heads.alone is None:
                            plan = heads.plan(b"", size, numbers)
                        else:
                            sub, out, head = heads.alone
                            plan = (size, ((sub, out, head + numbers),), None)
                        if self._learning >= 0:
                            self._learn(line, heads, plan)
                        return plan
        if parser.is_publication(line):
            return self._plan(line)
        self._client.command(line)
        return None

    def settle(self) -> None:
        """A turn is over: learn lines again, or stop, where most of them were new."""
        counts = self._exchange.counts
        if self._learning < 0:
            self._learning += 1
        elif self._new > _ENOUGH and self._new * 2 > counts.in_messages - self._seen:
            self._learning = -_PAUSE
        self._new = 0
        self._seen = counts.in_messages

    def _learn(self, line: bytes, heads: Heads, plan: Plan) -> None:
        self._new += 1
        # Lines have a blank in them, and so are never taken for anything else.
        if len(line) <= _LONGEST and b" " in line:
            self._topics.remember(heads.audience, line, plan, 20 + 25 * len(plan[1]))

    def _plan(self, line: bytes) -> Plan:
        parser.require_short(line, self._longest)
        words = parser.words(line)
        headers = words[0].upper() == b"HPUB"
        said = parser.publication(words, headers)
        if said.size > self._most:
            raise ProtocolError(LARGE)
        if headers and not self._client.headers:
            raise ProtocolError(NO_HEADERS)
        if self.plain:
            if self._storing is not None and said.subject.startswith(EVENTS):
                if self._storable and is_subject(said.subject):
                    return self._store(line, said, self._storing)
                return said.size + 1, (), partial(self._take_care, said)
            heads = self._heads(said.subject)
            if heads is not None and (said.headers <= 0 or heads.headers) and self._heard(heads, said):
                return self._resting(self._planned(line, said, heads))
        return said.size + 1, (), partial(self._take_care, said)

    def _store(self, line: bytes, said: Publication, storing: Storing) -> Plan:
        plan: Plan = (said.size + 1, (), storing.keeper(said))
        if len(line) <= _LONGEST:
            if len(self._stored) >= _STORED:
                self._stored.clear()
            self._stored[line] = plan
        return plan

    def _resting(self, plan: Plan) -> Plan:
        """The same; where finding it was much work, others have their turn afterwards."""
        if not self._topics.effort:
            return plan
        size, routes, more = plan

        def then(payload: bytes) -> None:
            if more is not None:
                more(payload)
            self._worked(0)

        return size, routes, then

    def _heard(self, heads: Heads, said: Publication) -> bool:
        """Whether nothing need be said to the publisher."""
        return not said.reply or len(heads.audience) > 0 or not self._client.connect.no_responders

    def _heads(self, subject: bytes) -> Heads | None:
        audience = self._topics.audience(subject)
        if audience.made is not None:
            return cast(Heads, audience.made)
        if audience.memos is None or not is_subject(subject):
            return None
        heads = heads_of(subject, audience)
        if heads is not None:
            self._topics.make(audience, heads, 30 + 30 * len(audience.all))
        return heads

    def _planned(self, line: bytes, said: Publication, heads: Heads) -> Plan:
        size = said.size + 1
        verb, numbers = (b"H", said.sizes) if said.headers > 0 else (b"", said.sizes.rpartition(b" ")[2])
        numbers += b"\r"
        if said.headers < 0 and size < _USUAL and not numbers.startswith(b"0"):
            _SIZES[numbers] = size
        if said.reply:
            return heads.plan(verb, size, said.reply + b" " + numbers)
        plan = heads.plan(verb, size, numbers)
        if self._learning >= 0:
            self._learn(line, heads, plan)
        return plan

    def _take_care(self, said: Publication, payload: bytes) -> None:
        """Hand out one message, whoever gets it, and however many they are."""
        client = self._client
        self._worked(_CARE)
        if not is_subject(said.subject):
            # Clients take any error for the end of the connection, so only who asked for it is told; nobody hears of it.
            if client.connect.pedantic:
                client.error("Invalid Publish Subject")
            client.done()
            if said.reply and client.connect.no_responders:
                self._nobody(said.reply)
            return
        storing = self._storing if said.subject.startswith(EVENTS) else None
        if not (self._permitted if storing is None else self._storable):
            subject = said.subject.decode("utf-8", "replace")
            client.error(f'Permissions Violation for Publish to "{subject}"')
            return
        client.done()
        if storing is not None:
            storing.keeper(said)(payload)
        elif not self._hand_out(said, payload) and said.reply and client.connect.no_responders:
            self._nobody(said.reply)

    def _hand_out(self, said: Publication, payload: bytes) -> int:
        """Give a message to its audience; how many that were. Hot where they are many."""
        client, flush = self._client, self._exchange.flush
        echo = client.connect.echo
        heard = 0
        message: Message | None = None
        step = max(1, min(_STEP, _STEP_SIZE // (len(payload) + 64)))
        headers = said.headers > 0
        begin = b"%bMSG %b " % (b"H" if headers else b"", said.subject)
        sizes = said.sizes if headers else said.sizes.rpartition(b" ")[2]
        end = b" %b %b\r" % (said.reply, sizes) if said.reply else b" %b\r" % sizes
        for each in self._topics.audience(said.subject).chosen():
            if isinstance(each, Sub):
                holder = each.holder
                if holder is client and not echo:
                    continue
                if each.most or (headers and not holder.headers):
                    each.take(said, payload)
                else:
                    out = each.out
                    if not out:
                        each.outlet.touch()
                    out.append(begin + each.sid + end)
                    out.append(payload)
                    each.delivered += 1
            else:
                if message is None:
                    message = _message(said, payload)
                each.deliver(said.subject.decode("utf-8", "replace"), message)
            heard += 1
            if not heard % step:
                flush()
        self._worked(heard + heard * (len(payload) >> 11))
        return heard

    def _worked(self, much: int) -> None:
        topics = self._topics
        self._work += much + topics.effort
        topics.effort = 0
        if self._work >= _TURN:
            self._work = 0
            self._exchange.flush()
            self._client.rest()

    def _nobody(self, reply: bytes) -> None:
        """Tell the publisher, where it awaits the answer, that nobody gives one."""
        client = self._client
        for each in self._topics.audience(reply).all:
            if isinstance(each, Sub) and each.holder is client:
                # It does not count as one of those after which the subscription ends.
                size = len(_STATUS)
                each.outlet.put(b"HMSG %b %b %d %d\r" % (reply, each.sid, size, size), _STATUS + b"\r")
                return


def _message(said: Publication, payload: bytes) -> Message:
    ahead = max(said.headers, 0)
    return Message(None, payload[ahead:-1], said.reply.decode("utf-8", "replace"), payload[:ahead])
