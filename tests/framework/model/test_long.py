"""Strings that do not fit into a key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from microd.framework.model import Index, Model, above, at_least, at_most, below, reading, starting
from microd.framework.store import Store
from microd.kernel.errors import Conflict, TooLarge
from microd.testing.outcome import done as run

START = "the same long beginning, " * 40


@dataclass
class Note:
    id: str
    text: str = ""
    author: str = ""
    title: str | None = None


NOTES = Model(Note, indexes=[Index("text"), Index("title", unique=True), Index("author", order_by="text")])

#: In order; most of them begin alike, far beyond what fits into a key.
TEXTS = [
    "",
    "a",
    START[:200],
    START[:201],
    START,
    *(START + end for end in ("!", "a", "ab", "b", "é" * 5000)),
    "u",
    "ü",
]


@pytest.fixture
def notes(store: Store) -> Any:
    """Some notes, in another order than their texts'."""
    found = NOTES.on(store)
    for number, text in enumerate(TEXTS):
        run(found.create(Note(f"n{(number * 7) % len(TEXTS):02}", text, "ada")))
    return found


def texts(page: Any) -> list[str]:
    """What is in them."""
    return [note.text for note in page]


@pytest.mark.parametrize("descending", [False, True])
def test_order(notes: Any, descending: bool) -> None:
    """They are in order both ways, also where the keys do not tell them apart."""
    expected = TEXTS[::-1] if descending else TEXTS
    assert texts(run(notes.list(order="text", descending=descending))) == expected
    assert texts(run(notes.list(author="ada", descending=descending))) == expected


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("limit", [1, 2, 3, 5])
def test_pages(notes: Any, descending: bool, limit: int) -> None:
    """Pages follow each other with no gap, wherever they are cut."""
    found: list[str] = []
    after = ""
    while True:
        page = run(notes.list(author="ada", limit=limit, after=after, descending=descending))
        found += texts(page)
        after = page.next
        if not after:
            break
    assert found == (TEXTS[::-1] if descending else TEXTS)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("text", TEXTS)
def test_ranges(notes: Any, text: str, descending: bool) -> None:
    """Each is found by its value, and is the end of ranges."""

    def found(wanted: Any) -> list[str]:
        page = texts(run(notes.list(text=wanted, descending=descending)))
        assert run(notes.count(text=wanted)) == len(page)
        return page[::-1] if descending else page

    assert found(text) == [text]
    assert found(at_least(text)) == [each for each in TEXTS if each >= text]
    assert found(above(text)) == [each for each in TEXTS if each > text]
    assert found(at_most(text)) == [each for each in TEXTS if each <= text]
    assert found(below(text)) == [each for each in TEXTS if each < text]
    assert found(starting(text)) == [each for each in TEXTS if each.startswith(text)]


def test_unique(notes: Any) -> None:
    """Long values are unique as a whole, and not by how they begin."""
    run(notes.create(Note("a", title=START + "a")))
    run(notes.create(Note("b", title=START + "b")))
    with pytest.raises(Conflict):
        run(notes.create(Note("c", title=START + "a")))
    assert run(notes.get(title=START + "b")).id == "b"


def test_too_many_alike(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than can be put in order at once is an error that says so; by value they are found all the same."""
    monkeypatch.setattr(reading, "LONGEST_RUN", 10)
    notes = NOTES.on(store)
    for number in range(15):
        run(notes.create(Note(f"n{number}", START + str(number))))
    with pytest.raises(TooLarge, match="more than 10 records begin alike in a field of text"):
        run(notes.list(order="text", limit=2))
    assert len(run(notes.list(text=START + "7"))) == 1


def test_large_records(store: Store) -> None:
    """Records of which an answer carries but two are listed all the same."""
    notes = NOTES.on(store)
    for number in range(5):
        run(notes.create(Note(f"n{number}", "x" * (10 << 20), "ada")))
    for page in (run(notes.list()), run(notes.list(author="ada", descending=True))):
        assert sorted(note.id for note in page) == [f"n{number}" for number in range(5)]
    assert run(notes.reindex(anew=True)) == 5
    assert run(notes.count(author="ada")) == 5
