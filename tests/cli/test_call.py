"""`micro call` and `micro stream`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .conftest import Daemon, User

HELLO = "/greeter.Greeter/Hello"


def test_call(user: User, daemon: Daemon) -> None:
    """The JSON goes out as it was given, and the reply is laid out with tabs."""
    daemon.answers(HELLO, b'{"id":12345678901234567890,"x":1.10}')
    got = user.micro("call", "greeter", "Greeter.Hello", '{"name":', '"Ada",', '"n":', "1.10}")
    assert got.out == '{\n\t"id": 12345678901234567890,\n\t"x": 1.10\n}\n'
    call = daemon.asked(HELLO)[0]
    assert call.body == b'{"name": "Ada", "n": 1.10}'
    assert (call.timeout, call.content_type) == (10.0, "application/grpc+json")


def test_empty(user: User, daemon: Daemon) -> None:
    """Without JSON the request is empty."""
    daemon.answers(HELLO, b"{}")
    user.micro("call", "greeter", "Greeter.Hello")
    assert daemon.asked(HELLO)[0].body == b"{}"


def test_from_file(user: User, daemon: Daemon, tmp_path: Path) -> None:
    """The request may be in a file."""
    (tmp_path / "r.json").write_text('{"name":"Ada"}')
    daemon.answers(HELLO, b"{}")
    user.micro("call", "greeter", "Greeter.Hello", f"@{tmp_path / 'r.json'}")
    assert daemon.asked(HELLO)[0].body == b'{"name":"Ada"}'


def test_raw(user: User, daemon: Daemon) -> None:
    """The output may be the reply's own bytes; the flag may stand at the end."""
    daemon.answers(HELLO, b'{"a":1}')
    assert user.micro("call", "greeter", "Greeter.Hello", "-o", "raw").out == '{"a":1}\n'


def test_metadata_and_timeout(user: User, daemon: Daemon) -> None:
    """Headers and the deadline are the caller's; a header's value may hold =."""
    daemon.answers(HELLO, b"{}")
    user.micro("call", "--metadata", "X-A=b=c", "--request_timeout=500ms", "greeter", "Greeter.Hello")
    call = daemon.asked(HELLO)[0]
    assert (call.metadata["x-a"], call.timeout) == ("b=c", 0.5)


def test_namespace(user: User, daemon: Daemon) -> None:
    """A call is routed in the namespace one works in, but to the core in the platform's."""
    daemon.answers(HELLO, b"{}")
    daemon.answers("/auth.Auth/Token", b"{}")
    user.micro("call", "--namespace=foo", "greeter", "Greeter.Hello")
    user.micro("call", "--namespace=foo", "auth", "Auth.Token", "{}")
    assert [call.metadata["micro-namespace"] for call in daemon.calls] == ["foo", "micro"]


def test_address(user: User, daemon: Daemon) -> None:
    """A node that is called past the server is not shown our token."""
    user.has_a_daemon()
    daemon.answers(HELLO, b"{}")
    assert user.micro("call", "--address=127.0.0.1:4000", "greeter", "Greeter.Hello").code == 0
    assert str(daemon.connected[-1]) == "127.0.0.1:4000"
    assert "authorization" not in daemon.asked(HELLO)[0].metadata


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["Greeter.Hello", "{"], 1, "Error creating request"),
        (["Greeter.Hello", "[]"], 1, "Error creating request: it is not a JSON object"),
        (
            ["Greeter.Hello", "--request_timeout=5x"],
            2,
            "Invalid format for request_timeout duration. Try 500ms or 5s",
        ),
        (["Hello"], 3, 'Method name "Hello" invalid format. Expecting service.endpoint'),
        (["Greeter.Hello", "--metadata=x"], 1, "Metadata must be of the form key=value, unlike x"),
    ],
)
def test_mistakes(user: User, daemon: Daemon, words: Any, code: Any, told: Any) -> None:
    """A mistake is told before anything is called."""
    got = user.micro("call", "greeter", *words)
    assert got.code == code
    assert got.err.startswith(told)
    assert daemon.calls == []


def test_no_json_back(user: User, daemon: Daemon) -> None:
    """A reply that is no JSON is exit code 3."""
    daemon.answers(HELLO, b"\x00")
    got = user.micro("call", "greeter", "Greeter.Hello")
    assert (got.code, got.err) == (3, "Error while trying to format the response\n")


@pytest.mark.parametrize("command", ["call", "stream"])
def test_few_words(user: User, command: str) -> None:
    """Fewer than two words show the help; a service without an endpoint is an error as well."""
    got = user.micro(command)
    assert (got.code, got.err) == (0, "")
    assert got.out.startswith(f"micro {command} - ")
    got = user.micro(command, "greeter")
    assert got.code == 1
    assert got.out.startswith(f"micro {command} - ")
    assert got.err == (
        f"The endpoint of greeter is missing. Write `micro {command} greeter STRUCT.METHOD`; "
        "`micro get service greeter` lists them.\n"
    )


def test_stream(user: User, daemon: Daemon) -> None:
    """Each reply of a stream ends with a line's end; with --json each is one line."""
    daemon.answers(HELLO, [b'{"a":1}', b'{"a":2}'])
    assert user.micro("stream", "greeter", "Greeter.Hello").out == '{\n\t"a": 1\n}\n{\n\t"a": 2\n}\n'
    assert user.micro("stream", "greeter", "Greeter.Hello", "--json").out == '{"a": 1}\n{"a": 2}\n'


def test_stream_bad_json(user: User, daemon: Daemon) -> None:
    """A stream does not begin with a request that is no JSON."""
    assert user.micro("stream", "greeter", "Greeter.Hello", "{").code == 1
    assert daemon.calls == []
