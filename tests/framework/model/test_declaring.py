"""What can be declared, and what is refused at once; and where records carry their versions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

import pytest

from microd.framework.model import Index, Model, at_least
from microd.framework.schema.shapes import SchemaError, float32
from microd.framework.store import Store
from microd.kernel.errors import BadRequest, Conflict
from microd.testing.outcome import done as run


@dataclass
class Place:
    street: str = ""


@dataclass
class Thing:
    id: str
    place: Place = field(default_factory=Place)
    tags: list[str] = field(default_factory=list)
    note: str | None = None


@dataclass
class Changing:
    id: str
    note: str | None = "something"


@dataclass
class ByTime:
    id: datetime


@dataclass
class ByMaybe:
    id: str | None = None


@pytest.mark.parametrize(
    ("declare", "text"),
    [
        (lambda: Model(Thing, indexes=[Index("tags")]), r"Thing\.tags: an index orders strings, numbers"),
        (lambda: Model(Thing, indexes=[Index("place")]), r"Thing\.place: an index orders strings, numbers"),
        (lambda: Model(Thing, indexes=[Index("nothing")]), 'has no field "nothing" for the index nothing'),
        (lambda: Model(Thing, indexes=[Index("id")]), r"Thing\.id: records are found by their key without"),
        (lambda: Model(Thing, indexes=[Index("note"), Index("note", unique=True)]), "the index note twice"),
        (lambda: Model(Thing, indexes=["note"]), "'note' is no index"),  # type: ignore[list-item]
        (lambda: Model(Thing, key="name"), 'has no field "name" to tell its records apart'),
        (
            lambda: Model(Thing, key="place"),
            r"Thing\.place: records are told apart by a string or an integer",
        ),
        (lambda: Model(ByTime), r"ByTime\.id: records are told apart by"),
        (lambda: Model(ByMaybe), r"ByMaybe\.id: records are told apart by"),
        (lambda: Model(Thing, version="note"), 'a version is kept in a field "note: int = 0"'),
        (lambda: Model(Thing, name="a/b"), "'a/b' cannot name a model"),
        (lambda: Model(Changing), r"Changing\.note: a None that is kept would be read as the default"),
        (lambda: Model(dict), "neither a dataclass"),
        (lambda: Index(), "an index is of fields, by their names"),
        (lambda: Index("a", "a"), r"a\+a has a field twice"),
        (lambda: Index("a", "b", "c", "d"), "has more than 3 fields"),
        (lambda: Index("a", order_by="b", unique=True), "is unique, so there is nothing to order"),
    ],
)
def test_refused(declare: Callable[[], object], text: str) -> None:
    """What cannot be kept or found is an error of the declaration, which names the field."""
    with pytest.raises(SchemaError, match=text):
        declare()


class Colour(Enum):
    RED = "r"
    BLUE = "b"


@dataclass
class All:
    id: int
    text: str = ""
    number: float = 0.0
    narrow: float32 = 0.0
    flag: bool = False
    colour: Colour = Colour.RED
    data: bytes = b""
    when: datetime | None = None
    long: timedelta = timedelta()


@pytest.mark.parametrize(
    ("field_name", "values"),
    [
        ("text", ["", " ", "!", "A", "a", "a b", "a!", "aa", "b", "~", "é", "日本", "\U0001f600"]),
        ("number", [float("-inf"), -1.5, -1.0, -0.25, 0.0, 1e-9, 0.5, 1e300, float("inf")]),
        ("narrow", [-0.1, 0.1, 0.3]),
        ("flag", [False, True]),
        ("colour", [Colour.BLUE, Colour.RED]),
        ("data", [b"", b"\x00", b"\x01\x00", b"\xff"]),
        (
            "when",
            [
                None,
                datetime.fromisoformat("1950-01-01T00:00:00Z"),
                datetime.fromisoformat("2026-01-01T00:00:00.000001Z"),
            ],
        ),
        ("long", [timedelta(-1), timedelta(), timedelta(microseconds=1), timedelta(400)]),
    ],
)
def test_every_type(store: Store, field_name: str, values: list[Any]) -> None:
    """Every type that has an order is found by each value, and is in order both ways."""
    things = Model(All, indexes=[Index(field_name)]).on(store)
    for number, value in enumerate(reversed(values)):
        run(things.create(All(number - 3, **{field_name: value})))
    for descending in (False, True):
        page = run(things.list(order=field_name, descending=descending))
        expected = values[::-1] if descending else values
        assert [getattr(thing, field_name) for thing in page] == expected
    for value in values:
        assert [getattr(thing, field_name) for thing in run(things.list({field_name: value}))] == [value]
    assert len(run(things.list({field_name: at_least(values[1])}))) == len(values) - 1


def test_integer_ids(store: Store) -> None:
    """Integer ids are in the order of their numbers, negative ones first."""
    things = Model(All, indexes=[Index("text")]).on(store)
    for number in (10, 9, -1, 100, -20, 0):
        run(things.create(All(number, "same")))
    assert [thing.id for thing in run(things.list())] == [-20, -1, 0, 9, 10, 100]
    assert [thing.id for thing in run(things.list(text="same", descending=True))] == [100, 10, 9, 0, -1, -20]
    assert [thing.id for thing in run(things.list(text="same", id=at_least(9)))] == [9, 10, 100]
    assert [thing.id for thing in run(things.list(id=at_least(0)))] == [0, 9, 10, 100]
    assert run(things.read(-20)).id == -20


@dataclass(frozen=True)
class Frozen:
    id: str
    age: int = 0
    revision: int = 0


@dataclass(slots=True)
class Slots:
    id: str
    age: int = 0
    revision: int = 0


def test_frozen(store: Store) -> None:
    """A frozen record carries its version too; a copy does not, unless a field of the class holds it."""
    things = Model(Frozen).on(store)
    first = run(things.create(Frozen("a")))
    run(things.update(first))
    with pytest.raises(BadRequest, match="version="):
        run(things.update(replace(first, age=1)))


@pytest.mark.parametrize("kind", [Frozen, Slots])
def test_version_field(store: Store, kind: Any) -> None:
    """A field for the version holds that of what was read, and survives a copy."""
    things = Model(kind, version="revision").on(store)
    run(things.create(kind("a")))
    read = run(things.read("a"))
    assert read.revision > 0
    run(things.update(replace(read, age=1)))
    with pytest.raises(Conflict):
        run(things.update(replace(read, age=2)))


def test_slots(store: Store) -> None:
    """A class with slots is saved, read and changed; what is not there is a place for the version."""
    things = Model(Slots).on(store)
    run(things.save(Slots("a")))
    run(things.change("a", lambda one: replace(one, age=5)))
    with pytest.raises(BadRequest, match="version="):
        run(things.update(run(things.read("a"))))


def test_local_class(store: Store) -> None:
    """A class of a function may name what the function sees."""

    @dataclass
    class Inner:
        text: str

    @dataclass
    class Outer:
        id: str
        inner: Inner

    things = Model(Outer).on(store)
    run(things.save(Outer("a", Inner("x"))))
    assert run(things.read("a")).inner == Inner("x")


@dataclass
class Lowered:
    id: str
    email: str = ""

    def __post_init__(self) -> None:
        self.id, self.email = self.id.lower(), self.email.lower()


def test_values_made_by_the_class(store: Store) -> None:
    """Indexes have the values that are read, where the class makes other ones of what it is given."""
    things = Model(Lowered, indexes=[Index("email", unique=True)]).on(store)
    one = Lowered("A", "ADA")
    one.email = "Ada"
    run(things.create(one))
    assert run(things.get(email="ada")).id == "a"
    one.id = "B"
    with pytest.raises(BadRequest, match="the id of this would be read as another"):
        run(things.save(one))
