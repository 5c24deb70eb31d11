"""What a part of the daemon tells of itself: whether it is well, and what it has counted.

A part keeps plain numbers, since they are counted on hot paths, and is asked only when somebody looks::

    def ill(self) -> str | None:            a Reason: one sentence, or None where all is well
        return self.failure or None

    def figures(self) -> Iterable[Figure]:  Figures
        yield Figure("microd_store_commits_total", "Commits to disk.", "counter", [({"store": "system"}, self.commits)])

Names and units are those of Prometheus: base units, C{_total} at the end of counters. Values of labels come from a set
that is known beforehand or bounded; what strangers ask for never becomes one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

#: Why a part is not well, in one sentence; None or "": it is.
Reason = Callable[[], str | None]

#: Seconds: from what a call in this process takes to what nobody waits for.
SECONDS = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
)


class Spread:
    """How measurements spread over ranges; C{add} takes a fifth of a microsecond.

    @ivar bounds: the upper ends of the ranges; one more has no end.
    @ivar counts: how many fell into each.
    @ivar total: the sum of all.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count one."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


#: A sample: its labels, and the value.
Sample = tuple[Mapping[str, str], float | Spread]


class Figure(NamedTuple):
    """Something that is counted or measured, as it is now.

    @ivar kind: where it is C{histogram}, the samples are L{Spread}s; else they are numbers.
    """

    name: str
    help: str
    kind: Literal["counter", "gauge", "histogram"]
    samples: Sequence[Sample]


Figures = Callable[[], Iterable[Figure]]


def counter(name: str, help: str, value: float, **labels: str) -> Figure:
    """A counter with one sample."""
    return Figure(name, help, "counter", [(labels, value)])


def gauge(name: str, help: str, value: float, **labels: str) -> Figure:
    """A gauge with one sample."""
    return Figure(name, help, "gauge", [(labels, value)])
