"""The reactor's pulse."""

from __future__ import annotations

from itertools import pairwise

import pytest
from twisted.internet.task import Clock

from microd.gateways.ops.pulse import Pulse, watchdog


def beats(pulse: Pulse) -> int:
    return sum(pulse.lag.counts)


def test_lag() -> None:
    """A beat that something kept waiting counts with the time that it was late."""
    clock = Clock()
    pulse = Pulse(clock, lambda: None, {}, 1)
    pulse.startService()
    clock.pump([0.5] * 4)
    assert (beats(pulse), pulse.lag.total) == (4, 0.0)
    clock.advance(2.5)
    assert (beats(pulse), pulse.lag.total) == (5, 2.0)
    pulse.stopService()
    assert not clock.getDelayedCalls()


def test_no_watchdog() -> None:
    """Where systemd does not watch, it is told nothing."""
    told: list[None] = []
    clock = Clock()
    Pulse(clock, lambda: told.append(None), {}, 1).startService()
    clock.pump([0.5] * 100)
    assert not told


@pytest.mark.parametrize("usec", [200_000, 3_000_000, 30_000_000])
def test_watchdog(usec: int) -> None:
    """systemd hears from a turning reactor well within the time that it waits, and not all the time."""
    told: list[float] = []
    clock = Clock()
    Pulse(clock, lambda: told.append(clock.seconds()), {"WATCHDOG_USEC": str(usec)}, 1).startService()
    clock.pump([0.05] * 2000)
    gaps = [late - early for early, late in pairwise(told)]
    assert told[0] == 0.0
    assert max(gaps) <= usec / 1e6 * 0.75
    assert min(gaps) >= usec / 1e6 * 0.25


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
    ],
)
def test_watched(environ: dict[str, str], seconds: float) -> None:
    """systemd says whom it watches, and how long it waits."""
    assert watchdog(environ, 7) == seconds
