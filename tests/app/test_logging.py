"""The daemon's log."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock
from twisted.logger import Logger, LogLevel, LogPublisher
from twisted.python.failure import Failure

from microd.app.logging import goes_to_journal, observer
from microd.gateways.tally import Ended, Tally
from microd.kernel import trace
from microd.kernel.caller import Account
from microd.kernel.logformat import FORMATS, redacted
from microd.txgrpc import GrpcServer, Method, ServerCall, tail
from microd.txgrpc.memory import connect

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALL = Ended(TRACE, "greeter", "Greeter.Hello", Account("ada", "user", "acme"), "acme", "500", 0.25, "oops")


class Log:
    """A log in memory, and something to say things to it."""

    def __init__(self, form: str = "json", level: LogLevel = LogLevel.info, **options: Any) -> None:
        self.out = io.StringIO()
        self.publisher = LogPublisher(observer(self.out, level, FORMATS[form], **options))
        self.logger = Logger("microd.test", observer=self.publisher)

    @property
    def text(self) -> str:
        """All that was written."""
        return self.out.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """It, as JSON."""
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Log:
    """A log which hears what doors say of calls."""
    log = Log()
    monkeypatch.setattr("microd.gateways.tally._log", log.logger)
    return log


def test_call(said: Log) -> None:
    """A line about a call says which, whose, where, how it ended and how long it took, each by name."""
    Tally("api", lambda: 0.0).say(CALL, LogLevel.warn)
    (line,) = said.lines
    assert {
        name: line[name] for name in ("level", "trace_id", "service", "endpoint", "account", "namespace")
    } == {
        "level": "warn",
        "trace_id": TRACE,
        "service": "greeter",
        "endpoint": "Greeter.Hello",
        "account": "acme/ada",
        "namespace": "acme",
    }
    assert (line["code"], line["duration"], line["error"], line["door"]) == ("500", 0.25, "oops", "api")
    assert "service_" not in line


def test_defect(said: Log) -> None:
    """A defect's traceback is in the line with the call's id."""
    try:
        raise KeyError("deep")
    except KeyError:
        failure = Failure()
    Tally("api", lambda: 0.0).say(CALL, None, failure)
    (line,) = said.lines
    assert line["level"] == "error"
    assert line["trace_id"] == TRACE
    assert "KeyError" in line["stack"]


def test_daemon() -> None:
    """What is about no call is the daemon's."""
    log = Log()
    log.logger.info("hello {who}", who="world")
    (line,) = log.lines
    assert (line["service"], line["msg"], line["who"]) == ("microd", "hello world", "world")
    assert "trace_id" not in line


def test_level() -> None:
    """What is less important than asked for is left out."""
    log = Log(level=LogLevel.warn)
    log.logger.info("no")
    log.logger.warn("yes")
    assert [line["msg"] for line in log.lines] == ["yes"]


def test_forms() -> None:
    """The same event as text and as logfmt; text goes on, indented, where it has more lines."""
    for form, words in (("text", "info one\n    two\n"), ("logfmt", 'msg="one\\ntwo"')):
        log = Log(form)
        log.logger.info("one\ntwo")
        assert words in log.text


def test_handler() -> None:
    """What is said in the handler of a call bears the id of the call's trace, after it has waited as well."""
    log = Log()
    waiting: Deferred[None] = Deferred()

    async def handler(request: bytes, call: ServerCall) -> bytes:
        log.logger.info("before")
        await waiting
        log.logger.info("after")
        return b""

    clock = Clock()
    channel = connect(GrpcServer({"/a.A/B": Method("unary_unary", handler)}, clock=clock), clock)
    sent = tail.begin()
    channel.unary_unary("/a.A/B")(b"", tail=sent)
    channel.unary_unary("/a.A/B")(b"", metadata=[("traceparent", f"00-{TRACE}-{TRACE[16:]}-01")])
    log.logger.info("outside")
    waiting.callback(None)
    first = tail.trace_of(sent).decode()
    assert [(line["msg"], line.get("trace_id")) for line in log.lines] == [
        ("before", first),
        ("before", TRACE),
        ("outside", None),
        ("after", first),
        ("after", TRACE),
    ]


def test_http_handler() -> None:
    """So does what is said for an HTTP request, whose door sets the trace."""
    log = Log()

    async def handle() -> None:
        trace.CURRENT.set(TRACE)
        log.logger.info("inside")

    ensureDeferred(handle())
    assert log.lines[0]["trace_id"] == TRACE


@pytest.mark.parametrize(
    "secret",
    [
        "Authorization: Bearer s3cret-s3cret",
        "bearer s3cret-s3cret",
        "{'authorization': 's3cret-s3cret'}",
        "Cookie: micro-token=s3cret-s3cret",
        "got eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhZGEi.s3cret-s3cret here",
        "Basic s3crets3cret==",
    ],
)
def test_secrets(secret: str) -> None:
    """Should an error's text hold a token, the log does not."""
    log = Log()
    log.logger.warn("{error}", error=f"it failed: {secret}")
    assert "s3cret" not in log.text
    assert "[redacted]" in log.text
    assert json.loads(log.text)


def test_no_secrets() -> None:
    """Ordinary sentences stay as they are."""
    for line in ("an account is required", "expected Bearer schema", "the cookie was lost", "basic rules"):
        assert redacted(line) == line


def test_journal(tmp_path: Path) -> None:
    """journald is told how important each line is, where lines go there."""
    log = Log("text", journal=True)
    log.logger.warn("one\ntwo")
    first, second = log.text.splitlines()
    assert first.startswith("<4>")
    assert second == "<4>    two"
    path = tmp_path / "out"
    with path.open("w") as file:
        found = os.fstat(file.fileno())
        assert goes_to_journal({"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}, file.fileno())
        assert not goes_to_journal({"JOURNAL_STREAM": f"{found.st_dev}:1{found.st_ino}"}, file.fileno())
        assert not goes_to_journal({}, file.fileno())
