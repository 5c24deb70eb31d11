"""Reading records, by their ids or by an index: what is asked of the store, step by step, whoever puts the questions.

An answer by an index takes two questions: for a page of its entries, and for the records which they name, together with the
definitions of the indexes. What is found is held against the whole condition again, so a record that was changed between the two
is left out rather than shown where it no longer belongs; and where the definitions are not those which the question was made
for, it is put again.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Any, Generic, TypeVar

from microd.framework.model.definitions import KEY, NONE_YET, Definitions, definitions_of
from microd.framework.model.layout import RECORDS, Layout, record_key
from microd.framework.model.ordered import LONGEST, VALUE, is_long
from microd.framework.model.pages import Page, cursor_of, position_of
from microd.framework.model.plans import Keys, Plan, Position, key_of, keys
from microd.framework.questions import Ask, Check, Put, Questions, Record, Span
from microd.kernel.errors import Conflict, MicroError, NotFound, TooLarge

T = TypeVar("T")
R = TypeVar("R")

#: What is asked, and at last what it comes to.
Steps = Generator[Ask[Any], Any, R]

#: How many records one page has, at most; and how many may begin with the same characters where keys are cut.
MOST, LONGEST_RUN = 1000, 1000

#: How many records a store gives by their keys at once.
AT_ONCE = 250

#: How often something is tried anew that others keep from happening.
TRIES = 20


class Reading(Generic[T]):
    """Reads one model's table.

    @ivar definitions: as they were last seen; C{None}: never.
    """

    def __init__(self, layout: Layout[T], questions: Questions) -> None:
        self.layout = layout
        self.questions = questions
        self.definitions: Definitions | None = None

    # -- by id

    def read(self, id: object) -> Steps[T]:
        """One record.

        @raise NotFound: there is none.
        """
        key = record_key(self.layout.id(id))
        found = yield from self.kept([key])
        if key not in found:
            raise self.missing(id)
        return self.layout.record_of(found[key])

    def read_many(self, ids: Iterable[object]) -> Steps[list[T]]:
        """Some records, in the order of their ids here; those which are not there are left out."""
        wanted = [record_key(self.layout.id(id)) for id in ids]
        found = yield from self.kept(wanted)
        return [self.layout.record_of(found[key]) for key in wanted if key in found]

    def missing(self, id: object) -> NotFound:
        """What is said of an id that nobody has."""
        return NotFound(f"no {self.layout.name} {str(id)[:200]}")

    def kept(self, wanted: Sequence[str]) -> Steps[dict[str, Record]]:
        """What is under some keys, by key; as many questions as the answers need."""
        found: dict[str, Record] = {}
        for start in range(0, len(wanted), AT_ONCE):
            left = wanted[start : start + AT_ONCE]
            while left:
                answer = yield self.questions.read_many(left)
                found.update((record.key, record) for record in answer.records)
                left = left[left.index(answer.next) + 1 :] if answer.next else ()
        return found

    # -- by an index

    def page(self, plan: Plan, limit: int, after: str) -> Steps[Page[T]]:
        """The records which a plan finds."""
        found = yield from self.chosen(plan, limit, position_of(self.layout, plan, after) if after else None)
        items = [record for _, record in found[:limit]]
        return Page(items, cursor_of(plan, found[limit - 1][0]) if len(found) > limit else "")

    def chosen(self, plan: Plan, limit: int, cursor: Position | None) -> Steps[list[tuple[Position, T]]]:
        """The first records which a plan finds, and one more if there is one, to tell that there are more."""
        for _ in range(TRIES):
            definitions = yield from self._ready(plan)
            try:
                return (yield from self._chosen(definitions, plan, limit, cursor))
            except _Changed:
                self.definitions = None
        raise Conflict(f"{self.layout.name}: its indexes change all the time")

    def _chosen(
        self, definitions: Definitions, plan: Plan, limit: int, cursor: Position | None
    ) -> Steps[list[tuple[Position, T]]]:
        place = self._place(definitions, plan)
        span = keys(plan, place, cursor)
        after, ended, unsorted = span.after, False, False
        found: list[tuple[Position, T]] = []
        while len(found) <= limit and not ended:
            wanted = limit + 1 - len(found)
            entries, ended = yield from self._entries(plan, span, after, wanted)
            if entries:
                after = entries[-1].key
            for position, record in (yield from self._records(definitions, plan, entries)):
                if plan.chooses(position) and (cursor is None or _follows(plan, position, cursor)):
                    unsorted = unsorted or any(map(is_long, position[:-1]))
                    found.append((position, record))
        if unsorted:
            found.sort(key=lambda one: one[0], reverse=plan.descending)
        return found

    def _entries(self, plan: Plan, span: Keys, after: str, wanted: int) -> Steps[tuple[list[Record], bool]]:
        """A page of entries, or of the records themselves; and whether they are the last."""
        answer = yield self.questions.page(
            Span(span.prefix, "", min(wanted, MOST), 0, span.descending, after)
        )
        found = [record for record in answer.records if not span.beyond(record.key)]
        if not found or len(found) < len(answer.records) or not answer.next:
            return found, True
        run = _run(plan, found[-1].key)
        if run:
            answer = yield self.questions.page(Span(run, "", LONGEST_RUN, 0, span.descending, found[-1].key))
            if answer.next:
                raise TooLarge(
                    f"{self.layout.name}: more than {LONGEST_RUN} records begin alike in a field of "
                    f"{'+'.join(plan.fields)}, so they cannot be ordered by it"
                )
            found += answer.records
        return found, False

    def _records(
        self, definitions: Definitions, plan: Plan, entries: Sequence[Record]
    ) -> Steps[list[tuple[Position, T]]]:
        """What the entries name and where it stands, without what has gone or moved since."""
        if plan.index is None:
            return [self._placed(plan, record) for record in entries]
        named = [record_key(entry.text) for entry in entries]
        found = yield from self.kept([KEY, *named])
        if (found[KEY].version if KEY in found else 0) != definitions.version:
            raise _Changed
        place = self._place(definitions, plan)
        placed: list[tuple[Position, T]] = []
        for entry, key in zip(entries, named, strict=True):
            if key in found:
                position, record = self._placed(plan, found[key])
                if key_of(plan, place, position) == entry.key:
                    placed.append((position, record))
        return placed

    def _placed(self, plan: Plan, kept: Record) -> tuple[Position, T]:
        """A record, and where it stands in the order of an index."""
        record = self.layout.record_of(kept)
        position = (*self.layout.components(record, plan.fields), VALUE + self.layout.id_of(record))
        return position, record

    def count(self, plan: Plan) -> Steps[int]:
        """How many records a plan finds."""
        if any(map(is_long, (plan.bounds.low, plan.bounds.high, plan.bounds.start))):
            return (yield from self._count_records(plan))
        for _ in range(TRIES):
            definitions = yield from self._ready(plan)
            place = self._place(definitions, plan)
            number = yield from self._count_keys(plan, keys(plan, place, None))
            if plan.index is None:
                return number
            try:
                yield from self._records(definitions, plan, ())
            except _Changed:
                self.definitions = None
            else:
                return number
        raise Conflict(f"{self.layout.name}: its indexes change all the time")

    def _count_keys(self, plan: Plan, span: Keys) -> Steps[int]:
        number, after, ended = 0, span.after, False
        while not ended:
            found: Sequence[str] = yield self.questions.list(
                Span(span.prefix, "", MOST, 0, span.descending, after)
            )
            for key in found:
                if span.beyond(key):
                    return number
                number += plan.bounds.hold(_component(plan, key))
            ended = len(found) < MOST
            after = found[-1] if found else ""
        return number

    def _count_records(self, plan: Plan) -> Steps[int]:
        number, cursor = 0, None
        while True:
            found = yield from self.chosen(plan, MOST - 1, cursor)
            number += min(len(found), MOST - 1)
            if len(found) < MOST:
                return number
            cursor = found[MOST - 2][0]

    def _ready(self, plan: Plan) -> Steps[Definitions]:
        """The definitions by which a plan's index finds all records; somebody may have built it since they were seen."""
        if plan.index is None:
            return NONE_YET
        definitions = yield from self.known()
        if not definitions.is_readable(plan.index, self.layout):
            self.definitions = None
            definitions = yield from self.known()
        return definitions

    def _place(self, definitions: Definitions, plan: Plan) -> str:
        return "" if plan.index is None else definitions.readable(plan.index, self.layout).place

    # -- the definitions

    def known(self) -> Steps[Definitions]:
        """The definitions, with what this release declares."""
        for _ in range(TRIES):
            known = self.definitions  # which another thread may forget meanwhile
            if known is not None:
                return known
            answer = yield self.questions.read_many([KEY])
            kept = definitions_of(answer.records[0] if answer.records else None)
            found = yield from self._completed(kept)
            if found is not None:
                self.definitions = found
        raise Conflict(f"{self.layout.name}: its indexes change all the time")

    def _completed(self, found: Definitions) -> Steps[Definitions | None]:
        """The same, with the indexes that this release declares; C{None} where somebody else was quicker."""
        wanted: Definitions | None = found.with_declared(self.layout)
        if not found.version or wanted is not found:
            assert wanted is not None
            wanted = yield from self.define(wanted)
        if wanted is None or all(one.ready for one in wanted.indexes):
            return wanted
        # From here on every writer keeps them; so if there is no record now, there is none that they lack.
        some: Sequence[str] = yield self.questions.list(Span(RECORDS, limit=1))
        if some:
            return wanted
        return (yield from self.define(wanted.built([one.place for one in wanted.indexes])))

    def define(self, wanted: Definitions) -> Steps[Definitions | None]:
        """Keep other definitions in place of those which they were made of; C{None} where those had changed."""
        try:
            versions: Sequence[int] = yield self.questions.batch([Put(KEY, wanted.value(), wanted.version)])
        except MicroError as problem:
            if not lost(problem):
                raise
            return None
        return Definitions(versions[0], wanted.indexes)

    def unchanged(self, definitions: Definitions) -> Check:
        """The condition of all writes."""
        return Check(KEY, definitions.version)


class _Changed(Exception):
    """The indexes are not what they were."""


def lost(problem: MicroError) -> bool:
    """Whether a condition of a batch did not hold."""
    return problem.code in (409, 412)


def _follows(plan: Plan, position: Position, cursor: Position) -> bool:
    return position < cursor if plan.descending else position > cursor


def _run(plan: Plan, key: str) -> str:
    """How the keys begin that differ from an entry's only in what was cut from them; empty: it was not cut."""
    if plan.index is None:
        return ""
    parts = key.split(" ")
    for at in range(1 + len(plan.equal), len(parts) - 1):
        if is_long(parts[at]):
            return " ".join([*parts[:at], parts[at][: LONGEST + 1]])
    return ""


def _component(plan: Plan, key: str) -> str:
    """The part of a key which a plan's bounds are about."""
    if plan.index is None:
        return VALUE + key[len(RECORDS) :]
    return key.split(" ")[1 + len(plan.equal)]
