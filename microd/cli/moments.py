"""Moments, as people write them on a command line. Pure."""

from __future__ import annotations

from microd.cli.failure import CommandFailed


def moment(text: str, now: float) -> int:
    """Unix seconds of a moment, or of so long ago: C{2025-01-31T12:00:00Z}, C{10m}."""
    from datetime import UTC, datetime

    from microd.cli.durations import seconds_from

    try:
        return int(now - seconds_from(text))
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise CommandFailed(
            f"--since wants a duration or a moment, such as 10m or 2025-01-31T12:00:00Z, not {text}"
        ) from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())
