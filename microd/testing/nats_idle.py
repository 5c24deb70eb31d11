"""Many NATS connections which are logged in and then say nothing, and what a process takes to keep them."""

from __future__ import annotations

import contextlib
import re
import resource
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

from microd.testing import nats_wire as wire
from microd.testing.nats_wire import Ear

#: Connections which log in at once; fewer than a listener's backlog.
_BATCH = 50


def allow_files(count: int) -> None:
    """Let this process have so many files open, as far as it may.

    @raise OSError: it may not.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        if hard != resource.RLIM_INFINITY and hard < count:
            raise OSError(f"{count} open files are needed, and {hard} allowed: raise `ulimit -Hn`")
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


@contextlib.contextmanager
def idle_connections(
    address: str, count: int, *, subscriptions: int = 0, silent: bool = False, **options: object
) -> Iterator[Sequence[socket.socket]]:
    """Hold C{count} connections open, each of which has logged in, and is closed at the end.

    @param subscriptions: how many each has, to subjects of its own.
    @param silent: they do not even log in: nothing is said, and INFO is not read.
    @param options: what CONNECT says.
    """
    allow_files(count + 200)
    host, _, port = address.rpartition(":")
    where = (host.strip("[]"), int(port))
    with contextlib.ExitStack() as opened:
        made: list[socket.socket] = []
        while len(made) < count:
            some = [
                opened.enter_context(socket.create_connection(where, timeout=30))
                for _ in range(min(_BATCH, count - len(made)))
            ]
            if not silent:
                for number, connection in enumerate(some, len(made)):
                    connection.sendall(_opening(number, subscriptions, options))
                for connection in some:
                    _wait_for_pong(connection)
            made += some
        yield made


def resident_kib(pid: int) -> int:
    """The memory of a process which is resident now, from C{/proc}."""
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def _opening(number: int, subscriptions: int, options: dict[str, object]) -> bytes:
    subscribed = (wire.sub(f"idle.{number}.{each}", each) for each in range(subscriptions))
    return wire.connect(**options) + b"".join(subscribed) + wire.PING


def _wait_for_pong(connection: socket.socket) -> None:
    ear = Ear()
    while True:
        octets = connection.recv(65536)
        assert octets, "the server hung up"
        for heard in ear.feed(octets):
            if heard.verb == "PONG":
                return
            assert heard.verb in ("INFO", "+OK", "PING"), f"the server said {heard}"
