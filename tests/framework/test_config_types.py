"""Which values of configuration become which types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest

from microd.framework import ConfigError
from microd.framework.config.conversion import converted, known_paths
from microd.framework.config.layers import Text


class Level(Enum):
    LOW = 1
    HIGH = "top"


@dataclass
class Limits:
    rate: float
    burst: int = 1
    computed: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        if self.burst < 0:
            raise ValueError("burst is below zero")


@dataclass
class Tree:
    limits: Limits
    children: list[Tree] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)


@dataclass
class Chain:
    next: Chain | None = None


@pytest.mark.parametrize(
    ("value", "kind", "wanted"),
    [
        (5, int, 5),
        (5.0, int, 5),
        ("5", int, 5),
        (" 5 ", float, 5.0),
        (Text("1e3"), float, 1000.0),
        (1.5, str, "1.5"),
        (True, str, "true"),
        ("", str, ""),
        ("off", bool, False),
        (Text("1"), bool, True),
        (Text(""), bool, False),
        (None, int | None, None),
        (Text("5"), int | str, 5),
        (Text("x"), int | str, "x"),
        ("x", Literal["x", 1], "x"),
        (Text("1"), Literal["x", 1], 1),
        ("LOW", Level, Level.LOW),
        ("top", Level, Level.HIGH),
        (Text("1"), Level, Level.LOW),
        (90, timedelta, timedelta(seconds=90)),
        ("1m30s", timedelta, timedelta(seconds=90)),
        (Text("250ms"), timedelta, timedelta(milliseconds=250)),
        ("0.10", Decimal, Decimal("0.10")),
        ("/x", Path, Path("/x")),
        ([1, "2"], list[int], [1, 2]),
        ([1], Sequence[str], ["1"]),
        (Text("1, 2"), list[int], [1, 2]),
        (Text('["a,b"]'), list[str], ["a,b"]),
        (Text(""), list[str], []),
        ([1, 1], set[int], {1}),
        ([1, "a"], tuple[int, str], (1, "a")),
        ([1, 2], tuple[int, ...], (1, 2)),
        ({"1": "2"}, dict[int, int], {1: 2}),
        ({"a": {"b": 1}}, Mapping[str, dict[str, int]], {"a": {"b": 1}}),
        (Text('{"a":1}'), dict, {"a": 1}),
        ({"a": Text("1"), "b": Text("x")}, dict, {"a": 1, "b": "x"}),
        (Text("[1]"), None, [1]),
        ([1, 2.5], list, [1, 2.5]),
        ({"rate": "2"}, Limits, Limits(2.0)),
        (Text('{"rate":2,"more":1}'), Limits, Limits(2.0)),
    ],
)
def test_converted(value: Any, kind: Any, wanted: Any) -> None:
    """A value that can be read as the type is read so."""
    found = converted("a", value, kind)
    assert found == wanted
    assert type(found) is type(wanted)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, int),
        (1.5, int),
        ("1.5", int),
        ("", int),
        ("9" * 5000, int),
        ("nan", float),
        (2, bool),
        ("maybe", bool),
        ([1], str),
        ({"a": 1}, str),
        ("1", list[int]),
        ([1, 2, 3], tuple[int, str]),
        ("x", Level),
        (True, Literal[1]),
        ("soon", timedelta),
        ("x", Decimal),
        (1, dict[str, int]),
        (1, Limits),
        (None, int),
    ],
)
def test_refused(value: Any, kind: Any) -> None:
    """A value that cannot be is refused, with its path."""
    with pytest.raises(ConfigError, match=r"^a: "):
        converted("a", value, kind)


def test_where() -> None:
    """In a structure it is said which value does not fit, and a class's own refusal is passed on."""
    tree = {"limits": {"rate": 1}, "children": [{"limits": {"rate": 1}}, {"limits": {"rate": "x"}}]}
    with pytest.raises(ConfigError, match=r"^app\.children\.1\.limits\.rate: a number is wanted"):
        converted("app", tree, Tree)
    with pytest.raises(ConfigError, match=r"^app\.labels\.b: a whole number is wanted"):
        converted("app", {"limits": {"rate": 1}, "labels": {"a": 1, "b": []}}, Tree)
    with pytest.raises(ConfigError, match=r"^app\.limits: burst is below zero$"):
        converted("app", {"limits": {"rate": 1, "burst": -1}}, Tree)
    with pytest.raises(ConfigError, match=r"^the configuration: an object is wanted"):
        converted("", 5, Limits)


def test_no_such_type() -> None:
    """A type that configuration has no values of is a mistake in the source."""
    with pytest.raises(TypeError, match="configuration has no values of the type"):
        converted("a", 1, datetime)


def test_known_paths() -> None:
    """A dataclass says where values may be, also within others; one that holds itself is no snare."""
    assert set(known_paths(Limits | None)) == {("rate",), ("burst",)}
    assert ("limits", "rate") in set(known_paths(Tree))
    assert list(known_paths(Chain)) == [("next",)]
    assert list(known_paths(int)) == []
