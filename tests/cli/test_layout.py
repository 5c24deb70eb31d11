"""How answers look."""

from __future__ import annotations

import json
from typing import Any

import pytest

from microd.cli.layout import age, indented, spaced, tabbed


def test_indented() -> None:
    """A tab for each level; empty lists and objects stay in one piece; numbers and strings keep every character."""
    text = '{"a":1.10,"b":[],"c":{},"d":[1,{"e":"x: {y}, \\"z\\""}],"n":12345678901234567890}'
    assert indented(text) == (
        '{\n\t"a": 1.10,\n\t"b": [],\n\t"c": {},\n\t"d": [\n\t\t1,\n\t\t{\n\t\t\t"e": "x: {y}, \\"z\\""\n\t\t}\n\t],\n'
        '\t"n": 12345678901234567890\n}'
    )


@pytest.mark.parametrize("text", ['"x"', "1", "null", "[]", "{}", '[{"a":[[]]}]', '{ "a" : [ ] }', '"\\\\"'])
def test_indented_is_json(text: Any) -> None:
    """What is laid out means the same."""
    assert json.loads(indented(text)) == json.loads(text)


def test_tabbed() -> None:
    """Columns end at the next stop of eight after their widest cell, as in the reference."""
    rows = [("NAME", "VERSION", "SOURCE"), ("helloworld", "latest", "/x"), ("a", "latest", "/x")]
    assert tabbed(rows) == "NAME\t\tVERSION\tSOURCE\nhelloworld\tlatest\t/x\na\t\tlatest\t/x"


def test_tabbed_at_stop() -> None:
    """A cell that ends at a stop is followed by a whole tab."""
    assert tabbed([("12345678", "x"), ("1", "x")]) == "12345678\tx\n1\t\tx"


def test_spaced() -> None:
    """Columns are three spaces apart."""
    assert spaced([("KEY", "VALUE"), ("k", "longer")]) == "KEY   VALUE\nk     longer"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (4.9, "4s"),
        (60, "1m0s"),
        (4532, "1h15m32s"),
        (86400, "1d0h0m0s"),
        (1006400, "11d15h33m20s"),
        (-3, "0s"),
    ],
)
def test_age(seconds: Any, text: Any) -> None:
    """A larger unit forces the smaller ones to show."""
    assert age(seconds) == text
