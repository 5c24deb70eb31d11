"""Which endpoint a path means."""

from __future__ import annotations

import pytest

from microd.gateways.api.paths import Paths, cleaned, target
from microd.kernel.errors import BadRequest, NotFound


@pytest.mark.parametrize(
    ("path", "service", "endpoint", "grpc"),
    [
        ("/foo", "foo", "Foo.Call", "/foo.Foo/Call"),
        ("/foo/bar", "foo", "Foo.Bar", "/foo.Foo/Bar"),
        ("/foo/bar/", "foo", "Foo.Bar", "/foo.Foo/Bar"),
        ("/foo/bar/baz", "foo", "Bar.Baz", "/foo.Bar/Baz"),
        ("/foo/baz-xyz", "foo", "Foo.BazXyz", "/foo.Foo/BazXyz"),
        ("/foo/fooBar", "foo", "Foo.FooBar", "/foo.Foo/FooBar"),
        ("/foo-x/bar", "foo-x", "FooX.Bar", "/foo-x.FooX/Bar"),
        ("/v1/foo", "v1", "V1.Foo", "/v1.V1/Foo"),
        ("/v1/foo/bar", "v1.foo", "Foo.Bar", "/v1.foo.Foo/Bar"),
        ("/a/b/c/d", "a.b", "C.D", "/a.b.C/D"),
        ("/v1/foo/bar/baz", "v1.foo", "Bar.Baz", "/v1.foo.Bar/Baz"),
        ("/v1/foo/bar/baz/cat", "v1.foo.bar", "Baz.Cat", "/v1.foo.bar.Baz/Cat"),
        ("/Foo/bar", "Foo", "Foo.Bar", "/Foo.Foo/Bar"),
        ("/store/Store.Read", "store", "Store.Read", "/store.Store/Read"),
    ],
)
def test_target(path: str, service: str, endpoint: str, grpc: str) -> None:
    """The table of the specification; and an endpoint may also be written out."""
    found = target(path)
    assert (found.service, found.endpoint, found.grpc) == (service, endpoint, grpc)


@pytest.mark.parametrize(
    "path",
    [
        "/foo bar/baz",
        "/foo/b\r\nar",
        "/foo/a.b.c",
        "/foo/..",
        "/-foo/bar",
        "/foo/caf\u00e9",
        "/foo/",
        "/a%/b",
    ],
)
def test_no_target(path: str) -> None:
    """A path that cannot be the name of an endpoint is a 404, and never reaches the wire."""
    if path == "/foo/":
        assert target(path).endpoint == "Foo.Call"
        return
    with pytest.raises(NotFound):
        target(path)


@pytest.mark.parametrize(
    ("path", "clean"),
    [
        ("/a", None),
        ("/a/", None),
        ("/a/b.c", None),
        ("//a", "/a"),
        ("/a//b/", "/a/b/"),
        ("/a/../b", "/b"),
        ("/a/./b", "/a/b"),
        ("/../..", "/"),
        ("/./\\evil.test", "/%5Cevil.test"),
        ("/./\u00e9", "/%C3%A9"),
        ("/.//evil.test", "/evil.test"),
    ],
)
def test_cleaned(path: str, clean: str | None) -> None:
    """A path with empty parts or dots leads to the clean one, which never leads to another host."""
    assert cleaned(path) == clean


def test_remembers_a_few() -> None:
    """Paths are remembered, though not without bound."""
    paths = Paths(most=10)
    for number in range(100):
        paths.resolve(b"/foo/bar%d" % number)
    assert len(paths._known) <= 10
    assert paths.resolve(b"/foo/b%61r").endpoint == "Foo.Bar"


def test_not_utf8() -> None:
    """A path that is no text is a bad request."""
    with pytest.raises(BadRequest):
        Paths().resolve(b"/foo/%ff")
