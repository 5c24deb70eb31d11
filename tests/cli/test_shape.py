"""Words become values by the type that the registry tells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from microd.cli.shape import BadValue, Shape


def value(kind: str, *words: str) -> Any:
    """What the words of a flag mean."""
    return Shape("x", kind).value(words, lambda path: Path(path).read_bytes())


@pytest.mark.parametrize(
    ("kind", "words", "meant"),
    [
        ("string", ["a=b,c"], "a=b,c"),
        ("string", ["first", "last"], "last"),
        ("bool", ["true"], True),
        ("bool", ["False"], False),
        ("int32", ["-5"], -5),
        ("int64", ["9223372036854775807"], 9223372036854775807),
        ("uint32", ["4294967295"], 4294967295),
        ("uint64", ["18446744073709551615"], 18446744073709551615),
        ("float32", ["1.5"], 1.5),
        ("float64", ["1e3"], 1000.0),
        ("float64", ["NaN"], "NaN"),
        ("[]uint8", ["hé"], "aMOp"),
        ("bytes", ["hi"], "aGk="),
        ("[]string", ["a,b"], ["a", "b"]),
        ("[]string", ["a,b", "c"], ["a,b", "c"]),
        ("[]string", ['["a,b","c"]'], ["a,b", "c"]),
        ("[]int64", ["1", "2"], [1, 2]),
        ("[]bool", ["true,false"], [True, False]),
        ("[]float64", ["1.5,2"], [1.5, 2.0]),
        ("[]uint32", ["1,2"], [1, 2]),
        ("[][]uint8", ["hi", "ho"], ["aGk=", "aG8="]),
        ("[]Address", ['{"city":"Rome"}', '{"city":"Oslo"}'], [{"city": "Rome"}, {"city": "Oslo"}]),
        ("[]Address", ['[{"city":"Rome"}]'], [{"city": "Rome"}]),
        ("map[string]string", ['{"a":"b"}'], {"a": "b"}),
        ("map[string]string", ["a=b,c=d=e"], {"a": "b", "c": "d=e"}),
        ("map[string]int32", ["a=1", "b=2"], {"a": 1, "b": 2}),
        ("map[int32]bool", ["1=true"], {"1": True}),
        ("map[string]Address", ['a={"city":"Rome","zip":"1"}'], {"a": {"city": "Rome", "zip": "1"}}),
        ("Address", ['{"city":"Rome"}'], {"city": "Rome"}),
        ("Colour", ["RED"], "RED"),
        ("Colour", ["2"], 2),
    ],
)
def test_meant(kind: Any, words: Any, meant: Any) -> None:
    """Each type of the registry has its JSON: scalars, lists, maps, messages, enums and bytes."""
    assert value(kind, *words) == meant


def test_bytes_from_file(tmp_path: Path) -> None:
    """Bytes may come from a file, as they are."""
    (tmp_path / "data").write_bytes(b"\x00\xff")
    assert value("bytes", f"@{tmp_path / 'data'}") == "AP8="


@pytest.mark.parametrize(
    ("kind", "word", "wanted"),
    [
        ("bool", "maybe", "true or false"),
        ("int32", "abc", "a whole number from -2147483648 to 2147483647"),
        ("int32", "2147483648", "a whole number"),
        ("uint64", "-1", "a whole number from 0 to"),
        ("int64", "1_000", "a whole number"),
        ("float64", "x", "a number"),
        ("[]int32", "1,x", "a whole number"),
        ("map[string]int32", "a", "key=value"),
        ("map[string]int32", "{", "valid JSON"),
        ("Address", "{city:Rome}", "valid JSON"),
    ],
)
def test_refused(kind: Any, word: Any, wanted: Any) -> None:
    """What is no value of the type says what is wanted instead."""
    with pytest.raises(BadValue, match=wanted.replace("[", r"\[")):
        value(kind, word)
