"""Values as text that keeps their order."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum, IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microd.framework.model.ordered import LONGEST, component, cut, form, is_long
from microd.framework.schema.faults import FieldError
from microd.framework.schema.shapes import Choice, Instant, Many, Scalar, Span
from microd.kernel.names import require_text


class Level(IntEnum):
    LOW = -1
    MIDDLE = 0
    HIGH = 10


class Colour(Enum):
    RED = "r"
    BLUE = "b"


LEVELS = Choice(Level, (("LOW", -1), ("MIDDLE", 0), ("HIGH", 10)))
COLOURS = Choice(Colour, (("RED", 0), ("BLUE", 1)))

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=8)
#: Few characters, and those next to what is escaped or not allowed: orders go wrong there, if anywhere.
ODD_TEXT = st.text(alphabet='\x00\x1f !"~}|\x7f\x80aé\ud7ff\ue000\U0010ffff', max_size=6)


def written(shape: Any, value: object) -> str:
    """A value as it stands in a key, and the space after it."""
    found = form(shape)
    assert found is not None
    return cut(component(found[1], value)) + " "


def check(shape: Any, one: Any, two: Any) -> None:
    """Two values are in the order in which their keys are, and the keys are allowed."""
    first, second = written(shape, one), written(shape, two)
    assert (one < two, one == two) == (first.encode() < second.encode(), first == second)
    require_text("the key", first, 4096)


@given(st.one_of(TEXT, ODD_TEXT), st.one_of(TEXT, ODD_TEXT))
def test_text(one: str, two: str) -> None:
    """Strings are ordered by their code points, whatever they hold."""
    check(Scalar("string"), one, two)


@given(ODD_TEXT, ODD_TEXT, ODD_TEXT, ODD_TEXT)
def test_several(a: str, b: str, c: str, d: str) -> None:
    """Of several values in a row the first counts first."""
    one = written(Scalar("string"), a) + written(Scalar("string"), b)
    two = written(Scalar("string"), c) + written(Scalar("string"), d)
    assert ((a, b) < (c, d)) == (one.encode() < two.encode())


@given(st.integers(-(2**63), 2**64 - 1), st.integers(-(2**63), 2**64 - 1))
def test_integers(one: int, two: int) -> None:
    """Integers are ordered, negative ones too, whatever their size."""
    encode = form(Scalar("int64"))
    unsigned = form(Scalar("uint64"))
    assert encode is not None
    assert unsigned is not None
    texts = [(encode if value < 2**63 else unsigned)[1](value) + " " for value in (one, two)]
    assert (one < two) == (texts[0] < texts[1])


@given(st.integers(-120, 120), st.integers(-120, 120))
def test_small_integers(one: int, two: int) -> None:
    """So are those near zero, and near the next digit."""
    check(Scalar("int32"), one, two)


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_floats(one: float, two: float) -> None:
    """Numbers are ordered, infinities included; zero has no sign."""
    check(Scalar("double"), one, two)


def test_nan() -> None:
    """What is not a number comes last, and is equal to itself."""
    nan = written(Scalar("double"), math.nan)
    assert nan > written(Scalar("double"), math.inf)
    assert nan == written(Scalar("double"), -math.nan)


@given(st.datetimes(timezones=st.just(UTC)), st.datetimes(timezones=st.just(timezone(timedelta(hours=5)))))
def test_instants(one: datetime, two: datetime) -> None:
    """Points in time are ordered, in whatever zone they are told, before 1970 and after."""
    check(Instant(), one, two)


def test_naive_instants() -> None:
    """A time without an offset is UTC."""
    assert written(Instant(), datetime(2026, 1, 1)) == written(Instant(), datetime(2026, 1, 1, tzinfo=UTC))


@given(st.timedeltas(), st.timedeltas())
def test_spans(one: timedelta, two: timedelta) -> None:
    """Lengths of time are ordered, negative ones too."""
    check(Span(), one, two)


@given(st.binary(max_size=4), st.binary(max_size=4))
def test_bytes(one: bytes, two: bytes) -> None:
    """Bytes are ordered."""
    check(Scalar("bytes"), one, two)


def test_booleans_and_enums() -> None:
    """False is before True; an enum of numbers is in their order, another in that of its names."""
    check(Scalar("bool"), False, True)
    for one in Level:
        for two in Level:
            check(LEVELS, one, two)
    assert written(COLOURS, Colour.BLUE) < written(COLOURS, Colour.RED)


def test_none() -> None:
    """None is before all values, the empty string included."""
    assert written(Scalar("string"), None) < written(Scalar("string"), "")
    assert written(Scalar("int64"), None) < written(Scalar("int64"), -(2**63))


@given(
    st.text(alphabet="a~!é\U0010ffff", min_size=LONGEST - 2, max_size=LONGEST - 1),
    ODD_TEXT,
    st.text(alphabet="a~!é\U0010ffff", min_size=LONGEST - 2, max_size=LONGEST - 1),
    ODD_TEXT,
)
def test_long(start: str, one: str, other: str, two: str) -> None:
    """Long strings keep short keys: equal ones are equal, and the order is right up to where they are cut."""
    for first, second in ((start + one, start + two), (start + one, other + two)):
        encode = form(Scalar("string"))
        assert encode is not None
        whole, more = component(encode[1], first), component(encode[1], second)
        keys = cut(whole) + " ", cut(more) + " "
        assert (first == second) == (keys[0] == keys[1])
        assert max(map(len, keys)) < LONGEST + 50
        if whole[: LONGEST + 1] != more[: LONGEST + 1]:
            assert (first < second) == (keys[0].encode() < keys[1].encode())
        assert is_long(cut(whole)) == is_long(whole)


def test_no_order() -> None:
    """Lists have no such form; values of other types are refused."""
    assert form(Many(Scalar("string"), list)) is None
    for shape, value in (
        (Scalar("string"), 5),
        (Scalar("int64"), "5"),
        (Scalar("int32"), 2**31),
        (Instant(), 5),
        (Span(), 5),
        (Scalar("string"), "\ud800"),
    ):
        with pytest.raises(FieldError):
            written(shape, value)
