"""How many files the process may have open: each connection is one."""

from __future__ import annotations

import contextlib
import resource

#: Beyond this, tables of the kernel for nothing.
MOST = 1 << 20


def allow_files() -> None:
    """Have as many open as the system lets this process have; what it begins with is often 1,024, for programs of old."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
