"""Names and values beside the messages."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microd.txgrpc import Metadata
from microd.txgrpc.metadata import decode_binary, encode_binary, from_fields, to_fields


def test_names_are_lower_case() -> None:
    """Names are made lower-case, values are kept."""
    assert list(Metadata({"X-Name": "Value"})) == [("x-name", "Value")]


def test_many_values() -> None:
    """A name may have several values; the first is the one that get gives."""
    metadata = Metadata([("a", "1"), ("b", "2"), ("a", "3")])
    assert metadata.get("a") == "1"
    assert metadata.get_all("a") == ["1", "3"]
    assert metadata.get("c") is None
    assert metadata.get("c", "none") == "none"
    assert "b" in metadata
    assert len(metadata) == 3


def test_equal_and_hashable() -> None:
    """Metadata of the same pairs is the same."""
    assert Metadata({"a": "1"}) == Metadata([("A", "1")])
    assert len({Metadata({"a": "1"}), Metadata([("a", "1")])}) == 1


def test_already_metadata() -> None:
    """What is metadata already is used as it is."""
    metadata = Metadata({"a": "1"})
    assert Metadata.of(metadata) is metadata
    assert len(Metadata.of(None)) == 0


@given(st.binary())
def test_binary_survives(value: bytes) -> None:
    """Any bytes pass as the value of a -bin name, with or without padding, and are sent without."""
    encoded = encode_binary(value)
    assert b"=" not in encoded
    assert decode_binary(encoded) == value
    assert decode_binary(encoded + b"=" * (-len(encoded) % 4)) == value


def test_joined_binary_values() -> None:
    """Values of a -bin name that somebody joined with commas are taken apart before they are decoded."""
    metadata = from_fields([(b"k-bin", encode_binary(b"\x00\x01") + b"," + encode_binary(b"\xff"))])
    assert metadata.get_all("k-bin") == [b"\x00\x01", b"\xff"]


def test_the_applications_part() -> None:
    """Pseudo-header fields and what belongs to gRPC are not shown to the application."""
    fields = [
        (b":path", b"/a/b"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        (b"grpc-timeout", b"1S"),
        (b"grpc-encoding", b"gzip"),
        (b"user-agent", b"x"),
        (b"micro-namespace", b"micro"),
    ]
    assert list(from_fields(fields)) == [("user-agent", "x"), ("micro-namespace", "micro")]


@pytest.mark.parametrize(
    "metadata",
    [
        {"": "x"},
        {"a b": "x"},
        {":path": "/"},
        {"grpc-status": "0"},
        {"content-type": "text/html"},
        {"te": "gzip"},
        {"connection": "close"},
        {"a": "line\nbreak"},
        {"a": "na\u00efve"},
        {"\u00e4": "x"},
    ],
)
def test_what_cannot_be_sent(metadata: dict[str, Any]) -> None:
    """A name or value that would break the protocol is refused where it is given."""
    with pytest.raises(ValueError, match=r"."):
        to_fields(metadata)


def test_surrounding_spaces_go() -> None:
    """HTTP/2 allows no spaces around a value, so none are sent."""
    assert to_fields({"a": "  x "}) == [(b"a", b"x")]


def test_with_more() -> None:
    """What stands behind comes after what was there, and hides none of it."""
    made = Metadata([("a", "1"), ("b", "2")]).with_more((("b", "3"), ("c", "4"), ("c", "5")))
    assert list(made) == [("a", "1"), ("b", "2"), ("b", "3"), ("c", "4"), ("c", "5")]
    assert [made.get(name) for name in "abcd"] == ["1", "2", "4", None]
    assert made == Metadata(list(made))
