"""`micro events consume`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from microd.txgrpc.status import RpcError, StatusCode
from microd.wire import events_pb2 as pb

from .conftest import Daemon, User

CONSUME, ACK, READ, LAG = (
    "/events.Stream/Consume",
    "/events.Stream/Ack",
    "/events.Store/Read",
    "/events.Topics/Lag",
)
BROKE = RpcError(StatusCode.UNAVAILABLE, "it hung up", delivered=True)


def event(offset: int, attempt: int = 1) -> pb.Event:
    """An event as it is consumed."""
    return pb.Event(
        topic="orders",
        id=f"id-{offset}",
        offset=offset,
        payload=b"p%d" % offset,
        timestamp_ms=1_700_000_000_000,
        attempt=attempt,
        redelivered=attempt > 1,
    )


def interrupt() -> None:
    """Ctrl-C."""
    raise KeyboardInterrupt


class Stream:
    """What comes on one connection after the other."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self.connections: list[list[Any]] = []
        daemon.handlers[CONSUME] = lambda call: self.connections.pop(0)
        daemon.answers(READ, pb.ReadResponse(events=[event(41)]))
        daemon.answers(ACK, pb.AckManyResponse(count=1))

    @property
    def requests(self) -> list[pb.ConsumeRequest]:
        """Who asked for what."""
        return [pb.ConsumeRequest.FromString(call.body) for call in self._daemon.asked(CONSUME)]

    def acks(self, connection: int = 0) -> list[str]:
        """Which events were acknowledged on a connection."""
        acks = map(pb.AckRequest.FromString, self._daemon.talks[connection].written)
        return [ack.id for ack in acks if ack.success]

    @property
    def settled(self) -> pb.AckManyRequest:
        """What was said at the end."""
        return pb.AckManyRequest.FromString(self._daemon.asked(ACK)[-1].body)


@pytest.fixture
def stream(daemon: Daemon) -> Stream:
    """A daemon which has events to consume."""
    return Stream(daemon)


def test_consume(user: User, stream: Stream) -> None:
    """Without a group one gets what comes from now on, sent once; an event that comes again says so."""
    stream.connections = [[event(42), event(43, attempt=2), KeyboardInterrupt()]]
    got = user.micro("events", "consume", "orders")
    assert (got.code, got.err) == (0, "")
    assert got.out == "42  2023-11-14T22:13:20.000Z  p42\n43  2023-11-14T22:13:20.000Z  p43  (attempt 2)\n"
    assert stream.requests == [
        pb.ConsumeRequest(
            topic="orders", auto_ack=True, start="OFFSET", start_offset=42, max_in_flight=64, retry_limit=-1
        )
    ]


def test_json(user: User, stream: Stream) -> None:
    """With --json each event is one line."""
    stream.connections = [[event(42), event(43)]]
    got = user.micro("events", "consume", "orders", "-n2", "--json")
    first, second = map(json.loads, got.out.splitlines())
    assert (first["offset"], second["payload"], second["redelivered"]) == (42, "p43", False)


def test_payload(user: User, stream: Stream) -> None:
    """The bare payload is for pipes."""
    stream.connections = [[event(42), event(43)]]
    assert user.micro("events", "consume", "orders", "-n2", "--output=payload").out == "p42\np43\n"


@pytest.mark.parametrize(
    ("start", "request_"),
    [
        ("earliest", pb.ConsumeRequest(start="EARLIEST")),
        ("7", pb.ConsumeRequest(start="OFFSET", start_offset=7)),
        ("5m ago", pb.ConsumeRequest(start="TIME", start_time=1_699_999_700_000)),
    ],
)
def test_start(user: User, stream: Stream, start: str, request_: pb.ConsumeRequest) -> None:
    """Where to begin can be said."""
    stream.connections = [[event(1)]]
    user.micro("events", "consume", "orders", "--from", start, "-n1")
    asked = stream.requests[0]
    assert (asked.start, asked.start_offset, asked.start_time) == (
        request_.start,
        request_.start_offset,
        request_.start_time,
    )


def test_group(user: User, stream: Stream, daemon: Daemon) -> None:
    """A new group begins with what is kept; each event is acknowledged once it was printed."""
    stream.connections = [[event(1), event(2), KeyboardInterrupt()]]
    got = user.micro("events", "consume", "orders", "--group", "billing", "--ack-wait=5s")
    assert (got.code, len(got.out.splitlines())) == (0, 2)
    asked = stream.requests[0]
    assert (asked.group, asked.auto_ack, asked.ack_wait) == ("billing", False, 5_000_000_000)
    assert asked.start == pb.Start.EARLIEST
    assert daemon.talks[0].cancelled
    assert stream.acks() == ["id-1", "id-2"]


def test_count(user: User, stream: Stream) -> None:
    """No more are sent than are wanted, and the last ones are acknowledged for good before the command ends."""
    stream.connections = [[event(offset) for offset in range(1, 6)]]
    got = user.micro("events", "consume", "orders", "-g", "billing", "-n", "5")
    assert (got.code, len(got.out.splitlines())) == (0, 5)
    assert stream.requests[0].count == 5
    settled = stream.settled
    assert (settled.topic, settled.group) == ("orders", "billing")
    done = {*stream.acks(), *(ack.id for ack in settled.acks if ack.success)}
    assert done == {f"id-{number}" for number in range(1, 6)}


def test_unprinted(user: User, stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be printed is not acknowledged: it goes back to the group."""
    from microd.cli.commands import events_consume

    shown: list[int] = []

    def show(session: Any, event: pb.Event, output: str) -> None:
        if event.offset == 2:
            raise BrokenPipeError
        shown.append(event.offset)

    monkeypatch.setattr(events_consume, "show", show)
    stream.connections = [[event(1), event(2), event(3)]]
    assert user.micro("events", "consume", "orders", "-g", "billing").code == 0
    assert shown == [1]
    done = stream.acks() + [ack.id for ack in stream.settled.acks if ack.success]
    assert done == ["id-1"]


def test_auto(user: User, stream: Stream, daemon: Daemon) -> None:
    """With --ack auto the server takes what it sent for acknowledged."""
    stream.connections = [[event(1)]]
    user.micro("events", "consume", "orders", "-g", "billing", "--ack", "auto", "-n1")
    assert stream.requests[0].auto_ack
    assert not daemon.asked(ACK)


def test_again(user: User, stream: Stream) -> None:
    """After the server was away it goes on behind what it has seen, and says on stderr that it was away."""
    stream.connections = [[event(42), event(43), BROKE], [event(44)]]
    got = user.micro("events", "consume", "orders", "-n", "3")
    assert [line.split()[0] for line in got.out.splitlines()] == ["42", "43", "44"]
    assert [request.start_offset for request in stream.requests] == [42, 44]
    assert [request.count for request in stream.requests] == [3, 1]
    assert got.err.startswith(
        "Disconnected. The connection to 127.0.0.1:8081 broke. Events are kept; trying again.\nConnected again"
    )


def test_again_before_any(user: User, stream: Stream, daemon: Daemon) -> None:
    """What was published while it was away comes, even if nothing had come before, and even in a topic without events."""
    daemon.answers(READ, pb.ReadResponse())
    stream.connections = [[BROKE], [event(1)]]
    user.micro("events", "consume", "orders", "-n", "1")
    assert [request.start for request in stream.requests] == [pb.Start.EARLIEST, pb.Start.EARLIEST]


def test_group_again(user: User, stream: Stream) -> None:
    """A group goes on where it was; acknowledgements of the connection that was lost are not sent on the next."""
    stream.connections = [[event(1), BROKE], [event(1, attempt=2), event(2)]]
    got = user.micro("events", "consume", "orders", "-g", "billing", "-n", "3")
    assert [line.split()[0] for line in got.out.splitlines()] == ["1", "1", "2"]
    assert [request.start for request in stream.requests] == [pb.Start.EARLIEST] * 2
    assert [ack.id for ack in stream.settled.acks] == ["id-1", "id-2"]
    assert not stream.acks(1)


def test_no_reader(user: User, stream: Stream, daemon: Daemon) -> None:
    """Who may consume but not read consumes all the same."""
    daemon.refuses(READ, 403, "you may not")
    stream.connections = [[event(42)]]
    assert user.micro("events", "consume", "orders", "-n1").code == 0
    assert stream.requests[0].start == pb.Start.LATEST


def test_old_group(user: User, stream: Stream, daemon: Daemon) -> None:
    """A place to begin at means nothing to a group that is not new, which is said."""
    daemon.answers(LAG, pb.LagResponse(groups=[pb.Group(topic="orders", name="billing", acknowledged=7)]))
    stream.connections = [[event(8)]]
    got = user.micro("events", "consume", "orders", "-g", "billing", "--from", "earliest", "-n1")
    assert got.code == 0
    assert got.err == (
        "billing goes on where it was, behind offset 7. To move it: `micro events seek orders billing --to ...`\n"
    )


def test_gone(user: User, stream: Stream, daemon: Daemon, refusal: Any) -> None:
    """A topic that was deleted ends it, for good, in the words that say why."""
    daemon.refuses(ACK, 404, "there is no topic orders")
    stream.connections = [[event(1), refusal(404, "topic deleted")]]
    got = user.micro("events", "consume", "orders", "-g", "billing")
    assert (got.code, "opic deleted" in got.err) == (127, True)
    assert len(stream.requests) == 1


def test_unacknowledged(user: User, stream: Stream, daemon: Daemon) -> None:
    """If the last acknowledgements fail, the command does."""
    daemon.refuses(ACK, 500, "the disk has failed")
    stream.connections = [[event(1)]]
    got = user.micro("events", "consume", "orders", "-g", "billing", "-n1")
    assert (got.code, "he disk has failed" in got.err) == (127, True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "Missing topic. Write `micro events consume TOPIC`."),
        (["orders", "--ack=manual"], "--ack manual wants a group to acknowledge for. Add --group NAME."),
        (
            ["orders", "--ack-wait=0s"],
            "--ack-wait must be more than nothing: no event could be printed in time",
        ),
        (["orders", "--ack-wait=x"], "--ack-wait: 'x' is not a duration such as 500ms, 5s or 1h30m"),
        (["orders", "--from=0"], "--from 0 is no offset: the first is 1"),
    ],
)
def test_wrongly(user: User, daemon: Daemon, words: list[str], told: str) -> None:
    """What cannot be done is refused at once."""
    got = user.micro("events", "consume", *words)
    assert (got.code, got.out, got.err) == (1, "", f"{told}\n")
    assert not daemon.calls
