"""Publishers and consumers count what the daemon told them while it is killed with C{kill -9}, fifty times; it has to stay true."""

from __future__ import annotations

import json
import os
import queue
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import pytest

from microd.testing import nats_wire
from microd.testing.nats_client import RawNats
from microd.testing.nursery import Nursery
from microd.testing.platform import LIMIT, Platform
from microd.wire import events_pb2 as pb
from tests.e2e.events_wire import EventsWire, admin_token, code_of

pytestmark = pytest.mark.e2e

ROUNDS = 50
#: In each of so many rounds one daemon more is killed while it starts.
STARTS = 5
#: Topics: two that are just published and consumed, one whose events are given up, one whose dead letters are given back,
#: one which keeps little, one which is deleted.
ORDERS, BILLS, TRIED, MENDED, SWEPT, BRIEF = "orders", "bills", "tried", "mended", "swept", "brief"
#: How many publications are under way on one NATS connection.
WINDOW = 16
#: Bytes that are kept of L{SWEPT}.
LITTLE = 60_000
RETRY_LIMIT = 2


def text_of(event: Any) -> str:
    """What a publisher wrote: C{publisher number} or C{publisher number part/parts}, without what makes it long."""
    text = bytes(event.payload).decode().partition(";")[0]
    assert isinstance(text, str)
    return text


class Log:
    """A topic: what was acknowledged of it, and what could be read when it was looked at last.

    @ivar acknowledged: texts by offset.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.acknowledged: dict[int, str] = {}
        self.found: dict[int, str] = {}
        self.ids: dict[int, str] = {}

    def look(self, wire: EventsWire, *, again: bool = False) -> None:
        """Read what came since the last time, or everything, and hold it against what was acknowledged."""
        before = 0 if again else max(self.found, default=0)
        expected = 0 if again else before + 1
        for event in wire.events(self.name, before):
            if not expected or (event.offset > expected and self.name == SWEPT):
                expected = event.offset
            assert event.offset == expected, f"{self.name}: offset {event.offset} comes before {expected}"
            expected += 1
            text = text_of(event)
            assert self.found.setdefault(event.offset, text) == text, f"{self.name}: an event was changed"
            assert self.ids.setdefault(event.offset, event.id) == event.id
        self._compare(wire, before)

    def _compare(self, wire: EventsWire, before: int) -> None:
        topic = wire.topics().get(self.name)
        if topic is None:
            assert not self.acknowledged, f"{self.name} is lost"
            return
        if self.name != SWEPT:
            assert topic.first == 1
        assert topic.last >= max(self.acknowledged, default=0), f"{self.name}: acknowledged offsets are gone"
        for offset, text in self.acknowledged.items():
            if offset > before and offset >= topic.first and offset not in self.found:
                raise AssertionError(f"{self.name}: {text!r} was acknowledged as {offset}, and is lost")
            assert self.found.get(offset, text) == text, f"{self.name}: {offset} is another event"

    def check_order(self) -> None:
        """What one publisher published is in the order in which he did so, nothing is there twice, and batches are whole."""
        last: dict[str, tuple[int, int]] = {}
        part_before = (0, 0)
        for offset in sorted(self.found):
            name, number, part, parts = places(self.found[offset])
            assert last.get(name, (0, 0)) < (number, part), f"{self.name}: {offset} is out of order"
            last[name] = (number, part)
            if self.name != SWEPT and (part > 1 or part_before[0] < part_before[1]):
                assert (part - 1, parts) == part_before, f"{self.name}: half a batch before {offset}"
            part_before = (part, parts)


def places(text: str) -> tuple[str, int, int, int]:
    """Publisher, number, part, parts."""
    found = re.fullmatch(r"(\S+) (\d+)(?: (\d+)/(\d+))?", text)
    assert found is not None, f"nobody wrote {text!r}"
    return found[1], int(found[2]), int(found[3] or 1), int(found[4] or 1)


class Group:
    """A group, and what its consumers were given.

    @ivar done: the offsets whose acknowledgement was answered.
    @ivar handled: the offsets which a consumer said yes to.
    @ivar problems: what should not have been.
    """

    def __init__(self, log: Log, name: str, terms: pb.ConsumeRequest, *, alone: bool = False) -> None:
        self.log = log
        self.name = name
        self.terms = pb.ConsumeRequest(topic=log.name, group=name, start=pb.EARLIEST)
        self.terms.MergeFrom(terms)
        self.done: set[int] = set()
        self.handled: set[int] = set()
        self.problems: list[str] = []
        self.seen: dict[int, str] = {}
        self._alone = alone
        self._before: set[int] = set()
        self._unmarked: set[int] = set()
        self._highest: dict[str, int] = {}
        self._lock = threading.Lock()

    def killed(self) -> None:
        """The daemon was killed: from here on nothing that was seen may come unmarked, and nothing done may come."""
        self._before = set(self.seen) | self._unmarked
        self._highest.clear()

    def took(self, consumer: str, event: Any) -> None:
        """A consumer was given an event."""
        with self._lock:
            offset, text = event.offset, text_of(event)
            if offset in self.done:
                self._wrong(f"{offset} came again, though its acknowledgement was answered")
            if not event.redelivered:
                if offset in self._before or offset in self._unmarked:
                    self._wrong(f"{offset} came again, and is not marked")
                self._unmarked.add(offset)
                if self._highest.get(consumer, 0) > offset:
                    self._wrong(f"{offset} came for the first time after {self._highest[consumer]}")
                self._highest[consumer] = offset
            if self._alone and offset not in self.seen and offset != max(self.seen, default=0) + 1:
                self._wrong(f"{offset} came for the first time after {max(self.seen, default=0)}")
            if self.seen.setdefault(offset, text) != text:
                self._wrong(f"{offset} is another event than before")

    def _wrong(self, what: str) -> None:
        self.problems.append(f"{self.log.name}/{self.name}: {what}")

    def check_position(self, wire: EventsWire) -> None:
        """The group is not behind what it has acknowledged."""
        found = wire.groups().get((self.log.name, self.name))
        if not self.done:
            return
        assert found is not None, f"the group {self.name} is lost"
        floor = next(offset for offset in count(1) if offset not in self.done) - 1
        assert found.acknowledged >= floor, (
            f"{self.name} had acknowledged {floor}, and is at {found.acknowledged}"
        )


class Lane(threading.Thread):
    """Does one thing after the other, until the daemon is gone or it is told to stop."""

    def __init__(
        self, wire: EventsWire, work: Callable[[EventsWire, threading.Event], None], name: str
    ) -> None:
        super().__init__(daemon=True, name=name)
        self._work = (wire, work)
        self.stop = threading.Event()
        self.refusal = ""
        self.start()

    def run(self) -> None:
        wire, work = self._work
        try:
            work(wire, self.stop)
        except grpc.RpcError as ended:
            gone = ended.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
            if not gone or code_of(ended):
                self.refusal = f"{self.name}: {ended.code()}: {ended.details()}"
        except ConnectionError:
            pass
        except AssertionError as problem:
            if "hung up" not in str(problem):
                self.refusal = f"{self.name}: {problem}"
        except Exception as problem:
            self.refusal = f"{self.name}: {problem!r}"


def payload(text: str) -> bytes:
    """Most are short, some are long."""
    number = int(text.split()[1])
    return f"{text};".encode() + b"x" * (50_000 if number % 97 == 0 else number % 300)


# Publishers: each numbers what he publishes, and never publishes a number again.


class Publisher:
    """Publishes to one topic, with one after the other of the daemons."""

    def __init__(self, log: Log, name: str) -> None:
        self.log = log
        self.name = name
        self.numbers = count(1)

    def __call__(self, wire: EventsWire, stop: threading.Event) -> None:
        raise NotImplementedError


class ByGrpc(Publisher):
    """One after the other."""

    pause = 0.001

    def __call__(self, wire: EventsWire, stop: threading.Event) -> None:
        while not stop.wait(self.pause):
            text = f"{self.name} {next(self.numbers)}"
            self.log.acknowledged[wire.publish(self.log.name, payload(text))] = text


class Seldom(ByGrpc):
    """The same, in its own time."""

    pause = 0.03


class Many(Publisher):
    """Several together."""

    def __call__(self, wire: EventsWire, stop: threading.Event) -> None:
        while not stop.wait(0.005):
            number = next(self.numbers)
            parts = number % 12 + 1
            texts = [f"{self.name} {number} {part}/{parts}" for part in range(1, parts + 1)]
            offsets = wire.publish_many(self.log.name, map(payload, texts))
            self.log.acknowledged.update(zip(offsets, texts, strict=True))


class ByNats(Publisher):
    """Many under way at a time."""

    def __call__(self, wire: EventsWire, stop: threading.Event) -> None:
        with wire.nats() as nats:
            inbox = f"_INBOX.{self.log.name}"
            nats.send(nats_wire.sub(f"{inbox}.*", 1))
            waiting: dict[str, str] = {}
            while waiting or not stop.is_set():
                if len(waiting) <= WINDOW // 2 and not stop.wait(0.003):
                    nats.send(*(self._publication(inbox, waiting) for _ in range(WINDOW - len(waiting))))
                if waiting:
                    self._acknowledged(nats, waiting)

    def _publication(self, inbox: str, waiting: dict[str, str]) -> bytes:
        number = next(self.numbers)
        text = f"{self.name} {number}"
        reply = f"{inbox}.{number}"
        waiting[reply] = text
        return nats_wire.pub(f"$EVENTS.{self.log.name}", payload(text), reply)

    def _acknowledged(self, nats: RawNats, waiting: dict[str, str]) -> None:
        heard = nats.expect("MSG")
        answer = json.loads(heard.payload)
        assert answer.get("stream") == self.log.name, f"refused: {answer}"
        self.log.acknowledged[answer["seq"]] = waiting.pop(heard.subject)


# Consumers.


class Consumer:
    """Consumes for a group, until its stream ends.

    @ivar last: nothing comes behind this offset; 0: something does.
    """

    last = 0

    def __init__(self, group: Group, name: str, chance: random.Random) -> None:
        self.group = group
        self.name = name
        self.chance = chance
        self.requests: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def __call__(self, wire: EventsWire, stop: threading.Event) -> None:
        group = self.group
        self.requests = queue.SimpleQueue()
        self.requests.put(group.terms)
        stream = wire.consume(iter(self.requests.get, None))
        try:
            for event in stream:
                group.took(self.name, event)
                self.handle(wire, event)
                if stop.is_set():
                    return
        finally:
            self.requests.put(None)
            stream.cancel()

    def handle(self, wire: EventsWire, event: Any) -> None:
        """Do something about an event."""
        raise NotImplementedError

    def say(self, event: Any, success: bool, **more: Any) -> None:
        """A word on the stream."""
        if success:
            self.group.handled.add(event.offset)
        self.requests.put(pb.AckRequest(id=event.id, success=success, **more))


class Auditor(Consumer):
    """Acknowledges a few together, and waits for the answer: what was answered is never to come again."""

    def __call__(self, wire: EventsWire, stop: threading.Event) -> None:
        self._some: list[Any] = []
        super().__call__(wire, stop)

    def handle(self, wire: EventsWire, event: Any) -> None:
        self._some.append(event)
        if len(self._some) < self.chance.choice((1, 4, 16, 64)) and event.offset != self.last:
            return
        some, self._some = self._some, []
        answered = wire.ack(self.group.log.name, self.group.name, [each.id for each in some])
        assert answered == len(some), f"only {answered} of {len(some)} were waited for"
        self.group.done.update(each.offset for each in some)


class Worker(Consumer):
    """Does most of it; some fail, some take long, and some are forgotten."""

    def handle(self, wire: EventsWire, event: Any) -> None:
        lot = 1.0 if self.last else self.chance.random()
        if lot < 0.03:
            return
        if lot < 0.10:
            self.say(event, False, error="not now", delay=self.chance.choice((0, 1, 5)))
        elif lot < 0.12:
            self.say(event, False, untried=True)
        else:
            if lot < 0.14:
                time.sleep(0.005)
            self.say(event, True)


class Loser(Consumer):
    """Gives up a quarter of the events, fails with a quarter each time, and with a quarter once."""

    def handle(self, wire: EventsWire, event: Any) -> None:
        kind = places(text_of(event))[1] % 4
        if kind == 0:
            self.say(event, False, drop=True, error="no use")
        elif kind == 1 or (kind == 2 and not event.redelivered):
            self.say(event, False, error="failed")
        else:
            self.say(event, True)


class Refuser(Consumer):
    """Gives everything up."""

    def handle(self, wire: EventsWire, event: Any) -> None:
        self.say(event, False, drop=True, error="no use")


class Mender:
    """Gives dead letters back to their group, again and again."""

    def __init__(self) -> None:
        self.given = 0

    def __call__(self, wire: EventsWire, stop: threading.Event) -> None:
        while not stop.wait(0.02):
            if MENDED in wire.topics():
                request = pb.DeadLettersRequest(topic=MENDED)
                self.given += wire.call("/events.DeadLetters/Retry", request, pb.Done).count


class Deleter:
    """Publishes a few events, consumes one of them for a group, and deletes the topic: nothing of that may come back."""

    def __init__(self) -> None:
        self._life = 0
        self._kept = 0
        self._ids: set[str] = set()
        self.deleted = 0

    def __call__(self, wire: EventsWire, stop: threading.Event) -> None:
        while not stop.is_set():
            self._look(wire)
            self._life += 1
            for number in range(1, 4):
                request = pb.PublishRequest(topic=BRIEF, payload=self._payload(number))
                answer = wire.call("/events.Stream/Publish", request, pb.PublishResponse)
                assert answer.offset == number, "the topic goes on where it was before it was deleted"
                assert answer.id not in self._ids, "an id was used again"
                self._ids.add(answer.id)
                self._kept = number
            self._consume(wire)
            wire.delete(BRIEF)
            self._kept = 0
            self.deleted += 1

    def _look(self, wire: EventsWire) -> None:
        """Where the daemon was killed before it said that the topic was deleted, all of it is there or nothing; delete it then."""
        there = BRIEF in wire.topics()
        left = [event.payload for event in wire.events(BRIEF)]
        assert there or not left, "events of a topic that is not there can be read"
        if there:
            assert left == [self._payload(number) for number in range(1, len(left) + 1)]
            assert len(left) >= self._kept, "half a topic was deleted"
            wire.delete(BRIEF)
        self._kept = 0
        assert not list(wire.events(BRIEF)), "deleted events can be read"

    def _payload(self, number: int) -> bytes:
        return b"life %d %d" % (self._life, number)

    def _consume(self, wire: EventsWire) -> None:
        requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        requests.put(pb.ConsumeRequest(topic=BRIEF, group="g", start=pb.EARLIEST, ack_wait=30 * 10**9))
        stream = wire.consume(iter(requests.get, None))
        try:
            event = next(stream)
            assert event.payload == self._payload(1), f"the group got {event.payload!r} in life {self._life}"
            assert not event.redelivered
            assert wire.ack(BRIEF, "g", [event.id]) == 1
        finally:
            requests.put(None)
            stream.cancel()


def check_dead_letters(wire: EventsWire, group: Group) -> int:
    """Each event of a group was done, or lies once in the topic of dead letters, as it was; how many do."""
    dead: dict[int, Any] = {}
    for event in wire.events(f"{group.log.name}.dlq"):
        offset = int(event.metadata["Micro-Dead-Offset"])
        assert offset not in dead, f"{offset} lies twice among the dead letters"
        assert text_of(event) == group.log.found[offset]
        assert event.metadata["Micro-Dead-Group"] == group.name
        assert event.metadata["Micro-Dead-Error"]
        dead[offset] = event
    for offset, text in group.log.found.items():
        kind = places(text)[1] % 4
        assert (kind < 2) <= (offset in dead), f"{text} was given up, and is not among the dead letters"
        assert offset in dead or offset in group.handled, f"{text} is lost: neither done nor dead"
    return len(dead)


def check_mended(wire: EventsWire) -> int:
    """A dead letter that was given back is dealt with, and was given back once; one that was not is neither. How many were."""
    events, dead = Counter[str](), Counter[str]()
    for event in wire.events(MENDED):
        events[text_of(event)] += 1
    for event in wire.events(f"{MENDED}.dlq"):
        dead[text_of(event)] += 1
    request = pb.DeadLettersRequest(topic=MENDED, limit=10_000)
    listed = wire.call("/events.DeadLetters/List", request, pb.DeadLettersResponse)
    assert not listed.next
    waiting = Counter(text_of(letter.event) for letter in listed.letters)
    for text, count_ in events.items():
        given_back = dead[text] - waiting[text]
        assert dead[text] == count_, f"{text} was given up {count_} times, and has {dead[text]} dead letters"
        assert count_ == 1 + given_back, (
            f"{text} is there {count_} times, and was given back {given_back} times"
        )
    return sum(dead.values()) - sum(waiting.values())


class World:
    """All who publish and consume, and what they know."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.logs = {name: Log(name) for name in (ORDERS, BILLS, TRIED, MENDED, SWEPT)}
        logs = self.logs
        self.publishers: list[Publisher] = [
            ByNats(logs[ORDERS], "nats"),
            ByGrpc(logs[ORDERS], "grpc"),
            Many(logs[ORDERS], "many"),
            Many(logs[BILLS], "many"),
            ByNats(logs[BILLS], "nats"),
            ByGrpc(logs[TRIED], "grpc"),
            Seldom(logs[MENDED], "seldom"),
            ByNats(logs[SWEPT], "nats"),
        ]
        patient = pb.ConsumeRequest(ack_wait=30 * 10**9, retry_limit=-1)
        hasty = pb.ConsumeRequest(ack_wait=300 * 10**6, retry_limit=-1, backoff=5, backoff_max=20)
        resigned = pb.ConsumeRequest(ack_wait=300 * 10**6, retry_limit=RETRY_LIMIT, backoff=5, backoff_max=20)
        audits = [Group(logs[name], "audit", patient, alone=True) for name in (ORDERS, BILLS)]
        work = Group(logs[ORDERS], "work", hasty)
        late = Group(logs[SWEPT], "late", patient)
        self.tried = Group(logs[TRIED], "tried", resigned)
        mended = Group(logs[MENDED], "mended", patient)
        self.groups = [*audits, work, late, self.tried, mended]
        self.consumers: list[Consumer] = [
            *(Auditor(audit, "auditor", self._dice()) for audit in audits),
            Worker(work, "first", self._dice()),
            Worker(work, "second", self._dice()),
            Worker(late, "late", self._dice()),
            Loser(self.tried, "loser", self._dice()),
            Refuser(mended, "refuser", self._dice()),
        ]
        self.deleter = Deleter()
        self.mender = Mender()

    def _dice(self) -> random.Random:
        return random.Random(self.chance.random())

    def prepare(self, wire: EventsWire) -> None:
        """Have one topic keep little."""
        text = "first 1"
        self.logs[SWEPT].acknowledged[wire.publish(SWEPT, payload(text))] = text
        wire.configure(SWEPT, max_size=LITTLE)

    def begin(self, wire: EventsWire, *, publish: bool = True) -> Sequence[Lane]:
        """Have all go to work."""
        consumers = [Lane(wire, each, each.name) for each in self.consumers]
        if not publish:
            return consumers
        publishers = [Lane(wire, each, f"{each.name}@{each.log.name}") for each in self.publishers]
        return [
            *consumers,
            *publishers,
            Lane(wire, self.deleter, "deleter"),
            Lane(wire, self.mender, "mender"),
        ]

    def check(self, wire: EventsWire) -> None:
        """What was said before the daemon was killed still holds."""
        for log in self.logs.values():
            log.look(wire)
        for group in self.groups:
            group.check_position(wire)

    def round_is_over(self, lanes: Sequence[Lane]) -> None:
        """All saw the daemon go, and nothing else."""
        for lane in lanes:
            lane.join(LIMIT)
            assert not lane.is_alive(), f"{lane.name} hangs"
        assert not [lane.refusal for lane in lanes if lane.refusal]
        for group in self.groups:
            assert not group.problems, "\n".join(group.problems[:10])
            group.killed()

    def finish(self, wire: EventsWire) -> str:
        """Let the groups come to the end, and look at everything; a summary."""
        topics = wire.topics()
        for consumer in self.consumers:
            consumer.last = topics[consumer.group.log.name].last
        lanes = self.begin(wire, publish=False)
        deadline = time.monotonic() + LIMIT
        while behind := {name: each.lag for name, each in wire.groups().items() if each.lag}:
            # The group of an unfinished life has nobody.
            if set(behind) <= {(BRIEF, "g")}:
                break
            assert time.monotonic() < deadline, (
                f"the groups do not come to the end: {behind}; {wire.groups()}, {lanes}"
            )
            assert not any(lane.refusal for lane in lanes), [lane.refusal for lane in lanes]
            time.sleep(0.02)
        for log in self.logs.values():
            log.look(wire, again=True)
            if log.name != MENDED:
                log.check_order()
        for group in self.groups:
            assert not group.problems, "\n".join(group.problems[:10])
            if group.log.name != SWEPT:
                missing = set(group.log.found) - set(group.seen)
                assert not missing, f"{group.name} never got {sorted(missing)[:10]} of {group.log.name}"
        dead = check_dead_letters(wire, self.tried)
        given_back = check_mended(wire)
        acknowledged = sum(len(log.acknowledged) for log in self.logs.values())
        assert dead > ROUNDS // 2
        assert given_back > ROUNDS // 5
        assert self.deleter.deleted
        return f"{acknowledged} events acknowledged, {dead} dead letters, {given_back} given back, {self.deleter.deleted} deletions"


def test_killed_at_work(tmp_path: Path) -> None:
    """However often the daemon is killed: nothing acknowledged is missing, offsets have no gaps and are not used again,
    order holds, each group gets everything, what comes again is marked, what was durably acknowledged does not come again."""
    seed = int(os.environ.get("MICROD_TEST_SEED", time.time_ns() % 1_000_000))
    print(f"to see the same again: MICROD_TEST_SEED={seed}")
    chance = random.Random(seed)
    platform = Platform(tmp_path / "home")
    platform.env["MICRO_NATS_ADDRESS"] = "127.0.0.1:0"
    nursery = Nursery(platform, "--only", "events,auth,registry,proxy,nats")
    world = World(chance)
    token = ""
    try:
        for number in range(ROUNDS):
            pid = nursery.start()
            nursery.ready()
            token = token or admin_token(platform)
            wire = EventsWire(platform, token)
            if not number:
                world.prepare(wire)
            world.check(wire)
            lanes = world.begin(wire)
            # At a moment which nobody chose.
            time.sleep(chance.uniform(0.0, 0.25))
            nursery.kill(pid)
            world.round_is_over(lanes)
            wire.close()
            if number % STARTS == 0:
                pid = nursery.start()
                time.sleep(chance.uniform(0.0, 0.4))
                nursery.kill(pid)
        pid = nursery.start()
        nursery.ready()
        wire = EventsWire(platform, token)
        world.check(wire)
        print(world.finish(wire))
        nursery.kill(pid)
        wire.close()
    finally:
        nursery.close()
        platform.close()
