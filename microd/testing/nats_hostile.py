"""Clients of a NATS door which do harm: what they cost it, and the others, is for tests and benches to say.

Each has a sentence of its own; none of them ever waits for the server. In a process of its own one is run as

    python -m microd.testing.nats_hostile NAME HOST:PORT [USER SECRET]

which prints a line when it is ready, waits for one, begins, prints another, and goes on until its input ends.
"""

from __future__ import annotations

import contextlib
import select
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from microd.testing import nats_wire as wire
from microd.testing.nats_client import RawNats
from microd.testing.nats_idle import allow_files, idle_connections

#: What the well-behaved publish to while hostile clients listen.
LOAD = "load.a"


class Hostile(ABC):
    """One kind of harm; a context manager which ends it.

    @cvar pause: seconds between two steps which keep it going.
    @ivar steps: how many were done.
    """

    pause: ClassVar[float] = 1.0

    def __init__(self, address: str, options: Mapping[str, Any]) -> None:
        self._address = address
        self._options = options
        self._open = contextlib.ExitStack()
        self.steps = 0

    def __enter__(self) -> Hostile:
        with self._open as opened:
            self.begin()
            self._open = opened.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._open.close()

    @abstractmethod
    def begin(self) -> None:
        """Connect, and do what is done once."""

    def step(self) -> None:
        """Do what is done again and again; must not wait."""
        self.steps += 1

    def client(self, *, login: bool = True, receive_buffer: int | None = None) -> RawNats:
        """Another connection, which is closed at the end."""
        made = self._open.enter_context(RawNats(self._address, receive_buffer=receive_buffer))
        return made.login(**self._options) if login else made


class _Deaf(Hostile):
    """Subscribes to what others publish."""

    def begin(self) -> None:
        self.reader = self.client(receive_buffer=2048)
        self.reader.send(wire.sub("load.>", 1))
        self.reader.flush()


class NeverReads(_Deaf):
    """A subscriber which never reads."""


class Sips(_Deaf):
    """A subscriber which reads an octet a second."""

    def step(self) -> None:
        self.reader.sip(1)


class _Again(Hostile):
    """One whose connections the server ends, and which comes back at once."""

    pause = 0.2

    def begin(self) -> None:
        self.step()

    def step(self) -> None:
        with contextlib.suppress(AssertionError, OSError), RawNats(self._address, limit=2) as client:
            client.login(**self._options)
            self.harm(client)

    @abstractmethod
    def harm(self, client: RawNats) -> None:
        """What each connection is for."""


class HugeSubjects(_Again):
    """Subjects of 1 MiB, subscribed and published to."""

    def harm(self, client: RawNats) -> None:
        subject = b"a" * (1 << 20)
        client.push(wire.sub(subject, 1))
        client.push(wire.pub(subject, b"x"))


class ManySubscriptions(Hostile):
    """100,000 subscriptions on one connection."""

    count: ClassVar[int] = 100_000

    def begin(self) -> None:
        client = self.client()
        client.send(
            b"".join(wire.sub(f"many.{number % 1000}.{number}", number) for number in range(self.count))
        )
        client.flush()


class LyingLengths(_Again):
    """PUB which lies about its length: more than comes, less than comes, none that can be."""

    _lies = (
        wire.pub("lie", b"short", size=1 << 20),
        wire.pub("lie", b"long" * 1000, size=3),
        wire.pub("lie", b"", size=-1),
        wire.pub("lie", b"", size=1 << 62),
        wire.hpub("lie", wire.headers(A="b"), b"", size=(1 << 20, 4)),
        b"PUB lie 99999999999999999999999999999999\r\n",
        b"PUB lie 0x10\r\nx\r\n",
    )

    def harm(self, client: RawNats) -> None:
        client.push(self._lies[0])
        for lie in self._lies[1:]:
            with contextlib.suppress(AssertionError, OSError), RawNats(self._address, limit=2) as other:
                other.login(**self._options).push(lie)


class NeverFinishes(Hostile):
    """100 publishers, each of which stops an octet before the end of the largest payload."""

    pause = 3600.0
    count: ClassVar[int] = 100

    def begin(self) -> None:
        for _ in range(self.count):
            client = self.client()
            most = client.info["max_payload"]
            client.send(wire.pub("lie", b"x" * most)[:-3])


class EndlessLine(Hostile):
    """A control line which has no end."""

    def begin(self) -> None:
        self._writer = self.client()
        self._writer.push(b"SUB ")

    def step(self) -> None:
        with contextlib.suppress(OSError):
            self._writer.push(b"a" * 100_000)


class SilentCrowd(Hostile):
    """1,000 connections which say nothing, and come again when they are sent away."""

    count: ClassVar[int] = 1000

    def begin(self) -> None:
        allow_files(self.count + 200)
        self._open.enter_context(idle_connections(self._address, self.count, silent=True))

    def step(self) -> None:
        self._open.enter_context(idle_connections(self._address, 20, silent=True))


class Flood(Hostile):
    """A publisher at full speed, of subjects which nobody hears."""

    pause = 0.0

    def begin(self) -> None:
        self._writer = self.client()
        self._load = wire.pub("flood.a", b"x" * 128) * 500
        self._rest = b""

    def step(self) -> None:
        self._rest = self._rest or self._load
        self._rest = self._rest[self._writer.push(self._rest) :]


class Churn(Hostile):
    """Subscribes to a thousand subjects and ends that again, all the time."""

    pause = 0.02

    def begin(self) -> None:
        self._writer = self.client()
        self._turn = b"".join(wire.sub(f"churn.{each}.*", each) + wire.unsub(each) for each in range(200))
        self._rest = b""

    def step(self) -> None:
        self._rest = self._rest or self._turn
        self._rest = self._rest[self._writer.push(self._rest) :]


class WildcardBomb(Hostile):
    """All the wildcards that a subject of eight tokens matches, and a stream of ever other subjects of that kind."""

    pause = 0.02

    def begin(self) -> None:
        self._writer = self.client()
        patterns = [
            ".".join("*" if number & (1 << bit) else "a" for bit in range(8)) for number in range(256)
        ]
        patterns += [".".join(["*"] * depth) + ".>" for depth in range(1, 8)]
        self._writer.send(*(wire.sub(pattern, sid, "one") for sid, pattern in enumerate(patterns)))
        self._writer.flush()

    def step(self) -> None:
        super().step()
        self._writer.push(wire.pub("a.a.a.a.a.a.a." + "ab"[self.steps % 2], b"x"))
        self._writer.sip(1 << 18)


class DeepSubjects(Hostile):
    """Subjects of a thousand tokens and more, each of them another one."""

    pause = 0.02

    def begin(self) -> None:
        self._writer = self.client()
        self._writer.send(wire.sub(".".join(["*"] * 1500), 1), wire.sub("a." * 1500 + ">", 2))
        self._writer.send(wire.sub(">", 3), wire.unsub(3))
        self._writer.flush()

    def step(self) -> None:
        super().step()
        self._writer.push(wire.pub("a." * 1500 + str(self.steps), b"x"))
        self._writer.sip(1 << 18)


class QueueCrowd(Hostile):
    """3,000 members of one queue on one connection, which reads nothing."""

    pause = 3600.0
    count: ClassVar[int] = 3000

    def begin(self) -> None:
        self._reader = self.client(receive_buffer=2048)
        self._reader.send(*(wire.sub(LOAD, sid, "crowd") for sid in range(self.count)))
        self._reader.flush()


class PingFlood(Hostile):
    """PINGs without end, whose PONGs are never read."""

    pause = 0.01

    def begin(self) -> None:
        self._writer = self.client(receive_buffer=2048)

    def step(self) -> None:
        with contextlib.suppress(OSError):
            self._writer.push(wire.PING * 1000)


#: Every kind, by the name it has on the command line.
KINDS: Mapping[str, type[Hostile]] = {
    "never-reads": NeverReads,
    "octet-a-second": Sips,
    "huge-subjects": HugeSubjects,
    "many-subscriptions": ManySubscriptions,
    "lying-lengths": LyingLengths,
    "never-finishes": NeverFinishes,
    "endless-line": EndlessLine,
    "silent-crowd": SilentCrowd,
    "flood": Flood,
    "churn": Churn,
    "wildcard-bomb": WildcardBomb,
    "deep-subjects": DeepSubjects,
    "queue-crowd": QueueCrowd,
    "ping-flood": PingFlood,
}


def main(argv: list[str]) -> None:
    """Do harm until standard input ends."""
    name, address, *credentials = argv
    options = dict(zip(("user", "pass"), credentials, strict=False))
    print(f"{name} is ready", flush=True)
    if not sys.stdin.readline():
        return
    with KINDS[name](address, options) as hostile:
        print(f"{name} has begun", flush=True)
        while not select.select([sys.stdin], [], [], hostile.pause)[0]:
            hostile.step()


if __name__ == "__main__":
    main(sys.argv[1:])
