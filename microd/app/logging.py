"""The daemon's log: a line for each event, for people or for programs, to where twistd was told to write.

Each line that belongs to a call bears the id of its trace, whoever said it; see L{microd.kernel.logformat} for the forms.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Protocol

from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
)
from zope.interface import implementer

from microd.kernel import trace
from microd.kernel.logformat import Format, record
from microd.txgrpc.call import CURRENT
from microd.txgrpc.tail import trace_of

#: Who speaks where no service is spoken of.
DAEMON = "microd"

#: The levels as journald counts them, where lines go there (sd-daemon(3)).
_PRIORITIES = {"debug": 7, "info": 6, "warn": 4, "error": 3, "fatal": 2}


class Out(Protocol):
    """Where lines go."""

    def write(self, text: str, /) -> object:
        """Write."""

    def flush(self) -> object:
        """Let others see it."""


@implementer(ILogObserver)
class Lines:
    """Writes events as lines.

    @param journal: the lines go to journald, which wants to know how important each is.
    """

    def __init__(self, out: Out, form: Format, *, journal: bool = False) -> None:
        self._out = out
        self._form = form
        self._journal = journal

    def __call__(self, event: LogEvent) -> None:
        """Write one event."""
        said = record(event, "" if "trace" in event else current_trace())
        # What a door says of a call is about the service that was called, by its own name.
        fields = dict(said.fields)
        service = str(fields.pop("service_", "")) or DAEMON
        line = self._form(said._replace(fields=fields), {"service": service})
        if self._journal:
            mark = f"<{_PRIORITIES.get(said.level, 6)}>"
            line = mark + line.replace("\n", f"\n{mark}")
        self._out.write(line + "\n")
        self._out.flush()


def observer(out: Out, level: LogLevel, form: Format, *, journal: bool = False) -> FilteringLogObserver:
    """Writes the events of C{level} and above."""
    return FilteringLogObserver(Lines(out, form, journal=journal), [LogLevelFilterPredicate(level)])


def current_trace() -> str:
    """The trace of the call in whose handler we are; empty outside of any."""
    call = CURRENT.get()
    if call is None:
        return trace.CURRENT.get()
    if call.tail:
        return trace_of(call.tail).decode()
    found = trace.read(call.head.metadata)
    return "" if found is None else found.id


def goes_to_journal(environ: Mapping[str, str], descriptor: int) -> bool:
    """Whether what is written to C{descriptor} goes to journald (systemd.exec(5), C{JOURNAL_STREAM})."""
    device, _, inode = environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return (device, inode) == (str(found.st_dev), str(found.st_ino))
