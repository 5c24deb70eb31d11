"""Durations as Go writes them."""

from __future__ import annotations

from typing import Any

import pytest

from microd.cli.durations import seconds_from


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
