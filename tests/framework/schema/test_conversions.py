"""Dataclasses to protobuf and JSON, and back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum, IntEnum
from typing import Any

import orjson
import pytest
from google.protobuf import json_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from microd.framework.schema.annotations import model_of
from microd.framework.schema.codec import Codec, codec_in
from microd.framework.schema.descriptors import Contract
from microd.framework.schema.faults import FieldError, Undecodable
from microd.framework.schema.shapes import float32, int32, uint32, uint64

CodecOf = Callable[[type], Codec[Any]]


class Colour(Enum):
    RED = "red"
    GREEN = "green"


class Level(IntEnum):
    LOW = 1
    HIGH = 5


@dataclass
class Address:
    zip: int
    city: str = ""


@dataclass
class Everything:
    name: str
    address: Address
    colour: Colour
    level: Level
    when: datetime
    count: int = 0
    ratio: float = 0.0
    on: bool = False
    blob: bytes = b""
    small: int32 = 0
    positive: uint32 = 0
    huge: uint64 = 0
    single: float32 = 0
    took: timedelta = timedelta()
    tags: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    places: list[Address] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    by_number: dict[int, Address] = field(default_factory=dict)
    colours: dict[str, Colour] = field(default_factory=dict)
    times: list[datetime] = field(default_factory=list)
    maybe: int | None = None
    maybe_text: str | None = None
    maybe_address: Address | None = None
    maybe_when: datetime | None = None
    limit: int = 10
    inner: Everything | None = None
    unique: set[int] = field(default_factory=set)
    pair: tuple[float, ...] = ()


def everything() -> Everything:
    """Something in every field."""
    return Everything(
        name="Ada",
        address=Address(8000, "Zürich"),
        colour=Colour.GREEN,
        level=Level.HIGH,
        when=datetime(2026, 1, 31, 12, 30, 15, 250, UTC),
        count=-(2**63),
        ratio=0.1,
        on=True,
        blob=b"\x00\xff",
        small=-5,
        positive=2**32 - 1,
        huge=2**64 - 1,
        single=0.5,
        took=timedelta(seconds=-1, microseconds=-500),
        tags=["a", ""],
        numbers=[1, -1, 2**62],
        places=[Address(1), Address(2, "x")],
        labels={"k": "v", "": ""},
        by_number={-3: Address(3)},
        colours={"sky": Colour.RED},
        times=[datetime(1969, 12, 31, 23, 59, 59, 999999, UTC)],
        maybe=0,
        maybe_text="",
        maybe_address=Address(0),
        maybe_when=datetime(1, 1, 1, tzinfo=UTC),
        limit=0,
        inner=Everything("", Address(0), Colour.RED, Level.LOW, datetime(9999, 12, 31, tzinfo=UTC)),
        unique={3, 4},
        pair=(1.0, 2.5),
    )


def test_binary_round_trip(codec: CodecOf) -> None:
    """What a dataclass holds survives protobuf's bytes."""
    both = codec(Everything)
    assert both.parse(both.dump(everything())) == everything()


def test_json_round_trip(codec: CodecOf) -> None:
    """What a dataclass holds survives JSON."""
    both = codec(Everything)
    assert both.parse_json(both.dump_json(everything())) == everything()


def test_json_is_protobufs(contract: Callable[[type], Contract], codec: CodecOf) -> None:
    """Our JSON means to protobuf's own reader what our bytes mean."""
    message = contract(Everything).message(Everything)
    both = codec(Everything)
    read = json_format.Parse(both.dump_json(everything()), message())
    assert read == message.FromString(both.dump(everything()))


def test_reads_protobufs_json(contract: Callable[[type], Contract], codec: CodecOf) -> None:
    """We read what protobuf's own writer makes, camel case and all."""
    message = contract(Everything).message(Everything)
    both = codec(Everything)
    written = json_format.MessageToJson(message.FromString(both.dump(everything())))
    assert both.parse_json(written.encode()) == everything()


def test_json_out(codec: CodecOf) -> None:
    """JSON has every field under its own name, 64-bit integers as strings, null for what is absent, and no spaces."""

    @dataclass
    class Out:
        user_name: str = ""
        count: int = 0
        small: int32 = 3
        ratio: float = 1.0
        tags: list[str] = field(default_factory=list)
        labels: dict[str, int] = field(default_factory=dict)
        nothing: str | None = None
        blob: bytes = b"\xfb\xff"
        colour: Colour = Colour.RED

    assert codec(Out).dump_json(Out()) == (
        b'{"user_name":"","count":"0","small":3,"ratio":1.0,"tags":[],"labels":{},"nothing":null,"blob":"+/8=","colour":"RED"}'
    )


@dataclass
class In:
    user_name: str = ""
    count: int = 0
    ratio: float = 0.0
    on: bool = False
    blob: bytes = b""
    colour: Colour = Colour.RED
    level: Level = Level.LOW
    when: datetime = datetime(2000, 1, 1, tzinfo=UTC)
    took: timedelta = timedelta()
    small: int32 = 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"user_name":"a"}', In(user_name="a")),
        ('{"userName":"a"}', In(user_name="a")),
        ('{"unknown":{"deep":[1]},"user_name":"a"}', In(user_name="a")),
        ('{"count":"7"}', In(count=7)),
        ('{"count":7.0}', In(count=7)),
        ('{"count":"9007199254740993"}', In(count=2**53 + 1)),
        ('{"count":null}', In()),
        ('{"ratio":"1.5"}', In(ratio=1.5)),
        ('{"ratio":2}', In(ratio=2.0)),
        ('{"ratio":"-Infinity"}', In(ratio=float("-inf"))),
        ('{"on":"true"}', In(on=True)),
        ('{"blob":"-_8"}', In(blob=b"\xfb\xff")),
        ('{"colour":1}', In(colour=Colour.GREEN)),
        ('{"colour":"GREEN"}', In(colour=Colour.GREEN)),
        ('{"level":5}', In(level=Level.HIGH)),
        ('{"when":"2026-01-31T12:00:00.123456789Z"}', In(when=datetime(2026, 1, 31, 12, 0, 0, 123456, UTC))),
        ('{"when":"2026-01-31T14:00:00+02:00"}', In(when=datetime(2026, 1, 31, 12, tzinfo=UTC))),
        ('{"took":"1.5s"}', In(took=timedelta(seconds=1.5))),
        ("", In()),
        ("{}", In()),
    ],
)
def test_json_in(codec: CodecOf, text: str, expected: In) -> None:
    """JSON is read leniently where its meaning is plain."""
    assert codec(In).parse_json(text.encode()) == expected


@dataclass
class Wrong:
    address: Address
    tags: list[str] = field(default_factory=list)
    items: list[Address] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    on: bool = False
    ratio: float = 0.0
    blob: bytes = b""
    colour: Colour = Colour.RED
    when: datetime | None = None
    took: timedelta | None = None
    small: int32 = 0
    positive: uint32 = 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"address":{"zip":"x"}}', 'field "address.zip" wants an integer, got a string'),
        ('{"address":{"zip":true}}', 'field "address.zip" wants an integer, got a boolean'),
        ('{"address":{"zip":1.5}}', 'field "address.zip" wants an integer, got a number with a fraction'),
        ('{"address":{"city":5}}', 'field "address.city" wants a string, got an integer'),
        ('{"address":[]}', 'field "address" wants an object, got a list'),
        ('{"tags":"a"}', 'field "tags" wants a list, got a string'),
        ('{"tags":["a",1]}', 'field "tags[1]" wants a string, got an integer'),
        ('{"tags":[null]}', 'field "tags[0]" wants a string, got null'),
        ('{"items":[{},{"zip":{}}]}', 'field "items[1].zip" wants an integer, got an object'),
        ('{"labels":{"a":"b"}}', 'field "labels["a"]" wants an integer, got a string'),
        ('{"on":1}', 'field "on" wants a boolean, got an integer'),
        ('{"ratio":"much"}', 'field "ratio" wants a number, got a string'),
        ('{"blob":"%"}', 'field "blob" wants base64, got another string'),
        ('{"colour":"PINK"}', 'field "colour" wants one of RED, GREEN, got "PINK"'),
        ('{"when":"2026"}', 'field "when" wants a time such as 2026-01-31T12:00:00Z, got another string'),
        ('{"when":"2026-02-31T12:00:00Z"}', 'field "when" wants a time such as'),
        ('{"took":5}', 'field "took" wants a duration such as "1.5s", got an integer'),
        (
            '{"small":2147483648}',
            'field "small" wants an integer from -2147483648 to 2147483647, got 2147483648',
        ),
        ('{"positive":-1}', 'field "positive" wants an integer from 0 to 4294967295, got -1'),
        ("[]", "the message wants an object, got a list"),
    ],
)
def test_wrong_types(codec: CodecOf, text: str, said: str) -> None:
    """A value of the wrong type is refused, and the text says which field, what it wants and what it got."""
    with pytest.raises(FieldError) as caught:
        codec(Wrong).parse_json(text.encode())
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize("text", [b"{", b"nonsense", b"\xff"])
def test_no_json(codec: CodecOf, text: bytes) -> None:
    """What is no JSON at all is told apart from a wrong field."""
    with pytest.raises(Undecodable, match="is not JSON"):
        codec(In).parse_json(text)


def test_no_protobuf(codec: CodecOf) -> None:
    """Bytes which are no protobuf are refused."""
    with pytest.raises(Undecodable):
        codec(In).parse(b"\xff\xff")


@dataclass
class Chain:
    next: Chain | None = None


def test_too_deep(codec: CodecOf) -> None:
    """JSON nested beyond reason is refused, rather than ending the process."""
    with pytest.raises(Undecodable):
        codec(Chain).parse_json(b'{"next":' * 900 + b"{}" + b"}" * 900)


def test_too_deep_to_say(codec: CodecOf) -> None:
    """So is an instance nested beyond what JSON is written of, and the words say which of the two it is."""
    chain = Chain()
    for _ in range(300):
        chain = Chain(chain)
    with pytest.raises(FieldError, match="the message is nested too deeply"):
        codec(Chain).dump_json(chain)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (In(user_name=5), 'field "user_name" wants a string, got an integer'),  # type: ignore[arg-type]
        (In(user_name=None), 'field "user_name" wants a string, got null'),  # type: ignore[arg-type]
        (In(count="5"), 'field "count" wants an integer, got a string'),  # type: ignore[arg-type]
        (In(count=2**63), f'field "count" wants an integer from {-(2**63)} to {2**63 - 1}, got {2**63}'),
        (In(colour="RED"), 'field "colour" wants one of RED, GREEN, got "RED"'),  # type: ignore[arg-type]
        (In(when="now"), 'field "when" wants a datetime, got a string'),  # type: ignore[arg-type]
        (Wrong(Address("x")), 'field "address.zip" wants an integer, got a string'),  # type: ignore[arg-type]
        (Wrong(Address(1), tags="ab"), 'field "tags" wants a list, got a string'),  # type: ignore[arg-type]
        (Wrong(Address(1), tags=[b"a"]), 'field "tags[0]" wants a string, got a bytes'),  # type: ignore[list-item]
        (Wrong(Address(1), items=[3]), 'field "items[0]" wants an Address, got an integer'),  # type: ignore[list-item]
        (Wrong(Address(1), labels={"a": "b"}), 'field "labels["a"]" wants an integer, got a string'),  # type: ignore[dict-item]
    ],
)
def test_wrong_values(codec: CodecOf, value: object, said: str) -> None:
    """What does not fit its field is refused on the way out too, in both encodings, with the same words."""
    both = codec(type(value))
    for dump in (both.dump, both.dump_json):
        with pytest.raises(FieldError) as caught:
            dump(value)
        assert str(caught.value) == said


def test_another_class(codec: CodecOf) -> None:
    """An instance of another class is refused, even if it has the same fields."""
    both = codec(Address)
    for dump in (both.dump, both.dump_json):
        with pytest.raises(FieldError, match="the message wants an Address, got an In"):
            dump(In())


def test_bool_is_an_integer_of_pythons(codec: CodecOf) -> None:
    """Where an integer is wanted, True is 1, as in Python."""
    both = codec(Address)
    assert both.parse(both.dump(Address(True))) == Address(1)
    assert orjson.loads(both.dump_json(Address(True)))["zip"] == "1"


@dataclass
class Defaults:
    required: str
    limit: int = 10
    name: str = "nobody"
    stamp: str = field(default_factory=lambda: "made")
    colour: Colour = Colour.GREEN
    tags: list[str] = field(default_factory=lambda: ["x"])


def test_defaults(codec: CodecOf) -> None:
    """What is absent has the class's default, and zero where there is none; a zero which was sent stays a zero."""
    both = codec(Defaults)
    expected = Defaults("", 10, "nobody", "made", Colour.GREEN, ["x"])
    assert both.parse(b"") == expected
    assert both.parse_json(b"{}") == expected
    zeros = Defaults("", 0, "", "", Colour.RED, ["y"])
    assert both.parse(both.dump(zeros)) == zeros
    assert both.parse_json(both.dump_json(zeros)) == zeros


def test_absent_message(codec: CodecOf) -> None:
    """A nested message that was not sent, and may not be None, is one of zeros and defaults."""
    both = codec(Wrong)
    assert both.parse(b"").address == Address(0, "")
    assert both.parse_json(b"{}").address == Address(0, "")


def test_absent_without_meaning(codec: CodecOf) -> None:
    """A time has no zero: where it must be there, its absence is a fault that names it."""

    @dataclass
    class Timed:
        when: datetime

    both = codec(Timed)
    for parse in (both.parse, both.parse_json):
        with pytest.raises(FieldError, match='field "when" is missing'):
            parse(b"")


def test_enum_without_zero(codec: CodecOf) -> None:
    """An enum none of whose members is 0 gets an unspecified one, which nobody may send."""

    @dataclass
    class Levelled:
        level: Level

    both = codec(Levelled)
    for parse in (both.parse, both.parse_json):
        with pytest.raises(FieldError, match='field "level"'):
            parse(b"")
    with pytest.raises(FieldError, match="LOW, HIGH"):
        both.parse(b"\x08\x03")


def test_naive_time_is_utc(codec: CodecOf) -> None:
    """A time without an offset is taken as UTC, one with another offset is brought there."""
    both = codec(In)
    naive = In(when=datetime(2026, 1, 31, 12))
    east = In(when=datetime(2026, 1, 31, 14, tzinfo=timezone(timedelta(hours=2))))
    for value in (naive, east):
        assert both.parse(both.dump(value)).when == datetime(2026, 1, 31, 12, tzinfo=UTC)
        assert orjson.loads(both.dump_json(value))["when"] == "2026-01-31T12:00:00Z"


def test_validation_of_the_class(codec: CodecOf) -> None:
    """A class may check itself: what its __post_init__ raises is what parsing raises."""

    @dataclass
    class Checked:
        name: str

        def __post_init__(self) -> None:
            if not self.name:
                raise ValueError("a name is wanted")

    for parse in (codec(Checked).parse, codec(Checked).parse_json):
        with pytest.raises(ValueError, match="a name is wanted"):
            parse(b"")


def test_odd_names(codec: CodecOf) -> None:
    """A field may be called on the wire what Python keeps for itself, and be taken by keyword only."""

    @dataclass(kw_only=True)
    class Odd:
        from_: str = field(default="", metadata={"name": "from"})
        match: str = ""

    both = codec(Odd)
    assert both.parse(both.dump(Odd(from_="a", match="b"))) == Odd(from_="a", match="b")
    assert both.dump_json(Odd(from_="a")) == b'{"from":"a","match":""}'
    assert both.parse_json(b'{"from":"a"}') == Odd(from_="a")


def test_private_fields(codec: CodecOf) -> None:
    """A field which the constructor does not take is not on the wire."""

    @dataclass
    class Private:
        name: str
        seen: int = field(default=0, init=False)

    assert codec(Private).dump_json(Private("a")) == b'{"name":"a"}'


def test_text_that_is_not_unicode(codec: CodecOf) -> None:
    """A lone surrogate cannot be sent, and says so."""
    both = codec(Address)
    for dump in (both.dump, both.dump_json):
        with pytest.raises(FieldError):
            dump(Address(1, "\ud800"))


@dataclass
class Fuzzed:
    text: str
    number: int
    ratio: float
    blob: bytes
    tags: list[str]
    labels: dict[str, int]
    when: datetime
    maybe: bool | None


_MODEL = model_of(Fuzzed)
_FUZZED = codec_in(Contract("tests", [_MODEL]), Fuzzed, _MODEL)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
_LONG = st.integers(-(2**63), 2**63 - 1)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.builds(
        Fuzzed,
        text=_TEXT,
        number=_LONG,
        ratio=st.floats(allow_nan=False),
        blob=st.binary(),
        tags=st.lists(_TEXT),
        labels=st.dictionaries(_TEXT, _LONG),
        when=st.datetimes(timezones=st.just(UTC)),
        maybe=st.none() | st.booleans(),
    )
)
def test_any_value(value: Fuzzed) -> None:
    """Whatever fits the annotations survives both encodings."""
    assert _FUZZED.parse(_FUZZED.dump(value)) == value
    assert _FUZZED.parse_json(_FUZZED.dump_json(value)) == value


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["text", "number", "tags", "labels", "x"]), inner)
        ),
    )
)
def test_any_json(value: object) -> None:
    """Whatever JSON comes is read, or refused with a fault of ours."""
    try:
        text = orjson.dumps(value)
    except TypeError:
        return
    with contextlib.suppress(FieldError, Undecodable):
        assert isinstance(_FUZZED.parse_json(text), Fuzzed)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary())
def test_any_bytes(data: bytes) -> None:
    """Whatever bytes come are read, or refused with a fault of ours."""
    with contextlib.suppress(FieldError, Undecodable):
        assert isinstance(_FUZZED.parse(data), Fuzzed)


def test_fault_in_a_list(codec: CodecOf) -> None:
    """A fault in an item of a list or in a value of a map says which, in protobuf too."""

    @dataclass
    class Levels:
        each: list[Level]
        named: dict[str, Level]

    both = codec(Levels)
    with pytest.raises(FieldError, match=r'field "each\[1\]" wants one of LOW, HIGH, got 3'):
        both.parse(b"\x0a\x02\x01\x03")
    with pytest.raises(FieldError, match=r'field "named\["a"\]" wants one of LOW, HIGH, got 3'):
        both.parse(b"\x12\x05\x0a\x01a\x10\x03")
