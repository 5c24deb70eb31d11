"""A bound on what code under test may cost."""

import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def bounded(octets: int, seconds: float = 5.0) -> Iterator[None]:
    """What happens inside takes no more memory at its worst, and no more time of the processor."""
    tracemalloc.start()
    began = time.process_time()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    spent = time.process_time() - began
    assert peak < octets, f"{peak:,} octets were held"
    assert spent < seconds, f"{spent:.1f} s were spent"
