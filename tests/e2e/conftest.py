"""A machine for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from microd.testing.platform import Platform


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    """A machine with nothing on it."""
    machine = Platform(tmp_path / "home")
    yield machine
    machine.close()
