"""What this process takes: memory, threads, time for garbage collection."""

from __future__ import annotations

import gc
import os
import resource
import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from microd.kernel.activity import Activity

_PAGE = os.sysconf("SC_PAGE_SIZE")


class Statistics(NamedTuple):
    """How a service is doing; the names are those of the message C{debug.StatsResponse}, where the units are told."""

    timestamp: int
    started: int
    uptime: int
    memory: int
    threads: int
    gc: int
    requests: int
    errors: int


class Collections:
    """Measures the pauses for garbage collection, from L{begin} to L{end}.

    @ivar spent: nanoseconds so far.
    """

    def __init__(self, now: Callable[[], int] = time.perf_counter_ns) -> None:
        self._now = now
        self._began: int | None = None
        self.spent = 0

    def begin(self) -> None:
        """Measure from now on."""
        if self._told not in gc.callbacks:
            gc.callbacks.append(self._told)

    def end(self) -> None:
        """Measure no more."""
        if self._told in gc.callbacks:
            gc.callbacks.remove(self._told)

    def _told(self, phase: str, info: Mapping[str, int]) -> None:
        if phase == "start":
            self._began = self._now()
        elif self._began is not None:
            self.spent += self._now() - self._began
            self._began = None


class Vitals:
    """A process's own, from its start to its end.

    @ivar collections: to be begun with whatever runs, and ended with it.
    @param now: unix seconds.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._started = now()
        self.collections = Collections()

    def read(self, activity: Activity) -> Statistics:
        """How it is now, and what was asked of one service."""
        now = self._now()
        return Statistics(
            timestamp=int(now),
            started=int(self._started),
            uptime=max(0, int(now - self._started)),
            memory=memory(),
            threads=threading.active_count(),
            gc=self.collections.spent,
            requests=activity.requests,
            errors=activity.errors,
        )


def memory() -> int:
    """Bytes in the process's resident set; where that is not told, the most there have been."""
    try:
        with open("/proc/self/statm", "rb") as told:
            return int(told.read().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
