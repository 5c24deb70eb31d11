"""What annotations mean, and which are refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import Enum, Flag
from typing import Annotated, Any, ClassVar

import pytest

from microd.framework.schema.annotations import model_of
from microd.framework.schema.descriptors import Contract
from microd.framework.schema.shapes import SchemaError
from microd.wire.errors_pb2 import Error


@dataclass
class Leaf:
    x: int


@dataclass
class NotOnTheWire:
    when: date


@dataclass
class Loose:
    anything: Any


@dataclass
class Either:
    id: int | str


@dataclass
class NoneOrList:
    tags: list[str] | None = None


@dataclass
class Bare:
    tags: list  # type: ignore[type-arg]


@dataclass
class Nested:
    rows: list[list[int]]


@dataclass
class Keys:
    by: dict[float, str]


@dataclass
class Pair:
    pair: tuple[int, str]


@dataclass
class Generated:
    error: Error


@dataclass
class Endless:
    again: Endless


@dataclass
class Zero:
    x: int = field(metadata={"number": 0})


@dataclass
class Kept:
    x: int = field(metadata={"number": 19500})


class Empty(Enum):
    """It has no members."""


@dataclass
class Memberless:
    which: Empty


@dataclass
class Misnamed:
    x: int = field(metadata={"name": "a b"})


@dataclass
class Unhashable:
    leaves: set[Leaf]


class Bits(Flag):
    A = 1


@dataclass
class Flagged:
    bits: Bits


@dataclass
class Umlaut:
    größe: int


class Plain:
    x: int


@dataclass
class HoldsPlain:
    plain: Plain


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (NotOnTheWire, "NotOnTheWire.when: date has no counterpart on the wire"),
        (Loose, "Loose.anything: Any has no counterpart"),
        (Either, r"Either.id: int \| str could be more than one thing"),
        (NoneOrList, "NoneOrList.tags: a list or dict is empty rather than None"),
        (Bare, r"Bare.tags: say of what: list\[...\]"),
        (Nested, r"Nested.rows: list\[int\] is a list or dict inside another"),
        (Keys, "Keys.by: the keys of a map are"),
        (Pair, r"Pair.pair: of tuples only tuple\[T, ...\]"),
        (Generated, "Generated.error: Error is a generated message"),
        (Endless, "Endless.again: a Endless that must contain a Endless has no end"),
        (Zero, "Zero.x: a field's number is 1 to"),
        (Kept, "Kept.x: a field's number is 1 to"),
        (Memberless, "Memberless.which: the enum Empty has no members"),
        (Misnamed, "Misnamed.x: 'a b' cannot name a field"),
        (Unhashable, "Unhashable.leaves: Leaf cannot be in a set"),
        (Flagged, "Flagged.bits: Bits may be several members at once"),
        (Umlaut, "Umlaut.größe: 'größe' cannot name a field on the wire"),
        (HoldsPlain, "HoldsPlain.plain: Plain has no counterpart"),
        (Plain, "Plain is neither a dataclass nor a protobuf message"),
    ],
)
def test_refused(kind: type, said: str) -> None:
    """What has no counterpart on the wire is refused in a sentence that names the file, the class and the field."""
    with pytest.raises(SchemaError, match=rf"test_annotations\.py:\d+: {said}"):
        model_of(kind)


def test_number_clash() -> None:
    """Two fields of one number are refused, and both are named."""

    @dataclass
    class Clash:
        first: int
        second: int = field(metadata={"number": 1})

    with pytest.raises(SchemaError, match=r"Clash\.second: number 1 is taken by first"):
        model_of(Clash)


def test_name_clash() -> None:
    """Two fields which JSON could not tell apart are refused."""

    @dataclass
    class Clash:
        user_name: str
        userName: str

    with pytest.raises(SchemaError, match=r"Clash\.userName: its name on the wire"):
        model_of(Clash)


def fields(contract: Contract, kind: type) -> dict[str, Any]:
    """A message's fields by name."""
    return dict(contract.descriptor(kind).fields_by_name)


def numbers(contract: Contract, kind: type) -> dict[str, int]:
    """The numbers of a message's fields."""
    return {found.name: found.number for found in contract.descriptor(kind).fields}


def test_numbers(contract: Callable[[type], Contract]) -> None:
    """A field's number is its place in the class; one that is given changes no other's."""

    @dataclass
    class Numbered:
        a: int
        b: int = field(metadata={"number": 7})
        c: int
        constant: ClassVar[int] = 1

    assert numbers(contract(Numbered), Numbered) == {"a": 1, "b": 7, "c": 3}


def test_inherited_numbers(contract: Callable[[type], Contract]) -> None:
    """The fields of a base class come first, so that they keep their numbers in each subclass."""

    @dataclass
    class Longer(Leaf):
        y: int

    assert numbers(contract(Longer), Longer) == {"x": 1, "y": 2}


def test_types(contract: Callable[[type], Contract]) -> None:
    """Each annotation has its protobuf type."""

    @dataclass
    class Typed:
        number: int
        ratio: float
        when: datetime
        maybe: int | None
        labels: Mapping[str, int]
        names: Sequence[str]
        noted: Annotated[str, "a note of the author's"]

    kinds = fields(contract(Typed), Typed)
    assert kinds["number"].type == kinds["number"].TYPE_INT64
    assert kinds["ratio"].type == kinds["ratio"].TYPE_DOUBLE
    assert kinds["when"].message_type.full_name == "google.protobuf.Timestamp"
    assert kinds["maybe"].has_presence
    assert not kinds["number"].has_presence
    assert kinds["labels"].message_type.GetOptions().map_entry
    assert kinds["names"].is_repeated
    assert kinds["noted"].type == kinds["noted"].TYPE_STRING


def test_two_classes_of_one_name(contract: Callable[[type], Contract]) -> None:
    """Two classes of one name cannot be in one contract; the text tells where each is."""

    def make() -> type:
        @dataclass
        class Leaf:
            y: str

        return Leaf

    other = make()

    with pytest.raises(SchemaError, match="two classes are called Leaf"):
        Contract("tests", [model_of(Leaf), model_of(other)])


class Light(Enum):
    RED = 0
    GREEN = 1


class Mood(Enum):
    RED = 0
    BLUE = 1


@dataclass
class Both:
    light: Light
    mood: Mood


def test_enums_with_one_name_for_a_member(contract: Callable[[type], Contract]) -> None:
    """Enums may share members' names, which protobuf forbids among neighbours."""
    enums = {found.enum_type.full_name for found in fields(contract(Both), Both).values()}
    assert enums == {"tests.Light", "tests.Mood.Value"}


def test_names_of_the_own_module() -> None:
    """A class of another module means what its annotations say there, whatever is called so where the service is."""
    found = model_of(Endpointless, {"Leaf": Zero})
    assert Leaf in found.records
    assert Zero not in found.records


@dataclass
class Endpointless:
    leaf: Leaf | None = None


def test_local_names_first() -> None:
    """A class that was defined within a function may name its neighbours there, even if its module has such names too."""

    @dataclass
    class Leaf:
        y: str

    @dataclass
    class Branch:
        leaves: list[Leaf]

    assert Leaf in model_of(Branch, {"Leaf": Leaf}).records
