"""Names of services, endpoints and paths."""

from __future__ import annotations

import pytest

from microd.framework import naming
from microd.kernel.errors import BadRequest


@pytest.mark.parametrize(
    ("service", "function", "name", "expected"),
    [
        ("greeter", "hello", "", "Greeter.Hello"),
        ("greeter", "say_hello", "", "Greeter.SayHello"),
        ("foo-bar", "baz", "", "FooBar.Baz"),
        ("v1.foo", "bar", "", "Foo.Bar"),
        ("greeter", "hello", "Hi", "Greeter.Hi"),
        ("greeter", "hello", "Admin.Purge", "Admin.Purge"),
        ("greeter", "list_", "", "Greeter.List"),
    ],
)
def test_endpoint(service: str, function: str, name: str, expected: str) -> None:
    """An endpoint is called as the HTTP door reads its path, or as its author says."""
    assert naming.endpoint_of(service, function, name) == expected


@pytest.mark.parametrize("name", ["a.b.c", "1x", "x y", "Struct."])
def test_bad_endpoint(name: str) -> None:
    """A name that no path could have is refused."""
    with pytest.raises(ValueError, match="cannot name an endpoint"):
        naming.endpoint_of("greeter", "hello", name)


@pytest.mark.parametrize("name", ["", "a/b", "a b", ".a", "a..b", "-"])
def test_bad_service(name: str) -> None:
    """A service's name must be able to stand in a path."""
    with pytest.raises(ValueError, match="cannot name a service"):
        naming.checked_service(name)


def test_path() -> None:
    """The path begins with the service's name in the registry; a path that is given stays."""
    assert naming.path_of("foo-bar", "FooBar.Baz") == "/foo-bar.FooBar/Baz"
    assert naming.path_of("", "/a.B/C") == "/a.B/C"
    with pytest.raises(BadRequest, match=r"write Struct.Method, such as Greeter.Hello"):
        naming.path_of("greeter", "Hello")
