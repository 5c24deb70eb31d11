"""Event streams on the wire: spec micro-v3-server 6.6, 8, Appendix A, and the additions of our contract."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Queue
from typing import Any
from uuid import UUID

import grpc
import pytest
from google.protobuf import json_format

from tests.compat.conftest import Client, Daemon, Person
from tests.compat.wires import LIMIT, Contracts, ProtoWire, Refused, Shown, encoded, refused_from, shown

PUBLISH, MANY, CONSUME, ACK = (
    f"/events.Stream/{each}" for each in ("Publish", "PublishMany", "Consume", "Ack")
)
READ, WRITE = "/events.Store/Read", "/events.Store/Write"
TOPICS, LAG, CONFIGURE, DELETE = (f"/events.Topics/{each}" for each in ("List", "Lag", "Configure", "Delete"))
SEEK, FORGET = "/events.Groups/Seek", "/events.Groups/Delete"
LETTERS, RETRY, DROP = (f"/events.DeadLetters/{each}" for each in ("List", "Retry", "Drop"))
SECOND = 1_000_000_000


class Consumer:
    """A stream of C{Consume} as a client holds it that acknowledges: opened as a stream both ways."""

    def __init__(self, call: Client, request: Shown, by: str = "alpha-service") -> None:
        wire = call.wire
        assert isinstance(wire, ProtoWire)
        contracts: Contracts = call.daemon.contracts
        package = contracts.modules["events"]
        self._ack = package.AckRequest
        self._said: Queue[Any] = Queue()
        self._said.put(json_format.ParseDict(encoded(request), package.ConsumeRequest()))
        stream = wire.channel.stream_stream(
            CONSUME,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=package.Event.FromString,
        )
        self._call = stream(
            iter(self._said.get, None), metadata=list(call.headers(by).items()), timeout=LIMIT
        )

    def take(self) -> Shown:
        """The next event."""
        try:
            return shown(next(self._call))
        except grpc.RpcError as error:
            raise refused_from(error.details(), error.code().name) from None

    def ack(self, event: Shown, success: bool = True, **more: object) -> None:
        """Say what became of it."""
        self._said.put(self._ack(id=event["id"], success=success, **more))

    def end(self) -> list[Shown]:
        """Half-close; what comes before the stream ends."""
        self._said.put(None)
        return [shown(each) for each in self._call]

    def leave(self) -> None:
        """Be gone."""
        self._said.put(None)
        self._call.cancel()


@contextmanager
def consuming(call: Client, request: Shown, by: str = "alpha-service") -> Iterator[Consumer]:
    """A consumer."""
    consumer = Consumer(call, {"topic": call.unique, **request}, by)
    try:
        yield consumer
    finally:
        consumer.leave()


def manual(group: str, **more: object) -> Shown:
    """What asks for events that are to be acknowledged."""
    return {
        "group": group,
        "ack_wait": 30 * SECOND,
        "retry_limit": 3,
        "start": "EARLIEST",
        "backoff": 1,
        **more,
    }


def publish(call: Client, *payloads: str, topic: str = "", by: str = "alpha-user") -> list[Shown]:
    """Publish each."""
    return [
        call(PUBLISH, {"topic": topic or call.unique, "payload": each.encode()}, by=by) for each in payloads
    ]


def text(event: Shown) -> str:
    """The payload."""
    return base64.b64decode(event["payload"]).decode()


def kept(call: Client, topic: str = "", by: str = "alpha-user") -> list[str]:
    """The payloads of all events."""
    return [text(each) for each in call(READ, {"topic": topic or call.unique}, by=by)["events"]]


def until(asked: Callable[[], Shown], holds: Callable[[Shown], bool]) -> Shown:
    """Ask until the answer is as it is to become."""
    for _ in range(1000):
        if holds(found := asked()):
            return found
        time.sleep(0.01)
    raise AssertionError(found)


def lag(call: Client, group: str) -> Shown:
    """How far a group is."""
    groups = call(LAG, {"topic": call.unique}, by="alpha-user")["groups"]
    found: Shown = next(each for each in groups if each["name"] == group)
    return found


# -- publish and read


def test_publish(call: Client) -> None:
    """What was acknowledged can be read, as it was published."""
    before = int(time.time())
    draft = {"topic": call.unique, "payload": b'{"n": 1}', "metadata": {"kind": "a"}}
    said = call(PUBLISH, draft, by="alpha-user")
    assert said["offset"] == "1"
    (event,) = call(READ, {"topic": call.unique}, by="alpha-user")["events"]
    assert (event["id"], event["topic"], event["metadata"]) == (said["id"], call.unique, {"kind": "a"})
    assert text(event) == '{"n": 1}'
    assert before <= int(event["timestamp"]) <= time.time()
    assert UUID(event["id"])


def test_timestamp(call: Client) -> None:
    """A publisher may say when it happened, in seconds."""
    call(PUBLISH, {"topic": call.unique, "payload": b"x", "timestamp": 1_600_000_000}, by="alpha-user")
    (event,) = call(READ, {"topic": call.unique}, by="alpha-user")["events"]
    assert (event["timestamp"], event["timestamp_ms"]) == ("1600000000", "1600000000000")


def test_order(call: Client) -> None:
    """Events are read in the order in which they were published, whatever their ids (unlike the reference)."""
    expected = [f"{number}" for number in range(20)]
    said = publish(call, *expected)
    assert [int(each["offset"]) for each in said] == list(range(1, 21))
    assert kept(call) == expected


def test_many(call: Client) -> None:
    """Several events are stored together, or none is."""
    drafts: list[Shown] = [{"payload": f"{number}".encode()} for number in range(10)]
    assert call(MANY, {"topic": call.unique, "events": drafts}, by="alpha-user") == {
        "first": "1",
        "last": "10",
    }
    bad = [*drafts, {"payload": b"x" * (2 << 20)}]
    assert call.refused(MANY, {"topic": call.unique, "events": bad}, by="alpha-user").code == 413
    assert kept(call) == [f"{number}" for number in range(10)]


def test_pages(call: Client) -> None:
    """A topic is read a page at a time: behind an offset, without the oldest, or from its end."""
    drafts = [{"payload": f"{number}".encode()} for number in range(300)]
    call(MANY, {"topic": call.unique, "events": drafts}, by="alpha-user")

    def page(**how: object) -> tuple[list[str], str]:
        found = call(READ, {"topic": call.unique, **how}, by="alpha-user")
        return [text(each) for each in found["events"]], found["next"]

    numbers = [f"{number}" for number in range(300)]
    assert page() == (numbers[:250], "250")
    assert page(after=250) == (numbers[250:], "0")
    assert page(limit=2) == (["0", "1"], "2")
    assert page(limit=2, offset=3) == (["3", "4"], "5")
    assert page(limit=2, newest=True)[0] == ["298", "299"]
    assert page(offset=1000) == ([], "0")


def test_read_since(call: Client) -> None:
    """A topic is read from a time on."""
    for second in (1_600_000_000, 1_600_000_010, 1_600_000_020):
        draft = {"topic": call.unique, "payload": f"{second}".encode(), "timestamp": second}
        call(PUBLISH, draft, by="alpha-user")
    found = call(READ, {"topic": call.unique, "start_time": 1_600_000_010_000}, by="alpha-user")
    assert [text(each) for each in found["events"]] == ["1600000010", "1600000020"]


def test_nothing(call: Client) -> None:
    """A topic that nobody has published to is empty."""
    assert call(READ, {"topic": call.unique}, by="alpha-user") == {"events": [], "next": "0"}


def test_texts(call: Client) -> None:
    """The texts of the reference."""
    by = "alpha-user"
    assert call.refused(PUBLISH, {"payload": b"x"}, by=by) == Refused(
        400, "events.Stream.Publish", "Missing topic"
    )
    assert call.refused(READ, {}, by=by) == Refused(400, "events.Store.Read", "Missing topic")
    assert call.refused(WRITE, {"event": {"topic": "t"}}, by=by) == Refused(
        501, "events.Store.Write", "Writing to the store directly is not supported"
    )


def test_consume_texts(grpc_call: Client) -> None:
    """The texts of the reference for consumers; it says 500."""
    call = grpc_call
    assert call.refused(CONSUME, {"auto_ack": True}, by="alpha-user") == Refused(
        400, "events.Stream.Consume", "Missing topic"
    )
    refused = call.refused(CONSUME, {"topic": call.unique, "group": "g"}, by="alpha-user")
    assert refused.brief == (400, "invalid AckWait passed, should be positive integer")


def test_limits(call: Client) -> None:
    """What is too large, reserved or no name is refused, and says what it is."""
    by = "alpha-user"
    refused = call.refused(PUBLISH, {"topic": call.unique, "payload": b"x" * (2 << 20)}, by=by)
    assert refused.code == 413
    assert "events.max_event" in refused.detail
    for name in ("Micro-Only-Group", "Micro-Dead-Topic"):
        refused = call.refused(PUBLISH, {"topic": call.unique, "metadata": {name: "x"}}, by=by)
        assert (refused.code, name in refused.detail) == (400, True)
    for topic in ("x" * 200, "a\nb", "a\0", "../x", "x/../y"):
        assert call.refused(PUBLISH, {"topic": topic, "payload": b"x"}, by=by).code == 400, topic
    assert kept(call) == []


# -- consume


def test_live(grpc_call: Client) -> None:
    """A consumer without a group gets what is published from then on, in order, as any client of a server stream would."""
    call = grpc_call
    publish(call, "before")
    request = {"topic": call.unique, "auto_ack": True, "offset": -62135596800}
    ((first, second),) = call.heard(
        CONSUME, [request], lambda number: publish(call, f"{number}"), by="alpha-user", most=2
    )
    assert int(text(second)) == int(text(first)) + 1
    assert int(second["offset"]) == int(first["offset"]) + 1


def test_replay(grpc_call: Client) -> None:
    """An offset is a time in seconds: events which are not older come first, then what is new (spec 6.6)."""
    call = grpc_call
    for second in (1_600_000_000, 1_600_000_010, 1_600_000_020):
        draft = {"topic": call.unique, "payload": f"{second}".encode(), "timestamp": second}
        call(PUBLISH, draft, by="alpha-user")
    request = {"topic": call.unique, "auto_ack": True, "offset": 1_600_000_010}
    found = call.stream(CONSUME, [request], by="alpha-user", most=2)
    assert [text(each) for each in found] == ["1600000010", "1600000020"]


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ({"start": "EARLIEST"}, "1"),
        ({"start": "OFFSET", "start_offset": 3}, "3"),
        ({"start": "TIME", "start_time": 1_600_000_002_000}, "2"),
    ],
)
def test_start(grpc_call: Client, start: Shown, expected: str) -> None:
    """A consumer begins where it says."""
    call = grpc_call
    for number in range(1, 5):
        draft = {"topic": call.unique, "payload": f"{number}".encode(), "timestamp": 1_600_000_000 + number}
        call(PUBLISH, draft, by="alpha-user")
    request = {"topic": call.unique, "auto_ack": True, **start}
    (first,) = call.stream(CONSUME, [request], by="alpha-user", most=1)
    assert text(first) == expected


@pytest.fixture(params=["proxy-proto", "network-proto"])
def both(request: pytest.FixtureRequest, daemon: Daemon) -> Client:
    """A client at each door for gRPC, in protobuf."""
    return Client(daemon, daemon.wire(request.param))


def test_group_remembers(both: Client) -> None:
    """A group goes on where it was, and what it did not acknowledge comes again, marked."""
    publish(both, "a", "b", "c")
    with consuming(both, manual("g")) as consumer:
        first, second = consumer.take(), consumer.take()
        assert [text(first), text(second)] == ["a", "b"]
        assert not first["redelivered"]
        assert first["attempt"] == 1
        consumer.ack(first)
        until(lambda: lag(both, "g"), lambda group: group["acknowledged"] == "1")
    with consuming(both, manual("g")) as consumer:
        again = consumer.take()
        assert (text(again), again["redelivered"], again["attempt"]) == ("b", True, 2)
        assert text(consumer.take()) == "c"


def test_competing(both: Client) -> None:
    """Each event goes to one consumer of a group, and to every group."""
    request = manual("g", max_in_flight=1)
    with (
        consuming(both, request) as one,
        consuming(both, request) as two,
        consuming(both, manual("h")) as other,
    ):
        publish(both, "a", "b")
        assert sorted([text(one.take()), text(two.take())]) == ["a", "b"]
        assert [text(other.take()), text(other.take())] == ["a", "b"]


def test_half_close(both: Client) -> None:
    """Who half-closes after a while is done; nothing else is lost by it."""
    publish(both, "a")
    with consuming(both, manual("g")) as consumer:
        consumer.ack(consumer.take())
        assert consumer.end() == []
    assert until(lambda: lag(both, "g"), lambda group: group["consumers"] == "0")["acknowledged"] == "1"


def test_nack(both: Client) -> None:
    """What is refused comes again before anything that nobody has had."""
    publish(both, "a", "b")
    with consuming(both, manual("g", max_in_flight=1)) as consumer:
        consumer.ack(consumer.take(), success=False)
        again = consumer.take()
        assert (text(again), again["attempt"], again["redelivered"]) == ("a", 2, True)
        consumer.ack(again)
        assert text(consumer.take()) == "b"


def test_untried(both: Client) -> None:
    """What was given back untried comes again, and the attempt does not count."""
    publish(both, "a")
    with consuming(both, manual("g")) as consumer:
        consumer.ack(consumer.take(), success=False, untried=True)
        again = consumer.take()
        assert (again["attempt"], again["redelivered"]) == (1, True)


def test_ack_wait(both: Client) -> None:
    """What nobody says anything about comes again after ack_wait, however often it takes."""
    publish(both, "a")
    with consuming(both, manual("g", ack_wait=SECOND // 20, retry_limit=-1)) as consumer:
        assert [consumer.take()["attempt"] for _ in range(3)] == [1, 2, 3]


def dead(call: Client) -> list[Shown]:
    """The dead letters."""
    return list(call(LETTERS, {"topic": call.unique}, by="alpha-user")["letters"])


def test_dead_letters(both: Client) -> None:
    """After its last attempt an event goes to the dead letters, with its error; retried, it comes to its group again."""
    publish(both, "bad", "good")
    with (
        consuming(both, manual("g", retry_limit=1, max_in_flight=1)) as consumer,
        consuming(both, manual("h")) as other,
    ):
        for _ in range(2):
            event = consumer.take()
            assert text(event) == "bad"
            consumer.ack(event, success=False, error="no such customer")
        after = consumer.take()
        assert text(after) == "good"
        consumer.ack(after)
        assert [text(other.take()), text(other.take())] == ["bad", "good"]
        (letter,) = until(lambda: {"all": dead(both)}, lambda found: bool(found["all"]))["all"]
        assert (letter["group"], letter["attempts"], letter["error"]) == ("g", 2, "no such customer")
        assert (letter["id"], letter["offset"]) == (event["id"], "1")
        assert text(letter["event"]) == "bad"
        assert kept(both, both.unique + ".dlq") == ["bad"]
        assert both(RETRY, {"topic": both.unique, "ids": [letter["id"]]}, by="alpha-admin") == {"count": "1"}
        again = consumer.take()
        assert (text(again), again["attempt"]) == ("bad", 1)
        consumer.ack(again)
        assert dead(both) == []
        # It is not the other group's.
        publish(both, "next")
        assert text(other.take()) == "next"


def test_drop(both: Client) -> None:
    """A consumer may give an event up at once; what was dealt with is no longer listed."""
    publish(both, "a")
    with consuming(both, manual("g")) as consumer:
        consumer.ack(consumer.take(), success=False, drop=True, error="never")
        (letter,) = until(lambda: {"all": dead(both)}, lambda found: bool(found["all"]))["all"]
        assert (letter["attempts"], letter["error"]) == (1, "never")
        assert both(DROP, {"topic": both.unique, "group": "g"}, by="alpha-admin") == {"count": "1"}
        assert dead(both) == []
        assert kept(both, both.unique + ".dlq") == ["a"]


def test_unary_ack(both: Client) -> None:
    """Who cannot acknowledge on the stream has an RPC for it, whose answer is as durable as a publication's."""
    publish(both, "a", "b")
    with consuming(both, manual("g")) as consumer:
        first = consumer.take()
        acks = [{"id": first["id"], "success": True}, {"id": "no such id", "success": True}]
        request = {"topic": both.unique, "group": "g", "acks": acks}
        assert both(ACK, request, by="alpha-service") == {"count": "1"}
        assert both(ACK, request, by="alpha-service") == {"count": "0"}
        assert lag(both, "g")["acknowledged"] == "1"


# -- topics and groups


def test_topics(call: Client) -> None:
    """Topics are listed with what they hold, by page."""
    for number in range(3):
        publish(call, "a", "b", topic=f"{call.unique}.{number}")
    found = call(TOPICS, {"after": call.unique, "limit": 2}, by="alpha-user")
    assert [each["name"] for each in found["topics"]] == [f"{call.unique}.0", f"{call.unique}.1"]
    topic = found["topics"][0]
    assert (topic["first"], topic["last"]) == ("1", "2")
    assert int(topic["size"]) > 0
    (last, *_) = call(TOPICS, {"after": found["next"], "limit": 2}, by="alpha-user")["topics"]
    assert last["name"] == f"{call.unique}.2"


def test_admins(call: Client) -> None:
    """What takes something away, or moves others, is for admins of the namespace."""
    publish(call, "a")
    group = {"topic": call.unique, "group": "g"}
    requests: dict[str, Shown] = {
        CONFIGURE: {"topic": call.unique, "max_age": 60},
        DELETE: {"topic": call.unique},
        SEEK: {**group, "start": "EARLIEST"},
        FORGET: group,
        RETRY: {"topic": call.unique},
        DROP: {"topic": call.unique},
    }
    for path, request in requests.items():
        assert call.refused(path, request, by="alpha-user").code == 403, path
    assert kept(call) == ["a"]
    topic = call(CONFIGURE, requests[CONFIGURE], by="alpha-admin")
    assert (topic["name"], topic["max_age"]) == (call.unique, "60")
    assert call(DELETE, requests[DELETE], by="alpha-admin")
    assert kept(call) == []
    assert call.refused(DELETE, requests[DELETE], by="alpha-admin").code == 404


def test_begun_anew(call: Client) -> None:
    """A topic that is made again has nothing of the old one, neither events nor their ids."""
    (old,) = publish(call, "a")
    call(DELETE, {"topic": call.unique}, by="alpha-admin")
    (new,) = publish(call, "b")
    assert new["offset"] == "1"
    assert new["id"] != old["id"]
    assert kept(call) == ["b"]


def test_seek(both: Client) -> None:
    """A group is made to go on elsewhere; one that nobody consumes for can be forgotten."""
    publish(both, "a", "b", "c")
    with consuming(both, manual("g")) as consumer:
        for _ in range(3):
            consumer.ack(consumer.take())
        until(lambda: lag(both, "g"), lambda group: group["acknowledged"] == "3")
        group = {"topic": both.unique, "group": "g"}
        assert both.refused(FORGET, group, by="alpha-admin").code == 409
        found = both(SEEK, {**group, "start": "OFFSET", "start_offset": 2}, by="alpha-admin")
        assert found["lag"] == "2"
        assert [text(consumer.take()), text(consumer.take())] == ["b", "c"]
    until(lambda: lag(both, "g"), lambda found: found["consumers"] == "0")
    both(FORGET, group, by="alpha-admin")
    assert both(LAG, {"topic": both.unique}, by="alpha-user")["groups"] == []


def test_deleted_under_consumers(both: Client) -> None:
    """Who consumes a topic that is deleted is told."""
    publish(both, "a")
    with consuming(both, manual("g")) as consumer:
        consumer.take()
        both(DELETE, {"topic": both.unique}, by="alpha-admin")
        with pytest.raises(Refused) as caught:
            consumer.take()
        assert caught.value.code == 404


def test_revoked(both: Client) -> None:
    """A consumer whose account is deleted gets nothing more, and is told why."""
    options = {"namespace": "alpha"}
    draft = {"id": both.unique, "type": "user", "secret": "s", "options": options}
    both("/auth.Auth/Generate", draft, by="alpha-admin")
    token = both.token("alpha", both.unique, "s")
    both.daemon.people[both.unique] = Person(both.unique, "alpha", "s", token)
    publish(both, "a")
    with consuming(both, manual("g"), by=both.unique) as consumer:
        assert text(consumer.take()) == "a"
        both("/auth.Accounts/Delete", {"id": both.unique, "options": options}, by="alpha-admin")
        with pytest.raises(Refused) as caught:
            consumer.take()
        assert caught.value.brief == (401, f"the account {both.unique} was revoked: log in again")
    with consuming(both, manual("g")) as consumer:
        again = consumer.take()
        assert (text(again), again["redelivered"]) == ("a", True)


# -- tenants


def test_others_topics(both: Client) -> None:
    """A topic of another namespace is another topic: nothing of it is heard, read, listed, written to or acknowledged."""
    publish(both, "treasure", by="beta-user")
    strangers = ("alpha-admin", "alpha-service", "alpha-user", "operator")
    for stranger in strangers:
        assert kept(both, by=stranger) == [], stranger
        assert both.unique not in json.dumps(both(TOPICS, {"limit": 10000}, by=stranger)), stranger
        assert both.unique not in json.dumps(both(LAG, {}, by=stranger)), stranger
    with consuming(both, manual("g"), "beta-service") as owner:
        event = owner.take()
        acks = {"topic": both.unique, "group": "g", "acks": [{"id": event["id"], "success": True}]}
        for stranger in strangers[:3]:
            assert both.refused(ACK, acks, by=stranger).code == 404, stranger
        for path in (DELETE, CONFIGURE, RETRY, DROP):
            assert both.refused(path, {"topic": both.unique}, by="alpha-admin").code == 404, path
        with consuming(both, manual("g"), "alpha-service") as stranger_consumer:
            publish(both, "mine", by="alpha-user")
            assert text(stranger_consumer.take()) == "mine"
        assert kept(both, by="beta-user") == ["treasure"]
        owner.ack(event)


def test_operator(both: Client) -> None:
    """An admin of the platform reaches a namespace by naming it."""
    publish(both, "a", by="beta-user")
    found = both(READ, {"topic": both.unique}, by="operator", headers={"micro-namespace": "beta"})
    assert [text(each) for each in found["events"]] == ["a"]


def test_nobody(call: Client) -> None:
    """Without an account nothing goes."""
    for path, request in ((PUBLISH, {"topic": "t", "payload": b"x"}), (READ, {"topic": "t"}), (TOPICS, {})):
        assert call.refused(path, request).code == 401, path
