"""A blocking NATS client which says what it is told to, lies included, and reads only when asked to."""

from __future__ import annotations

import contextlib
import secrets
import socket
import ssl
from collections import deque
from typing import Self

from microd.testing import nats_wire as wire
from microd.testing.nats_wire import Ear, Heard

#: Seconds after which a test that waits has failed.
LIMIT = 30.0


class RawNats:
    """One connection to a NATS door, on a socket; a context manager that closes it.

    @ivar info: what the server said first.
    @ivar errors: the texts of every C{-ERR} so far.
    """

    def __init__(
        self,
        address: str,
        *,
        tls: ssl.SSLContext | None = None,
        receive_buffer: int | None = None,
        limit: float = LIMIT,
    ) -> None:
        """Connect, and read INFO.

        @param address: C{host:port}.
        @param tls: begin TLS after INFO.
        @param receive_buffer: octets which the kernel keeps for who does not read; a small one fills at once.
        @param limit: seconds that any one wait may take.
        """
        host, _, port = address.rpartition(":")
        self.socket: socket.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(limit)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._ear = Ear()
        self._heard: deque[Heard] = deque()
        self.errors: list[str] = []
        try:
            self.socket.connect((host.strip("[]"), int(port)))
            self.info = self.expect("INFO").info
            if tls is not None:
                self.socket = tls.wrap_socket(self.socket, server_hostname=host.strip("[]"))
        except BaseException:
            self.socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up, without a word."""
        self.socket.close()

    def send(self, *operations: bytes) -> None:
        """Write all of it."""
        self.socket.sendall(b"".join(operations))

    def push(self, octets: bytes) -> int:
        """Write what the kernel takes at once; how many octets that were."""
        self.socket.setblocking(False)
        sent = 0
        try:
            while sent < len(octets):
                sent += self.socket.send(memoryview(octets)[sent : sent + 65536])
        except (BlockingIOError, ssl.SSLWantWriteError):
            pass
        finally:
            self.socket.settimeout(LIMIT)
        return sent

    def login(self, **options: object) -> Self:
        """CONNECT, and see that it was accepted.

        @raise AssertionError: it was not; with the server's text.
        """
        self.send(wire.connect(**options))
        self.flush()
        return self

    def flush(self) -> list[Heard]:
        """PING, and read until the PONG; what came before it."""
        self.send(wire.PING)
        before: list[Heard] = []
        while (heard := self.read()).verb != "PONG":
            before.append(heard)
        return before

    def read(self) -> Heard:
        """The next operation. PINGs are answered and passed over.

        @raise AssertionError: the connection ended, or nothing came in time.
        """
        while True:
            while not self._heard:
                octets = self._receive()
                if not octets:
                    raise AssertionError(f"the server hung up; errors: {self.errors}")
                self._take(octets)
            heard = self._heard.popleft()
            if heard.verb != "PING":
                return heard
            self.send(wire.PONG)

    def expect(self, verb: str) -> Heard:
        """The next operation, which must be of this kind."""
        heard = self.read()
        assert heard.verb == verb, f"expected {verb}, and heard {heard}"
        return heard

    def messages(self, count: int) -> list[Heard]:
        """The next messages; anything else between them is passed over."""
        found: list[Heard] = []
        while len(found) < count:
            heard = self.read()
            if heard.verb in ("MSG", "HMSG"):
                found.append(heard)
        return found

    def until_end(self) -> list[Heard]:
        """Everything up to the end of the connection, which must come."""
        heard = list(self._heard)
        self._heard.clear()
        while octets := self._receive():
            heard += self._take(octets)
            self._heard.clear()
        return heard

    def sip(self, octets: int = 1) -> bytes:
        """Read a few octets from the kernel, and understand none of it; empty where there is nothing now."""
        self.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
            return self.socket.recv(octets)
        return b""

    def _receive(self) -> bytes:
        try:
            return self.socket.recv(1 << 18)
        except TimeoutError:
            raise AssertionError(f"nothing came in time; errors: {self.errors}") from None
        except (ConnectionError, ssl.SSLError):
            return b""

    def _take(self, octets: bytes) -> list[Heard]:
        heard = self._ear.feed(octets)
        self.errors += (each.rest for each in heard if each.verb == "-ERR")
        self._heard += heard
        return heard


class Pair:
    """Two well-behaved clients, one of which asks what the other answers; a context manager that closes both.

    Nothing is ever under way twice, so that order and completeness show by themselves.

    @ivar asked: questions so far, all of which were answered.
    """

    def __init__(self, address: str, subject: str = "ping", **options: object) -> None:
        self.asked = 0
        self._subject = subject
        with contextlib.ExitStack() as opened:
            self.asker = opened.enter_context(RawNats(address)).login(**options)
            self.answerer = opened.enter_context(RawNats(address)).login(**options)
            self._opened = opened.pop_all()
        self._inbox = f"_INBOX.{secrets.token_hex(8)}"
        self.asker.send(wire.sub(self._inbox, 1))
        self.answerer.send(wire.sub(subject, 1))
        self.asker.flush()
        self.answerer.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._opened.close()

    def ask(self) -> None:
        """One question and its answer.

        @raise AssertionError: it was lost, or is another one's.
        """
        self.asked += 1
        question = b"%d" % self.asked
        self.asker.send(wire.pub(self._subject, question, self._inbox))
        heard = self.answerer.messages(1)[0]
        assert heard.payload == question, f"expected question {self.asked}, and heard {heard}"
        self.answerer.send(wire.pub(heard.reply, question))
        answer = self.asker.messages(1)[0]
        assert answer.payload == question, f"expected answer {self.asked}, and heard {answer}"
