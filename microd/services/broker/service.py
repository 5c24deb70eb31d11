"""The broker, running: every namespace's topics, and who listens to them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator

from twisted.application.service import Service as TwistedService

from microd.kernel.caller import Account
from microd.kernel.errors import Unauthorized, Unavailable
from microd.kernel.health import Figure, counter, gauge
from microd.kernel.names import require_text
from microd.services.broker import rules
from microd.services.broker.interface import IBroker, Receiver
from microd.services.broker.model import Counts, Limits, Message
from microd.services.broker.subscription import Budget, Subscription
from microd.services.broker.topics import Topics


class Place:
    """One tenant's topics, and what its waiting messages take.

    @ivar budget: for messages which wait to be read; C{unfinished}: for those that are not complete.
    @ivar doors: connections of other protocols which use it; it stays as long as there is one, or a subscription.
    @ivar weight: its subscriptions as they are counted (L{rules.weight}).
    """

    __slots__ = ("budget", "doors", "namespace", "streams", "topics", "unfinished", "weight")

    def __init__(self, namespace: str, limits: Limits) -> None:
        self.namespace = namespace
        self.topics = Topics()
        self.budget = Budget(limits.memory)
        self.unfinished = Budget(limits.memory)
        self.streams = 0
        self.weight = 0
        self.doors = 0


class Broker(TwistedService, IBroker):
    """Hands messages to those who listen, in this process.

    @ivar counts: what it did so far.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self.counts = Counts()
        self._namespaces: dict[str, Place] = {}
        self._by_connection: dict[Hashable, int] = {}
        self._subscriptions: set[Subscription] = set()

    def stopService(self) -> None:
        """End what subscribers read."""
        super().stopService()
        for subscription in list(self._subscriptions):
            subscription.end(Unavailable("the broker is stopping: subscribe again"))

    @property
    def limits(self) -> Limits:
        return self._limits

    @property
    def subscriptions(self) -> int:
        """How many there are, over all protocols."""
        return sum(each.topics.count for each in self._namespaces.values())

    def figures(self) -> Iterator[Figure]:
        """What it counted (L{microd.kernel.health.Figures})."""
        counts = self.counts
        yield counter("microd_broker_published_total", "Messages taken.", counts.published)
        yield counter("microd_broker_delivered_total", "Messages handed to subscribers.", counts.delivered)
        lost = "Messages lost because their subscriber was too slow."
        yield counter("microd_broker_dropped_total", lost, counts.dropped)
        cut = "Subscribers cut off because they were too slow."
        yield counter("microd_broker_disconnected_total", cut, counts.disconnected)
        yield gauge("microd_broker_subscriptions", "Subscriptions.", self.subscriptions)
        waiting = sum(place.budget.used for place in self._namespaces.values())
        yield gauge("microd_broker_waiting_bytes", "Memory of messages that wait to be read.", waiting)

    def publish(self, namespace: str, topic: str, message: Message) -> int:
        # The reference takes a message without a topic, which nobody can hear (spec 6.5).
        if topic:
            require_text("the topic", topic, self._limits.topic)
        self.counts.published += 1
        place = self._namespaces.get(namespace)
        if place is None or not topic:
            return 0
        audience = place.topics.audience(topic.encode()).chosen()
        for receiver in audience:
            receiver.deliver(topic, message)
        return len(audience)

    def interested(self, namespace: str, topic: str) -> bool:
        place = self._namespaces.get(namespace)
        return place is not None and len(place.topics.audience(topic.encode())) > 0

    def subscribe(
        self,
        namespace: str,
        topic: str,
        queue: str = "",
        *,
        reader: Account | None = None,
        peer: str = "",
        connection: Hashable = None,
    ) -> Subscription:
        leave: list[Callable[[], None]] = []

        def left() -> None:
            self._subscriptions.discard(subscription)
            leave[0]()

        self._admit(namespace, topic, queue, connection)
        budget = self._place(namespace).budget
        subscription = Subscription(self._limits, self.counts, budget, left, reader, peer)
        leave.append(self._attach(namespace, topic, queue, subscription, connection))
        self._subscriptions.add(subscription)
        return subscription

    def attach(
        self, namespace: str, topic: str, queue: str, receiver: Receiver, connection: Hashable = None
    ) -> Callable[[], None]:
        self._admit(namespace, topic, queue, connection)
        return self._attach(namespace, topic, queue, receiver, connection)

    def enter(self, namespace: str) -> Place:
        place = self._place(namespace)
        place.doors += 1
        return place

    def leave(self, place: Place) -> None:
        place.doors -= 1
        self._tidy(place)

    def revoked(self, namespace: str, id: str) -> None:
        for subscription in list(self._subscriptions):
            reader = subscription.reader
            if reader is not None and (reader.issuer, reader.id) == (namespace, id):
                subscription.cut(Unauthorized(f"the account {id} was revoked: log in again"))

    def _admit(self, namespace: str, topic: str, queue: str, connection: Hashable) -> None:
        limits = self._limits
        rules.require_topic(topic, limits)
        rules.require_queue(queue, limits)
        place = self._namespaces.get(namespace)
        if place is not None:
            rules.require_room(place.weight, namespace, limits)
            if place.streams >= limits.streams:
                raise Unavailable(
                    f"the namespace {namespace} has {limits.streams} subscriptions over gRPC, and may have no more"
                )
        if self._by_connection.get(connection, 0) >= limits.connection_streams:
            raise Unavailable(
                f"this connection has {limits.connection_streams} subscriptions, and may have no more"
            )

    def _place(self, namespace: str) -> Place:
        place = self._namespaces.get(namespace)
        if place is None:
            place = self._namespaces[namespace] = Place(namespace, self._limits)
        return place

    def _tidy(self, place: Place) -> None:
        if not place.doors and not place.topics.count:
            self._namespaces.pop(place.namespace, None)

    def _attach(
        self, namespace: str, topic: str, queue: str, receiver: Receiver, connection: Hashable
    ) -> Callable[[], None]:
        place = self._place(namespace)
        pattern = topic.encode()
        weight = rules.weight(pattern)
        place.topics.add(pattern, queue, receiver)
        place.streams += 1
        place.weight += weight
        if connection is not None:
            self._by_connection[connection] = self._by_connection.get(connection, 0) + 1
        ended = False

        def end() -> None:
            nonlocal ended
            if ended:
                return
            ended = True
            place.topics.remove(pattern, queue, receiver)
            place.streams -= 1
            place.weight -= weight
            self._tidy(place)
            self._disconnect(connection)

        return end

    def _disconnect(self, connection: Hashable) -> None:
        if connection is None:
            return
        left = self._by_connection[connection] - 1
        if left:
            self._by_connection[connection] = left
        else:
            del self._by_connection[connection]
