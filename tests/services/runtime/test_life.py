"""From a wish to a process, and what is said of it."""

from __future__ import annotations

from microd.services.runtime.model import Status

from .conftest import House


def test_starting(house: House) -> None:
    """A service whose process runs is starting until the registry knows it."""
    house.create()
    assert house.status is Status.STARTING
