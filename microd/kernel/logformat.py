"""Events of the log as lines: for people (text), for programs (json, logfmt); pure.

::

    text    2026-11-20 13:08:30 info greeted Ada trace_id=0af7651916cd43dd8448eb211c80319c
    json    {"ts":"2026-11-20T13:08:30.123Z","level":"info","service":"greeter","trace_id":"0af7...","msg":"greeted Ada","who":"Ada"}
    logfmt  ts=2026-11-20T13:08:30.123Z level=info service=greeter trace_id=0af7... msg="greeted Ada" who=Ada

In the forms for programs an event is one line, whatever is in it: an exception's traceback is its C{stack}, and what the
code said by name (C{log.info("greeted {who}", who=name)}) stands under that name. In text, whatever follows a line's end
is indented, so that nothing which is logged can pass for a line of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

import orjson
from twisted.logger import LogEvent, LogLevel, formatEvent

from microd.kernel.trace import exact_id

Plain = str | int | float | bool | None

#: Bytes of a line for programs; the runtime's log cuts longer ones in two.
LONGEST = 15 * 1024
#: How many named values a line shows, and characters of each.
MOST_FIELDS, LONGEST_FIELD = 32, 512
#: How many characters of the message and of the stack are kept; the next where a line is too long with the one before.
_CUTS = (8192, 4096, 2048, 512, 128)

#: What must not stand in a log, should a text ever contain it: tokens, and what follows these words.
_SECRETS = re.compile(
    r"(?i)((?:\b(?:authorization|cookie|set-cookie|micro-token)\b[\"']?\s*[:=]\s*[\"']?)(?:bearer\s+|basic\s+)?"
    r"|\b(?:bearer|basic)\s+)(?=[^\s\"',;]*\d)[^\s\"',;]{6,}"
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]+"
)

#: What Twisted itself puts into events; C{log_...} besides.
_TWISTED = ("format", "message", "time", "system", "isError", "failure", "why", "logLevel")
_SKIPPED = frozenset((*_TWISTED, "trace_id", "span_id"))
#: Names of ours; a value by such a name gets another C{_}.
_OURS = frozenset(("ts", "level", "service", "version", "logger", "msg", "stack"))
_NAMES = {LogLevel.critical: "fatal"}
_WORD = re.compile(r"[^\s\"=\x00-\x1f\x7f]+").fullmatch
_KEY = re.compile(r"[^\s\"=\x00-\x1f\x7f]{1,64}").fullmatch


class Record(NamedTuple):
    """One event.

    @ivar time: unix seconds.
    @ivar level: C{debug}, C{info}, C{warn}, C{error} or C{fatal}.
    @ivar logger: who said it, a dotted name.
    @ivar fields: what the code said by name.
    @ivar stack: the traceback of an exception; empty where there is none.
    @ivar trace: the trace of the call it was said in, and C{span} that call's own id; empty outside of any.
    @ivar named: people are shown the C{logger} too.
    """

    time: float
    level: str
    logger: str
    message: str
    fields: Mapping[str, Plain]
    stack: str = ""
    trace: str = ""
    span: str = ""
    named: bool = False


def record(event: LogEvent, trace: str = "", span: str = "") -> Record:
    """Read an event of Twisted's log, without what looks like a secret. One with C{log_named} is shown with its logger's name in text, too.

    @param trace: the trace it belongs to, and C{span}; else what the event has under C{trace_id} (or C{trace}, if it is an id)
        and C{span_id} counts.
    """
    level = event.get("log_level", LogLevel.info)
    failure = event.get("log_failure")
    message = redacted(formatEvent(event))
    trace = trace or str(event.get("trace_id", "")) or exact_id(str(event.get("trace", "")))
    return Record(
        float(event.get("log_time", 0.0)),
        _NAMES.get(level) or level.name,
        str(event.get("log_namespace", "")),
        message,
        {name: value for name, value in _fields(event).items() if value not in (message, trace)},
        "" if failure is None else redacted(failure.getTraceback().rstrip()),
        trace,
        span or str(event.get("span_id", "")),
        bool(event.get("log_named")),
    )


def text(record: Record, common: Mapping[str, str]) -> str:
    """A line for people; a stack follows it. C{common} is left out: whoever reads knows what."""
    when = datetime.fromtimestamp(record.time, UTC).strftime("%Y-%m-%d %H:%M:%S")
    said = f"{record.logger}: {record.message}" if record.named else record.message
    if record.stack:
        said = f"{said}\n{record.stack}"
    line, *more = said.splitlines() or [""]
    if record.trace:
        line = f"{line} trace_id={record.trace}"
    return _whole("\n    ".join([f"{when} {record.level} {line}", *more]))


def json(record: Record, common: Mapping[str, str]) -> str:
    """An object on one line.

    @param common: what stands in every line, such as the service.
    """
    return _fitting(
        record, common, lambda pairs: orjson.dumps(pairs, option=orjson.OPT_NON_STR_KEYS).decode()
    )


def logfmt(record: Record, common: Mapping[str, str]) -> str:
    """Pairs of name and value on one line."""
    return _fitting(
        record, common, lambda pairs: " ".join(f"{name}={_value(value)}" for name, value in pairs.items())
    )


Format = Callable[[Record, Mapping[str, str]], str]

#: The forms, as settings name them.
FORMATS: Mapping[str, Format] = {"text": text, "json": json, "logfmt": logfmt}


def redacted(text: str) -> str:
    """A text without what looks like a secret."""
    return _SECRETS.sub(lambda match: f"{match[1] or ''}[redacted]", text)


def moment(time: float) -> str:
    """Unix seconds as RFC 3339 writes them, in UTC."""
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _fields(event: LogEvent) -> dict[str, Plain]:
    found: dict[str, Plain] = {}
    for name, value in event.items():
        if name[:4] != "log_" and name not in _SKIPPED and len(found) < MOST_FIELDS and _KEY(name):
            if not isinstance(value, bool | int | float | None):
                value = redacted(_shortened(_said(value), LONGEST_FIELD))
            elif isinstance(value, int) and abs(value) >= 1 << 63:
                value = str(value)[:LONGEST_FIELD] if abs(value) < 1 << 1024 else "a huge number"
            found[f"{name}_" if name in _OURS else name] = value
    return found


def _said(value: object) -> str:
    """A value's text; an object's own failure to give one is no reason to lose the event."""
    try:
        return str(value)
    except Exception as problem:  # noqa: BLE001 - whatever the author's class does
        return f"(no text: {type(problem).__name__})"


def _fitting(record: Record, common: Mapping[str, str], written: Callable[[Mapping[str, Plain]], str]) -> str:
    line = ""
    for most in _CUTS:
        line = _clean(written(_pairs(record, common, most)))
        if len(line.encode()) <= LONGEST:
            return line
        record = record._replace(fields={})
    return line


def _pairs(record: Record, common: Mapping[str, str], most: int) -> dict[str, Plain]:
    pairs: dict[str, Plain] = {"ts": moment(record.time), "level": record.level, **common}
    if record.trace:
        pairs["trace_id"] = record.trace
    if record.span:
        pairs["span_id"] = record.span
    if record.logger:
        pairs["logger"] = _shortened(_whole(record.logger), LONGEST_FIELD)
    pairs["msg"] = _shortened(_whole(record.message), most)
    pairs.update(
        (name, _whole(value) if isinstance(value, str) else value) for name, value in record.fields.items()
    )
    if record.stack:
        # The end of a traceback tells most.
        pairs["stack"] = _whole(record.stack)[-most:]
    return pairs


def _whole(said: str) -> str:
    """Text that can be written as UTF-8."""
    return said.encode("utf-8", "backslashreplace").decode()


def _shortened(said: str, most: int) -> str:
    return said if len(said) <= most else said[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _value(value: Plain) -> str:
    if isinstance(value, str):
        return value if _WORD(value) else orjson.dumps(value).decode()
    return orjson.dumps(value).decode()


def _clean(line: str) -> str:
    """The few ends of lines that JSON lets stand as they are."""
    return line.replace("\x85", "\\u0085").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
