"""Queries and forms as JSON."""

from __future__ import annotations

from typing import Any

import pytest

from microd.gateways.api.query import fields, merged, pairs
from microd.kernel.errors import BadRequest
from microd.services.registry.model import Value

SHAPE = Value(
    "Request",
    "Request",
    (
        Value("name", "string"),
        Value("age", "int32"),
        Value("big", "int64"),
        Value("ratio", "float64"),
        Value("on", "bool"),
        Value("raw", "[]uint8"),
        Value("tags", "[]string"),
        Value("counts", "[]int32"),
        Value("labels", "map[string]int32"),
        Value("user_options", "Options", (Value("limit", "uint64"), Value("prefix", "string"))),
    ),
)


@pytest.mark.parametrize(
    ("query", "want"),
    [
        ("", {}),
        ("name=Ada", {"name": "Ada"}),
        ("name=007&age=7", {"name": "007", "age": 7}),
        ("name=true", {"name": "true"}),
        ("name=%7B%7D", {"name": "{}"}),
        ("name", {"name": ""}),
        ("on", {"on": True}),
        ("on=false", {"on": False}),
        ("on=maybe", {"on": "maybe"}),
        ("age=x", {"age": "x"}),
        ("age=007", {"age": "007"}),
        ("big=9223372036854775807", {"big": "9223372036854775807"}),
        ("ratio=1.5e3", {"ratio": 1500.0}),
        ("raw=MTIz", {"raw": "MTIz"}),
        ("tags=1&tags=2", {"tags": ["1", "2"]}),
        ("tags=1", {"tags": ["1"]}),
        ("tags[]=1", {"tags": ["1"]}),
        ("counts=1&counts=2", {"counts": [1, 2]}),
        ("labels[a]=1&labels.b=2", {"labels": {"a": 1, "b": 2}}),
        ("user_options.limit=5&user_options[prefix]=1", {"user_options": {"limit": 5, "prefix": "1"}}),
        ("userOptions.prefix=1", {"userOptions": {"prefix": "1"}}),
        ("name=a&name=b", {"name": "b"}),
        ("name=a+b%20c%26", {"name": "a b c&"}),
        ("unknown=7", {"unknown": 7}),
    ],
)
def test_typed(query: str, want: dict[str, Any]) -> None:
    """Where the shape is known, it says what a value is; what cannot be meant so stays text."""
    assert fields(pairs(query.encode()), SHAPE) == want


@pytest.mark.parametrize(
    ("query", "want"),
    [
        ("a=1&b=x&c=true&d=null&e=1.5", {"a": 1, "b": "x", "c": True, "d": None, "e": 1.5}),
        ("a=007&b=1e&c=NaN&d=-", {"a": "007", "b": "1e", "c": "NaN", "d": "-"}),
        ('a={"b":[1]}&c=[2]&d={', {"a": {"b": [1]}, "c": [2], "d": "{"}),
        ("a[b][c]=1&a.d=2", {"a": {"b": {"c": 1}, "d": 2}}),
        ("a[]=1&a[]=x", {"a": [1, "x"]}),
        ("a=1&a=2", {"a": 2}),
    ],
)
def test_guessed(query: str, want: dict[str, Any]) -> None:
    """Where it is not known, a value is what it would be as JSON, else text."""
    assert fields(pairs(query.encode()), None) == want


@pytest.mark.parametrize(
    "query",
    [
        "=1",
        "a[=1",
        "a]=1",
        "a..b=1",
        ".a=1",
        "a[][b]=1",
        "a=1&a.b=2",
        "a.b=1&a=2",
        ".".join("abcdefghijklmnopq") + "=1",
    ],
)
def test_refused(query: str) -> None:
    """A name which is no way to a field, or is two things at once, is a bad request."""
    with pytest.raises(BadRequest):
        fields(pairs(query.encode()), None)


def test_too_many() -> None:
    """The number of parameters has a bound."""
    with pytest.raises(BadRequest, match="1000"):
        pairs(b"&".join([b"a=1"] * 1001))


def test_not_utf8() -> None:
    """A parameter that is no text is a bad request."""
    with pytest.raises(BadRequest):
        pairs(b"a=%ff")


def test_merged() -> None:
    """The body wins over the query, field by field; null takes a field away."""
    assert merged({"a": 1, "b": {"c": 1, "d": 2}}, {"b": {"c": 3}, "a": None}) == {"b": {"c": 3, "d": 2}}
