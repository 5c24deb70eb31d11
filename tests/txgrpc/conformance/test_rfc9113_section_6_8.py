"""RFC 9113 section 6.8, a server that goes: what it says, what it still takes, when it hangs up."""

import pytest
from twisted.internet.defer import Deferred

from microd.testing import http2_frames as h2
from microd.testing.http2_frames import Code, Kind
from microd.testing.http2_peer import Peer
from microd.testing.http2_probe import ServerProbe, call, opening, request_fields


@pytest.fixture
def going(probe: ServerProbe, peer: Peer) -> Peer:
    """A connection with a call on stream 1 whose server has begun to drain."""
    peer.send(opening(1, "Collect"))
    Deferred.fromCoroutine(probe.server.drain(20))
    peer.settle()
    return peer


def answer_pings(peer: Peer) -> None:
    """Answer what the server asked, so that it knows that its GOAWAY was heard."""
    for f in peer.of(Kind.PING):
        if not f.is_ack:
            peer.send(h2.ping(f.payload, ack=True))


def test_6_8_first_goaway_takes_nothing_back(going: Peer) -> None:
    """A graceful end begins with the highest stream identifier and NO_ERROR, and calls are still taken."""
    assert [(f.last_stream, f.code) for f in going.of(Kind.GOAWAY)] == [(2**31 - 1, Code.NO_ERROR)]
    going.send(call(3))
    assert going.body(3) == h2.message(b"ping")


def test_6_8_second_goaway_names_the_last_call(going: Peer) -> None:
    """After a round trip a second GOAWAY names the last call that is served; the identifier never rises."""
    going.send(call(3))
    answer_pings(going)
    assert [f.last_stream for f in going.of(Kind.GOAWAY)] == [2**31 - 1, 3]
    assert set(going.goaways()) == {Code.NO_ERROR}
    assert not going.closed


def test_6_8_calls_above_the_last_are_ignored(probe: ServerProbe, going: Peer) -> None:
    """Calls above the last stream are not processed, though their field blocks and DATA are accounted for."""
    answer_pings(going)
    fields = h2.block(request_fields())
    going.send(h2.headers(5, fields + h2.literal(b"x", b"y", first=0x40)), h2.data(5, bytes(10_000)))
    going.send(h2.data(5, bytes(6000), end=True))
    assert not probe.started
    assert not going.closed
    going.send(h2.headers(7, fields + h2.indexed(62), end=True))
    assert Code.COMPRESSION_ERROR not in going.goaways()


def test_6_8_calls_in_flight_finish(going: Peer) -> None:
    """A call at or below the last stream is answered in full, and then the connection is closed."""
    answer_pings(going)
    going.send(h2.data(1, h2.message(b"last"), end=True))
    assert going.body(1) == h2.message(b"last")
    assert going.of(Kind.HEADERS, 1)[-1].ends_stream
    assert going.closed


def test_6_8_an_error_while_going(going: Peer) -> None:
    """An error during a graceful end gets its own GOAWAY, whose last stream is no higher than before."""
    answer_pings(going)
    going.send(h2.ping(b"short"))
    going.expect_connection_error(Code.FRAME_SIZE_ERROR)
    lasts = [f.last_stream for f in going.of(Kind.GOAWAY)]
    assert lasts == sorted(lasts, reverse=True)
