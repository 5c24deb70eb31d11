"""Whose turn it is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from microd.framework.messages.lanes import Lanes


def taken(lanes: Lanes[str]) -> list[str]:
    """All that may begin now."""
    found = []
    while (each := lanes.take()) is not None:
        found.append(each[1])
    return found


def test_at_once() -> None:
    """No more run than may, the others in the order in which they came."""
    lanes: Lanes[str] = Lanes(2)
    for each in "abcd":
        lanes.add(each, None)
    assert taken(lanes) == ["a", "b"]
    lanes.done(None)
    assert taken(lanes) == ["c"]
    assert (lanes.running, lanes.waiting) == (2, 1)


def test_in_order_of_a_key() -> None:
    """Of the same key one runs after the other, and those of other keys need not wait."""
    lanes: Lanes[str] = Lanes(9)
    for each in ("x1", "x2", "y1", "x3", "y2"):
        lanes.add(each, each[0])
    assert taken(lanes) == ["x1", "y1"]
    lanes.done("x")
    assert taken(lanes) == ["x2"]
    lanes.done("y")
    lanes.done("x")
    assert taken(lanes) == ["y2", "x3"]


def test_failed_holds_its_key() -> None:
    """While one waits to come again, nothing of its key runs; when it is there it is first."""
    lanes: Lanes[str] = Lanes(9)
    lanes.add("x1", "x", 1)
    lanes.add("x2", "x", 2)
    assert taken(lanes) == ["x1"]
    lanes.failed("x", 1)
    lanes.add("x3", "x", 3)
    assert taken(lanes) == []
    lanes.add("x1 again", "x", 1)
    assert taken(lanes) == ["x1 again"]
    lanes.done("x")
    assert taken(lanes) == ["x2"]


def test_given_up() -> None:
    """One that does not come again is given up, once."""
    lanes: Lanes[str] = Lanes(9)
    lanes.add("x1", "x", 1)
    lanes.add("x2", "x", 2)
    taken(lanes)
    lanes.failed("x", 1)
    lanes.give_up("x", 1)
    lanes.give_up("x", 1)
    assert taken(lanes) == ["x2"]
    lanes.done("x")
    lanes.add("x4", "x", 4)
    assert taken(lanes) == ["x4"]


def test_forgotten() -> None:
    """What does not run is let go; what runs, or waits to come again, still holds its key."""
    lanes: Lanes[str] = Lanes(2)
    for at, each in enumerate(("x1", "x2", "y1", "y2", "z1", "z2")):
        lanes.add(each, each[0], at)
    assert taken(lanes) == ["x1", "y1"]
    lanes.failed("y", 2)
    assert sorted(lanes.forget()) == ["x2", "y2", "z1", "z2"]
    assert lanes.waiting == 0
    for at, each in enumerate(("x2", "y2", "z1")):
        lanes.add(each, each[0], 10 + at)
    assert taken(lanes) == ["z1"]
    lanes.done("x")
    assert taken(lanes) == ["x2"]
    lanes.add("y1 again", "y", 2)
    lanes.done("x")
    assert taken(lanes) == ["y1 again"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["done", "failed", "wait"])), max_size=60))
def test_order_holds(steps: list[tuple[str, str]]) -> None:
    """Whatever ends when, of each key one runs at a time, and none is lost or overtaken."""
    lanes: Lanes[tuple[str, int]] = Lanes(2)
    running: list[tuple[str, int]] = []
    again: list[tuple[str, int]] = []
    ended: dict[str, list[int]] = {key: [] for key in "abc"}

    def begin() -> None:
        while (each := lanes.take()) is not None:
            running.append(each[1])
        assert len(running) <= 2
        assert len({key for key, _ in running}) == len(running)

    for at, (key, what) in enumerate(steps):
        lanes.add((key, at), key, at)
        begin()
        if running and what != "wait":
            work = running.pop(0)
            if what == "done":
                ended[work[0]].append(work[1])
                lanes.done(work[0])
            else:
                lanes.failed(*work)
                again.append(work)
            begin()
    while running or again:
        for work in again:
            lanes.add(work, *work)
        again = []
        begin()
        work = running.pop(0)
        ended[work[0]].append(work[1])
        lanes.done(work[0])
        begin()
    for key, done in ended.items():
        assert done == [at for at, (each, _) in enumerate(steps) if each == key]
