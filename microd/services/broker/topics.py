"""Who listens to what, in one namespace. Pure: nothing here waits."""

from __future__ import annotations

from microd.services.broker.interface import Receiver

#: Members of a queue which are weighed for a message.
_WEIGHED = 8


class _Queue:
    """Those who share a topic's messages: each goes to one of them."""

    __slots__ = ("members", "turn")

    def __init__(self) -> None:
        self.members: list[Receiver] = []
        self.turn = 0

    def choose(self) -> Receiver:
        """The next in turn, unless another has less to read."""
        members = self.members
        count = len(members)
        self.turn = turn = (self.turn + 1) % count
        best = members[turn]
        least = best.waiting
        for step in range(1, min(count, _WEIGHED)):
            if not least:
                break
            other = members[(turn + step) % count]
            if other.waiting < least:
                best, least = other, other.waiting
        return best


class _Topic:
    """C{all} get every message: a tuple, replaced on each change, so that it can be walked while it changes."""

    __slots__ = ("all", "queues")

    def __init__(self) -> None:
        self.all: tuple[Receiver, ...] = ()
        self.queues: dict[str, _Queue] = {}


class Topics:
    """Finds those who get a message.

    Every protocol of the broker adds its own receivers here. A protocol with wildcards expands them here as well: this
    is the one place which knows what a topic is.
    """

    def __init__(self) -> None:
        self._topics: dict[str, _Topic] = {}
        self.count = 0

    def add(self, topic: str, queue: str, receiver: Receiver) -> None:
        """Let C{receiver} listen; with a queue, share it."""
        place = self._topics.setdefault(topic, _Topic())
        if queue:
            place.queues.setdefault(queue, _Queue()).members.append(receiver)
        else:
            place.all = (*place.all, receiver)
        self.count += 1

    def remove(self, topic: str, queue: str, receiver: Receiver) -> None:
        """Forget one which was added so."""
        place = self._topics[topic]
        if queue:
            group = place.queues[queue]
            group.members.remove(receiver)
            if not group.members:
                del place.queues[queue]
        else:
            place.all = tuple(each for each in place.all if each is not receiver)
        if not place.all and not place.queues:
            del self._topics[topic]
        self.count -= 1

    def audience(self, topic: str) -> tuple[Receiver, ...]:
        """Who gets the next message: all of some, and one of each queue."""
        place = self._topics.get(topic)
        if place is None:
            return ()
        if not place.queues:
            return place.all
        return (*place.all, *[queue.choose() for queue in place.queues.values()])

    def __contains__(self, topic: str) -> bool:
        return topic in self._topics
