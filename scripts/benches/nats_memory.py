"""What a message of NATS costs us without sockets: nanoseconds of the processor for each case of bench_broker.

    PYTHONPATH=scripts .venv/bin/python -m benches.nats_memory

The publisher's bytes are fed to its session 64 KiB at a time, and what listeners are sent is counted and thrown away. What is printed is the best of several rounds, which a busy machine
disturbs least: this is for comparing two designs, not two servers.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from twisted.internet.task import Clock

from benches.bench_broker import CASES
from benches.nats_load import Load, buffers
from microd.gateways.nats.model import Admitted, Connect, Limits
from microd.gateways.nats.session import Exchange, Session
from microd.kernel.caller import Account
from microd.services.broker.service import Broker

_READ = 1 << 16
_ROUNDS = 7
_HELLO = b'CONNECT {"verbose":false,"pedantic":false,"headers":true}\r\n'


class Nowhere:
    """A transport which takes everything at once."""

    def write(self, data: bytes) -> None: ...

    def writeSequence(self, data: Iterable[bytes]) -> None: ...

    def loseConnection(self) -> None: ...

    def abortConnection(self) -> None: ...

    def pauseProducing(self) -> None: ...

    def resumeProducing(self) -> None: ...

    def registerProducer(self, producer: object, streaming: bool) -> None: ...

    def unregisterProducer(self) -> None: ...


class Place:
    """A broker and its connections."""

    def __init__(self) -> None:
        self.clock = Clock()
        self._exchange = Exchange(Broker())

    def client(self, *lines: str) -> Session:
        """Somebody who has come in and said this."""

        async def admit(said: Connect) -> Admitted:
            return Admitted(Account("bench", "service", "micro"))

        session = Session(
            self._exchange, Limits(), self.clock, info=lambda: b"{}", authenticate=admit, ended=lambda _: None
        )
        session.connected(Nowhere(), "nowhere")
        session.data_received(_HELLO + "".join(f"{line}\r\n" for line in lines).encode())
        return session


def cost(load: Load) -> float:
    """Nanoseconds that a message takes."""
    place = Place()
    queue = f" {load.queue}" if load.queue else ""
    for _ in range(load.listeners):
        place.client(*(f"SUB {pattern}{queue} 1" for pattern in load.patterns or ["bench.orders"]))
    publisher = place.client()
    made, _, each = buffers(load)
    said = b"".join(made)
    reads = [said[at : at + _READ] for at in range(0, len(said), _READ)]
    best = float("inf")
    for _ in range(_ROUNDS):
        begun = time.thread_time()
        for read in reads:
            publisher.data_received(read)
            while publisher.inbound.halted:
                place.clock.advance(0)
        best = min(best, time.thread_time() - begun)
    return best / (len(made) * each) * 1e9


def main() -> None:
    """Print them all."""
    more = {"nobody_listens": Load(patterns=("other",)), "100_listeners": Load(listeners=100)}
    for name, load in {**{name: load for name, (load, _) in CASES.items()}, **more}.items():
        print(f"{name:<20} {cost(load):>8,.0f} ns")


if __name__ == "__main__":
    main()
