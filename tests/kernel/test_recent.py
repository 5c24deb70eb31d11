"""The last lines of a log, in memory."""

from __future__ import annotations

from microd.kernel.logformat import Record
from microd.kernel.recent import Recent


def record(message: str, time: float = 0.0, stack: str = "") -> Record:
    """Something that was said."""
    return Record(time, "info", "x", message, {}, stack)


def test_count() -> None:
    """Beyond so many records the oldest are forgotten."""
    recent = Recent(most=3)
    for number in range(5):
        recent.add(record(str(number)))
    assert [kept.message for kept in recent.read()] == ["2", "3", "4"]


def test_bytes() -> None:
    """Beyond so many bytes as well; a single endless one is cut, its stack at the beginning."""
    recent = Recent(most_bytes=100_000)
    for number in range(500):
        recent.add(record(str(number) * 500))
    assert 10 < len(recent.read()) < 100
    recent.add(record("x" * 1_000_000, stack="y" * 1_000_000 + "end"))
    newest = recent.read()[-1]
    assert (len(newest.message), len(newest.stack), newest.stack[-3:]) == (8192, 8192, "end")


def test_choice() -> None:
    """The newest of those that are new enough, and wanted, are read; the oldest of them first."""
    recent = Recent()
    for number in range(10):
        recent.add(record(str(number), time=float(number)))
    chosen = recent.read(2, since=3.0, wanted=lambda kept: int(kept.message) % 2 == 1)
    assert [kept.message for kept in chosen] == ["7", "9"]
