"""From a status to a sentence and an exit code (spec micro-v3-cli 1.1)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from microd.cli.refusal import refused


def error(code: int, detail: str) -> str:
    """An error object."""
    return json.dumps({"id": "x", "code": code, "detail": detail, "status": ""})


@pytest.mark.parametrize(
    ("status", "message", "sentence", "code"),
    [
        (3, 'malformed method name: "/Foo"', 'Method name "/Foo" invalid format. Expecting service.endpoint', 3),
        (13, error(500, 'malformed method name: "/a.B.C/D"'), 'Method name "/a.B.C/D" invalid format. Expecting service.endpoint', 3),
        (13, error(500, "service foo-bar: route not found"), 'Service "foo-bar" not found', 4),
        (12, "unknown service Greeter.Hi", 'Service method "Greeter.Hi" not found', 5),
        (12, "unknown service Greeter", 'Service "Greeter" not found', 5),
        (4, "", "Request timed out", 1),
        (13, error(408, "context deadline exceeded"), "Request timed out", 1),
        (13, error(401, "an account is required"), "Not authorized to perform this request", 2),
        (13, error(403, "access denied to namespace"), "Access denied to namespace", 127),
        (13, error(500, "it\nbroke"), "It broke", 127),
        (2, "plain error", "Plain error", 128),
        (2, "", "The call failed with gRPC status 2", 128),
    ],
)  # fmt: skip
def test_told(status: Any, message: Any, sentence: Any, code: Any) -> None:
    """Each kind of refusal has its text and its exit code."""
    failure = refused(status, message, logged_in=True)
    assert (failure.sentence, failure.code) == (sentence, code)


def test_method() -> None:
    """Where there is no such method, the remedy is the command that lists a service's."""
    failure = refused(12, "unknown service Greeter.Hi", logged_in=True)
    assert failure.text == 'Service method "Greeter.Hi" not found. See `micro get service NAME`.'


def test_innermost() -> None:
    """Of errors wrapped in errors only the innermost is told."""
    wrapped = error(500, error(500, error(404, "not found")))
    assert refused(13, wrapped, logged_in=True).text == "Not found"


def test_nobody() -> None:
    """A 401 for nobody names the command that helps."""
    failure = refused(16, error(401, "an account is required"), logged_in=False)
    assert (failure.text, failure.code) == ("Not logged in. Run `micro login`.", 2)
