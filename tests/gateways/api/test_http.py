"""HTTP/1.1 itself: order, framing, limits and time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from microd.kernel.endpoint import Endpoint
from microd.kernel.errors import MicroError
from microd.testing.outcome import done
from microd.wire import store_pb2 as pb

Ask = Callable[..., bytes]


class Held:
    """A handler that answers when the test says so."""

    def __init__(self, house: Any) -> None:
        self.waiting: list[Deferred[bytes]] = []
        self.cancelled = 0
        house.serve("slow", {"/slow.Slow/Call": self.call})

    async def call(self, body: bytes, call: Any) -> bytes:
        waiting: Deferred[bytes] = Deferred(self._cancelled)
        self.waiting.append(waiting)
        return await waiting

    def _cancelled(self, _: object) -> None:
        self.cancelled += 1


def test_keep_alive(house: Any) -> None:
    """Requests follow each other on one connection."""
    client = house.client()
    for _ in range(3):
        assert client.ask("GET", "/").status == 200
    assert not client.transport.disconnecting


def test_byte_by_byte(house: Any, ask: Ask) -> None:
    """A request may come in pieces of any size."""
    client = house.client()
    for octet in ask("POST", "/", b"{}"):
        client.send(bytes([octet]))
    assert [answer.status for answer in client.received()] == [200]


def test_connection_close(house: Any, ask: Ask) -> None:
    """Who asks for it is hung up on, after the answer."""
    client = house.client()
    client.send(ask("GET", "/", headers={"Connection": "close"}))
    (answer,) = client.received()
    assert answer.headers["connection"] == "close"
    assert client.transport.disconnecting


def test_http_1_0(house: Any) -> None:
    """HTTP/1.0 is answered and hung up on, unless it asks to stay."""
    client = house.client()
    client.send(b"GET / HTTP/1.0\r\n\r\n")
    assert client.transport.disconnecting
    client = house.client()
    client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert client.received()[0].headers["connection"] == "keep-alive"
    assert not client.transport.disconnecting


def test_pipelined_in_order(house: Any, ask: Ask) -> None:
    """Answers come in the order of the requests, also where a later one is ready first."""
    slow = Held(house)
    client = house.client()
    client.send(ask("POST", "/slow", b"{}") + ask("GET", "/") + ask("GET", "/favicon.ico"))
    assert client.received() == []
    slow.waiting[0].callback(b'{"slow":1}')
    assert [answer.body for answer in client.received()] == [b'{"slow":1}', b'{"version": "1.2.3"}', b""]


def test_pipelined_many(house: Any, ask: Ask) -> None:
    """A thousand requests in one write are a thousand answers, and no deep stack."""
    client = house.client()
    client.send(ask("GET", "/") * 1000)
    assert len(client.received()) == 1000


def test_pipeline_is_bounded(tight: Any, ask: Ask) -> None:
    """A client that sends on and on while its first request waits is no longer read; later it is again."""
    slow = Held(tight)
    client = tight.client()
    client.send(ask("POST", "/slow", b"{}"))
    client.send(ask("GET", "/") * 3)
    assert client.transport.producerState == "producing"
    client.send(ask("GET", "/"))
    assert client.transport.producerState == "paused"
    slow.waiting[0].callback(b"{}")
    assert client.transport.producerState == "producing"
    assert len(client.received()) == 5


def test_chunked(house: Any) -> None:
    """A chunked body arrives whole, with trailers and extensions ignored."""
    seen: list[bytes] = []

    async def keep(body: bytes, call: Any) -> bytes:
        seen.append(body)
        return b"{}"

    house.serve("greeter", {"/greeter.Greeter/Hello": keep})
    client = house.client()
    client.send(
        b"POST /greeter/hello HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b'5;x=y\r\n{"a":\r\n2\r\n1}\r\n0\r\nX-Trailer: 1\r\n\r\n'
    )
    assert client.received()[0].status == 200
    assert seen == [b'{"a":1}']


def test_continue(house: Any, ask: Ask) -> None:
    """A client that waits for leave to send its body gets it, once."""
    client = house.client()
    whole = ask("POST", "/", b'{"a":1}', {"Expect": "100-continue"})
    client.send(whole[:-7])
    assert [answer.status for answer in client.received()] == [100]
    client.send(whole[-7:])
    assert [answer.status for answer in client.received()] == [100, 200]


def test_continue_waits_its_turn(house: Any, ask: Ask) -> None:
    """Leave to send is not given in the middle of the answers to earlier requests."""
    slow = Held(house)
    client = house.client()
    whole = ask("POST", "/", b'{"a":1}', {"Expect": "100-continue"})
    client.send(ask("POST", "/slow", b"{}") + whole[:-7])
    assert client.received() == []
    slow.waiting[0].callback(b"{}")
    assert [answer.status for answer in client.received()] == [200, 100]


def test_chunked_in_capitals(house: Any) -> None:
    """The name of a coding may be written in any case."""
    client = house.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n")
    assert [answer.status for answer in client.received()] == [200]


def test_no_leave_for_too_much(tight: Any, ask: Ask) -> None:
    """A body announced as too large is refused before it is sent."""
    client = tight.client()
    client.send(ask("POST", "/", b"x" * 1001, {"Expect": "100-continue"})[:-1001])
    assert [answer.status for answer in client.received()] == [413]


def test_other_expectation(house: Any, ask: Ask) -> None:
    """What nobody here can do is not promised."""
    client = house.client()
    client.send(ask("POST", "/", b"{}", {"Expect": "a miracle"}))
    assert client.received()[0].status == 417


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"x" * 1001, 413),
        (b"GET /" + b"x" * 300, 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 600, 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 11 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 450 + b"\r\nY: " + b"y" * 50 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 400),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 501),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            501,
        ),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ],
)
def test_refused(tight: Any, data: bytes, status: int) -> None:
    """A request over a limit, or none at all, is refused with its status and the error object, then hung up on."""
    client = tight.client()
    client.send(data)
    (answer,) = client.received()
    assert answer.status == status
    assert f'"code":{status}'.encode() in answer.body
    assert answer.headers["connection"] == "close"
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert len(client.received()) == 1


def test_refusal_waits_its_turn(tight: Any, ask: Ask) -> None:
    """Nonsense after a good request is refused after that one's answer."""
    slow = Held(tight)
    client = tight.client()
    client.send(ask("POST", "/slow", b"{}") + b"nonsense\r\n\r\n")
    assert client.received() == []
    slow.waiting[0].callback(b"{}")
    assert [answer.status for answer in client.received()] == [200, 400]


def test_refused_is_heard_out(tight: Any) -> None:
    """A refused client may go on sending for a while, so that it gets to read why; then it is cut off."""
    client = tight.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + b"x" * 500)
    assert client.transport.half_closed
    client.send(b"x" * 50000)
    assert not client.transport.aborted
    tight.clock.pump([1.0] * 4)
    assert client.transport.aborted


def test_endless_chunk_extension(tight: Any) -> None:
    """Chunks which are mostly not body are refused."""
    client = tight.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;")
    for _ in range(30):
        client.send(b"x" * 100)
    assert client.received()[0].status == 400


def test_bodies_together(tight: Any) -> None:
    """All bodies together have a limit; when one has gone there is room again."""
    first, second = tight.client(), tight.client()
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\n"
    first.send(head + b"x" * 800)
    second.send(head + b"x" * 800)
    assert second.received()[0].status == 503
    first.drop()
    third = tight.client()
    third.send(head + b"x" * 900)
    assert third.received()[0].status == 200
    assert tight.gateway.server.buffered == 0


def test_bodies_are_let_go(tight: Any, ask: Ask) -> None:
    """Whatever becomes of a request, its body no longer counts when it is over."""
    slow = Held(tight)
    client = tight.client()
    client.send(
        ask("POST", "/slow", b'{"a":1}') + ask("POST", "/slow", b'{"b":2}') + ask("POST", "/", b"{}")[:-1]
    )
    assert tight.gateway.server.buffered == 15
    client.drop()
    assert tight.gateway.server.buffered == 0
    assert slow.cancelled == 1


def test_bodies_are_let_go_once(tight: Any, ask: Ask) -> None:
    """What waits before a refusal is counted until its own answer."""
    slow = Held(tight)
    client = tight.client()
    client.send(ask("POST", "/slow", b'{"a":1}') + ask("POST", "/slow", b'{"b":2}') + b"nonsense\r\n\r\n")
    assert tight.gateway.server.buffered == 14
    slow.waiting[0].callback(b"{}")
    slow.waiting[1].callback(b"{}")
    assert [answer.status for answer in client.received()] == [200, 200, 400]
    assert tight.gateway.server.buffered == 0


def test_slow_head(house: Any) -> None:
    """A head that does not come to its end in time is a 408, however steadily it drips."""
    client = house.client()
    client.send(b"GET / HTTP/1.1\r\n")
    for _ in range(12):
        house.clock.advance(1)
        client.send(b"X: y\r\n")
    assert [answer.status for answer in client.received()] == [408]


def test_silent_client(house: Any) -> None:
    """A connection on which nothing is ever asked is closed."""
    client = house.client()
    house.clock.pump([1.0] * 12)
    assert client.transport.disconnecting
    assert client.received() == []


def test_idle_client(house: Any) -> None:
    """A connection may rest between requests, for a while."""
    client = house.client()
    client.ask("GET", "/")
    house.clock.pump([1.0] * 70)
    assert not client.transport.disconnecting
    client.ask("GET", "/")
    house.clock.pump([1.0] * 77)
    assert client.transport.disconnecting


def test_stalled_body(house: Any) -> None:
    """A body which pauses for too long is a 408."""
    client = house.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345")
    house.clock.pump([1.0] * 32)
    assert [answer.status for answer in client.received()] == [408]


def test_dripping_body(house: Any) -> None:
    """A body which never pauses, but comes far too slowly on the whole, is a 408 as well."""
    client = house.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
    for _ in range(60):
        house.clock.advance(1)
        client.send(b"x")
    assert [answer.status for answer in client.received()] == [408]


def test_steady_body(house: Any) -> None:
    """A large body may take its time as long as it comes steadily."""
    client = house.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n")
    for _ in range(100):
        house.clock.advance(1)
        client.send(b"x" * 3000)
    assert [answer.status for answer in client.received()] == [200]


def test_unread_answer(house: Any, ask: Ask) -> None:
    """A client that does not read its answer is given up; one that does is served again."""
    client = house.client()
    client.send(ask("GET", "/"))
    client.transport.producer.pauseProducing()
    client.send(ask("GET", "/"))
    assert len(client.received()) == 1
    client.transport.producer.resumeProducing()
    assert len(client.received()) == 2

    async def large(body: bytes, call: Any) -> bytes:
        client.transport.producer.pauseProducing()
        return b'"' + b"x" * 1000 + b'"'

    house.serve("large", {"/large.Large/Call": large})
    client.send(ask("POST", "/large", b"{}"))
    house.clock.pump([1.0] * 29)
    assert not client.transport.aborted
    house.clock.pump([1.0] * 4)
    assert client.transport.aborted


def test_client_gone(house: Any, ask: Ask) -> None:
    """When the client goes away its call is cancelled, and those waiting behind it are never made."""
    slow = Held(house)
    client = house.client()
    client.send(ask("POST", "/slow", b"{}") * 3)
    assert len(slow.waiting) == 1
    client.drop()
    assert slow.cancelled == 1
    assert len(slow.waiting) == 1


def test_upgrade_is_ignored(house: Any, ask: Ask) -> None:
    """Who wants another protocol gets the answer to the request, over this one."""
    client = house.client()
    client.send(ask("GET", "/", headers={"Connection": "Upgrade", "Upgrade": "h2c"}))
    assert client.received()[0].status == 200


def test_one_timer(house: Any) -> None:
    """However many clients there are, one timer looks after them; with the last of them it goes."""
    clients = [house.client() for _ in range(20)]
    assert len(house.clock.getDelayedCalls()) == 1
    for client in clients:
        client.drop()
    assert house.clock.getDelayedCalls() == []


def test_drain(house: Any, ask: Ask) -> None:
    """Draining closes who rests, lets requests in flight be answered, and then hangs up."""
    slow = Held(house)
    resting, busy = house.client(), house.client()
    busy.send(ask("POST", "/slow", b"{}"))
    draining = Deferred.fromCoroutine(house.gateway.drain(20))
    assert resting.transport.disconnecting
    assert not busy.transport.disconnecting
    resting.drop()
    slow.waiting[0].callback(b"{}")
    assert busy.received()[0].status == 200
    assert busy.transport.disconnecting
    busy.drop()
    done(draining)
    assert house.gateway.server._looking is None


def test_drain_ends_the_endless(make: Any, ask: Ask) -> None:
    """A watcher does not hold up a drain: it is broken off, which its client can tell."""
    closed: list[int] = []

    async def watch(request: Any, caller: Any) -> AsyncIterator[Any]:
        try:
            yield pb.ReadResponse()
            await Deferred()
        finally:
            closed.append(1)

    watching = Endpoint(
        "/t.T/Call", pb.ReadRequest, pb.ReadResponse, watch, server_streaming=True, endless=True
    )
    house = make([watching])
    client = house.client()
    client.send(ask("POST", "/t", b"{}"))
    draining = Deferred.fromCoroutine(house.gateway.drain(20))
    assert closed == [1]
    assert client.transport.disconnecting
    assert not client.transport.value().endswith(b"0\r\n\r\n")
    client.drop()
    done(draining)


def test_drain_has_an_end(house: Any, ask: Ask) -> None:
    """Who has no answer when the drain ends is told that the outcome is unknown, and hung up on; the call is cancelled."""
    slow = Held(house)
    client = house.client()
    client.send(ask("POST", "/slow", b"{}") * 2)
    draining = Deferred.fromCoroutine(house.gateway.drain(5))
    house.clock.pump([1.0] * 5)
    (answer,) = client.received()
    assert (answer.status, answer.headers["connection"]) == (502, "close")
    told = MicroError.from_json(answer.body.decode())
    assert told is not None
    assert (told.code, told.id) == (502, "go.micro.api")
    assert "the outcome of the call is unknown" in told.detail
    assert client.transport.disconnecting
    assert not client.transport.aborted
    assert slow.cancelled == 1
    assert len(slow.waiting) == 1
    client.drop()
    done(draining)


def test_drain_refuses_half_a_request(house: Any, ask: Ask) -> None:
    """A request that has not come when the drain ends is refused as not delivered."""
    client = house.client()
    client.send(ask("POST", "/slow", b"{}")[:-1])
    draining = Deferred.fromCoroutine(house.gateway.drain(5))
    house.clock.pump([1.0] * 5)
    (answer,) = client.received()
    assert (answer.status, answer.headers["connection"]) == (503, "close")
    client.drop()
    done(draining)


def test_drain_cuts_off_what_has_begun(make: Any, ask: Ask) -> None:
    """A stream that goes on when the drain ends is cut off, so that nobody takes it for all."""

    async def count(request: Any, caller: Any) -> AsyncIterator[Any]:
        yield pb.ReadResponse()
        await Deferred()

    house = make([Endpoint("/t.T/Call", pb.ReadRequest, pb.ReadResponse, count, server_streaming=True)])
    client = house.client()
    client.send(ask("POST", "/t", b"{}"))
    draining = Deferred.fromCoroutine(house.gateway.drain(5))
    house.clock.pump([1.0] * 5)
    assert client.transport.aborted
    assert not client.transport.value().endswith(b"0\r\n\r\n")
    client.drop()
    done(draining)


def test_drain_does_not_wait_for_readers(house: Any, ask: Ask) -> None:
    """Who does not hang up after that is cut off a second later."""
    Held(house)
    client = house.client()
    client.send(ask("POST", "/slow", b"{}"))
    draining = Deferred.fromCoroutine(house.gateway.drain(5))
    house.clock.pump([1.0] * 6)
    assert client.transport.aborted
    client.drop()
    done(draining)
    assert not house.gateway.server._late.active()
