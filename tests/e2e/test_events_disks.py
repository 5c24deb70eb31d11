"""Events on a disk that fails, on one that is full, and in a file that is damaged."""

from __future__ import annotations

import json
import queue
import re
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from microd.testing import nats_wire
from microd.testing.disks import failed_syncs, fill, readiness, start_with_failing_sync
from microd.testing.platform import LIMIT, Platform
from microd.wire import events_pb2 as pb
from tests.e2e.events_wire import EventsWire, admin_token, code_of

pytestmark = pytest.mark.e2e

ONLY = ("--only", "events,store,auth,registry,proxy,nats,ops")
GROUP = "billing"


@pytest.fixture
def platform(platform: Platform) -> Platform:
    """A machine whose daemons speak NATS."""
    platform.env["MICRO_NATS_ADDRESS"] = "127.0.0.1:0"
    return platform


@contextmanager
def wired(platform: Platform) -> Iterator[EventsWire]:
    """A client of the running daemon."""
    wire = EventsWire(platform, admin_token(platform))
    try:
        yield wire
    finally:
        wire.close()


def refusal(act: Callable[[], object]) -> tuple[int, str]:
    """With which code, and how, it was refused."""
    with pytest.raises(grpc.RpcError) as refused:
        act()
    return code_of(refused.value), json.loads(refused.value.details())["detail"]


def publish_until_refused(wire: EventsWire, topic: str, payload: bytes) -> tuple[dict[int, bytes], int, str]:
    """What was acknowledged, and the first refusal."""
    acknowledged: dict[int, bytes] = {}
    for number in range(10_000):
        each = b"%d " % number + payload
        try:
            acknowledged[wire.publish(topic, each)] = each
        except grpc.RpcError as problem:
            return acknowledged, code_of(problem), json.loads(problem.details())["detail"]
    raise AssertionError("the disk takes everything")


def publish_by_nats(wire: EventsWire, topic: str, payload: bytes) -> dict[str, Any]:
    """What a publisher is answered over NATS."""
    with wire.nats() as nats:
        nats.send(nats_wire.sub("_INBOX.me", 1), nats_wire.pub(f"$EVENTS.{topic}", payload, "_INBOX.me"))
        answer: dict[str, Any] = json.loads(nats.expect("MSG").payload)
        return answer


def check_kept(wire: EventsWire, topic: str, acknowledged: dict[int, bytes]) -> dict[int, bytes]:
    """All of it can be read, page by page; everything that can."""
    found = {event.offset: event.payload for event in wire.events(topic)}
    for offset, payload in acknowledged.items():
        assert found.get(offset) == payload, f"{offset} was acknowledged and is lost"
    assert list(found) == list(range(min(found), max(found) + 1))
    return found


class Consumer:
    """One who consumes a topic, and says what became of what."""

    def __init__(self, wire: EventsWire, topic: str, **terms: Any) -> None:
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._requests.put(pb.ConsumeRequest(topic=topic, start=pb.EARLIEST, **terms))
        self.stream = wire.consume(iter(self._requests.get, None))

    def take(self, count: int) -> list[Any]:
        """So many events."""
        return [next(self.stream) for _ in range(count)]

    def ack(self, events: Sequence[Any]) -> None:
        """They are done with."""
        for event in events:
            self._requests.put(pb.AckRequest(id=event.id, success=True))

    def close(self) -> None:
        """Consume no more."""
        self._requests.put(None)
        self.stream.cancel()


def publish_once_there_is_room(wire: EventsWire, topic: str, payload: bytes) -> int:
    """What was deleted is cleared away in the background: who is refused tries again."""
    deadline = time.monotonic() + LIMIT
    while True:
        try:
            return wire.publish(topic, payload)
        except grpc.RpcError as problem:
            if code_of(problem) != 507 or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def stop(platform: Platform) -> None:
    """End the daemon politely."""
    daemon = platform.daemon
    assert daemon is not None
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0


def test_failing_sync(platform: Platform) -> None:
    """After one failed sync no event is acknowledged, by any door; reading and consuming go on, /readyz says why; after a
    restart all that was acknowledged is there, and the group goes on where it was."""
    start_with_failing_sync(platform, "events.db", 40, *ONLY)
    with wired(platform) as wire:
        early = {wire.publish("orders", b"early %d" % number): b"early %d" % number for number in range(10)}
        grouped = Consumer(wire, "orders", group=GROUP, ack_wait=60 * 10**9, retry_limit=-1)
        done = grouped.take(5)
        assert wire.ack("orders", GROUP, [event.id for event in done]) == 5

        acknowledged, code, detail = publish_until_refused(wire, "orders", b"x" * 100)
        assert acknowledged
        assert code == 500, detail
        acknowledged |= early
        file = str(platform.data / "events.db")
        for _ in range(3):
            code, detail = refusal(lambda: wire.publish("orders", b"later"))
            assert code == 503
            assert file in detail
            assert "SQLITE_IOERR_FSYNC" in detail
            assert "restart the daemon" in detail
        assert refusal(lambda: wire.publish_many("new", [b"later"] * 3))[0] == 503
        said = publish_by_nats(wire, "orders", b"later")
        assert said["error"]["code"] == 503, said
        assert refusal(lambda: wire.delete("orders"))[0] == 503
        assert refusal(lambda: wire.configure("orders", max_size=1))[0] == 503

        check_kept(wire, "orders", acknowledged)
        private = Consumer(wire, "orders", auto_ack=True)
        assert [event.offset for event in private.take(len(acknowledged))] == sorted(acknowledged)
        private.close()
        # What a group does from here on is not kept, and it is told so.
        more = grouped.take(5)
        assert [event.offset for event in more] == [6, 7, 8, 9, 10]
        assert refusal(lambda: wire.ack("orders", GROUP, [event.id for event in more]))[0] == 503
        grouped.close()

        status, text = readiness(platform)
        assert status == 503
        assert re.search(rf"^events: .*{re.escape(file)}", text, re.MULTILINE), text
        assert "store: " not in text
    stop(platform)
    assert failed_syncs(platform) == 1, "a failed sync was tried again"

    platform.start(*ONLY)
    with wired(platform) as wire:
        found = check_kept(wire, "orders", acknowledged)
        assert b"later" not in found.values(), "what was refused is there"
        assert "new" not in wire.topics()
        grouped = Consumer(wire, "orders", group=GROUP, ack_wait=60 * 10**9, retry_limit=-1)
        again = grouped.take(len(found) - 5)
        assert [event.offset for event in again] == sorted(found)[5:]
        assert all(event.redelivered for event in again[:5])
        grouped.close()
        assert wire.publish("orders", b"after") == max(found) + 1
    assert readiness(platform) == (200, "ready\n")


def test_full_disk(small_disk: Path | None) -> None:
    """On a full disk events are refused with 507, reading and consuming go on, and a topic that is deleted, or keeps less,
    makes room; /readyz says so meanwhile."""
    if small_disk is None:
        return
    platform = Platform(small_disk / "home")
    platform.env["MICRO_NATS_ADDRESS"] = "127.0.0.1:0"
    try:
        platform.start(*ONLY)
        with wired(platform) as wire:
            old = wire.publish_many("old", [b"o" * 10_000] * 20)
            acknowledged, code, detail = publish_until_refused(wire, "orders", b"x" * 20_000)
            assert len(acknowledged) >= 5
            assert code == 507, detail
            for _ in range(3):
                assert refusal(lambda: wire.publish("orders", b"x" * 20_000)) == (507, detail)
            said = publish_by_nats(wire, "orders", b"x" * 20_000)
            assert said["error"]["code"] == 507, said
            status, text = readiness(platform)
            assert status == 503
            assert "events.db: the disk is full" in text
            check_kept(wire, "orders", acknowledged)
            private = Consumer(wire, "orders", auto_ack=True)
            assert [event.offset for event in private.take(len(acknowledged))] == sorted(acknowledged)
            private.close()

            wire.delete("old")
            assert len(old) == 20
            # What the deletion gives back is cleared away little by little.
            for _ in range(6):
                offset = publish_once_there_is_room(wire, "orders", b"y" * 20_000)
                assert offset == max(acknowledged) + 1, "offsets have a gap where events were refused"
                acknowledged[offset] = b"y" * 20_000
            more, code, _ = publish_until_refused(wire, "orders", b"y" * 20_000)
            assert code == 507
            found = check_kept(wire, "orders", acknowledged | more)

            wire.configure("orders", max_size=100_000)
            last = max(found)
            assert publish_once_there_is_room(wire, "orders", b"z" * 20_000) == last + 1
            topic = wire.topics()["orders"]
            assert 1 < topic.first <= last
        stop(platform)
        platform.start(*ONLY)
        with wired(platform) as wire:
            found = check_kept(wire, "orders", {last + 1: b"z" * 20_000})
            assert set(wire.topics()) == {"orders"}
    finally:
        platform.close()


def test_disk_filled_by_others(small_disk: Path | None) -> None:
    """Where others took the last byte, events are refused until they give some back, though groups go on; then all goes on
    by itself."""
    if small_disk is None:
        return
    platform = Platform(small_disk / "home")
    platform.env["MICRO_NATS_ADDRESS"] = "127.0.0.1:0"
    try:
        platform.start(*ONLY)
        with wired(platform) as wire:
            wire.publish_many("orders", [b"o"] * 100)
            grouped = Consumer(wire, "orders", group=GROUP, ack_wait=60 * 10**9, retry_limit=-1)
            done = grouped.take(10)
            assert wire.ack("orders", GROUP, [event.id for event in done]) == 10
            ballast = fill(small_disk)
            assert refusal(lambda: wire.publish("orders", b"o"))[0] == 507
            assert [event.offset for event in grouped.take(20)] == list(range(11, 31))
            ballast.unlink()
            assert wire.publish("orders", b"o") == 101
            assert readiness(platform) == (200, "ready\n")
            grouped.close()
            group = wire.groups()["orders", GROUP]
            assert (group.acknowledged, group.lag) == (10, 91)
    finally:
        platform.close()


def test_damaged_file(platform: Platform) -> None:
    """A damaged file ends the start with one sentence, which names it and what to do."""
    platform.start(*ONLY)
    with wired(platform) as wire:
        wire.publish_many("orders", [b"an event which is about to be damaged %d" % n for n in range(100)])
    stop(platform)
    path = platform.data / "events.db"
    content = bytearray(path.read_bytes())
    place = content.index(b"to be damaged 50")
    content[place] ^= 1
    path.write_bytes(content)
    refused = platform.launch(*ONLY)
    assert refused.wait() == 1
    said = [line for line in refused.output.lines if "cannot start" in line]
    assert len(said) == 1
    assert str(path) in said[0]
    assert "backup" in said[0]
    assert "Traceback" not in str(refused.output)
    assert path.read_bytes() == content
