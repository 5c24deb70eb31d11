"""Words and endpoints."""

from __future__ import annotations

from typing import Any

import pytest

from microd.cli.naming import chosen, command_of, endpoint_of, path_of


@pytest.mark.parametrize(
    ("service", "words", "endpoint"),
    [
        ("greeter", (), "Greeter.Call"),
        ("greeter", ("hello",), "Greeter.Hello"),
        ("greeter", ("pingPong",), "Greeter.PingPong"),
        ("foo-bar", ("call",), "FooBar.Call"),
        ("foo-bar", ("say-hello",), "FooBar.SayHello"),
        ("v1.greeter", ("hello",), "Greeter.Hello"),
        ("runtime", ("build", "read"), "Build.Read"),
    ],
)
def test_rule(service: Any, words: Any, endpoint: Any) -> None:
    """Words are camel-cased as the HTTP door does it; three words name the struct, too."""
    assert endpoint_of(service, words) == endpoint


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("sayHello",), "Greeter.SayHello"),
        (("say-hello",), "Greeter.SayHello"),
        (("say_hello",), "Greeter.SayHello"),
        (("sayhello",), "Greeter.SayHello"),
        (("greeter", "sayHello"), "Greeter.SayHello"),
        (("read",), "Build.Read"),
        (("list",), None),
        (("nothing",), None),
    ],
)
def test_forgiven(words: Any, meant: Any) -> None:
    """Case, hyphens and underscores are forgiven; a method of another struct is found if there is only one."""
    known = ["Greeter.SayHello", "Build.Read", "Build.List", "Other.List"]
    assert chosen("greeter", words, known) == meant


@pytest.mark.parametrize(
    ("service", "endpoint", "command"),
    [
        ("helloworld", "Helloworld.PingPong", "pingPong"),
        ("foo-bar", "FooBar.Call", "call"),
        ("runtime", "Build.Read", "build read"),
    ],
)
def test_command(service: Any, endpoint: Any, command: Any) -> None:
    """Help shows an endpoint by the words that call it."""
    assert command_of(service, endpoint) == command


def test_path() -> None:
    """The path has the service's name, not a package."""
    assert path_of("v1.foo-bar", "FooBar.Call") == "/v1.foo-bar.FooBar/Call"
