"""What clients of NATS publish to C{$EVENTS.<topic>}: stored as events, and answered once they are on disk.

The answer is what JetStream's clients read, so that C{js.publish("$EVENTS.orders", b"...")} of any of them works::

    {"stream": "orders", "seq": 17}                                                  stored, with this offset
    {"error": {"code": 413, "err_code": 10413, "description": "an event may ..."}}   not stored, or not known to be

Answers of one commit go out together. Who gives no subject for the answer hears nothing, also of what was refused.
"""

from __future__ import annotations

from functools import lru_cache

import orjson
from twisted.internet.interfaces import IReactorTime

from microd.gateways.nats.exchange import Exchange
from microd.gateways.nats.parser import Publication
from microd.gateways.nats.subscription import Sub
from microd.kernel.errors import BadRequest, MicroError
from microd.services.broker.headers import map_from
from microd.services.broker.model import Message
from microd.services.broker.service import Place
from microd.services.events.interface import IEvents, Receipt

#: What subjects of events begin with.
EVENTS = b"$EVENTS."
_AHEAD = len(EVENTS)
#: Clients look at C{err_code}; ours are the codes of errors, beyond those that JetStream uses.
_CODES = 10_000


class Storing(Receipt):
    """Stores what one client publishes."""

    __slots__ = ("_clock", "_events", "_exchange", "_is_due", "_place")

    def __init__(self, events: IEvents, place: Place, exchange: Exchange, clock: IReactorTime) -> None:
        self._events = events
        self._place = place
        self._exchange = exchange
        self._clock = clock
        self._is_due = False

    def submit(self, said: Publication, payload: bytes) -> None:
        """Store a message.

        @param payload: its headers and its body, and perhaps the beginning of the line's end.
        """
        ahead = said.headers
        try:
            topic = said.subject[_AHEAD:].decode()
            header = map_from(payload[:ahead]) if ahead > 0 else {}
            body = payload[max(ahead, 0) : said.size]
            self._events.submit(self._place.namespace, topic, header, body, self, said.reply)
        except UnicodeDecodeError:
            self.refused(said.reply, BadRequest("the topic is not UTF-8"))
        except MicroError as error:
            self.refused(said.reply, error)

    def stored(self, token: object, topic: str, offset: int) -> None:
        """The event is on disk. Hot."""
        if token:
            self._answer(token, b'{"stream":%b,"seq":%d}' % (_quoted(topic), offset))  # type: ignore[arg-type]

    def refused(self, token: object, error: MicroError) -> None:
        """It is not, or it is not known."""
        if token:
            said = {"code": error.code, "err_code": _CODES + error.code, "description": error.told}
            self._answer(token, orjson.dumps({"error": said}))  # type: ignore[arg-type]

    def _answer(self, reply: bytes, text: bytes) -> None:
        if not self._is_due:
            self._is_due = True
            self._clock.callLater(0, self._flush)
        message: Message | None = None
        size = len(text)
        for each in self._place.topics.audience(reply).chosen():
            if isinstance(each, Sub):
                each.take(Publication(reply, b"", -1, size, b"%d" % size), text + b"\r")
                continue
            if message is None:
                message = Message(None, text, "", b"")
            each.deliver(reply.decode("utf-8", "replace"), message)

    def _flush(self) -> None:
        self._is_due = False
        self._exchange.flush()


@lru_cache(maxsize=1024)
def _quoted(topic: str) -> bytes:
    return orjson.dumps(topic)
