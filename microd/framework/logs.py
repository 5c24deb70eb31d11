"""A service's log: lines on standard output, for the runtime to keep and for a person to read."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime
from typing import TextIO

from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, formatEvent
from zope.interface import implementer

_LEVELS = {
    "trace": LogLevel.debug,
    "debug": LogLevel.debug,
    "info": LogLevel.info,
    "warn": LogLevel.warn,
    "error": LogLevel.error,
    "fatal": LogLevel.critical,
}
_ORDER = {level: place for place, level in enumerate(LogLevel.iterconstants())}
#: What the reactor says of itself, which interests nobody who reads a service's log.
_CHATTER = re.compile(r"\S+ starting on \S+|\(\S+ Port \S+ Closed\)|Main loop terminated\.|Received SIG\w+.*")
_NAMES = {LogLevel.warn: "warn", LogLevel.critical: "fatal"}


def level_of(word: str) -> object:
    """The least level that is shown, from C{MICRO_LOG_LEVEL}; info where it says nothing known."""
    return _LEVELS.get(word.lower(), LogLevel.info)


@implementer(ILogObserver)
class Lines:
    """Writes events of a level and above as lines: time, level, text, and a traceback where there is one."""

    def __init__(self, out: TextIO, least: object) -> None:
        self._out = out
        self._least = _ORDER[least]

    def __call__(self, event: LogEvent) -> None:
        """Write one event."""
        level = event.get("log_level", LogLevel.info)
        if _ORDER[level] < self._least:
            return
        text = formatEvent(event)
        if level is LogLevel.info and _CHATTER.fullmatch(text):
            return
        when = datetime.fromtimestamp(event["log_time"], UTC).strftime("%Y-%m-%d %H:%M:%S")
        failure = event.get("log_failure")
        if failure is not None:
            text = f"{text}\n{failure.getTraceback()}".rstrip()
        self._out.write(f"{when} {_NAMES.get(level, level.name)} {text}\n")


class StandardLibrary(logging.Handler):
    """Passes on what libraries say to Python's own C{logging}."""

    _log = Logger()

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on."""
        if record.levelno >= logging.ERROR:
            level = LogLevel.error
        elif record.levelno >= logging.WARNING:
            level = LogLevel.warn
        else:
            level = LogLevel.info if record.levelno >= logging.INFO else LogLevel.debug
        self._log.emit(level, "{name}: {text}", name=record.name, text=self.format(record))
