"""A service's log: lines on standard output, for the runtime to keep, for a person or a program to read."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any, TextIO

from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel
from twisted.python.failure import Failure
from zope.interface import implementer

from microd.framework.context import current_call
from microd.kernel.logformat import FORMATS, Format, record
from microd.kernel.recent import Recent

_LEVELS = {
    "trace": LogLevel.debug,
    "debug": LogLevel.debug,
    "info": LogLevel.info,
    "warn": LogLevel.warn,
    "error": LogLevel.error,
    "fatal": LogLevel.critical,
}
_ORDER = {level: place for place, level in enumerate(LogLevel.iterconstants())}
#: What a library cannot say by name, as it is Twisted's.
_TAKEN = frozenset(("level", "format", "self"))
#: What the reactor says of itself, which interests nobody who reads a service's log.
_CHATTER = re.compile(r"\S+ starting on \S+|\(\S+ Port \S+ Closed\)|Main loop terminated\.|Received SIG\w+.*")
#: What every record of C{logging} has; anything else was given by name, with C{extra}.
_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def level_of(word: str) -> object:
    """The least level that is shown, from C{MICRO_LOG_LEVEL}; info where it says nothing known."""
    return _LEVELS.get(word.lower(), LogLevel.info)


def format_of(word: str) -> Format:
    """How lines look, from C{MICRO_LOG_FORMAT}: text, json or logfmt; text where it says nothing known."""
    return FORMATS.get(word.lower(), FORMATS["text"])


@implementer(ILogObserver)
class Lines:
    """Writes events of a level and above as lines, and keeps the newest; each bears the trace of the call that it was said in.

    @param form: how a line looks.
    @param common: what each line says of the service, in the forms for programs.
    """

    def __init__(
        self, out: TextIO, least: object, form: Format, common: Mapping[str, str], recent: Recent
    ) -> None:
        self._out = out
        self._least = _ORDER[least]
        self._form = form
        self._common = common
        self._recent = recent

    def __call__(self, event: LogEvent) -> None:
        """Write one event."""
        level = event.get("log_level", LogLevel.info)
        if _ORDER[level] < self._least:
            return
        call = current_call()
        said = record(event) if call is None else record(event, call.trace_id, call.span_id)
        if level is LogLevel.info and _CHATTER.fullmatch(said.message):
            return
        self._recent.add(said)
        self._out.write(self._form(said, self._common) + "\n")


class StandardLibrary(logging.Handler):
    """Passes on what is said to Python's own C{logging}, by libraries and by authors who like it better."""

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on."""
        if record.levelno >= logging.CRITICAL:
            level = LogLevel.critical
        elif record.levelno >= logging.ERROR:
            level = LogLevel.error
        elif record.levelno >= logging.WARNING:
            level = LogLevel.warn
        else:
            level = LogLevel.info if record.levelno >= logging.INFO else LogLevel.debug
        named: dict[str, Any] = {
            name: value for name, value in vars(record).items() if name not in _USUAL and name not in _TAKEN
        }
        if record.exc_info and record.exc_info[1] is not None:
            kind, problem, trace = record.exc_info
            named["log_failure"] = Failure(problem, kind, trace)
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 - as logging's own handlers do: the defect is told, and harms nobody
            self.handleError(record)
            return
        Logger(record.name).emit(level, "{log_said}", log_said=text, log_named=True, **named)
