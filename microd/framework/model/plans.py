"""Which index answers a question, and which of its keys. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from microd.framework.model.conditions import ANYTHING, Bounds, Range, bounds
from microd.framework.model.indexes import Index
from microd.framework.model.layout import RECORDS, Field, Layout, entry_key, entry_start
from microd.framework.model.ordered import LONGEST, VALUE, is_long
from microd.framework.schema.faults import FieldError
from microd.kernel.errors import BadRequest

#: The values of a record by which an index orders it, not cut, and its id at last.
Position = tuple[str, ...]

#: Sorts behind all components that are cut after what stands before it, and before all others.
_BEHIND_CUT = "~~~"


@dataclass(frozen=True, slots=True)
class Plan:
    """A question that can be answered.

    @ivar index: the one that answers; C{None}: the records themselves, by their ids.
    @ivar equal: the components of its first fields.
    @ivar bounds: those of the field after them.
    """

    index: Index | None
    equal: tuple[str, ...]
    bounds: Bounds
    descending: bool

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that a position is made of, before the id."""
        return self.index.fields if self.index is not None else ()

    def chooses(self, position: Position) -> bool:
        """Whether a record at that position is asked for."""
        known = len(self.equal)
        return position[:known] == self.equal and self.bounds.hold(position[known])


def plan(layout: Layout[Any], conditions: Mapping[str, object], order: str, descending: bool | None) -> Plan:
    """How to find what satisfies all conditions, in an order.

    @param order: a field; empty: as the index has it that answers.
    @param descending: C{None}: as that index says.
    @raise BadRequest: no index answers that; the error says which one would. Or a condition is not of its field's type.
    """
    fields = [_known(layout, name) for name in conditions]
    if order:
        _known(layout, order)
    ranges = [field for field in fields if isinstance(conditions[field.name], Range)]
    if len(ranges) > 1:
        raise _refused(layout, f"one condition can be a range, not those of {_and(ranges)} both")
    equal = {
        field.name: layout.value(field.name, conditions[field.name])
        for field in fields
        if field not in ranges
    }
    limits = ANYTHING
    if ranges:
        wanted = conditions[ranges[0].name]
        assert isinstance(wanted, Range)
        try:
            limits = bounds(ranges[0].form, ranges[0].encode, wanted)
        except FieldError as fault:
            raise _refused(layout, str(fault.within(ranges[0].name))) from None
    ranged = ranges[0].name if ranges else ""
    if layout.key.name in equal and len(equal) == 1 and not ranged:
        # One record at most, by its id, as a range of one.
        ranged, id = layout.key.name, equal.pop(layout.key.name)
        limits = Bounds(id, id)
    for index in (None, *layout.indexes.values()):
        found = _fits(layout, index, equal, ranged, order)
        if found is not None:
            down = (index.descending if index is not None else False) if descending is None else descending
            return Plan(index, found, limits if ranged else ANYTHING, down)
    raise _refused(layout, _advice(equal, ranged, order))


def _fits(
    layout: Layout[Any], index: Index | None, equal: Mapping[str, str], ranged: str, order: str
) -> tuple[str, ...] | None:
    """The first components, where an index answers."""
    every = index.fields if index is not None else ()
    if index is None or not index.unique:
        every = (*every, layout.key.name)
    if layout.key.name in equal:
        return None
    if set(every[: len(equal)]) != set(equal):
        return None
    following = every[len(equal)] if len(equal) < len(every) else ""
    if ranged and ranged != following:
        return None
    if order and order != following and not (order in equal and not ranged):
        return None
    return tuple(equal[name] for name in every[: len(equal)])


def _known(layout: Layout[Any], name: str) -> Field:
    found = layout.fields.get(name)
    if found is None:
        raise _refused(layout, f'it has no field "{name}" to find records by')
    return found


def _refused(layout: Layout[Any], reason: str) -> BadRequest:
    return BadRequest(f"{layout.name}: {reason}")


def _and(fields: Sequence[Field]) -> str:
    return " and ".join(field.name for field in fields)


def _advice(equal: Mapping[str, str], ranged: str, order: str) -> str:
    names = [*equal]
    if ranged:
        names.append(ranged)
        if order and order != ranged:
            return f"a range of {ranged} comes in the order of {ranged}, not of {order}"
    by = f'order_by="{order}"' if order and order not in names else ""
    declared = ", ".join([*(f'"{name}"' for name in names), *([by] if by else [])])
    return f"no index answers this: declare Index({declared})"


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys to look at, in their direction; there may be a few too many, but never too few.

    @ivar prefix: how they begin.
    @ivar after: they come after this one; empty: after none.
    @ivar stop: and not after this one; empty: until there are no more.
    """

    prefix: str
    after: str
    stop: str
    descending: bool

    def beyond(self, key: str) -> bool:
        """Whether a key comes after the last one."""
        if not self.stop:
            return False
        return key < self.stop if self.descending else key > self.stop


def keys(plan: Plan, place: str, cursor: Position | None) -> Keys:
    """The keys of what a plan asks for, from its beginning or from a position on.

    @param place: that of the plan's index.
    """
    limits = plan.bounds
    base = entry_start(place, plan.equal) + " " if plan.index is not None else RECORDS
    low = base + _shortened(limits.low, plan) if limits.low else ""
    high = base + _shortened(limits.high, plan) if limits.high else ""
    if low:
        # The value of an id is not followed by a space, and a key may be this very text.
        low = _before(low) if len(plan.equal) == len(plan.fields) or is_long(limits.low) else low
    if high:
        high += _BEHIND_CUT if is_long(limits.high) else "!"
    after, stop = (high, low) if plan.descending else (low, high)
    if cursor is not None:
        after = _resumed(plan, place, cursor)
    return Keys(base + _shortened(limits.start, plan), after, stop, plan.descending)


def run_of(plan: Plan, place: str, position: Position) -> str:
    """How the keys begin of all records which are told apart only by what was cut from their keys; empty: that is no more
    than one."""
    if plan.index is not None:
        for at in range(len(plan.equal), len(plan.fields)):
            if is_long(position[at]):
                return entry_start(place, position[:at]) + " " + position[at][: LONGEST + 1]
    return ""


def key_of(plan: Plan, place: str, position: Position) -> str:
    """The key which stands for a position."""
    if plan.index is None:
        return RECORDS + position[-1].removeprefix(VALUE)
    return entry_key(place, position[:-1], plan.index.unique, position[-1].removeprefix(VALUE))


def _resumed(plan: Plan, place: str, cursor: Position) -> str:
    """Where to go on: behind the cursor's key, or, where that is one of a run, before the whole of it."""
    run = run_of(plan, place, cursor)
    if not run:
        return key_of(plan, place, cursor)
    return run + _BEHIND_CUT if plan.descending else _before(run)


def _shortened(component: str, plan: Plan) -> str:
    """As much of a component as keys have of it."""
    if plan.index is None:
        return component.removeprefix(VALUE)
    return component[: LONGEST + 1]


def _before(key: str) -> str:
    """A key that comes before another, with no more than a few strange ones in between."""
    last = ord(key[-1]) - 1
    allowed = {0x7F: 0x7E, 0xDFFF: 0xD7FF}.get(last, last)
    return key[:-1] + chr(allowed) + "\U0010ffff"
