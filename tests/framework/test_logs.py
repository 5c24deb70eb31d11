"""A service's log: one line an event, with the trace of the call it was said in."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import pytest
from twisted.logger import ILogObserver, Logger, globalLogPublisher

from microd.framework import Call, Internal, Service
from microd.framework.logs import Lines, StandardLibrary, format_of, level_of
from microd.kernel.recent import Recent
from microd.testing.services import ServiceTester

TRACE = "0af7651916cd43dd8448eb211c80319c"


@dataclass
class Text:
    text: str = ""


class Written:
    """What a service writes.

    @ivar recent: what it remembers of that.
    """

    def __init__(self, form: str, level: str) -> None:
        self._out = io.StringIO()
        self.recent = Recent()
        common = {"service": "shop", "version": "v1"}
        self.observer = Lines(self._out, level_of(level), format_of(form), common, self.recent)

    @property
    def lines(self) -> list[str]:
        """One after the other."""
        return self._out.getvalue().splitlines()

    @property
    def json(self) -> list[dict[str, Any]]:
        """The same, where they are JSON."""
        return [json.loads(line) for line in self.lines]


@pytest.fixture
def written(request: pytest.FixtureRequest) -> Iterator[Written]:
    """The lines of a service, in JSON."""
    written = Written("json", "info")
    library, root = StandardLibrary(), logging.getLogger()
    observer = cast(ILogObserver, written.observer)
    globalLogPublisher.addObserver(observer)
    root.addHandler(library)
    before, root.level = root.level, logging.DEBUG
    yield written
    root.level = before
    root.removeHandler(library)
    globalLogPublisher.removeObserver(observer)


def shop() -> ServiceTester:
    """A service that talks."""
    service = Service("shop", environ={})

    @service.endpoint
    async def sell(request: Text, call: Call) -> Text:
        Logger("shop").info("sold {what}", what=request.text)
        logging.getLogger("lib").warning("sold %s", request.text, extra={"left": 3})
        return Text(call.span_id)

    @service.endpoint
    def lend(request: Text) -> Text:
        Logger("shop").info("lent")
        raise RuntimeError("it broke")

    return ServiceTester(service)


def test_trace(written: Written) -> None:
    """What is said in a call, be it to Twisted's log or to Python's, bears the call's ids; what comes later does not."""
    span = shop().call("Shop.Sell", Text("a hat"), Text, metadata={"micro-trace-id": TRACE}).text
    Logger("shop").info("closed")
    ours, theirs, later = written.json
    for said in (ours, theirs):
        assert (said["trace_id"], said["span_id"]) == (TRACE, span)
        assert (said["service"], said["version"], said["msg"]) == ("shop", "v1", "sold a hat")
    assert (ours["logger"], ours["what"], ours["level"]) == ("shop", "a hat", "info")
    assert (theirs["logger"], theirs["left"], theirs["level"]) == ("lib", 3, "warn")
    assert "trace_id" not in later


def test_exception(written: Written) -> None:
    """A handler's failure, in a thread as well, is one line with the traceback and the trace."""
    with pytest.raises(Internal):
        shop().call("Shop.Lend", Text(), Text, metadata={"micro-trace-id": TRACE})
    lent, failed = written.json
    assert lent["trace_id"] == failed["trace_id"] == TRACE
    assert (failed["level"], failed["msg"]) == ("error", "shop.Shop.Lend failed")
    assert failed["stack"].endswith("RuntimeError: it broke")


def test_library_exception(written: Written) -> None:
    """So is one that a library logs."""
    try:
        raise ValueError("odd")
    except ValueError:
        logging.getLogger("lib").exception("could not")
    logging.getLogger("lib").critical("worse")
    first, second = written.json
    assert (first["msg"], first["stack"].splitlines()[-1]) == ("could not", "builtins.ValueError: odd")
    assert second["level"] == "fatal"


def test_level(written: Written) -> None:
    """What is below the level is neither written nor kept, nor is what the reactor says of itself."""
    Logger("shop").debug("hidden")
    logging.getLogger("lib").debug("hidden")
    Logger("shop").info("Main loop terminated.")
    assert written.lines == []
    assert written.recent.read() == []


def test_ring(written: Written) -> None:
    """What is written is what Debug.Log has."""
    Logger("shop").info("sold {what}", what="a hat")
    [kept] = written.recent.read()
    assert (kept.message, kept.level, kept.logger, dict(kept.fields)) == (
        "sold a hat",
        "info",
        "shop",
        {"what": "a hat"},
    )


def test_text() -> None:
    """In text, which is what anything unknown means, a library's line has its name."""
    text = Written("nonsense", "info")
    event: dict[str, Any] = {"log_time": 0.0, "log_level": level_of("warn"), "log_namespace": "lib"}
    text.observer(event | {"log_format": "beware", "log_named": True})
    assert text.lines == ["1970-01-01 00:00:00 warn lib: beware"]


def test_bad_arguments(written: Written, capsys: pytest.CaptureFixture[str]) -> None:
    """A library's mistake in a format is told on stderr, as ever, and harms nobody."""
    StandardLibrary().emit(logging.makeLogRecord({"msg": "%d", "args": ("x",), "levelno": logging.INFO}))
    assert "Logging error" in capsys.readouterr().err
    assert written.lines == []
