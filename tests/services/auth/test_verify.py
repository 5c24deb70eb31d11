"""A door that keeps a connection open asks whose secret it was shown, and begins no session for it."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from microd.services.auth.model import InvalidToken, UnknownAccount, WrongSecret
from microd.testing.outcome import done

from .conftest import NOW, Scene


def test_right(scene: Scene) -> None:
    """The right secret tells the account, by its id or its name, and nothing is written."""
    account = scene.enrol("ann", "acme", name="Ann")
    before = dict(scene.now(scene.vault.under("")))
    assert scene.now(scene.auth.verify("acme", "ann", "s3cret")) == account
    assert scene.now(scene.auth.verify("acme", "Ann", "s3cret")) == account
    assert dict(scene.now(scene.vault.under(""))) == before


def test_wrong(scene: Scene) -> None:
    """A wrong secret, another namespace, nobody, and a token that is none are refused."""
    scene.enrol("ann", "acme")
    for error, namespace, id, secret in (
        (WrongSecret, "acme", "ann", "guess"),
        (UnknownAccount, "micro", "ann", "s3cret"),
        (UnknownAccount, "acme", "bob", "s3cret"),
        (InvalidToken, "acme", "bob", "a.b.c"),
    ):
        with pytest.raises(error):
            scene.now(scene.auth.verify(namespace, id, secret))


def test_credential(scene: Scene) -> None:
    """A service's credential is as good as a secret, for that service."""
    account = scene.enrol("greeter", "acme", type="service")
    credential = scene.auth.issue(account, 60)
    assert scene.now(scene.auth.verify("acme", "greeter", credential)).id == "greeter"
    with pytest.raises(WrongSecret):
        scene.now(scene.auth.verify("acme", "another", credential))


def test_deleted_meanwhile(scene: Scene) -> None:
    """An account which is deleted while its secret is being checked is not let in."""
    scene.enrol("ann", "acme")
    waiting: Deferred[bool] = Deferred()

    async def matches(*_: object) -> bool:
        return await waiting

    scene.auth._hasher.matches = matches  # type: ignore[method-assign, assignment]
    verdict = Deferred.fromCoroutine(scene.auth.verify("acme", "ann", "s3cret"))
    scene.now(scene.auth.delete("acme", "ann", scene.admin))
    waiting.callback(True)
    with pytest.raises(UnknownAccount):
        done(verdict)


def test_end(scene: Scene) -> None:
    """When a token ends is known once it was read."""
    scene.enrol("ann", "acme")
    token = scene.now(scene.auth.token("acme", id="ann", secret="s3cret", lifetime=60)).access
    assert scene.auth.end(token) == 0
    assert scene.auth.inspect_cached(token) is not None
    assert NOW + 60 <= scene.auth.end(token) <= NOW + 120
