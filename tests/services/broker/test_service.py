"""Who gets which messages, and what a subscriber costs who does not read."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.internet.defer import Deferred

from microd.kernel.caller import Account
from microd.kernel.errors import BadRequest, Unauthorized, Unavailable
from microd.services.broker.model import Limits, Message
from microd.services.broker.service import Broker
from microd.services.broker.subscription import Subscription
from microd.testing.outcome import StillWaitingError, done


class Reader:
    """Reads all that comes, as it comes."""

    def __init__(self, subscription: Subscription) -> None:
        self.bodies: list[bytes] = []
        self.ended: object = None
        self.subscription = subscription
        self.reading = Deferred.fromCoroutine(self._read())
        self.reading.addBoth(self._end)

    async def _read(self) -> None:
        async for message in self.subscription:
            self.bodies.append(message.body)

    def _end(self, outcome: object) -> None:
        self.ended = outcome if outcome is not None else "stopped"


def send(broker: Broker, *bodies: bytes, topic: str = "news", namespace: str = "acme") -> None:
    for body in bodies:
        broker.publish(namespace, topic, Message({}, body))


def waiting(subscription: Subscription) -> list[bytes]:
    """What a subscriber finds who begins to read now."""
    found = []
    while True:
        try:
            found.append(done(subscription.__anext__()).body)
        except (StillWaitingError, StopAsyncIteration):
            return found


def test_all_get_it() -> None:
    """Every subscriber of a topic gets each message, in the order of publishing; others get none."""
    broker = Broker()
    one, two = Reader(broker.subscribe("acme", "news")), Reader(broker.subscribe("acme", "news"))
    other = Reader(broker.subscribe("acme", "new"))
    send(broker, b"1", b"2", b"3")
    assert one.bodies == two.bodies == [b"1", b"2", b"3"]
    assert other.bodies == []


def test_nothing_is_kept() -> None:
    """A message is for those who listen when it is sent."""
    broker = Broker()
    assert broker.publish("acme", "news", Message({}, b"early")) == 0
    reader = Reader(broker.subscribe("acme", "news"))
    send(broker, b"late")
    assert reader.bodies == [b"late"]


def test_namespaces() -> None:
    """The same topic in two namespaces is two topics, even where the names run together."""
    broker = Broker()
    reader = Reader(broker.subscribe("acme", "x.news"))
    assert broker.publish("acme.x", "news", Message()) == 0
    assert broker.publish("other", "x.news", Message()) == 0
    assert reader.bodies == []


def test_queue() -> None:
    """Of those who share a queue one gets each message, in turn; who shares none still gets all."""
    broker = Broker()
    shared = [Reader(broker.subscribe("acme", "news", "workers")) for _ in range(3)]
    other = Reader(broker.subscribe("acme", "news", "audit"))
    alone = Reader(broker.subscribe("acme", "news"))
    send(broker, *(b"%d" % number for number in range(9)))
    assert [len(reader.bodies) for reader in shared] == [3, 3, 3]
    assert len({body for reader in shared for body in reader.bodies}) == 9
    assert len(other.bodies) == len(alone.bodies) == 9


def test_queue_passes_the_slow_by() -> None:
    """A member of a queue who does not read is passed by as long as another does."""
    broker = Broker()
    slow = broker.subscribe("acme", "news", "workers")
    quick = Reader(broker.subscribe("acme", "news", "workers"))
    send(broker, *(b"%d" % number for number in range(100)))
    assert len(quick.bodies) == 99
    assert slow.waiting == 1


def test_queue_after_one_left() -> None:
    """When a member has gone, the others get all."""
    broker = Broker()
    one, two = (Reader(broker.subscribe("acme", "news", "workers")) for _ in range(2))
    one.subscription.close()
    send(broker, b"1", b"2", b"3")
    assert two.bodies == [b"1", b"2", b"3"]


def test_drop_oldest() -> None:
    """Who does not read keeps the newest messages, and what was lost is counted."""
    broker = Broker(Limits(backlog=3))
    slow = broker.subscribe("acme", "news")
    quick = Reader(broker.subscribe("acme", "news"))
    send(broker, b"1", b"2", b"3", b"4", b"5")
    assert quick.bodies == [b"1", b"2", b"3", b"4", b"5"]
    assert (slow.dropped, broker.counts.dropped) == (2, 2)
    assert waiting(slow) == [b"3", b"4", b"5"]


def test_drop_new() -> None:
    """With drop-new who does not read keeps the oldest."""
    broker = Broker(Limits(backlog=2, slow="drop-new"))
    slow = broker.subscribe("acme", "news")
    send(broker, b"1", b"2", b"3")
    assert slow.dropped == 1
    assert waiting(slow) == [b"1", b"2"]


def test_disconnect() -> None:
    """With disconnect who does not read is told, and gets nothing any more."""
    broker = Broker(Limits(backlog=2, slow="disconnect"))
    slow = broker.subscribe("acme", "news")
    send(broker, b"1", b"2", b"3", b"4")
    with pytest.raises(Unavailable, match="subscribe again"):
        done(slow.__anext__())
    assert (broker.counts.disconnected, broker.subscriptions) == (1, 0)


def test_bytes_are_bounded() -> None:
    """What waits for one subscriber is bounded in bytes as well."""
    broker = Broker(Limits(backlog_size=10_000))
    slow = broker.subscribe("acme", "news")
    send(broker, *(b"%04d" % number * 250 for number in range(100)))
    kept = waiting(slow)
    assert len(kept) == 8
    assert kept[-1] == b"0099" * 250


def test_memory_is_shared() -> None:
    """What waits in one namespace is bounded together, and one subscriber alone does not get all of it."""
    broker = Broker(Limits(memory=100_000, backlog_size=1 << 30))
    slow = [broker.subscribe("acme", "news") for _ in range(4)]
    send(broker, *(b"x" * 1000 for _ in range(1000)))
    held = [each.waiting * 1200 for each in slow]
    assert sum(held) <= 100_000
    assert min(held) > 10_000
    reader = Reader(broker.subscribe("acme", "news"))
    elsewhere = broker.subscribe("other", "news")
    send(broker, b"y" * 50_000)
    send(broker, b"y" * 40_000, namespace="other")
    assert len(reader.bodies) == 1
    assert elsewhere.waiting == 1


def test_room_comes_back() -> None:
    """What was read, or belonged to who has left, makes room again."""
    broker = Broker(Limits(memory=10_000))
    slow = broker.subscribe("acme", "news")
    keeps_open = broker.subscribe("acme", "other")
    send(broker, *(b"x" * 1000 for _ in range(10)))
    slow.close()
    next_one = broker.subscribe("acme", "news")
    send(broker, b"x" * 4000)
    assert next_one.waiting == 1
    assert done(next_one.__anext__()).body == b"x" * 4000
    send(broker, b"x" * 9000)
    assert next_one.waiting == 1
    keeps_open.close()


def test_a_large_message_for_who_waits() -> None:
    """Who is waiting gets a message whatever its size: it takes no room."""
    broker = Broker(Limits(backlog_size=10, memory=10))
    reader = Reader(broker.subscribe("acme", "news"))
    send(broker, b"x" * 1000)
    assert len(reader.bodies) == 1


def test_close() -> None:
    """Who has left gets nothing more, and is not remembered."""
    broker = Broker()
    reader = Reader(broker.subscribe("acme", "news", connection="c"))
    reader.subscription.close()
    reader.subscription.close()
    send(broker, b"1")
    assert (reader.bodies, reader.ended) == ([], "stopped")
    assert broker.subscriptions == 0
    assert not broker._namespaces
    assert not broker._by_connection
    assert not broker._subscriptions


def test_cancelled_reader() -> None:
    """A reader may stop in the middle of waiting and begin again; what came in between is there."""
    broker = Broker()
    subscription = broker.subscribe("acme", "news")
    first = Reader(subscription)
    first.reading.cancel()
    send(broker, b"1")
    assert Reader(subscription).bodies == [b"1"]


def test_stop() -> None:
    """Subscribers are told when the broker stops."""
    broker = Broker()
    broker.startService()
    reader = Reader(broker.subscribe("acme", "news"))
    broker.stopService()
    assert "the broker is stopping" in str(reader.ended)


def test_figures() -> None:
    """What happens is counted."""
    broker = Broker(Limits(backlog=2))
    broker.subscribe("acme", "news")
    Reader(broker.subscribe("other", "news"))
    send(broker, b"x" * 100, b"x" * 100, b"x" * 100)
    send(broker, b"x", namespace="other")
    found = {figure.name.removeprefix("microd_broker_"): figure.samples[0][1] for figure in broker.figures()}
    assert found == {
        "published_total": 4,
        "delivered_total": 4,
        "dropped_total": 1,
        "disconnected_total": 0,
        "subscriptions": 2,
        "waiting_bytes": 600,
    }


def test_revoked() -> None:
    """Subscriptions end when their reader's account is revoked; messages that wait are not shown any more."""
    broker = Broker()
    ann, namesake = Account("ann", "user", "acme"), Account("ann", "user", "other")
    reader, other = (Reader(broker.subscribe("acme", "news", reader=each)) for each in (ann, namesake))
    slow = broker.subscribe("acme", "news", reader=ann)
    own = Reader(broker.subscribe("acme", "news"))
    send(broker, b"1")
    broker.revoked("acme", "ann")
    send(broker, b"2")
    assert "the account ann was revoked" in str(reader.ended)
    with pytest.raises(Unauthorized, match="the account ann was revoked"):
        done(slow.__anext__())
    assert (reader.bodies, other.bodies, own.bodies) == ([b"1"], [b"1", b"2"], [b"1", b"2"])
    assert broker.subscriptions == 2


def test_leaving_while_it_is_handed_out() -> None:
    """A subscriber who makes another one leave, or listens anew, does not disturb the message's way."""
    broker = Broker()
    others: list[Reader] = []
    act: list[Callable[[], object]] = [
        lambda: others[0].subscription.close(),
        lambda: others.append(Reader(broker.subscribe("acme", "news"))),
    ]

    class Meddler:
        waiting = 0
        subjects_only = False

        def deliver(self, topic: str, message: Message) -> None:
            while act:
                act.pop(0)()

    end = broker.attach("acme", "news", "", Meddler())
    others += [Reader(broker.subscribe("acme", "news")) for _ in range(2)]
    send(broker, b"1")
    assert [reader.bodies for reader in others] == [[], [b"1"], []]
    send(broker, b"2")
    assert [reader.bodies for reader in others] == [[], [b"1", b"2"], [b"2"]]
    end()
    end()
    assert broker.subscriptions == 2


def test_interested() -> None:
    """It is known whether anybody listens."""
    broker = Broker()
    assert not broker.interested("acme", "news")
    subscription = broker.subscribe("acme", "news", "queue")
    assert broker.interested("acme", "news")
    assert not broker.interested("acme", "other")
    subscription.close()
    assert not broker.interested("acme", "news")


def test_too_many() -> None:
    """Subscriptions are bounded for a namespace and for a connection, and whoever leaves makes room."""
    broker = Broker(Limits(subscriptions=3, connection_streams=2))
    first = broker.subscribe("acme", "a", connection="c")
    broker.subscribe("acme", "b", connection="c")
    with pytest.raises(Unavailable, match="this connection has 2 subscriptions"):
        broker.subscribe("acme", "c", connection="c")
    broker.subscribe("acme", "c", connection="d")
    with pytest.raises(
        Unavailable, match=r"the namespace acme has 3 subscriptions.*broker\.max_subscriptions"
    ):
        broker.subscribe("acme", "d", connection="e")
    broker.subscribe("other", "d", connection="e")
    first.close()
    broker.subscribe("acme", "c", connection="c")


def test_bad_names() -> None:
    """Bad topics and queues are refused, and leave nothing behind."""
    broker = Broker()
    for topic, queue in (("", ""), ("x" * 256, ""), ("a\nb", ""), ("a", "x" * 256), ("a", "\0")):
        with pytest.raises(BadRequest):
            broker.subscribe("acme", topic, queue)
    with pytest.raises(BadRequest):
        broker.publish("acme", "x" * 256, Message())
    assert broker.subscriptions == 0
    assert broker.counts.published == 0


def test_wildcards() -> None:
    """A topic that is a pattern of NATS means all that it matches; publishing is literal."""
    broker = Broker()
    rest, one = (
        Reader(broker.subscribe("acme", "orders.>")),
        Reader(broker.subscribe("acme", "orders.*.paid")),
    )
    literal = Reader(broker.subscribe("acme", "orders.7.paid"))
    for topic in ("orders.7.paid", "orders.7", "orders", "orders.*.paid"):
        send(broker, topic.encode(), topic=topic)
    assert rest.bodies == [b"orders.7.paid", b"orders.7", b"orders.*.paid"]
    assert one.bodies == [b"orders.7.paid", b"orders.*.paid"]
    assert literal.bodies == [b"orders.7.paid"]


def test_no_pattern_is_literal() -> None:
    """A topic with stars which is no pattern is only a name."""
    broker = Broker()
    readers = {topic: Reader(broker.subscribe("acme", topic)) for topic in ("a b.*", "a..>", "x*", ">.a")}
    for topic, reader in readers.items():
        send(broker, b"1", topic=topic)
        assert reader.bodies == [b"1"]
        send(broker, b"2", topic="a b.c")
        assert reader.bodies == [b"1"]


def test_long_topics_weigh_more() -> None:
    """A subscription counts once more for every 256 bytes of its name, so that names do not fill the memory."""
    broker = Broker(Limits(subscriptions=4, topic=1000))
    first = broker.subscribe("acme", "a" * 800)
    with pytest.raises(Unavailable):
        broker.subscribe("acme", "b")
    first.close()
    broker.subscribe("acme", "b")


def test_streams() -> None:
    """Subscriptions over gRPC cost more, and have a bound of their own in a namespace."""
    broker = Broker(Limits(streams=2))
    broker.subscribe("acme", "a")
    second = broker.subscribe("acme", "a")
    with pytest.raises(Unavailable, match="2 subscriptions over gRPC"):
        broker.subscribe("acme", "a")
    second.close()
    broker.subscribe("acme", "a")


def test_places_go() -> None:
    """A namespace is forgotten with its last subscription and its last connection."""
    broker = Broker()
    place = broker.enter("acme")
    subscription = broker.subscribe("acme", "a")
    broker.leave(place)
    assert broker.enter("acme") is place
    subscription.close()
    broker.leave(place)
    assert broker.enter("acme") is not place
