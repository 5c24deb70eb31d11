"""Writing records: a record and its entries are one batch, on the conditions that make it right.

They are: the definitions of the indexes are those which the entries were made by; the record has the version that was read, or
is not there; and an entry of a unique index that the record did not have before is not there. So nothing is looked at first and
done afterwards; where a condition did not hold, it is looked at afterwards which one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from microd.framework.model.definitions import Definition, Definitions
from microd.framework.model.layout import entry_key, record_key
from microd.framework.model.reading import TRIES, Reading, Steps, lost
from microd.framework.questions import Check, Drop, Put, Record
from microd.kernel.errors import BadRequest, Conflict, MicroError, PreconditionFailed

T = TypeVar("T")

Entries = Mapping[str, Definition]


class Writing(Reading[T]):
    """Writes one model's table, too."""

    def create(self, record: T) -> Steps[T]:
        """Keep a new record; it carries its version afterwards.

        @raise Conflict: there is one with its id, or with a value which only one may have.
        """
        id = self.layout.id_of(record)
        for _ in range(TRIES):
            if (yield from self._put(record, id, None)):
                return record
            if (yield from self._version(id)):
                raise Conflict(f"there is a {self._called(record)} already")
        raise self._busy(getattr(record, self.layout.key.name))

    def save(self, record: T) -> Steps[T]:
        """Keep a record, whether or not there is one with its id, and whatever that holds."""
        id = self.layout.id_of(record)
        for _ in range(TRIES):
            if (yield from self._put(record, id, (yield from self._kept(id)))):
                return record
        raise self._busy(getattr(record, self.layout.key.name))

    def update(self, record: T) -> Steps[T]:
        """Keep a record that was read, or written, and changed since.

        @raise Conflict: somebody else changed it meanwhile; or a value is taken.
        @raise NotFound: somebody else deleted it.
        """
        id, version = self.layout.id_of(record), self.layout.version_of(record)
        if not version:
            raise BadRequest(
                f"{self.layout.name}: a record is updated that was read or written here before, and this one was not: "
                f'use save(), change(), or a field for its version, Model(..., version="...")'
            )
        for _ in range(TRIES):
            kept = yield from self._kept(id)
            if kept is None:
                raise self.missing(getattr(record, self.layout.key.name))
            if kept.version != version:
                raise Conflict(f"the {self._called(record)} was changed by somebody else: read it again")
            if (yield from self._put(record, id, kept)):
                return record
        raise self._busy(getattr(record, self.layout.key.name))

    def change(self, id: object, how: Callable[[T], T | None]) -> Steps[T]:
        """Read a record, have a function change it or make another of it, and update; again, if it was changed meanwhile.

        @raise NotFound: there is none.
        """
        known = self.layout.id(id)
        for _ in range(TRIES):
            kept = yield from self._kept(known)
            if kept is None:
                raise self.missing(id)
            record = self.layout.record_of(kept)
            made = how(record)
            record = record if made is None else made
            if self.layout.id_of(record) != known:
                raise BadRequest(f"{self.layout.name}: a change cannot change the {self.layout.key.name}")
            if (yield from self._put(record, known, kept)):
                return record
        raise self._busy(id)

    def delete(self, id: object) -> Steps[None]:
        """Forget a record, whether or not it is there, and all its entries."""
        known = self.layout.id(id)
        for _ in range(TRIES):
            kept = yield from self._kept(known)
            if kept is None:
                return
            definitions = yield from self.known()
            stale = self.entries(definitions, self.layout.record_of(kept))
            acts = [Drop(kept.key, kept.version), *(yield from self._dropping(stale, known))]
            if (yield from self._done(definitions, acts)) is not None:
                return
        raise self._busy(id)

    # -- how

    def _put(self, record: T, id: str, before: Record | None) -> Steps[bool]:
        """Write a record in place of what was read; whether it could be done.

        @raise Conflict: a value is taken.
        """
        document, seen = self.layout.document(record)
        if self.layout.id_of(seen) != id:
            raise BadRequest(
                f"{self.layout.name}: the {self.layout.key.name} of this would be read as another"
            )
        definitions = yield from self.known()
        ours = self.entries(definitions, seen)
        theirs = self.entries(definitions, self.layout.record_of(before)) if before is not None else {}
        acts: list[Put | Drop | Check] = [
            Put(record_key(id), document, before.version if before is not None else 0)
        ]
        stale = {key: index for key, index in theirs.items() if key not in ours}
        acts += yield from self._dropping(stale, id)
        new = {key: index for key, index in ours.items() if key not in theirs}
        acts += [Put(key, id, 0 if index.unique else None) for key, index in new.items()]
        versions = yield from self._done(definitions, acts)
        if versions is not None:
            self.layout.carry(record, versions[1])
            return True
        yield from self._refuse_taken(new, id)
        return False

    def _dropping(self, stale: Entries, id: str) -> Steps[list[Drop | Check]]:
        """What drops a record's entries. In a unique index that is being built, one may be another record's."""
        doubtful = [key for key, index in stale.items() if index.unique and not index.ready]
        found = yield from self.kept(doubtful)
        acts: list[Drop | Check] = [Drop(key) for key in stale if key not in doubtful]
        for key in doubtful:
            record = found.get(key)
            if record is not None and record.text == id:
                acts.append(Drop(key, record.version))
            else:
                acts.append(Check(key, record.version if record is not None else 0))
        return acts

    def _done(
        self, definitions: Definitions, acts: Sequence[Put | Drop | Check]
    ) -> Steps[Sequence[int] | None]:
        """Do it all; C{None}: some condition did not hold."""
        try:
            versions: Sequence[int] = yield self.questions.batch([self.unchanged(definitions), *acts])
        except MicroError as problem:
            if not lost(problem):
                raise
            self.definitions = None
            return None
        return versions

    def _refuse_taken(self, new: Entries, id: str) -> Steps[None]:
        """Find out whether it was for another record's sake."""
        unique = [key for key, index in new.items() if index.unique]
        found = yield from self.kept(unique)
        for key, record in found.items():
            if record.text != id:
                index = new[key]
                raise Conflict(f"{self.layout.name}: there is another one with this {_and(index)}")

    def entries(self, definitions: Definitions, record: T) -> dict[str, Definition]:
        """The keys of all entries of a record.

        @raise PreconditionFailed: another release has an index which this one cannot keep.
        """
        id = self.layout.id_of(record)
        made: dict[str, Definition] = {}
        for index in definitions.indexes:
            made[entry_key(index.place, self._components(index, record), index.unique, id)] = index
        return made

    def _components(self, index: Definition, record: T) -> tuple[str, ...]:
        components: list[str] = []
        for field in index.fields:
            ours = self.layout.fields.get(field.name)
            if ours is not None and ours.form == field.form:
                components.append(self.layout.value(field.name, getattr(record, field.name)))
            elif ours is None and field.absent:
                components.append(field.absent)
            else:
                why = "has no such field" if ours is None else "has that field with another type"
                raise PreconditionFailed(
                    f"{self.layout.name}: another release has an index of {field.name}, and this one {why}, so it cannot "
                    f"keep it; call reindex() in the release which is to stay"
                )
        return tuple(components)

    def _kept(self, id: str) -> Steps[Record | None]:
        key = record_key(id)
        found = yield from self.kept([key])
        return found.get(key)

    def _version(self, id: str) -> Steps[int]:
        kept = yield from self._kept(id)
        return kept.version if kept is not None else 0

    def _called(self, record: T) -> str:
        return f"{self.layout.name} {str(getattr(record, self.layout.key.name))[:200]}"

    def _busy(self, id: object) -> Conflict:
        return Conflict(
            f"the {self.layout.name} {str(id)[:200]} is changed by others all the time: try again"
        )


def _and(index: Definition) -> str:
    return " and ".join(field.name for field in index.fields)
