"""The last lines of a log, in memory: bounded in number and in bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice
from sys import getsizeof
from threading import Lock

from microd.kernel.logformat import Record, moment

#: How many records are kept, and how many bytes of them, roughly.
KEPT, KEPT_BYTES = 1024, 1 << 20
#: Characters of one record's message and stack.
LONGEST = 8192


class Recent:
    """The newest records; threads may write."""

    def __init__(self, most: int = KEPT, most_bytes: int = KEPT_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._kept: deque[tuple[int, Record]] = deque()
        self._bytes = 0
        self._lock = Lock()

    def add(self, record: Record) -> None:
        """Keep a record, and forget the oldest where they become too many."""
        record = _bounded(record)
        size = _size(record)
        with self._lock:
            self._kept.append((size, record))
            self._bytes += size
            while len(self._kept) > self._most or self._bytes > self._most_bytes:
                self._bytes -= self._kept.popleft()[0]

    def read(
        self, count: int = 0, since: float = 0.0, wanted: Callable[[Record], bool] = lambda record: True
    ) -> list[Record]:
        """The newest, the oldest of them first.

        @param count: at most so many; 0 for all.
        @param since: unix seconds; nothing older.
        """
        with self._lock:
            kept = [record for _, record in reversed(self._kept)]
        found = (record for record in kept if record.time >= since and wanted(record))
        newest = list(islice(found, count)) if count else list(found)
        newest.reverse()
        return newest


def metadata_of(record: Record) -> dict[str, str]:
    """What is told of a record beside its message: the map of the message C{debug.Record}."""
    told = {name: "" if value is None else str(value) for name, value in record.fields.items()}
    told |= {
        "level": record.level,
        "logger": record.logger,
        "trace_id": record.trace,
        "span_id": record.span,
        "stack": record.stack,
        "time": moment(record.time),
    }
    return {name: value for name, value in told.items() if value}


def _bounded(record: Record) -> Record:
    if len(record.message) > LONGEST or len(record.stack) > LONGEST:
        return record._replace(message=record.message[:LONGEST], stack=record.stack[-LONGEST:])
    return record


def _size(record: Record) -> int:
    texts = [record.message, record.stack, record.logger, record.trace, record.span]
    for name, value in record.fields.items():
        texts += [name, value] if isinstance(value, str) else [name]
    return 400 + sum(map(getsizeof, texts))
