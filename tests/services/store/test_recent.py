"""The memory of records read lately."""

from __future__ import annotations

from microd.services.store.backends import recent
from microd.services.store.backends.recent import Recent
from microd.services.store.model import Field, Record


def test_keeps() -> None:
    """A record is remembered until it is forgotten."""
    memory = Recent()
    memory.keep(("d", "t", "k"), Record("k", b"v"))
    kept = memory.get(("d", "t", "k"))
    assert kept is not None
    assert kept.record == Record("k", b"v")
    memory.forget(("d", "t", "k"))
    memory.forget(("d", "t", "k"))
    assert memory.get(("d", "t", "k")) is None


def test_is_bounded() -> None:
    """The oldest make room; the whole never holds more than its limit."""
    memory = Recent()
    value = b"v" * recent.LARGEST
    count = recent.MOST // recent.LARGEST + 10
    for number in range(count):
        memory.keep(("d", "t", str(number)), Record(str(number), value))
    assert memory.get(("d", "t", "0")) is None
    assert memory.get(("d", "t", str(count - 1))) is not None
    assert memory._size <= recent.MOST
    for number in range(count):
        memory.forget(("d", "t", str(number)))
    assert memory._size == 0


def test_leaves_out() -> None:
    """Large records are not worth it; those with metadata, which readers could change, are left out."""
    memory = Recent()
    memory.keep(("d", "t", "a"), Record("a", b"v" * (recent.LARGEST + 1)))
    memory.keep(("d", "t", "b"), Record("b", b"v", None, {"x": Field("string", "y")}))
    assert memory.get(("d", "t", "a")) is None
    assert memory.get(("d", "t", "b")) is None
