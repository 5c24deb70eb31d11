"""Flags of dynamic commands; the cases of the reference's own checklist, and those it got wrong."""

from __future__ import annotations

from typing import Any

import pytest

from microd.cli.failure import CommandFailed
from microd.cli.flags import request_from, words_of
from microd.cli.shape import Shape

CITY = Shape("address", "Address", (Shape("city", "string"), Shape("zip_code", "int32")))
REQUEST = Shape(
    "HelloRequest",
    "HelloRequest",
    (
        Shape("name", "string"),
        Shape("count", "int64"),
        Shape("loud", "bool"),
        Shape("tags", "[]string"),
        Shape("labels", "map[string]string"),
        CITY,
        Shape("past", "[]Address"),
        Shape("someName", "string"),
    ),
)


def request(*words: str, shape: Shape = REQUEST) -> dict[str, Any]:
    """What the flags describe."""
    return request_from(words, shape, lambda path: b"")


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["--name=Ada"], {"name": "Ada"}),
        (["--name", "Ada"], {"name": "Ada"}),
        (["--name=a=b"], {"name": "a=b"}),
        (["--name="], {"name": ""}),
        (["--name", "--Ada"], {"name": "--Ada"}),
        (["--name=--Ada"], {"name": "--Ada"}),
        (["--loud"], {"loud": True}),
        (["--loud=false"], {"loud": False}),
        (["--loud", "false"], {"loud": False}),
        (["--loud", "--name=Ada"], {"loud": True, "name": "Ada"}),
        (["--tags=a", "--tags=b"], {"tags": ["a", "b"]}),
        (["--tags=a,b"], {"tags": ["a", "b"]}),
        (["--labels", '{"a":"b"}'], {"labels": {"a": "b"}}),
        (["--address-city=Rome"], {"address": {"city": "Rome"}}),
        (["--address_city=Rome", "--address-zip_code=5"], {"address": {"city": "Rome", "zip_code": 5}}),
        (["--address_zip-code=5"], {"address": {"zip_code": 5}}),
        (["--address", '{"city":"Rome"}'], {"address": {"city": "Rome"}}),
        (
            ["--address", '{"city":"Rome"}', "--address-zip_code=5"],
            {"address": {"city": "Rome", "zip_code": 5}},
        ),
        (["--past", '[{"city":"Rome"}]'], {"past": [{"city": "Rome"}]}),
        (["--someName=x"], {"someName": "x"}),
        (['{"name":"Ada","more":1}', "--count=2"], {"name": "Ada", "more": 1, "count": 2}),
        (["--name=Ada", "--json"], {"name": "Ada"}),
    ],
)
def test_request(words: Any, meant: Any) -> None:
    """Flags become the request by its schema."""
    assert request(*words) == meant


def test_field_named_json() -> None:
    """A field that is called json is a field."""
    assert request("--json=x", shape=Shape("R", "R", (Shape("json", "string"),))) == {"json": "x"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--nmae=Ada"], "Unknown flag: nmae. Did you mean --name?"),
        (["--name"], "--name wants a value: string"),
        (["--name", "--loud"], "--name wants a value: string"),
        (
            ["--count=x"],
            "--count wants a whole number from -9223372036854775808 to 9223372036854775807, not x",
        ),
        (["--loud=maybe"], "--loud wants true or false, not maybe"),
        (["--name=Ada", "Eve"], "The word Eve belongs to no flag"),
        (["--name=Ada", "{x"], "{x is not valid JSON"),
    ],
)
def test_refused(words: Any, told: Any) -> None:
    """A mistake is one sentence that names the flag, with exit code 128."""
    with pytest.raises(CommandFailed) as caught:
        request(*words)
    assert caught.value.text.startswith(told)
    assert caught.value.code == 128


def test_streaming() -> None:
    """A streaming endpoint's words are converted by its fields, where these are told."""
    shape = Shape("Context", "Context", (Shape("name", "string"), Shape("count", "int64")))
    assert request("--name=3", "--count=3", shape=shape) == {"name": "3", "count": 3}


def test_untold() -> None:
    """Where a streaming endpoint's fields are not told, flags are taken as they are spelt."""
    shape = Shape("Context", "Context")
    assert request("--loud", "--count=3", "--name=Ada", "--deep", '{"a":1}', "--last", shape=shape) == {
        "loud": True,
        "last": True,
        "count": 3,
        "name": "Ada",
        "deep": {"a": 1},
    }


@pytest.mark.parametrize(
    ("line", "names", "rest"),
    [
        ("hello --name=Ada", ("hello",), ("--name=Ada",)),
        ("--name=Ada hello", ("hello",), ("--name=Ada",)),
        ("--name Ada hello", ("hello",), ("--name", "Ada")),
        ("build read --name Ada", ("build", "read"), ("--name", "Ada")),
        ("--name=Ada", (), ("--name=Ada",)),
        ("", (), ()),
    ],
)
def test_words(line: Any, names: Any, rest: Any) -> None:
    """The words that name the endpoint stand before the flags, or after them."""
    found = words_of(line.split())
    assert (found.names, found.rest, found.help) == (names, rest, False)


def test_help_anywhere() -> None:
    """Help may be asked for at any place."""
    assert words_of(["hello", "--name=Ada", "--help"]).help
    assert words_of(["-h", "hello"]).help
