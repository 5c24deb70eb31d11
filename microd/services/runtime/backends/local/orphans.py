"""Finding processes by a mark in their environment, and ending them.

The last resort, for what outlived its keeper (see L{microd.services.runtime.backends.local.keeper}). Descendants inherit
the environment, whatever group or session they moved to; only one that cleared its own escapes.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

#: The variable which every process below the runtime has.
MARK = "MICRO_SERVICE_PROCESS"
#: A process may start another while we look; so we look again, at most so often.
_ROUNDS = 20


def marked(prefix: str) -> Iterator[int]:
    """The living processes of this user whose mark begins with C{prefix}."""
    wanted = f"{MARK}={prefix}".encode()
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                environ = b"\0" + file.read()
        except OSError:
            continue
        if b"\0" + wanted in environ and int(name) != os.getpid():
            yield int(name)


def end_marked(prefix: str) -> int:
    """Kill every process whose mark begins with C{prefix}; how many there were."""
    ended: set[int] = set()
    for _ in range(_ROUNDS):
        found = list(marked(prefix))
        if not found:
            break
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue
            ended.add(pid)
    return len(ended)
