"""What services ask of rules besides what tests/services/auth asks."""

from __future__ import annotations

import base64

import pytest

from microd.kernel.authorization import token_of
from microd.kernel.errors import Unauthorized
from microd.kernel.rules import DEFAULT_RULE, Resource, Rule, who_matters

HELLO = Resource("service", "greeter", "Greeter.Hello")


def test_who_matters() -> None:
    """It matters who asks as soon as a rule with a scope matches what is wanted, and only then."""
    other = Rule("a", "*", Resource("service", "other", "*"), granted=True)
    ours = Rule("b", "admin", Resource("service", "greeter", "*"), granted=False)
    assert not who_matters([DEFAULT_RULE, other], HELLO)
    assert who_matters([DEFAULT_RULE, other, ours], HELLO)


def test_token_of() -> None:
    """A token is shown as a bearer's, or as the password of somebody."""
    assert token_of(None) is token_of("") is token_of(b"Bearer x") is None
    assert token_of("Bearer x.y.z") == token_of("bearer  x.y.z ") == "x.y.z"
    assert token_of("Basic " + base64.b64encode(b"user:x:y").decode()) == "x:y"
    for wrong in ("Basic !", "Basic " + base64.b64encode(b"none").decode(), "Digest x"):
        with pytest.raises(Unauthorized, match="invalid authorization header"):
            token_of(wrong)
