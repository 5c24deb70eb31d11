"""The way out of one connection: order, bounds, and what is given back."""

from __future__ import annotations

from microd.gateways.nats.model import Limits
from microd.gateways.nats.outlet import Counts, Outlet
from microd.services.broker.subscription import Budget
from microd.testing.nats_peer import NatsTransport

KIB = 1 << 10


class Way:
    """An outlet and its far end."""

    def __init__(
        self, limits: Limits | None = None, budget: Budget | None = None, counts: Counts | None = None
    ) -> None:
        self.cut: list[bool] = []
        self.touched: list[Outlet] = []
        self.counts = counts or Counts()
        self.transport = NatsTransport()
        self.outlet = Outlet(limits or Limits(), self.counts, self.touched, self._slow)
        self.outlet.budget = budget
        self.outlet.open(self.transport)

    def _slow(self, cut: bool) -> None:
        self.cut.append(cut)
        if cut:
            self.outlet.close()

    def put(self, payload: bytes) -> None:
        self.outlet.put(b"MSG a 1 %d\r" % len(payload), payload + b"\r")
        self.outlet.flush()


def message(payload: bytes) -> bytes:
    return b"MSG a 1 %d\r\n%b\r\n" % (len(payload), payload)


def test_once_a_turn() -> None:
    """What gathers in a turn is sent together, in its order, and the outlet is to be flushed once."""
    way = Way()
    way.outlet.say(b"PONG")
    for _ in range(2):
        way.outlet.put(b"MSG a 1 1\r", b"x\r")
    assert way.touched == [way.outlet]
    assert way.transport.take() == b""
    way.outlet.flush()
    assert way.transport.take() == b"PONG\r\n" + message(b"x") * 2
    assert way.counts.out_messages == 2


def test_large_in_slices() -> None:
    """A large message reaches the transport as that takes it, before all that comes behind it, and counts once for all who wait."""
    budget = Budget(10_000 * KIB)
    ways = [Way(budget=budget) for _ in range(10)]
    large = b"%d" % 7 * 1000 * KIB
    head, piece = b"MSG a 1 %d\r" % len(large), large + b"\r"
    for way in ways:
        way.outlet.put(head, piece)
        way.outlet.flush()
        way.put(b"after")
        assert way.transport.unread <= 100 * KIB
    assert budget.used <= 1000 * KIB + 10 * 100 * KIB
    assert way.cut == []
    for way in ways:
        got = b""
        while octets := way.transport.take():
            got += octets
        assert got == message(large) + message(b"after")
    assert (budget.used, budget.shared, budget.behind) == (0, {}, {})


def test_given_back() -> None:
    """Whoever goes in the middle of a message gives back what was counted."""
    budget = Budget(10_000 * KIB)
    ways = [Way(budget=budget) for _ in range(3)]
    piece = b"x" * 1000 * KIB + b"\r"
    for way in ways:
        way.outlet.put(b"MSG a 1 1024000\r", piece)
        way.outlet.flush()
        way.put(b"y" * 50)
    for way in ways:
        assert budget.used > 1000 * KIB
        way.outlet.close()
    assert (budget.used, budget.shared, budget.behind) == (0, {}, {})


def test_longest_first() -> None:
    """Where the namespace has no room any more, those go who have not read for longest, and not who came behind just now."""
    budget, counts = Budget(300 * KIB), Counts()
    slow, quick = Way(budget=budget, counts=counts), Way(budget=budget, counts=counts)
    slow.put(b"x" * 100 * KIB)
    counts.in_messages += 1
    quick.put(b"y" * 100 * KIB)
    assert (slow.cut, quick.cut) == ([True], [])
    assert counts.slow == 1


def test_hang_up_behind_all() -> None:
    """It is hung up once everything is sent, the backlog too."""
    way = Way()
    way.put(b"x" * 100 * KIB)
    way.put(b"y")
    way.outlet.finish()
    assert not way.transport.disconnecting
    got = b""
    while octets := way.transport.take():
        got += octets
    assert got == message(b"x" * 100 * KIB) + message(b"y")
    assert way.transport.disconnecting
