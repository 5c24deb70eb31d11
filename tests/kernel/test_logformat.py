"""Events of the log as lines."""

from __future__ import annotations

import json
from typing import Any

import pytest
from twisted.logger import LogEvent, LogLevel
from twisted.python.failure import Failure

from microd.kernel.logformat import FORMATS, LONGEST, Record, record

COMMON = {"service": "greeter", "version": "v1"}


def event(text: str, **named: Any) -> LogEvent:
    """What somebody logs."""
    return {
        "log_time": 1700000000.25,
        "log_level": LogLevel.info,
        "log_namespace": "shop.cart",
        "log_format": text,
    } | named


def failure() -> Failure:
    """Something that went wrong."""
    try:
        raise ZeroDivisionError("by nothing")
    except ZeroDivisionError:
        return Failure()


def pairs(read: Record) -> Any:
    """What the form C{json} says."""
    line = FORMATS["json"](read, COMMON)
    assert len(line.splitlines()) == 1
    return json.loads(line)


def test_text() -> None:
    """For people: when, how bad, what, and in which trace."""
    said = record(event("greeted {who}", who="Ada"), "0af7")
    assert FORMATS["text"](said, COMMON) == "2023-11-14 22:13:20 info greeted Ada trace_id=0af7"


def test_text_keeps_lines_apart() -> None:
    """What follows a line's end is indented: nobody's name can look like a line of the log."""
    said = record(event("greeted {who}", who="Ada\n2023-11-14 22:13:20 fatal fire"))
    assert FORMATS["text"](said, COMMON).splitlines()[1] == "    2023-11-14 22:13:20 fatal fire"


@pytest.mark.parametrize("form", FORMATS)
def test_half_characters(form: str) -> None:
    """What is no character, such as half a surrogate pair, loses no line: each can be written as UTF-8."""
    line = FORMATS[form](record(event("boom \ud800")), COMMON)
    assert b"boom" in line.encode()


def test_json() -> None:
    """For programs: flat, with what was said by name under that name, and numbers as numbers."""
    said = record(event("greeted {who}", who="Ada", took=0.5, whom=["x"]), "0af7", "00f0")
    assert pairs(said) == {
        "ts": "2023-11-14T22:13:20.250Z",
        "level": "info",
        "service": "greeter",
        "version": "v1",
        "trace_id": "0af7",
        "span_id": "00f0",
        "logger": "shop.cart",
        "msg": "greeted Ada",
        "who": "Ada",
        "took": 0.5,
        "whom": "['x']",
    }


def test_logfmt() -> None:
    """In logfmt a value is quoted where it must be."""
    said = record(event("greeted {who}\nagain", who='A "d" a', took=2, well=True))
    assert FORMATS["logfmt"](said, {}) == (
        'ts=2023-11-14T22:13:20.250Z level=info logger=shop.cart msg="greeted A \\"d\\" a\\nagain" '
        'who="A \\"d\\" a" took=2 well=true'
    )


@pytest.mark.parametrize("form", ["json", "logfmt"])
def test_exception(form: str) -> None:
    """An exception is one line, traceback and all."""
    said = record(event("it failed", log_failure=failure(), log_level=LogLevel.critical))
    line = FORMATS[form](said, COMMON)
    assert len(line.splitlines()) == 1
    assert said.level == "fatal"
    assert "by nothing" in line
    assert "Traceback" in line


def test_our_names() -> None:
    """What the code calls like one of our own names does not take its place."""
    assert pairs(record(event("x", msg="y", ts=1)))["msg"] == "x"
    assert pairs(record(event("x", msg="y", ts=1)))["msg_"] == "y"


@pytest.mark.parametrize("form", ["json", "logfmt"])
@pytest.mark.parametrize("text", ["\x01", "x", "\N{SNOWMAN}", "\n", "\u2028"])
def test_long(form: str, text: str) -> None:
    """However much is said, a line for programs stays one, and short enough for the runtime's log."""
    said = record(event("{what}", what=text * 100_000, **{f"f{n}": text * 600 for n in range(99)}))
    line = FORMATS[form](said._replace(stack=text * 100_000), COMMON)
    assert len(line.encode()) <= LONGEST
    assert len(line.splitlines()) == 1


def test_no_text() -> None:
    """Neither an object without a text nor half a character loses the event."""

    class Mute:
        def __str__(self) -> str:
            raise ValueError("mute")

    found = pairs(record(event("said", what=Mute(), half="\udc80", huge=1 << 5000)))
    assert (found["what"], found["half"], found["huge"]) == (
        "(no text: ValueError)",
        "\\udc80",
        "a huge number",
    )


def test_named_trace() -> None:
    """Who logs for another may name the trace; a value which is all of the message is not said twice."""
    said = record(event("{sentence}", sentence="all is well", trace_id="0af7", span_id="00f0"))
    assert (said.trace, said.span, said.fields) == ("0af7", "00f0", {})
    known = record(event("asked", trace="0AF76519-16cd-43dd-8448-eb211c80319c"))
    assert known.trace == "0af7651916cd43dd8448eb211c80319c"
    other = record(event("drawn", trace="a curve"))
    assert (other.trace, other.fields) == ("", {"trace": "a curve"})
