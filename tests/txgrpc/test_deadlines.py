"""Many deadlines on one timer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from microd.txgrpc.deadlines import GRAIN, Deadlines


class Alarm:
    """Notes when it was told."""

    def __init__(self, clock: Clock, expires: float) -> None:
        self.clock = clock
        self.expires = expires
        self.told: list[float] = []

    def expired(self) -> None:
        self.told.append(self.clock.seconds())


def test_exact() -> None:
    """One deadline is told when it is due, not before."""
    clock = Clock()
    deadlines, alarm = Deadlines(clock), Alarm(clock, 0.07)
    deadlines.add(alarm)
    clock.advance(0.0699)
    assert alarm.told == []
    clock.advance(0.0001)
    assert alarm.told == [clock.seconds()]


def test_one_timer() -> None:
    """However many there are, the reactor has one timer."""
    clock = Clock()
    deadlines = Deadlines(clock)
    for n in range(100):
        deadlines.add(Alarm(clock, 10 - n / 20))
    assert len(clock.getDelayedCalls()) == 1


def test_removed() -> None:
    """What is discarded is not told."""
    clock = Clock()
    deadlines, alarm = Deadlines(clock), Alarm(clock, 1)
    deadlines.add(alarm).discard(alarm)
    clock.advance(2)
    assert alarm.told == []
    assert clock.getDelayedCalls() == []


def test_stopped() -> None:
    """After the end nothing is told, and no timer is left."""
    clock = Clock()
    deadlines, alarm = Deadlines(clock), Alarm(clock, 1)
    deadlines.add(alarm)
    deadlines.stop()
    assert clock.getDelayedCalls() == []
    clock.advance(2)
    assert alarm.told == []


@given(st.lists(st.floats(min_value=0.001, max_value=5), min_size=1, max_size=60))
def test_all_in_time(expiries: list[float]) -> None:
    """Each is told once, never early, and at most a grain and a tick late."""
    clock = Clock()
    deadlines = Deadlines(clock)
    alarms = [Alarm(clock, expires) for expires in expiries]
    for alarm in alarms:
        deadlines.add(alarm)
    clock.pump([0.001] * 5100)
    for alarm in alarms:
        (told,) = alarm.told
        assert alarm.expires <= told + 1e-9 <= alarm.expires + GRAIN + 0.0021
