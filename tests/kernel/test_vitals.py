"""What a process takes."""

from __future__ import annotations

import gc
from itertools import count

from microd.kernel.activity import Activity
from microd.kernel.vitals import Collections, Vitals


def test_collections() -> None:
    """The pauses are counted from the beginning to the end, and no longer."""
    ticks = count(step=10)
    collections = Collections(lambda: next(ticks))
    collections.begin()
    collections.begin()
    try:
        gc.collect()
    finally:
        collections.end()
    spent = collections.spent
    assert spent >= 10
    gc.collect()
    assert collections.spent == spent


def test_uptime() -> None:
    """Uptime is counted from the start, and never negative, whatever the clock does."""
    now = [1000.9]
    vitals = Vitals(lambda: now[0])
    now[0] = 1010.0
    assert vitals.read(Activity(lambda kept: ()))[:3] == (1010, 1000, 9)
    now[0] = 900.0
    assert vitals.read(Activity(lambda kept: ())).uptime == 0
