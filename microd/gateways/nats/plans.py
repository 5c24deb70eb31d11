"""What is done about a publication, decided once for all that have the same line.

A L{Plan} says how long the payload is and which pieces it goes out with; whoever reads a connection (L{microd.gateways.nats.inbound}) carries plans out
in its loop. Three things are remembered in the namespace's C{memo} until an audience changes:

    PUB orders.7 128   the whole line: a plan, ready; one lookup for a message
    orders.7           the subject alone: L{Heads}, what lines to subscribers begin with; a plan is then a few concatenations
    (nothing)          what is rare or wide: L{microd.gateways.nats.publishing} takes care of each message by itself

Lines whose numbers never come again would fill the memory for nothing: who learns them looks from time to time whether it is
worth it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from microd.gateways.nats.subscription import Sub
from microd.services.broker.topics import Audience, Queue

#: Somebody who gets the message, the pieces for its connection, and the line before the payload.
Route = tuple[Sub, list[bytes], bytes]
#: Bytes of the payload with its C{\\r}, who gets it, and what else is to be done about it.
Plan = tuple[int, Sequence[Route], Callable[[bytes], None] | None]

#: Of a larger audience each message is handed out by itself, with an eye on the bounds.
WIDE = 64
#: The longest id with which it counts as narrow.
_LONG_ID = 64


class Heads:
    """What the lines to the subscribers of a subject begin with.

    @ivar routes: of those who get every message, for C{MSG}.
    @ivar alone: the route of the only one who gets anything.
    @ivar headers: whether all of them can be sent headers.
    """

    __slots__ = ("_queues", "alone", "audience", "headers", "routes")

    def __init__(self, subject: bytes, audience: Audience) -> None:
        self.audience = audience
        begin = b"MSG " + subject + b" "
        subs = cast(Sequence[Sub], audience.all)
        self.routes = [(sub, sub.out, begin + sub.sid + b" ") for sub in subs]
        self._queues: list[tuple[Queue, Sequence[Route]]] = []
        every = list(subs)
        for queue in cast(Sequence[Queue], audience.queues):
            members = cast(Sequence[Sub], queue.members)
            self._queues.append((queue, [(sub, sub.out, begin + sub.sid + b" ") for sub in members]))
            every += members
        self.alone = self.routes[0] if len(self.routes) == 1 and not self._queues else None
        self.headers = all(sub.holder.headers for sub in every)

    @property
    def plain(self) -> bool:
        """Whether there are no queues."""
        return not self._queues

    def plan(self, verb: bytes, size: int, numbers: bytes) -> Plan:
        """What to do with a message.

        @param verb: what stands before C{MSG}: nothing, or C{H}.
        @param size: of the payload, with its C{\\r}.
        @param numbers: what stands at the end of the line: perhaps a reply, one or two sizes, and C{\\r}.
        """
        routes = [(sub, out, verb + head + numbers) for sub, out, head in self.routes]
        if not self._queues:
            return size, routes, None
        return size, routes, Draw(self._queues, verb, numbers).draw


class Draw:
    """Gives a message to one member of each queue."""

    __slots__ = ("_queues",)

    def __init__(self, queues: Sequence[tuple[Queue, Sequence[Route]]], verb: bytes, numbers: bytes) -> None:
        self._queues = [
            (queue, [(sub, out, verb + head + numbers) for sub, out, head in members], len(members))
            for queue, members in queues
        ]

    def draw(self, payload: bytes) -> None:
        """The next in turn gets it, unless it is behind and another is less so."""
        for queue, members, count in self._queues:
            queue.turn = turn = (queue.turn + 1) % count
            sub, out, line = members[turn]
            if sub.outlet.behind:
                chosen = queue.choose()
                sub, out, line = next(member for member in members if member[0] is chosen)
            if not out:
                sub.outlet.touch()
            out.append(line)
            out.append(payload)
            sub.delivered += 1


def heads_of(subject: bytes, audience: Audience) -> Heads | None:
    """The heads for an audience; None where it is wide, or has somebody who needs care."""
    queues = audience.queues
    if len(audience.all) > WIDE or len(queues) > WIDE:
        return None
    groups = [audience.all]
    for queue in queues:
        if type(queue) is not Queue or len(queue.members) > WIDE:
            return None
        groups.append(queue.members)
    for group in groups:
        for each in group:
            if type(each) is not Sub or each.most or len(each.sid) > _LONG_ID:
                return None
    return Heads(subject, audience)
