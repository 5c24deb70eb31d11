"""What goes on for ever is told when an account's tokens are void."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from microd.kernel.caller import Caller
from microd.kernel.endpoint import Endpoint
from microd.kernel.errors import Unauthorized
from microd.services.auth import rpc
from microd.services.auth.endless import ending
from microd.wire import auth_pb2 as wire

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


async def _count(request: wire.ListRequest, caller: Caller) -> AsyncIterator[int]:
    for number in range(10):
        yield number


@pytest.mark.parametrize("how", ["delete", "revoke", "change_secret"])
def test_endless(scene: Any, how: str) -> None:
    """A call that goes on for ever ends with its next message, once its account's tokens are void; others go on."""
    account = scene.enrol("ada")
    endless = Endpoint(
        "/a.B/C", wire.ListRequest, wire.ListResponse, _count, server_streaming=True, endless=True
    )
    (endpoint,) = ending([endless], scene.auth)
    other, hers, strangers = (
        endpoint.handler(wire.ListRequest(), Caller(each)) for each in (scene.admin, account, None)
    )
    assert [scene.now(anext(each)) for each in (other, hers, strangers)] == [0, 0, 0]
    match how:
        case "delete":
            scene.now(scene.auth.delete("micro", "ada", scene.admin))
        case "revoke":
            scene.now(scene.auth.revoke("micro", "ada"))
        case _:
            scene.now(scene.auth.change_secret("micro", "ada", "s3cret", "0ther", scene.admin))
    with pytest.raises(Unauthorized, match="the account ada was revoked: log in again"):
        scene.now(anext(hers))
    assert [scene.now(anext(each)) for each in (other, strangers)] == [1, 1]


def test_not_endless(scene: Any) -> None:
    """Other endpoints are left as they are."""
    plain = rpc.endpoints(scene.auth)
    assert ending(plain, scene.auth) == plain
