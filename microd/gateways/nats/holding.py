"""The subscriptions of one connection."""

from __future__ import annotations

from itertools import islice

from microd.gateways.nats.exchange import Exchange
from microd.gateways.nats.subscription import Holder, Sub
from microd.kernel.errors import MicroError
from microd.services.broker import rules
from microd.services.broker.service import Place
from microd.services.broker.subjects import MOST_TOKENS, is_pattern, is_wild

INVALID = "Invalid Subject"
TOO_MANY = "maximum subscriptions exceeded"
TOO_DEEP = "subject has exceeded number of tokens limit"
#: Subscriptions that a rule ends, of which their client is told.
_MOST_TOLD = 100


class Holding:
    """Makes them, and ends them; each in time that does not depend on how many there are.

    @param most: how many there may be.
    @ivar permitted: whether there may be any.
    """

    __slots__ = ("_exchange", "_holder", "_most", "_place", "_subs", "permitted")

    def __init__(self, holder: Holder, exchange: Exchange, place: Place, most: int, permitted: bool) -> None:
        self._holder = holder
        self._exchange = exchange
        self._place = place
        self._most = most
        self._subs: dict[bytes, Sub] = {}
        self.permitted = permitted

    def subscribe(self, pattern: bytes, queue: bytes, sid: bytes) -> str:
        """Add one, unless there is one with this id.

        @return: what is wrong; empty where nothing is.
        """
        if not is_pattern(pattern):
            return INVALID
        if not self.permitted:
            return _forbidden(pattern)
        if sid in self._subs:
            return ""
        if len(self._subs) >= self._most or not self._has_room():
            return TOO_MANY
        if is_wild(pattern) and pattern.count(b".") >= MOST_TOKENS:
            return TOO_DEEP
        sub = Sub(self._holder, sid, pattern, queue.decode("utf-8", "surrogateescape"))
        self._subs[sid] = sub
        self._place.topics.add(pattern, sub.queue, sub)
        self._place.weight += _weight(sub)
        self._exchange.counts.subscriptions += 1
        return ""

    def unsubscribe(self, sid: bytes, most: int) -> None:
        """End one once it has had so many messages, those counted that it has had by now; unknown ids are fine."""
        sub = self._subs.get(sid)
        if sub is None:
            return
        if most > sub.delivered:
            sub.most = most
            self._place.topics.changed(sub.pattern)
        else:
            self.forget(sub)

    def forget(self, sub: Sub) -> None:
        """End one; may be called twice."""
        if self._subs.get(sub.sid) is sub:
            del self._subs[sub.sid]
            self._leave(sub)

    def forget_all(self) -> None:
        """End all."""
        subs, self._subs = self._subs, {}
        for sub in subs.values():
            self._leave(sub)

    def forbid(self) -> list[str]:
        """Let there be none any more; what is to be said of those which there were, though not of each of a great many."""
        self.permitted = False
        patterns = dict.fromkeys(sub.pattern for sub in self._subs.values())
        self.forget_all()
        return [_forbidden(each) for each in islice(patterns, _MOST_TOLD)]

    def _has_room(self) -> bool:
        try:
            rules.require_room(self._place.weight, self._place.namespace, self._exchange.broker.limits)
        except MicroError:
            return False
        return True

    def _leave(self, sub: Sub) -> None:
        self._place.topics.remove(sub.pattern, sub.queue, sub)
        self._place.weight -= _weight(sub)
        self._exchange.counts.subscriptions -= 1


def _forbidden(pattern: bytes) -> str:
    return f'Permissions Violation for Subscription to "{pattern.decode("utf-8", "replace")}"'


def _weight(sub: Sub) -> int:
    return rules.weight(b"%b%b%b" % (sub.pattern, sub.queue.encode("utf-8", "surrogateescape"), sub.sid))
