"""What goes on for ever is told when an account's tokens are void."""

from __future__ import annotations

import pytest

from .conftest import Scene


@pytest.fixture
def told(scene: Scene) -> list[tuple[str, str]]:
    """Whom a listener hears of."""
    found: list[tuple[str, str]] = []
    scene.auth.on_revoked(lambda namespace, id: found.append((namespace, id)))
    scene.enrol("ann", "acme")
    return found


def test_deleted(scene: Scene, told: list[tuple[str, str]]) -> None:
    """A deleted account is told, and not before it is gone."""
    assert told == []
    scene.now(scene.auth.delete("acme", "ann", scene.admin))
    assert told == [("acme", "ann")]


def test_changed_secret(scene: Scene, told: list[tuple[str, str]]) -> None:
    """So is one whose secret was changed."""
    scene.now(scene.auth.change_secret("acme", "ann", "", "n3w-secret", scene.admin))
    assert told == [("acme", "ann")]


def test_revoked(scene: Scene, told: list[tuple[str, str]]) -> None:
    """So is one that the platform revoked."""
    scene.now(scene.auth.revoke("acme", "ann"))
    assert told == [("acme", "ann")]
