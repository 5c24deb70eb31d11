"""Durations as Go writes them."""

from __future__ import annotations

from typing import Any

import pytest

from microd.cli.durations import go_duration, seconds_from


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("5s", 5), ("1h30m", 5400), ("1.5h", 5400), ("90", 90), ("2d", 172800)],
)
def test_read(text: Any, seconds: Any) -> None:
    """Units may be joined; a bare number is seconds."""
    assert seconds_from(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5x", "s", "5 s", "-5s", "5s5"])
def test_refused(text: Any) -> None:
    """What is no duration is named."""
    with pytest.raises(ValueError, match="is not a duration"):
        seconds_from(text)


@pytest.mark.parametrize(
    ("nanoseconds", "shown"),
    [
        (0, "0s"),
        (999, "999ns"),
        (1500, "1.5µs"),
        (1_234_567, "1.234567ms"),
        (2_000_000_000, "2s"),
        (62_500_000_000, "1m2.5s"),
        (3_600_000_000_000, "1h0m0s"),
    ],
)
def test_as_go_prints(nanoseconds: int, shown: str) -> None:
    """Durations are printed as Go does."""
    assert go_duration(nanoseconds) == shown
