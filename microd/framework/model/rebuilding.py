"""Filling an index with the records that were there before it, and clearing away those which nobody declares any more.

Others read and write meanwhile. All writers keep the new index from the moment on when it is defined, so whatever is met here
and has its entry already is left as it is, and each record is filled in on the condition that it is still as it was read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from microd.framework.model.definitions import Definitions
from microd.framework.model.layout import ENTRIES, RECORDS
from microd.framework.model.reading import TRIES, Steps
from microd.framework.model.writing import Writing
from microd.framework.questions import Check, Drop, Put, Record, Span
from microd.kernel.errors import Conflict, MicroError

T = TypeVar("T")

#: How many acts are done together; a store takes a thousand.
ACTS = 900


class Rebuilding(Writing[T]):
    """All that can be done with one model's table."""

    def reindex(self, anew: bool) -> Steps[int]:
        """Build what this release declares and is not ready, drop what it does not declare; how many records that went over.

        @param anew: build all of it.
        @raise Conflict: two records have a value which only one may have.
        """
        known = yield from self.known()
        if anew:
            known = yield from self._defined(lambda now: now.with_declared(self.layout, anew=True))
        wanted = self._wanted(known, anew)
        todo = {place for place, ready in wanted.items() if not ready}
        number = (yield from self._fill_all(todo)) if todo else 0
        if todo or len(wanted) < len(known.indexes):
            known = yield from self._defined(lambda now: now.built(todo).only(wanted))
        yield from self._sweep({one.place for one in known.indexes})
        return number

    def _wanted(self, known: Definitions, anew: bool) -> dict[str, bool]:
        """The places that are to stay, and whether they are ready; of two of the same index, the later."""
        wanted: dict[str, bool] = {}
        for index in self.layout.indexes.values():
            same = [one for one in known.indexes if one.same(index, self.layout.fields)]
            chosen = same[-1] if anew else (known.of(index, self.layout) or same[-1])
            wanted[chosen.place] = chosen.ready
        return wanted

    def _defined(self, change: Callable[[Definitions], Definitions]) -> Steps[Definitions]:
        """Change the definitions, however they are by now."""
        for _ in range(TRIES):
            found = yield from self.define(change((yield from self.known())))
            self.definitions = found
            if found is not None:
                return found
        raise Conflict(f"{self.layout.name}: its indexes change all the time")

    def _fill_all(self, places: Collection[str]) -> Steps[int]:
        number, after = 0, ""
        known = yield from self.known()
        at_once = max(1, min(100, ACTS // (1 + len(known.indexes))))
        while True:
            answer = yield self.questions.page(Span(RECORDS, limit=at_once, after=after))
            yield from self._fill(places, answer.records)
            number += len(answer.records)
            after = answer.next
            if not after:
                return number

    def _fill(self, places: Collection[str], records: Sequence[Record]) -> Steps[None]:
        """Enter some records; those which are changed meanwhile once more, and at last one by one."""
        left = records
        for attempt in range(TRIES):
            if not left:
                return
            definitions = yield from self.known()
            acts = yield from self._entering(definitions, places, left)
            try:
                done = yield from self._done(definitions, acts)
            except MicroError as problem:
                if problem.code != 413 or len(left) == 1:
                    raise
                attempt = TRIES
                done = None
            if done is not None:
                return
            if len(left) > 1 and attempt > 2:
                half = len(left) // 2
                yield from self._fill(places, left[:half])
                yield from self._fill(places, left[half:])
                return
            found = yield from self.kept([record.key for record in left])
            left = list(found.values())
        raise Conflict(f"{self.layout.name}: {left[0].key} is changed by others all the time")

    def _entering(
        self, definitions: Definitions, places: Collection[str], records: Sequence[Record]
    ) -> Steps[list[Put | Drop | Check]]:
        """What enters some records. A record that lacks what its class has by now is written anew, with all of it."""
        acts: list[Put | Drop | Check] = []
        plain: dict[str, str] = {}
        unique: dict[str, str] = {}
        for kept in records:
            record = self.layout.record_of(kept)
            id = self.layout.id_of(record)
            document = self.layout.renewed(kept)
            changed = document != kept.value
            acts.append(Put(kept.key, document, kept.version) if changed else Check(kept.key, kept.version))
            for key, index in self.entries(definitions, record).items():
                if index.place in places and unique.get(key, id) != id:
                    raise self._both(index.name, id, unique[key])
                if index.place in places:
                    (unique if index.unique else plain)[key] = id
        there = yield from self.kept(list(unique))
        for key, record_there in there.items():
            if record_there.text != unique[key]:
                raise self._both(key[len(ENTRIES) :].partition(" ")[0], unique[key], record_there.text)
        acts += [Put(key, id) for key, id in plain.items()]
        acts += [Put(key, id, 0) for key, id in unique.items() if key not in there]
        return acts

    def _both(self, index: str, one: str, other: str) -> Conflict:
        return Conflict(
            f"{self.layout.name}: {one} and {other} have the same value in the unique index {index}: change one of them, "
            f"and call reindex() again"
        )

    def _sweep(self, places: Collection[str]) -> Steps[None]:
        """Clear away all entries in other places."""
        after = ""
        while True:
            found: Sequence[str] = yield self.questions.list(Span(ENTRIES, limit=1, after=after))
            if not found:
                return
            place = found[0][len(ENTRIES) :].partition(" ")[0]
            if place not in places and not (yield from self._clear(place)):
                return
            after = f"{ENTRIES}{place}!"

    def _clear(self, place: str) -> Steps[bool]:
        """Clear one place; not if it is a new index's, whose definition somebody else has just made."""
        while True:
            definitions = yield from self.known()
            if any(one.place == place for one in definitions.indexes):
                return False
            keys: Sequence[str] = yield self.questions.list(Span(f"{ENTRIES}{place} ", limit=ACTS))
            if not keys:
                return True
            yield from self._done(definitions, [Drop(key) for key in keys])
