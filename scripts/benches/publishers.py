"""Publishers that speak the NATS protocol, and count what was acknowledged: the same load for every server.

One process and raw sockets. What is sent never changes, so it is prepared once; replies are counted, not parsed: the load must cost
little, or it is what is measured.
"""

from __future__ import annotations

import json
import selectors
import socket
import time
from typing import Self

#: How a reply begins; nothing else in one has it.
REPLY = b"MSG "
#: What a reply that refuses has in it, and one that acknowledges has not.
REFUSED = b'"error"'
#: A reply with headers: nobody stores what is published there.
NOBODY = b"HMSG "


class Connection:
    """A connection to a NATS server, logged in."""

    def __init__(self, port: int, token: str = "") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._read = b""
        self._line()
        options = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True, "protocol": 1}
        wanted = {**options, "auth_token": token} if token else options
        self.socket.sendall(b"CONNECT %s\r\nPING\r\n" % json.dumps(wanted).encode())
        while (line := self._line()) != b"PONG":
            if line.startswith(b"-ERR"):
                raise RuntimeError(f"the server on port {port} said {line.decode()}")

    def ask(self, subject: str, message: bytes) -> bytes:
        """Ask for one reply."""
        self.socket.sendall(b"SUB _INBOX.ask 9\r\nUNSUB 9 1\r\n")
        self.socket.sendall(b"PUB %s _INBOX.ask %d\r\n%s\r\n" % (subject.encode(), len(message), message))
        while not (line := self._line()).startswith((REPLY, b"HMSG ", b"-ERR")):
            pass
        if not line.startswith(REPLY):
            raise RuntimeError(f"nobody answers to {subject}: {line.decode()}")
        size = int(line.split()[-1])
        while len(self._read) < size + 2:
            self._more()
        reply, self._read = self._read[:size], self._read[size + 2 :]
        return reply

    def _line(self) -> bytes:
        while b"\r\n" not in self._read:
            self._more()
        line, _, self._read = self._read.partition(b"\r\n")
        return line

    def _more(self) -> None:
        data = self.socket.recv(1 << 16)
        if not data:
            raise RuntimeError(f"the server hung up: {self._read!r}")
        self._read += data

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.socket.close()


class _Publisher:
    """One connection, which sends the next message for each that was acknowledged."""

    __slots__ = ("acknowledged", "connection", "messages", "socket", "tail")

    def __init__(self, port: int, token: str, subject: str, payload: bytes, number: int) -> None:
        self.connection = Connection(port, token)
        self.socket = self.connection.socket
        inbox = b"_INBOX.%d" % number
        message = b"PUB %s %s.1 %d\r\n%s\r\n" % (subject.encode(), inbox, len(payload), payload)
        self.messages = [message * count for count in range(1025)]
        self.tail = b""
        self.acknowledged = 0
        self.socket.sendall(b"SUB %s.* 1\r\n" % inbox)

    def publish(self, count: int) -> None:
        """Send so many."""
        self.socket.sendall(self.messages[count])

    def replies(self) -> int:
        """Count the replies which are there."""
        data = self.socket.recv(1 << 18)
        if not data:
            raise RuntimeError("the server hung up")
        data = self.tail + data
        if REFUSED in data or NOBODY in data:
            raise RuntimeError(f"not acknowledged: {data[:500]!r}")
        self.tail = data[-3:]
        found = data.count(REPLY)
        self.acknowledged += found
        return found


def publish(
    port: int,
    subject: str,
    *,
    token: str = "",
    connections: int = 8,
    in_flight: int = 8,
    seconds: float = 2.0,
    warm_up: float = 0.5,
    size: int = 128,
) -> tuple[float, int]:
    """How many messages were acknowledged a second, and how many altogether; all that were sent have been answered then."""
    payload = b"x" * size
    publishers = [_Publisher(port, token, subject, payload, number) for number in range(connections)]
    with selectors.DefaultSelector() as selector:
        for each in publishers:
            selector.register(each.socket, selectors.EVENT_READ, each)
        for each in publishers:
            each.publish(in_flight)
        begin = time.perf_counter() + warm_up
        _go_on(selector, begin)
        before = sum(each.acknowledged for each in publishers)
        begun = time.perf_counter()
        _go_on(selector, begin + seconds)
        took = time.perf_counter() - begun
        counted = sum(each.acknowledged for each in publishers) - before
        _finish(publishers, connections * in_flight)
    total = sum(each.acknowledged for each in publishers)
    for each in publishers:
        each.socket.close()
    return counted / took, total


def _go_on(selector: selectors.BaseSelector, until: float) -> None:
    """Publish a message for each reply."""
    clock = time.perf_counter
    while clock() < until:
        for key, _ in selector.select(1):
            each = key.data
            if found := each.replies():
                each.publish(found)


def _finish(publishers: list[_Publisher], in_flight: int) -> None:
    """Wait for the last replies."""
    each_has = in_flight // len(publishers)
    for each in publishers:
        wanted = each_has
        while wanted:
            wanted -= each.replies()
