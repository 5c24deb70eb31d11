"""How the records of one class are kept: as which document, under which key, with which entries in indexes.

All of a model is in one table. A record is the JSON of its class under C{record/<id>}. An entry of an index is under
C{index/<place> <value> <value> <id>}, each value as L{microd.framework.model.ordered} writes it, and holds only the id; an entry
of a unique index has C{-} for the id, so that two records cannot both have it. C{indexes} says which indexes there are
(L{microd.framework.model.definitions}).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from microd.framework.model.indexes import Index
from microd.framework.model.ordered import NONE, VALUE, Encode, component, cut, form
from microd.framework.questions import Record
from microd.framework.schema import fromjson, tojson
from microd.framework.schema.annotations import model_of, place_of
from microd.framework.schema.faults import FieldError, Undecodable
from microd.framework.schema.shapes import Part, Scalar, SchemaError, zero
from microd.kernel.errors import BadRequest, Internal

T = TypeVar("T")

RECORDS, ENTRIES = "record/", "index/"

#: The longest id, as it is written, in bytes.
LONGEST_ID = 1024

#: Where an instance that was read or written carries the version that it is of.
_VERSION = "_microd_version"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class Field:
    """A field that can be found by.

    @ivar form: the name of the way its values are written.
    @ivar optional: it may be C{None}.
    @ivar absent: the component of a document that has no such field; empty: that is not known beforehand.
    """

    name: str
    form: str
    encode: Encode
    optional: bool
    absent: str

    def component(self, value: object) -> str:
        """A value as a part of a key, not cut.

        @raise FieldError: it is of another type; the error names the field.
        """
        try:
            return component(self.encode, value)
        except FieldError as fault:
            raise fault.within(self.name) from None


class Layout(Generic[T]):
    """One class's.

    @ivar name: the model's, which its table is called after.
    @ivar fields: those which can be found by; C{key} is the one that tells records apart.
    @ivar indexes: the declared ones, by name.
    """

    def __init__(
        self,
        kind: type[T],
        key: str,
        indexes: Sequence[Index],
        name: str,
        version: str,
        names: Mapping[str, object] | None = None,
    ) -> None:
        model = model_of(kind, names)
        _refuse_changing(model.records)
        parts = {part.attribute: part for part in model.records[kind]}
        where = f"{place_of(kind)}: {kind.__name__}"
        self.kind = kind
        self.name = name or kind.__name__
        if _NAME.fullmatch(self.name) is None or ".." in self.name:
            raise SchemaError(
                f"{where}: {self.name!r} cannot name a model: letters, digits, '_', '-' and '.', up to 64"
            )
        self.fields = {one.name: one for one in map(_field, parts.values()) if one is not None}
        self.key = self._key(key, parts, where)
        self.indexes = self._declared(indexes, parts, where)
        self._version = self._version_field(version, parts, where)
        self._parse: Callable[[bytes], T] = fromjson.parser(model)
        self._dump: Callable[[T], bytes] = tojson.dumper(model)

    # -- what was declared

    def _key(self, key: str, parts: Mapping[str, Part], where: str) -> Field:
        part = parts.get(key)
        if part is None:
            raise SchemaError(f'{where} has no field "{key}" to tell its records apart: say key="..."')
        if (
            part.optional
            or not isinstance(part.shape, Scalar)
            or self.fields[key].form not in ("text", "integer")
        ):
            raise SchemaError(f"{where}.{key}: records are told apart by a string or an integer")
        return self.fields[key]

    def _declared(self, indexes: Sequence[Index], parts: Mapping[str, Part], where: str) -> dict[str, Index]:
        found: dict[str, Index] = {}
        for index in indexes:
            if not isinstance(index, Index):
                raise SchemaError(f'{where}: {index!r} is no index: Index("email")')
            for field in index.fields:
                if field not in parts:
                    raise SchemaError(f'{where} has no field "{field}" for the index {index.name}')
                if field not in self.fields:
                    raise SchemaError(
                        f"{where}.{field}: an index orders strings, numbers, booleans, bytes, datetimes, timedeltas and enums"
                    )
            if index.fields == (self.key.name,):
                raise SchemaError(f"{where}.{self.key.name}: records are found by their key without an index")
            if index.name in found:
                raise SchemaError(f"{where} has the index {index.name} twice")
            found[index.name] = index
        return found

    def _version_field(self, version: str, parts: Mapping[str, Part], where: str) -> str:
        if not version:
            return ""
        part = parts.get(version)
        if part is None or part.shape != Scalar("int64") or part.optional:
            raise SchemaError(f'{where}: a version is kept in a field "{version}: int = 0"')
        return version

    # -- records

    def document(self, record: T) -> tuple[bytes, T]:
        """What is kept of a record, and the record as whoever reads that will see it.

        @raise BadRequest: some value is not of its field's type.
        """
        try:
            document = self._dump(record)
            return document, self._parse(document)
        except (FieldError, Undecodable) as fault:
            raise BadRequest(f"{self.name}: {fault}") from None

    def record_of(self, kept: Record) -> T:
        """What was kept, with its version."""
        try:
            record = self._parse(kept.value)
        except (FieldError, Undecodable) as fault:
            raise Internal(f"what is kept under {kept.key} is no {self.name}: {fault}") from None
        self.carry(record, kept.version)
        return record

    def renewed(self, kept: Record) -> bytes:
        """What would be kept of a record by now: all that its class has, and nothing else."""
        return self._dump(self._parse(kept.value))

    def carry(self, record: T, version: int) -> None:
        """Have a record carry the version that it is of, where it has a place for one."""
        with suppress(AttributeError):  # of a class with slots
            object.__setattr__(record, self._version or _VERSION, version)

    def version_of(self, record: T) -> int:
        """The version which a record carries; 0: none."""
        return int(getattr(record, self._version or _VERSION, 0))

    def id_of(self, record: T) -> str:
        """A record's id as text."""
        if not isinstance(record, self.kind):
            raise BadRequest(f"{self.name}: this is a {type(record).__name__}")
        return self.id(getattr(record, self.key.name))

    def id(self, value: object) -> str:
        """An id as the text that keys hold.

        @raise BadRequest: it is no id.
        """
        found = self.value(self.key.name, value)[1:]
        if not found or value is None:
            raise BadRequest(f"{self.name}: the {self.key.name} is missing")
        if len(found.encode()) > LONGEST_ID:
            raise BadRequest(f"{self.name}: the {self.key.name} is longer than {LONGEST_ID} bytes")
        return found

    def value(self, field: str, value: object) -> str:
        """A value of a field as a component.

        @raise BadRequest: it is of another type.
        """
        try:
            return self.fields[field].component(value)
        except FieldError as fault:
            raise BadRequest(f"{self.name}: {fault}") from None

    def components(self, record: T, fields: Sequence[str]) -> tuple[str, ...]:
        """Some of a record's values as components."""
        return tuple(self.value(field, getattr(record, field)) for field in fields)


def record_key(id: str) -> str:
    """Where a record is kept."""
    return RECORDS + id


def entry_key(place: str, components: Sequence[str], unique: bool, id: str) -> str:
    """Where an index's entry is kept.

    @param components: the values of its fields, not cut.
    """
    return entry_start(place, components) + " " + (NONE if unique and NONE not in components else VALUE + id)


def entry_start(place: str, components: Sequence[str]) -> str:
    """How the keys of entries with these first values begin, up to the space after them."""
    return ENTRIES + place + "".join([" " + cut(each) for each in components])


def _refuse_changing(records: Mapping[type, Sequence[Part]]) -> None:
    """What is not in a document reads as its default, and so does C{None}."""
    for kind, parts in records.items():
        for part in parts:
            if part.optional and part.default is not None and part.default() is not None:
                raise SchemaError(
                    f"{place_of(kind)}: {kind.__name__}.{part.attribute}: a None that is kept would be read as the default; "
                    f"drop '| None', or make the default None"
                )


def _field(part: Part) -> Field | None:
    found = form(part.shape)
    if found is None:
        return None
    name, encode = found
    return Field(part.attribute, name, encode, part.optional, _absent(part, encode))


def _absent(part: Part, encode: Encode) -> str:
    """The component of a field that is not in the document: it is the same each time, or it is not known."""
    if part.default is None:
        nothing = zero(part.shape)
        return "" if nothing is None else component(encode, nothing)
    first, second = part.default(), part.default()
    try:
        one, two = component(encode, first), component(encode, second)
    except FieldError:
        return ""
    return one if one == two else ""
