"""Servers that mean harm, before the blocking client: every call ends, with an error that says what is known of it."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from microd.testing import http2_frames as h2
from microd.testing.http2_frames import Code, Kind
from microd.testing.http2_peer import Handshake
from microd.testing.http2_probe import RESPONSE, TRAILERS, reply
from microd.txgrpc import Limits, RpcError, StatusCode
from microd.txgrpc.blocking import BlockingChannel

PATH = "/conformance.Probe/Echo"
HELLO = Handshake.server()
HEAD = h2.headers(1, h2.block(RESPONSE))
BODY = h2.data(1, h2.message(b"pong"))
END = h2.headers(1, h2.block(TRAILERS), end=True)
VERDICTS = (StatusCode.UNAVAILABLE, StatusCode.INTERNAL, StatusCode.UNKNOWN, StatusCode.UNIMPLEMENTED)


class Villain:
    """Waits for a request on each connection, says its piece, and hangs up or not."""

    def __init__(self, says: bytes, *, stays: bool) -> None:
        self.says = says
        self.stays = stays
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                with peer, suppress(OSError):
                    self._talk(peer)

    def _talk(self, peer: socket.socket) -> None:
        peer.settimeout(10)
        hello, says = (HELLO, self.says[len(HELLO) :]) if self.says.startswith(HELLO) else (b"", self.says)
        peer.sendall(hello)
        heard = b""
        while b"Probe/Echo" not in heard if hello else not heard:
            octets = peer.recv(65_536)
            if not octets:
                return
            heard += octets
        peer.sendall(says)
        if self.stays:
            self._over.wait(10)
        else:
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(65_536):
                pass

    def stop(self) -> None:
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


Hire = Callable[..., Villain]


@pytest.fixture
def hire() -> Iterator[Hire]:
    """Makes servers that are gone after the test."""
    hired: list[Villain] = []

    def make(says: bytes, *, stays: bool = True) -> Villain:
        villain = Villain(says, stays=stays)
        hired.append(villain)
        return villain

    yield make
    for villain in hired:
        villain.stop()


def fail(target: str, timeout: float | None = 5.0, limits: Limits | None = None) -> RpcError:
    """The error of a call."""
    with BlockingChannel(target, limits=limits or Limits()) as channel, pytest.raises(RpcError) as caught:
        channel.unary_unary(PATH)(b"ping", timeout=timeout)
    return caught.value


def test_a_good_server(hire: Hire) -> None:
    """The villain can behave."""
    with BlockingChannel(hire(HELLO + reply(1)).target) as channel:
        assert channel.unary_unary(PATH)(b"ping", timeout=5) == b"pong"


@pytest.mark.parametrize("stays", [True, False])
@pytest.mark.parametrize(
    "says",
    [
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", id="http-1.1"),
        pytest.param(b"\0" * 100, id="zeros"),
        pytest.param(h2.ping(), id="no-settings"),
        pytest.param(HELLO + h2.data(0, b""), id="data-on-0"),
        pytest.param(HELLO + h2.headers(1, h2.indexed(0)), id="compression"),
        pytest.param(HELLO + h2.headers(2, h2.block(RESPONSE)), id="stream-of-the-server"),
        pytest.param(HELLO + h2.push_promise(1, 2, h2.block(RESPONSE)), id="push"),
        pytest.param(HELLO + h2.frame(Kind.DATA, 0, 1, length=2**24 - 1), id="oversize"),
        pytest.param(HELLO + h2.ping() * 50_000, id="ping-flood"),
        pytest.param(HELLO + h2.settings() * 50_000, id="settings-flood"),
        pytest.param(HELLO + HEAD + h2.data(1) * 50_000, id="empty-data-flood"),
        pytest.param(HELLO + h2.headers(1, b"", end_headers=False) + h2.continuation(1, b"", end_headers=False) * 9999, id="continuation-flood"),
        pytest.param(HELLO + BODY, id="data-before-headers"),
        pytest.param(HELLO + h2.headers(1, h2.block(((b"X", b"y"),))), id="malformed"),
        pytest.param(HELLO + HEAD + BODY + BODY + END, id="two-replies"),
        pytest.param(HELLO + HEAD + END, id="no-reply"),
        pytest.param(HELLO + HEAD + h2.data(1, h2.message(b"pong"), end=True), id="no-trailers"),
    ],
)  # fmt: skip
def test_harm(hire: Hire, says: bytes, stays: bool) -> None:
    """Whatever the server says, and whether it hangs up or not, the call fails, long before its deadline."""
    assert fail(hire(says, stays=stays).target).code in VERDICTS


@pytest.mark.parametrize("end", [0, 5, 27, 40, 60])
def test_a_response_that_is_cut_off(hire: Hire, end: int) -> None:
    """A connection that ends within a response leaves the outcome open."""
    error = fail(hire(HELLO + (HEAD + BODY + END)[:end], stays=False).target)
    assert error.code == StatusCode.UNAVAILABLE
    assert not error.undelivered


def test_a_message_that_claims_gigabytes(hire: Hire) -> None:
    """A message above the limit is refused by its prefix."""
    error = fail(hire(HELLO + HEAD + h2.data(1, b"\0\xff\xff\xff\xff")).target)
    assert error.code == StatusCode.RESOURCE_EXHAUSTED


def test_a_server_that_never_speaks(hire: Hire) -> None:
    """A silent server does not hold a call beyond its deadline."""
    error = fail(hire(b"").target, timeout=0.2)
    assert error.code in (StatusCode.DEADLINE_EXCEEDED, StatusCode.UNAVAILABLE)


def test_a_server_that_never_answers(hire: Hire) -> None:
    """Nor does one that shakes hands and then says nothing."""
    error = fail(hire(HELLO).target, timeout=0.2)
    assert error.code == StatusCode.DEADLINE_EXCEEDED


def test_a_refused_stream(hire: Hire) -> None:
    """REFUSED_STREAM says that the call may be tried elsewhere."""
    assert fail(hire(HELLO + h2.rst_stream(1, Code.REFUSED_STREAM)).target).undelivered


def test_a_goaway_below_the_call(hire: Hire) -> None:
    """So does a GOAWAY whose last stream is below the call's."""
    assert fail(hire(HELLO + h2.goaway(0)).target).undelivered
