"""Which indexes a table has: kept beside its records, for all releases of all services that use it.

Each release declares indexes in its code, and several releases run at once while one replaces another. What is kept here binds
all of them: whoever writes a record writes the entries of every index named here, also of one that only another release
declares; and whoever reads by an index first makes sure that it is here, the same, and ready.

An index becomes part of it when a release that declares it first uses the table, and not ready, unless there are no records yet;
from then on all writers keep it, and L{microd.framework.model.rebuilding} fills in the records of before. Nobody goes on without
having seen a change: each write is made on the condition that this record has the version that the writer knows, and who reads by
an index looks at it in the same moment as at the records.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from secrets import token_hex
from typing import Any

import orjson

from microd.framework.model.indexes import Index
from microd.framework.model.layout import Field, Layout
from microd.framework.questions import Record
from microd.kernel.errors import Internal, PreconditionFailed

#: Where they are kept.
KEY = "indexes"

#: The form of all this; a table of another one is not touched.
FORM = 1


@dataclass(frozen=True, slots=True)
class Written:
    """A field of an index: its name, the form of its values, and what a record without it counts as, if that is known."""

    name: str
    form: str
    absent: str


@dataclass(frozen=True, slots=True)
class Definition:
    """One index of the table.

    @ivar place: what its entries are kept under, and nothing else ever was.
    @ivar ready: it has the entries of all records.
    """

    fields: tuple[Written, ...]
    unique: bool
    place: str
    ready: bool

    @property
    def name(self) -> str:
        """As the index is called that declares it."""
        return "+".join(field.name for field in self.fields)

    def same(self, index: Index, fields: Mapping[str, Field]) -> bool:
        """Whether this is what a release declares."""
        return self.unique == index.unique and self.fields == tuple(
            _written(fields[name]) for name in index.fields
        )


@dataclass(frozen=True, slots=True)
class Definitions:
    """All of a table.

    @ivar version: the record's; 0: there is none yet.
    """

    version: int
    indexes: tuple[Definition, ...]

    def of(self, index: Index, layout: Layout[Any]) -> Definition | None:
        """The definition of a declared index, one that is ready if there is one; C{None} where it is not here."""
        found = [one for one in self.indexes if one.same(index, layout.fields)]
        return next((one for one in found if one.ready), found[0] if found else None)

    def readable(self, index: Index, layout: Layout[Any]) -> Definition:
        """The definition of an index that finds every record.

        @raise PreconditionFailed: it does not yet.
        """
        found = self.of(index, layout)
        if found is None or not self.is_readable(index, layout):
            raise PreconditionFailed(
                f"{layout.name}: the index {index.name} has not been built over the records that were there before it; "
                f"call reindex()"
            )
        return found

    def is_readable(self, index: Index, layout: Layout[Any]) -> bool:
        """Whether a declared index finds every record."""
        found = self.of(index, layout)
        return found is not None and found.ready

    def with_declared(self, layout: Layout[Any], anew: bool = False) -> Definitions:
        """These, and every index that a release declares, not ready; itself where there is nothing new.

        @param anew: also those which are here, in another place.
        """
        added = [
            Definition(
                tuple(_written(layout.fields[name]) for name in index.fields),
                index.unique,
                f"{index.name}.{token_hex(4)}",
                ready=False,
            )
            for index in layout.indexes.values()
            if anew or self.of(index, layout) is None
        ]
        return Definitions(self.version, (*self.indexes, *added)) if added else self

    def built(self, places: Collection[str]) -> Definitions:
        """These, of which some are ready now."""
        indexes = [replace(one, ready=one.ready or one.place in places) for one in self.indexes]
        return replace(self, indexes=tuple(indexes))

    def only(self, places: Collection[str]) -> Definitions:
        """Only those which are kept in some places."""
        return replace(self, indexes=tuple(one for one in self.indexes if one.place in places))

    def value(self) -> bytes:
        """What is kept of them."""
        indexes = [
            {
                "fields": [[each.name, each.form, each.absent] for each in one.fields],
                "unique": one.unique,
                "place": one.place,
                "ready": one.ready,
            }
            for one in self.indexes
        ]
        return orjson.dumps({"form": FORM, "indexes": indexes})


#: A table that nobody has used.
NONE_YET = Definitions(0, ())


def definitions_of(record: Record | None) -> Definitions:
    """What was kept of them.

    @raise Internal: that is something else.
    """
    if record is None:
        return NONE_YET
    try:
        found = orjson.loads(record.value)
        form = found["form"]
        indexes = tuple(
            Definition(
                tuple(Written(*map(str, field)) for field in one["fields"]),
                bool(one["unique"]),
                str(one["place"]),
                bool(one["ready"]),
            )
            for one in found["indexes"]
        )
        kept = Definitions(record.version, indexes)
    except (ValueError, KeyError, TypeError) as problem:
        raise Internal(f"the record {KEY} of a model's table cannot be read: {problem}") from None
    if form != FORM:
        raise PreconditionFailed(
            f"a model's table is of form {form}, and this release knows {FORM}: use a newer one"
        )
    return kept


def _written(field: Field) -> Written:
    return Written(field.name, field.form, field.absent)
