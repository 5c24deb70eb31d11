"""What clients of NATS publish to C{$EVENTS.<topic>}: stored as events, and answered once they are on disk.

The answer is what JetStream's clients read, so that C{js.publish("$EVENTS.orders", b"...")} of any of them works::

    {"stream": "orders", "seq": 17}                                                  stored, with this offset
    {"error": {"code": 413, "err_code": 10413, "description": "an event may ..."}}   not stored, or not known to be

Who gives no subject for the answer hears nothing, also of what was refused. Answers of one commit go out together, with one write
for each connection: hundreds of thousands a second, of which each may take 6 microseconds altogether, so lines are remembered here as
they are for other messages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from types import MappingProxyType
from typing import cast

import orjson
from twisted.internet.interfaces import IReactorTime

from microd.gateways.nats.exchange import Exchange
from microd.gateways.nats.parser import Publication
from microd.gateways.nats.subscription import Sub
from microd.kernel.errors import BadRequest, MicroError, TooLarge
from microd.services.broker.headers import LARGEST, map_from
from microd.services.broker.model import Message
from microd.services.broker.service import Place
from microd.services.broker.topics import Topics
from microd.services.events.interface import IEvents, Receipt

#: What subjects of events begin with.
EVENTS = b"$EVENTS."
_AHEAD = len(EVENTS)
#: Bytes of one client which are on their way to the disk, with what each event is counted for besides: beyond that it waits until all of them are there.
MOST, EACH = 2 << 20, 256
#: Clients look at C{err_code}; ours are the codes of errors, beyond those that JetStream uses.
_CODES = 10_000
#: How headers begin with which clients of JetStream set conditions.
_CONDITION = "nats-expected-"

_NOTHING: Mapping[str, str] = MappingProxyType({})


class Storing(Receipt):
    """Stores what one client publishes, who is not listened to while too much of it is on its way to the disk.

    @param listen: whether the client is to be listened to.
    """

    __slots__ = (
        "_clock",
        "_count",
        "_due",
        "_events",
        "_exchange",
        "_is_full",
        "_listen",
        "_place",
        "_room",
        "_topics",
    )

    def __init__(
        self,
        events: IEvents,
        place: Place,
        exchange: Exchange,
        clock: IReactorTime,
        listen: Callable[[bool], None],
    ) -> None:
        self._listen = listen
        self._count = 0
        self._room = MOST
        self._is_full = False
        self._events = events
        self._place = place
        self._topics = place.topics
        self._exchange = exchange
        self._due = exchange.due
        self._clock = clock

    def keeper(self, said: Publication) -> Callable[[bytes], None]:
        """What is to be done with each payload, and a C{\\r} behind it, that comes with this line."""
        try:
            topic = said.subject[_AHEAD:].decode()
        except UnicodeDecodeError:
            return partial(self._refuse, said.reply, BadRequest("the topic is not UTF-8"))
        if said.headers > LARGEST:
            # Of a larger block a map has only the beginning.
            large = TooLarge(f"the event's headers have {said.headers} bytes, and may have {LARGEST}")
            return partial(self._refuse, said.reply, large)
        ahead, reply, namespace = max(said.headers, 0), said.reply, self._place.namespace
        submit = self._events.submit

        def keep(payload: bytes) -> None:
            try:
                if ahead:
                    header = _unconditional(map_from(payload[:ahead]), topic)
                    submit(namespace, topic, header, payload[ahead:-1], self, reply)
                else:
                    submit(namespace, topic, _NOTHING, payload[:-1], self, reply)
            except MicroError as error:
                self._refuse(reply, error, payload)
                return
            self._count += 1
            self._room -= len(payload) + EACH
            if self._room < 0 and not self._is_full:
                self._is_full = True
                self._listen(False)

        return keep

    def stored(self, token: object, topic: str, offset: int) -> None:
        """The event is on disk. Hot."""
        self._count -= 1
        if not self._count:
            self._emptied()
        if token:
            due = self._due
            if not due:
                self._clock.callLater(0, answer, self._exchange)
            due.append((self._topics, cast(bytes, token), topic, offset))

    def refused(self, token: object, error: MicroError) -> None:
        """It is not, or it is not known."""
        self._count -= 1
        if not self._count:
            self._emptied()
        self._refuse(cast(bytes, token), error, b"")

    def _refuse(self, reply: bytes, error: MicroError, _: bytes) -> None:
        if reply:
            if not self._due:
                self._clock.callLater(0, answer, self._exchange)
            self._due.append((self._topics, reply, _refusal(error), 0))

    def _emptied(self) -> None:
        self._room = MOST
        if self._is_full:
            self._is_full = False
            self._listen(True)


def answer(exchange: Exchange) -> None:
    """Say what became of events, to who waits for it. Hot: as a rule many answers in a row are for one subject, of which one client hears."""
    due = exchange.due[:]
    exchange.due.clear()
    last: bytes | None = None
    where: Topics | None = None
    sub: Sub | None = None
    of: str | None = None
    begin = b""
    heads: dict[int, bytes] = {}
    for topics, reply, said, offset in due:
        if offset:
            if said is not of:
                of, begin = said, b'{"stream":%b,"seq":' % _quoted(said)
            text = begin + b"%d}\r" % offset
        else:
            text = said.encode() + b"\r"
        # Subjects of one byte are one object for all tenants.
        if reply is not last or topics is not where:
            last, where, sub, heads = reply, topics, _alone(topics, reply), {}
        if sub is None:
            _hand_out(topics, reply, text)
            continue
        size = len(text)
        head = heads.get(size)
        if head is None:
            head = heads[size] = b"MSG %b %b %d\r" % (reply, sub.sid, size - 1)
        out = sub.out
        if not out:
            sub.outlet.touch()
        out.append(head)
        out.append(text)
        sub.delivered += 1
    exchange.flush()


def _alone(topics: Topics, subject: bytes) -> Sub | None:
    """The subscription which gets all messages of a subject, and nobody else does, if that is so."""
    audience = topics.found.get(subject)
    if audience is None:
        audience = topics.audience(subject)
    if len(audience.all) != 1 or audience.queues:
        return None
    (found,) = audience.all
    return found if isinstance(found, Sub) and not found.most else None


def _hand_out(topics: Topics, subject: bytes, text: bytes) -> None:
    """Give an answer to whoever listens to its subject."""
    size = len(text) - 1
    for each in topics.audience(subject).chosen():
        if isinstance(each, Sub):
            each.take(Publication(subject, b"", -1, size, b"%d" % size), text)
        else:
            each.deliver(subject.decode("utf-8", "replace"), Message(None, text[:-1], "", b""))


def _unconditional(header: Mapping[str, str], topic: str) -> Mapping[str, str]:
    """The same, where it asks for nothing that would not be seen to: whoever sets a condition counts on it.

    @raise BadRequest: it does.
    """
    for name, value in header.items():
        if name[: len(_CONDITION)].lower() == _CONDITION:
            if name.lower() != _CONDITION + "stream":
                raise BadRequest(f"{name[:100]}: events are stored without conditions")
            if value != topic:
                raise BadRequest(f"{name}: the topic is {topic}, not {value[:100]}")
    return header


def _refusal(error: MicroError) -> str:
    said = {"code": error.code, "err_code": _CODES + error.code, "description": error.told}
    return orjson.dumps({"error": said}).decode()


@lru_cache(maxsize=1024)
def _quoted(topic: str) -> bytes:
    return orjson.dumps(topic)
