"""What an author's annotations mean on the wire.

==============================  =====================================================
Python                          protobuf
==============================  =====================================================
C{str bytes bool}               C{string bytes bool}
C{int}, C{float}                C{int64}, C{double}; narrower with C{int32} and its like
C{datetime}, C{timedelta}       C{google.protobuf.Timestamp}, C{google.protobuf.Duration}
C{list set tuple[T, ...]}       C{repeated}
C{dict[str, T]}                 C{map}
an C{Enum}                      an enum; members are numbered by their C{int} values, else in order from 0
a dataclass                     a message
C{T | None}                     C{optional}
==============================  =====================================================

A field's number is its place in the class, counted from 1, or C{field(metadata={"number": 7})}; its name is its own, or
C{metadata={"name": ...}}. What is absent from a message takes the field's default; without one it is zero, empty, or a
message of such. A default that is not zero makes the field C{optional}, so that a zero that was sent can be told from nothing.
Fields with C{init=False} stay private to Python.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, TypeGuard

from google.protobuf.message import Message

int32 = Annotated[int, "int32"]
int64 = Annotated[int, "int64"]
uint32 = Annotated[int, "uint32"]
uint64 = Annotated[int, "uint64"]
float32 = Annotated[float, "float32"]

#: The limits of each kind of integer.
RANGES: dict[str, tuple[int, int]] = {
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
}

_ZERO: dict[str, object] = {"string": "", "bytes": b"", "bool": False, "double": 0.0, "float": 0.0}


class SchemaError(TypeError):
    """A class cannot be a message as it stands; the text names the file, the class and the field."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """One protobuf scalar; C{kind} is its protobuf name."""

    kind: str


@dataclass(frozen=True, slots=True)
class Instant:
    """A point in time, in UTC, to the microsecond."""


@dataclass(frozen=True, slots=True)
class Span:
    """A length of time."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One of an enum's members, with the number of each."""

    kind: type[Enum]
    members: tuple[tuple[str, int], ...]

    @property
    def zero(self) -> Enum | None:
        """The member numbered 0, which stands for "nothing was sent"."""
        return next((self.kind[name] for name, number in self.members if number == 0), None)


@dataclass(frozen=True, slots=True)
class Record:
    """A nested message, by its class."""

    kind: type


@dataclass(frozen=True, slots=True)
class Many:
    """A repeated field, read into a C{container}."""

    item: Scalar | Instant | Span | Choice | Record
    container: type


@dataclass(frozen=True, slots=True)
class Keyed:
    """A map."""

    key: Scalar
    value: Scalar | Instant | Span | Choice | Record


Single = Scalar | Instant | Span | Choice | Record
Shape = Single | Many | Keyed


@dataclass(frozen=True, slots=True)
class Part:
    """One field of a message.

    @ivar attribute: its name in Python.
    @ivar name: its name on the wire; C{json} is the other spelling that JSON knows.
    @ivar optional: its annotation allows C{None}.
    @ivar presence: on the wire, absence can be told from zero.
    @ivar default: makes the value that stands for absence; C{None} where there is none.
    @ivar keyword: the class takes it by keyword only.
    """

    attribute: str
    name: str
    json: str
    number: int
    shape: Shape
    optional: bool
    presence: bool
    default: Callable[[], object] | None
    keyword: bool


@dataclass(frozen=True, slots=True)
class Model:
    """The parts of each class that can be met in one class, that one included and first."""

    root: type
    records: Mapping[type, tuple[Part, ...]]
    choices: Mapping[type[Enum], Choice]


def zero(shape: Shape) -> object:
    """What absence means where nobody said otherwise; C{None} where it means nothing."""
    match shape:
        case Scalar(kind):
            return _ZERO.get(kind, 0)
        case Choice():
            return shape.zero
        case Many(_, container):
            return container()
        case Keyed():
            return {}
        case _:
            return None


def plain(shape: Single) -> type | None:
    """The type whose values are the same in Python and in JSON; C{None} for those which are converted."""
    match shape:
        case Scalar("string"):
            return str
        case Scalar("bool"):
            return bool
    return None


def is_message(kind: object) -> TypeGuard[type[Message]]:
    """Whether C{kind} is a generated protobuf message."""
    return isinstance(kind, type) and issubclass(kind, Message)
