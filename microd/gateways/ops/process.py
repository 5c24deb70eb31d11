"""The figures which Prometheus' own libraries give of a process, under the names that dashboards know."""

from __future__ import annotations

import gc
import os
import platform
import resource
import time
from collections.abc import Iterator
from pathlib import Path

from microd import __version__
from microd.kernel.health import Figure, counter, gauge

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc/self")


def figures() -> Iterator[Figure]:
    """Of this process, as it is now. What the system does not tell is left out."""
    labels = {"version": __version__, "python": platform.python_version()}
    yield Figure("microd_build_info", "What runs; always 1.", "gauge", [(labels, 1)])
    usage = resource.getrusage(resource.RUSAGE_SELF)
    yield counter("process_cpu_seconds_total", "CPU time.", usage.ru_utime + usage.ru_stime)
    try:
        size, resident = (_PROC / "statm").read_text().split()[:2]
        yield gauge("process_virtual_memory_bytes", "Virtual memory.", int(size) * _PAGE)
        yield gauge("process_resident_memory_bytes", "Resident memory.", int(resident) * _PAGE)
        yield gauge("process_start_time_seconds", "Start, as unix time.", _started())
        yield gauge("process_open_fds", "Open file descriptors.", len(os.listdir(_PROC / "fd")))
    except (OSError, ValueError, IndexError):
        pass
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield gauge("process_max_fds", "Most file descriptors.", most)
    collections = [
        ({"generation": str(number)}, each["collections"]) for number, each in enumerate(gc.get_stats())
    ]
    yield Figure("python_gc_collections_total", "Garbage collections.", "counter", collections)


def _started() -> float:
    """Unix time; the kernel tells it in ticks since the system's start (proc(5), field 22 of stat)."""
    since_boot = int((_PROC / "stat").read_text().rpartition(")")[2].split()[19]) / _TICKS
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + since_boot
