"""Messages through a NATS server over raw sockets, from processes of their own: one that publishes, one that listens.

Both are as cheap as Python can be, so that what is measured is the server: the publisher sends large buffers which were made beforehand, over and
over; whoever listens counts bytes, and looks at the last ones only.

As a module it is one such process: C{python -m benches.nats_load JSON} publishes a L{Load}, and C{flood} measures one.
"""

from __future__ import annotations

import json
import random
import select
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

_READ = 1 << 18
#: The publisher's buffers: more would be dear to make, and less would be sent again too soon.
_BUFFERED = 4 << 20


@dataclass(frozen=True)
class Load:
    """What is sent, and to whom.

    @ivar connect: the JSON of C{CONNECT}.
    @ivar sizes: bytes of a message; two numbers: random between them.
    @ivar subjects: how many, in turn or at random.
    @ivar patterns: what the listeners subscribe to, each to all of these; empty: to each subject.
    @ivar headers: whether each message has some.
    @ivar queue: a queue that the listeners share.
    """

    port: int = 0
    connect: str = "{}"
    messages: int = 1_000_000
    listeners: int = 1
    sizes: tuple[int, int] = (128, 128)
    subjects: int = 1
    order: Literal["turn", "random"] = "turn"
    patterns: Sequence[str] = ()
    headers: bool = False
    queue: str = ""

    @property
    def names(self) -> list[str]:
        """The subjects."""
        if self.subjects == 1:
            return ["bench.orders"]
        return [f"bench.{n % 10}.{n}.orders" for n in range(self.subjects)]


def greeted(load: Load, *lines: bytes) -> socket.socket:
    """A connection on which these lines have been dealt with."""
    link = socket.create_connection(("127.0.0.1", load.port), timeout=60)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link.sendall(b"CONNECT " + load.connect.encode() + b"\r\n" + b"".join(lines) + b"PING\r\n")
    heard = b""
    while b"PONG\r\n" not in heard:
        got = link.recv(65536)
        if not got or b"-ERR" in heard + got:
            raise RuntimeError(f"port {load.port} said {heard + got!r}")
        heard += got
    return link


def buffers(load: Load) -> tuple[list[bytes], list[int], int]:
    """What the publisher sends: buffers, the bytes which one listener gets for each of them, and the messages in each.

    Each ends with the end of a message.
    """
    chance = random.Random(4)
    names = load.names
    head = (
        b"NATS/1.0\r\nTraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n"
        if load.headers
        else b""
    )
    each = 200 * 7
    made, heard = [], []
    total = 0
    number = 0
    while total < _BUFFERED:
        out, told = [], 0
        for _ in range(each):
            name = names[number % len(names)] if load.order == "turn" else chance.choice(names)
            number += 1
            size = chance.randint(*load.sizes)
            payload = head + b"x" * size
            if load.headers:
                sizes = f"{len(head)} {len(payload)}"
                out.append(f"HPUB {name} {sizes}\r\n".encode() + payload + b"\r\n")
                told += len(f"HMSG {name} 1 {sizes}\r\n") + len(payload) + 2
            else:
                out.append(f"PUB {name} {size}\r\n".encode() + payload + b"\r\n")
                told += len(f"MSG {name} 1 {size}\r\n") + size + 2
        made.append(b"".join(out))
        heard.append(told)
        total += len(made[-1])
    return made, heard, each


def listeners(load: Load) -> list[socket.socket]:
    """Connections which listen to everything. All ids have one digit, so that the bytes are known."""
    queue = f" {load.queue}" if load.queue else ""
    patterns = load.patterns or (["bench.orders"] if load.subjects == 1 else [])
    lines = [f"SUB {pattern}{queue} 1\r\n".encode() for pattern in patterns]
    assert len(lines) == 1, "more ids would be longer"
    return [greeted(load, *lines) for _ in range(load.listeners)]


def count(links: Sequence[socket.socket], wanted: int) -> None:
    """Read so many bytes from all of them together."""
    room = bytearray(_READ)
    left = wanted
    if len(links) == 1:
        while left > 0:
            left -= _read(links[0], room)
        return
    poll = select.epoll()
    by = {link.fileno(): link for link in links}
    for number in by:
        poll.register(number, select.EPOLLIN)
    while left > 0:
        for number, _ in poll.poll(60):
            left -= _read(by[number], room)
    poll.close()


def _read(link: socket.socket, room: bytearray) -> int:
    got = link.recv_into(room)
    if not got:
        raise RuntimeError("a listener was cut off")
    return got


def flood(load: Load) -> float:
    """Messages a second that were published and had reached everybody in the end."""
    made, heard, each = buffers(load)
    rounds = -(-load.messages // each)
    wanted = sum(heard[number % len(made)] for number in range(rounds))
    if not load.queue:
        wanted *= load.listeners
    links = listeners(load)
    command = [
        sys.executable,
        "-m",
        "benches.nats_load",
        json.dumps({**asdict(load), "messages": rounds * each}),
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as publisher:
        assert publisher.stdin is not None
        assert publisher.stdout is not None
        publisher.stdout.readline()
        begun = time.perf_counter()
        publisher.stdin.write("go\n")
        publisher.stdin.flush()
        count(links, wanted)
        took = time.perf_counter() - begun
    for link in links:
        link.close()
    return rounds * each / took


def publish(load: Load) -> None:
    """Publish all, having said so and waited for a line."""
    made, _, each = buffers(load)
    link = greeted(load)
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(load.messages // each):
        link.sendall(made[number % len(made)])
    link.sendall(b"PING\r\n")
    while not link.recv(65536).endswith(b"PONG\r\n"):
        pass


if __name__ == "__main__":
    publish(Load(**json.loads(sys.argv[1])))
