"""Places in a topic, and moments, as people write them."""

from __future__ import annotations

import pytest

from microd.cli.failure import CommandFailed
from microd.cli.positions import Position, milliseconds, position

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("earliest", Position("EARLIEST")),
        ("Latest", Position("LATEST")),
        ("1", Position("OFFSET", 1)),
        ("12345", Position("OFFSET", 12345)),
        ("5m", Position("TIME", time=1_699_999_700_000)),
        ("5m ago", Position("TIME", time=1_699_999_700_000)),
        ("1h30m ago", Position("TIME", time=1_699_994_600_000)),
        ("2023-11-14T22:13:20.5Z", Position("TIME", time=1_700_000_000_500)),
        ("2023-11-14 22:13:20", Position("TIME", time=1_700_000_000_000)),
        ("2023-11-14T23:13:20+01:00", Position("TIME", time=1_700_000_000_000)),
        ("1000000d", Position("TIME", time=0)),
    ],
)
def test_position(text: str, found: Position) -> None:
    """It is a word, an offset, a moment (in UTC unless it says otherwise), or so long ago, though not before time began."""
    assert position(text, NOW, "--from") == found


@pytest.mark.parametrize("text", ["", "tomorrow", "0", "-5", "9" * 30, "9" * 400 + "d", "5 parsecs ago"])
def test_no_position(text: str) -> None:
    """Anything else is refused, with what there is to choose from."""
    with pytest.raises(CommandFailed, match=r"^--from "):
        position(text, NOW, "--from")


def test_no_moment() -> None:
    """Where only a moment will do, nothing else is offered."""
    with pytest.raises(CommandFailed) as caught:
        milliseconds("earliest", NOW, "--since")
    assert caught.value.sentence == (
        "--since wants a moment or a time ago, such as 2025-01-31T12:00:00Z or 5m, not earliest"
    )
