"""Any question to any records, against going over all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from microd.framework import Service
from microd.framework.model import Index, Model, above, at_least, at_most, below, starting
from microd.testing.outcome import done as run
from microd.testing.services import ServiceTester


@dataclass
class Item:
    id: str
    team: str | None
    size: int
    title: str


INDEXES = [
    Index("team", order_by="size"),
    Index("size", "title"),
    Index("title", descending=True),
    Index("team", "title", order_by="size"),
]
ITEMS = Model(Item, indexes=INDEXES)

TEAMS = st.sampled_from([None, "", "a", "a b", "b!"])
SIZES = st.integers(-2, 11)
TITLES = st.sampled_from(
    ["", "a", "a~", "b", "x" * 199, "x" * 200, "x" * 201, "x" * 250 + "a", "x" * 250 + "b", "y"]
)
IDS = st.sampled_from(["a", "aa", "a!", "b", "c d", "é", "f", "g"])
VALUES: dict[str, Any] = {"team": TEAMS, "size": SIZES, "title": TITLES}
Test = Callable[[Item], bool]
TESTS: dict[Callable[[Any], Any], Callable[[Any, Any], bool]] = {
    at_least: lambda found, end: found >= end,
    above: lambda found, end: found > end,
    at_most: lambda found, end: found <= end,
    below: lambda found, end: found < end,
    starting: lambda found, end: found.startswith(end),
}


def rank(value: Any) -> Any:
    """None is before all else."""
    return (value is not None, value if value is not None else 0)


def _equal(name: str, value: Any, item: Item) -> bool:
    return bool(getattr(item, name) == value)


def _within(name: str, test: Callable[[Any, Any], bool], end: Any, item: Item) -> bool:
    return getattr(item, name) is not None and test(getattr(item, name), end)


@st.composite
def questions(draw: st.DrawFn) -> tuple[dict[str, Any], Any, str, bool]:
    """Conditions that some index answers, a test for them, the fields of the order, and its direction."""
    index = draw(st.sampled_from(INDEXES))
    known = draw(st.integers(0, len(index.fields)))
    conditions: dict[str, Any] = {name: draw(VALUES[name]) for name in index.fields[:known]}
    tests: list[Test] = [partial(_equal, name, value) for name, value in conditions.items()]
    if known < len(index.fields) and draw(st.booleans()):
        name = index.fields[known]
        kind = draw(st.sampled_from([each for each in TESTS if name != "size" or each is not starting]))
        end = draw(VALUES[name].filter(lambda value: value is not None))
        conditions[name] = kind(end)
        tests.append(partial(_within, name, TESTS[kind], end))
    order = index.fields[known] if known < len(index.fields) else "id"
    return conditions, lambda item: all(test(item) for test in tests), order, draw(st.booleans())


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.builds(Item, IDS, TEAMS, SIZES, TITLES), max_size=14),
    st.lists(IDS, max_size=2),
    questions(),
    st.integers(1, 5),
)
def test_any_question(
    items: list[Item], gone: list[str], question: tuple[dict[str, Any], Any, str, bool], limit: int
) -> None:
    """Pages give exactly what satisfies the conditions, in the order asked for, after whatever was written."""
    conditions, test, order, descending = question
    found = ITEMS.on(ServiceTester(Service("crew", environ={})).client.store)
    expected = {}
    for item in items:
        run(found.save(item))
        expected[item.id] = item
    for id in gone:
        run(found.delete(id))
        expected.pop(id, None)
    wanted = [item for item in expected.values() if test(item)]
    pages: list[Item] = []
    after = ""
    while True:
        page = run(found.list(conditions, order=order, descending=descending, limit=limit, after=after))
        pages += page
        after = page.next
        if not after:
            break
    assert sorted(item.id for item in pages) == sorted(item.id for item in wanted)
    ranks = [rank(getattr(item, order)) for item in pages]
    assert ranks == sorted(ranks, reverse=descending)
    assert run(found.count(conditions)) == len(wanted)
