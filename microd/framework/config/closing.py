"""Leaving an asynchronous generator before its end."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any


async def close(generator: AsyncGenerator[Any, None]) -> None:
    """End a generator which we read, unless it is still at work: then nobody is left to wake us, and both are
    being collected as garbage, as happens to tests."""
    if not getattr(generator, "ag_running", False):
        await generator.aclose()
