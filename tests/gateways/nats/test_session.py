"""One connection: what is answered, what ends it, and who hears what. The answers are those of nats-server 2.9.10."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from microd.gateways.nats.model import Admitted, Connect, Limits
from microd.gateways.nats.session import Exchange, Session
from microd.kernel.caller import Account
from microd.kernel.errors import Unauthorized
from microd.services.broker.model import Limits as BrokerLimits
from microd.services.broker.model import Message
from microd.services.broker.service import Broker
from microd.testing.nats_door import MemoryDoor
from microd.testing.nats_peer import NatsPeer, NatsTransport

QUIET = b'CONNECT {"verbose":false}\r\n'
HEADERS = b'CONNECT {"verbose":false,"headers":true}\r\n'
ASKING = b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\n'


class Raw:
    """A client in memory, of which the very bytes are looked at."""

    def __init__(self, door: MemoryDoor, connect: bytes = QUIET) -> None:
        self.transport = NatsTransport()
        self.clock = door.clock
        self.peer = door.peer()
        self.peer.hear()
        self._before = len(self.peer.heard)
        self._raw = b""
        take = self.peer.transport.take

        def kept() -> bytes:
            octets = take()
            self._raw += octets
            return octets

        self.peer.transport.take = kept  # type: ignore[method-assign]
        self.send(connect)
        self.said()

    def send(self, *chunks: bytes) -> bytes:
        self.peer.send(*chunks)
        return self.said()

    def said(self) -> bytes:
        self.peer.settle()
        said, self._raw = self._raw, b""
        return said

    @property
    def closed(self) -> bool:
        return self.peer.closed


@pytest.fixture
def door() -> MemoryDoor:
    return MemoryDoor()


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"PING\r\n", b"PONG\r\n"),
        (b"ping\r\n", b"PONG\r\n"),
        (b"PING\nPING\n", b"PONG\r\nPONG\r\n"),
        (b"PING \r\nPINGX\r\n", b"PONG\r\nPONG\r\n"),
        (b"PONG\r\n+OK\r\nINFO {}\r\n", b""),
        (b"sub a 1\r\nSuB b 2\r\nPUB b 1\r\nx\r\n", b"MSG b 2 1\r\nx\r\n"),
        (b"SUB\ta\t1\r\nPUB\ta\t1\r\nx\r\n", b"MSG a 1 1\r\nx\r\n"),
        (b"SUB  a   1  \r\nPUB   a  1  \r\nx\r\n", b"MSG a 1 1\r\nx\r\n"),
        (b"SUB a 1\nPUB a 1\nx\r\n", b"MSG a 1 1\r\nx\r\n"),
        (b"SUB a 1\r\nPUB a 01\r\nx\r\n", b"MSG a 1 01\r\nx\r\n"),
        (b"SUB a 1\r\nPUB a b 1\r\nx\r\n", b"MSG a 1 b 1\r\nx\r\n"),
        (b"SUB a 1\r\nPUB a 0\r\n\r\n", b"MSG a 1 0\r\n\r\n"),
        (b"SUB a 1\r\nPUB a 11\r\n\r\nPING\r\n\nx\r\r\n", b"MSG a 1 11\r\n\r\nPING\r\n\nx\r\r\n"),
        (b"SUB a*b 1\r\nPUB a*b 0\r\n\r\n", b"MSG a*b 1 0\r\n\r\n"),
        (b"SUB a 1\r\nSUB a 1\r\nPUB a 0\r\n\r\n", b"MSG a 1 0\r\n\r\n"),
        (b"SUB a 1\r\nSUB b 1\r\nPUB b 0\r\n\r\nPUB a 0\r\n\r\n", b"MSG a 1 0\r\n\r\n"),
        (b"SUB a ..  1\r\nPUB a 0\r\n\r\n", b"MSG a 1 0\r\n\r\n"),
        (b"SUB a..b 1\r\nPING\r\n", b"-ERR 'Invalid Subject'\r\nPONG\r\n"),
        (b"PUB a..b 1\r\nx\r\nPING\r\n", b"-ERR 'Invalid Publish Subject'\r\nPONG\r\n"),
        (b"PUB a.* 1\r\nx\r\nPING\r\n", b"-ERR 'Invalid Publish Subject'\r\nPONG\r\n"),
        (b"UNSUB 77\r\nPING\r\n", b"PONG\r\n"),
        (b'CONNECT {"verbose":true}\r\nPING\r\n', b"+OK\r\nPONG\r\n"),
    ],
)
def test_answers(door: MemoryDoor, sent: bytes, said: bytes) -> None:
    """The very bytes of nats-server."""
    client = Raw(door)
    assert client.send(sent) == said
    assert not client.closed


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        *(
            (line, "Unknown Protocol Operation")
            for line in (b"\r\n", b" PING\r\n", b"FOO\r\n", b"PI\r\n", b"MSG a 1 0\r\n\r\n")
        ),
        *(
            (line, "Unknown Protocol Operation")
            for line in (b"SUB\r\n", b"PUB\r\n", b"UNSUB\r\n", b"PUBA 1\r\n")
        ),
        *(
            (line, "Parser Error")
            for line in (b"SUB \r\n", b"SUB a\r\n", b"SUB a b c d\r\n", b"UNSUB \r\n", b"UNSUB 1 2 3\r\n")
        ),
        *(
            (line, "Parser Error")
            for line in (b"PUB a\r\n", b"PUB a +1\r\n", b"PUB a -1\r\n", b"PUB a 1x\r\n", b"PUB a b c 1\r\n")
        ),
        *(
            (line, "Parser Error")
            for line in (
                b"PUB a 4294967296\r\n",
                b"PUB a 0000000001\r\n",
                b"CONNECT {x\r\n",
                b"CONNECT []\r\n",
            )
        ),
        *((line, "Parser Error") for line in (b'CONNECT {"verbose":1}\r\n', b"-ERR 'x'\r\n")),
        (b"PUB a 1048577\r\n", "Maximum Payload Violation"),
        (b"PUB a 1\r\nxy\r\n", "Unknown Protocol Operation"),
        (b"PUB a 1\r\nx\n", "Unknown Protocol Operation"),
        (b"HPUB a 12 12\r\n", "message headers not supported"),
        (b"SUB " + b"x" * 4095 + b" 1\r\n", "maximum control line exceeded"),
        (b"PUB " + b"x" * 4095 + b" 1\r\n", "maximum control line exceeded"),
        (b"SUB " + b"x" * 5000, "maximum control line exceeded"),
        (b'CONNECT {"no_responders":true}\r\n', "no responders requires headers support"),
    ],
)
def test_ends(door: MemoryDoor, sent: bytes, error: str) -> None:
    """What is against the protocol ends the connection with its reason, and what comes behind it is not heard."""
    client = Raw(door)
    assert client.send(sent + b"PING\r\n" if sent.endswith(b"\n") else sent) == f"-ERR '{error}'\r\n".encode()
    assert client.closed
    assert not door.sessions
    assert not door.clock.getDelayedCalls()


def test_longest_line(door: MemoryDoor) -> None:
    """4,096 bytes may stand behind a verb."""
    client = Raw(door)
    name = b"x" * 4094
    assert client.send(b"SUB " + name + b" 1\r\nPING\r\n") == b"PONG\r\n"
    assert client.send(b"PUB " + name + b" 1\r\ny\r\n") == b"MSG " + name + b" 1 1\r\ny\r\n"


def test_verbose(door: MemoryDoor) -> None:
    """Who wants it, and who says nothing of it, hears C{+OK} for all that is done, before what comes of it."""
    client = Raw(door, b"CONNECT {}\r\n")
    assert client.send(
        b"SUB a 1\r\nPUB a 1\r\nx\r\nUNSUB 1\r\nUNSUB 9\r\nPING\r\nPONG\r\nPUB a..b 0\r\n\r\nSUB a..b 2\r\n"
    ) == (
        b"+OK\r\n+OK\r\nMSG a 1 1\r\nx\r\n+OK\r\n+OK\r\nPONG\r\n"
        b"-ERR 'Invalid Publish Subject'\r\n+OK\r\n-ERR 'Invalid Subject'\r\n"
    )


def test_echo(door: MemoryDoor) -> None:
    """Who does not want their own messages is left out, and others are not."""
    other = Raw(door)
    other.send(b"SUB a 1\r\n")
    client = Raw(door, b'CONNECT {"verbose":false,"echo":false}\r\n')
    assert client.send(b"SUB a 1\r\nPUB a 1\r\nx\r\nPING\r\n") == b"PONG\r\n"
    assert other.said() == b"MSG a 1 1\r\nx\r\n"


@pytest.mark.parametrize(
    ("operations", "heard"),
    [
        (b"UNSUB 1 2\r\n" + b"PUB a 0\r\n\r\n" * 4, 2),
        (b"PUB a 0\r\n\r\n" * 2 + b"UNSUB 1 2\r\n" + b"PUB a 0\r\n\r\n" * 4, 2),
        (b"PUB a 0\r\n\r\n" * 2 + b"UNSUB 1 3\r\n" + b"PUB a 0\r\n\r\n" * 4, 3),
        (b"UNSUB 1 3\r\nUNSUB 1 5\r\n" + b"PUB a 0\r\n\r\n" * 6, 5),
        (b"UNSUB 1 3\r\nUNSUB 1\r\n" + b"PUB a 0\r\n\r\n" * 6, 0),
        (b"UNSUB 1 0\r\n" + b"PUB a 0\r\n\r\n", 0),
        (b"UNSUB 1 x\r\n" + b"PUB a 0\r\n\r\n", 0),
    ],
)
def test_unsubscribe_after(door: MemoryDoor, operations: bytes, heard: int) -> None:
    """A subscription ends after so many messages, those before C{UNSUB} counted, and is forgotten then."""
    client = Raw(door)
    assert client.send(b"SUB a 1\r\n" + operations) == b"MSG a 1 0\r\n\r\n" * heard
    assert door.broker.subscriptions == 0


def test_headers(door: MemoryDoor) -> None:
    """Headers arrive as they are; who cannot be sent any gets the body alone."""
    able, unable = Raw(door, HEADERS), Raw(door)
    able.send(b"SUB a 1\r\n")
    unable.send(b"SUB a 2\r\n")
    publisher = Raw(door, HEADERS)
    for _ in range(2):
        publisher.send(b"HPUB a r 22 25\r\nNATS/1.0\r\nKey: Val\r\n\r\nabc\r\n")
        assert able.said() == b"HMSG a 1 r 22 25\r\nNATS/1.0\r\nKey: Val\r\n\r\nabc\r\n"
        assert unable.said() == b"MSG a 2 r 3\r\nabc\r\n"
    publisher.send(b"HPUB a 0 3\r\nabc\r\n")
    assert able.said() == b"MSG a 1 3\r\nabc\r\n"


def test_no_responders(door: MemoryDoor) -> None:
    """Who asks for it hears at once that nobody answers; that is none of the messages after which a subscription ends."""
    client = Raw(door, ASKING)
    client.send(b"SUB r.* 7\r\nUNSUB 7 1\r\n")
    assert client.send(b"PUB b r.1 0\r\n\r\n") == b"HMSG r.1 7 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"
    assert client.send(b"PUB b 0\r\n\r\n") == b""
    service = Raw(door)
    service.send(b"SUB b q 1\r\n")
    assert client.send(b"PUB b r.2 0\r\n\r\n") == b""
    assert service.said() == b"MSG b 1 r.2 0\r\n\r\n"
    service.send(b"PUB r.2 2\r\nhi\r\n")
    assert client.said() == b"MSG r.2 7 2\r\nhi\r\n"


def test_to_other_protocols(door: MemoryDoor) -> None:
    """Messages go from NATS to others and back, with headers and reply subjects, also where nobody of NATS listens."""
    heard: list[tuple[str, Message]] = []

    class Other:
        subjects_only = False
        waiting = 0

        def deliver(self, topic: str, message: Message) -> None:
            heard.append((topic, message))

    leave = door.broker.attach("micro", "orders.*", "", Other())
    client = Raw(door, ASKING)
    assert client.send(b"SUB orders.> 1\r\n") == b""
    client.send(b"HPUB orders.1 r.1 18 21\r\nNATS/1.0\r\nA: 1\r\n\r\nabc\r\n")
    ((topic, message),) = heard
    assert (topic, message.reply, message.body, dict(message.header)) == (
        "orders.1",
        "r.1",
        b"abc",
        {"A": "1"},
    )
    assert door.broker.publish("micro", "orders.2", Message({"B": "2"}, b"xy", "r.9")) == 2
    assert client.said() == b"HMSG orders.2 1 r.9 18 20\r\nNATS/1.0\r\nB: 2\r\n\r\nxy\r\n"
    assert door.broker.publish("micro", "no subject", Message({}, b"x")) == 0
    leave()
    door.broker.publish("micro", "orders.2", Message({}, b"x"))
    assert client.said() == b"MSG orders.2 1 1\r\nx\r\n"


def test_queue(door: MemoryDoor) -> None:
    """Members of a queue take turns; who is behind is passed by; who joins and leaves is counted in and out."""
    members = [Raw(door) for _ in range(3)]
    for member in members:
        member.send(b"SUB a q 1\r\n")
    publisher = Raw(door)
    publisher.send(b"PUB a 1\r\nx\r\n" * 30)
    assert [member.said().count(b"MSG") for member in members] == [10, 10, 10]
    members[0].peer.transport.reads = False
    members[0].peer.protocol.dataReceived(b"SUB big 2\r\n")
    publisher.send(b"PUB big 100000\r\n" + b"x" * 100_000 + b"\r\n")
    publisher.send(b"PUB a 1\r\nx\r\n" * 30)
    assert [member.said().count(b"MSG a") for member in members[1:]] in ([15, 15], [10, 20], [20, 10])
    members[1].send(b"UNSUB 1\r\n")
    publisher.send(b"PUB a 1\r\nx\r\n" * 30)
    assert members[2].said().count(b"MSG a") == 30


def test_same_line_new_audience(door: MemoryDoor) -> None:
    """Equal lines are not taken for what they were once: who came, left or changed in between is seen."""
    publisher, one, two = Raw(door), Raw(door), Raw(door)
    line = b"PUB a.b 1\r\nx\r\n"
    for _ in range(3):
        publisher.send(line * 3)
        assert (one.said(), two.said()) == (b"", b"")
        one.send(b"SUB a.b 1\r\n")
        publisher.send(line * 3)
        assert one.said() == b"MSG a.b 1 1\r\nx\r\n" * 3
        two.send(b"SUB a.* 2\r\n")
        publisher.send(line)
        assert (one.said(), two.said()) == (b"MSG a.b 1 1\r\nx\r\n", b"MSG a.b 2 1\r\nx\r\n")
        two.send(b"UNSUB 2\r\nSUB > q 3\r\n")
        publisher.send(line)
        assert two.said() == b"MSG a.b 3 1\r\nx\r\n"
        one.send(b"UNSUB 1\r\n")
        two.send(b"UNSUB 3\r\n")
        one.said()
        two.said()
    gone = Raw(door)
    gone.send(b"SUB a.b 1\r\n")
    publisher.send(line)
    gone.peer.hang_up()
    assert publisher.send(line + b"PING\r\n") == b"PONG\r\n"


def test_lines_are_no_subjects(door: MemoryDoor) -> None:
    """What is remembered by a subject or a line is not taken for the other."""
    client = Raw(door)
    client.send(b"SUB a 1\r\nPUB a 1\r\nx\r\n" * 3 + b"PUB\ta\t1\r\nx\r\n" * 3)
    assert client.send(b"PUB PUB\ta\t1 1\r\n") == b"-ERR 'Parser Error'\r\n"
    other = Raw(door)
    assert other.send(b"a\r\n") == b"-ERR 'Unknown Protocol Operation'\r\n"


def test_order(door: MemoryDoor) -> None:
    """Messages of one publisher reach a connection in their order, whichever subscriptions and forms they take."""
    reader, publisher = Raw(door, HEADERS), Raw(door, HEADERS)
    reader.send(b"SUB a 1\r\nSUB a.> 2\r\nSUB a q 3\r\nSUB b 4\r\nUNSUB 4 1000\r\n")
    stream = b""
    for number in range(300):
        body = b"%05d" % number
        stream += (
            b"PUB a 5\r\n%b\r\n" % body,
            b"PUB a.%d 5\r\n%b\r\n" % (number % 7, body),
            b"PUB b 5\r\n%b\r\n" % body,
            b"HPUB a.x 12 17\r\nNATS/1.0\r\n\r\n%b\r\n" % body,
        )[number % 4]
    publisher.send(*(stream[at : at + 1000] for at in range(0, len(stream), 1000)))
    reader.said()
    bodies = [int(each.payload) for each in reader.peer.heard if each.verb in ("MSG", "HMSG")]
    assert bodies == sorted(bodies)
    assert len(set(bodies)) == 300


class Alone:
    """A session whose admission is decided by the test."""

    def __init__(self, limits: Limits | None = None, **options: bool) -> None:
        self.clock = Clock()
        self.asked: list[Connect] = []
        self.answer: Deferred[Admitted] = Deferred()
        self.ended = 0
        exchange = Exchange(Broker())
        self.session = Session(
            exchange,
            limits or Limits(),
            self.clock,
            info=lambda: b'{"ldm":true}',
            authenticate=self._authenticate,
            ended=self._end,
        )
        self.peer = NatsPeer(self, self.clock)

    async def _authenticate(self, connect: Connect) -> Admitted:
        self.asked.append(connect)
        return await self.answer

    def _end(self, session: Session) -> None:
        self.ended += 1

    def makeConnection(self, transport: NatsTransport) -> None:
        self.session.connected(transport, "memory")

    def dataReceived(self, data: bytes) -> None:
        self.session.data_received(data)

    def connectionLost(self, reason: object) -> None:
        self.session.lost()

    def admit(self, *, publish: bool = True, subscribe: bool = True) -> None:
        self.answer.callback(Admitted(Account("ann", "user", "acme"), publish, subscribe))
        self.peer.settle()


def test_waits_for_admission() -> None:
    """Until it is known who it is nothing is done, and the transport is paused; then all goes on in order."""
    alone = Alone()
    alone.dataReceived(b'CONNECT {"verbose":false,"user":"ann","pass":"s"}\r\nSUB a 1\r\nPUB a 1\r\nx\r\n')
    assert alone.peer.transport.producerState == "paused"
    alone.dataReceived(b"PING\r\n")
    assert [each.verb for each in alone.peer.heard] == ["INFO"]
    assert (alone.asked[0].user, alone.asked[0].password) == ("ann", "s")
    alone.admit()
    assert [each.verb for each in alone.peer.heard] == ["INFO", "MSG", "PONG"]
    assert alone.peer.transport.producerState == "producing"
    assert alone.session.connect.password == ""


def test_not_admitted() -> None:
    """Who is not let in is told so, and hung up."""
    alone = Alone()
    alone.dataReceived(b"CONNECT {}\r\nSUB a 1\r\n")
    alone.answer.errback(Unauthorized("no"))
    alone.peer.settle()
    assert alone.peer.errors == ["Authorization Violation"]
    assert alone.peer.closed
    assert alone.ended == 1


def test_gone_while_asking() -> None:
    """Who hangs up while it is asked who it is ends the asking, and leaves nothing."""
    alone = Alone()
    cancelled: list[object] = []
    alone.answer = Deferred(cancelled.append)
    alone.dataReceived(b"CONNECT {}\r\n")
    alone.peer.hang_up()
    assert len(cancelled) == 1
    assert alone.ended == 1
    assert not alone.clock.getDelayedCalls()


def test_admission_takes_too_long() -> None:
    """Who is not known in time is sent away, also while somebody still thinks about it."""
    alone = Alone()
    alone.dataReceived(b"CONNECT {}\r\n")
    alone.peer.wait(3)
    assert alone.peer.errors == ["Authentication Timeout"]
    assert alone.ended == 1


@pytest.mark.parametrize(
    "line", [b"PING\r\n", b"SUB a 1\r\n", b"FOO\r\n", b"PUB a 0\r\n\r\n", b"INFO {}\r\n"]
)
def test_only_connect_first(line: bytes) -> None:
    """Nothing but C{CONNECT} is heard from somebody who is not known."""
    alone = Alone()
    alone.dataReceived(line)
    alone.peer.settle()
    assert alone.peer.errors == ["Authorization Violation"]
    assert alone.asked == []


def test_stale() -> None:
    """Who does not answer two C{PING}s is hung up before the third; any C{PONG} counts."""
    alone = Alone(Limits(ping_interval=10.0))
    alone.dataReceived(QUIET)
    alone.admit()
    alone.peer.wait(25)
    assert len(alone.peer.of("PING")) == 2
    alone.dataReceived(b"PONG\r\n")
    alone.peer.wait(20)
    assert len(alone.peer.of("PING")) == 4
    assert not alone.peer.closed
    alone.peer.wait(20)
    assert alone.peer.errors == ["Stale Connection"]
    assert alone.peer.closed
    assert not alone.clock.getDelayedCalls()


def test_permissions() -> None:
    """What an account may not do is told, and the connection goes on; what it may no longer hear ends."""
    alone = Alone()
    alone.dataReceived(QUIET)
    alone.admit(publish=False)
    alone.peer.send(b"SUB a 1\r\nPUB a 1\r\nx\r\n")
    assert alone.peer.errors == ['Permissions Violation for Publish to "a"']
    alone.session.permit(publish=True, subscribe=True)
    alone.peer.send(b"PUB a 1\r\nx\r\n")
    assert len(alone.peer.of("MSG")) == 1
    alone.session.permit(publish=True, subscribe=False)
    alone.peer.settle()
    assert alone.peer.errors[1:] == ['Permissions Violation for Subscription to "a"']
    alone.peer.send(b"PUB a 1\r\nx\r\nSUB b.* 2\r\nPING\r\n")
    assert len(alone.peer.of("MSG")) == 1
    assert alone.peer.errors[2:] == ['Permissions Violation for Subscription to "b.*"']
    alone.session.permit(publish=False, subscribe=True)
    alone.peer.send(b"PUB a 1\r\nx\r\n")
    assert alone.peer.errors[3:] == ['Permissions Violation for Publish to "a"']
    assert not alone.peer.closed


def test_close() -> None:
    """The door can end it with a reason, which comes behind all that waits; and then nothing is heard any more."""
    alone = Alone()
    alone.dataReceived(QUIET)
    alone.admit()
    alone.session.say_info()
    alone.session.close("User Authentication Revoked")
    alone.dataReceived(b"PING\r\n")
    alone.peer.settle()
    assert [each.verb for each in alone.peer.heard] == ["INFO", "INFO", "-ERR"]
    assert alone.peer.closed
    assert alone.ended == 1
    alone.session.close("again")
    alone.session.abort()
    assert alone.ended == 1


def test_close_who_does_not_read() -> None:
    """Who does not take the rest in time is cut off without it."""
    alone = Alone(Limits(write_deadline=5.0))
    alone.dataReceived(QUIET)
    alone.admit()
    alone.peer.transport.reads = False
    alone.dataReceived(b"SUB a 1\r\n" + b"PUB a 60000\r\n" + b"x" * 60_000 + b"\r\n")
    alone.dataReceived((b"PUB a 60000\r\n" + b"x" * 60_000 + b"\r\n") * 2)
    alone.session.close("Server Shutdown")
    assert not alone.peer.transport.aborted
    alone.clock.advance(5)
    assert alone.peer.transport.aborted


def test_slow_is_told() -> None:
    """Who is cut off for being slow is told why, if it begins to read in time."""
    door = MemoryDoor(Limits(pending=100_000, slow="disconnect"))
    reader, publisher = Raw(door), Raw(door)
    reader.send(b"SUB a 1\r\n")
    reader.peer.transport.reads = False
    publisher.send(*[b"PUB a 60000\r\n" + b"x" * 60_000 + b"\r\n"] * 5)
    assert door.exchange.counts.slow == 1
    assert door.broker.subscriptions == 0
    reader.peer.transport.reads = True
    assert reader.said().endswith(b"-ERR 'Slow Consumer'\r\n")


def test_long_ids_weigh_more() -> None:
    """A subscription counts once more for every 256 bytes of its subject, queue and id, so that names do not fill the memory."""
    door = MemoryDoor(broker=BrokerLimits(subscriptions=20))
    client = Raw(door)
    assert client.send(b"SUB a " + b"q" * 2000 + b" " + b"1" * 2000 + b"\r\nSUB b 2\r\n") == b""
    assert door.broker.subscriptions == 2
    for number in range(3, 10):
        client.send(b"SUB a %d\r\n" % number)
    assert client.peer.errors[-1] == "maximum subscriptions exceeded"
    client.send(b"UNSUB " + b"1" * 2000 + b"\r\n")
    assert client.send(b"SUB a 11\r\nPING\r\n") == b"PONG\r\n"


def test_deep_patterns(door: MemoryDoor) -> None:
    """A pattern with wildcards has a bounded number of tokens, each of which costs memory; a literal one may have any."""
    client = Raw(door)
    assert (
        client.send(b"SUB " + b"*." * 64 + b"a 1\r\n")
        == b"-ERR 'subject has exceeded number of tokens limit'\r\n"
    )
    assert (
        client.send(b"SUB " + b"*." * 63 + b"a 1\r\nSUB " + b"a." * 1000 + b"a 2\r\nPING\r\n") == b"PONG\r\n"
    )
