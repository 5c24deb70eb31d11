"""What is asked of auth that cannot be meant: an error that names what is wrong, and nothing changed."""

from __future__ import annotations

from typing import Any

import pytest

from microd.kernel.errors import MicroError
from microd.services.auth.rules import LONGEST_LIFETIME, LONGEST_SECRET, MOST_CLAIMS
from microd.wire import auth_pb2 as wire

HUGE = "x" * 5_000_000
FOO = wire.Options(namespace="foo")
NO_NAMESPACES = ("../micro", "a/b", "*", ".", "é", "a b", "a\0b", "n" * 129, HUGE)

GENERATE, TOKEN, INSPECT = (f"/auth.Auth/{name}" for name in ("Generate", "Token", "Inspect"))
ACCOUNTS, DELETE, CHANGE = (f"/auth.Accounts/{name}" for name in ("List", "Delete", "ChangeSecret"))
CREATE_RULE, DELETE_RULE, RULES = (f"/auth.Rules/{name}" for name in ("Create", "Delete", "List"))


def refused(scene: Any, path: str, request: Any) -> str:
    """How the platform's admin is refused; nothing has changed."""
    kept = scene.now(scene.vault.under(""))
    lasts = scene.auth.lasting(None)
    with pytest.raises(MicroError) as caught:
        scene.call(path, request, scene.admin)
    assert caught.value.code == 400
    assert scene.now(scene.vault.under("")) == kept
    assert lasts()
    detail: str = caught.value.told
    return detail


@pytest.mark.parametrize("namespace", NO_NAMESPACES, ids=lambda text: text[:9])
@pytest.mark.parametrize(
    ("path", "request_"),
    [
        (GENERATE, wire.GenerateRequest(id="x")),
        (ACCOUNTS, wire.ListAccountsRequest()),
        (DELETE, wire.DeleteAccountRequest(id="admin")),
        (CHANGE, wire.ChangeSecretRequest(id="admin", new_secret="x")),
        (CREATE_RULE, wire.CreateRequest(rule=wire.Rule(id="x", resource={}, access=wire.GRANTED))),
        (DELETE_RULE, wire.DeleteRequest(id="default")),
        (RULES, wire.ListRequest()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_namespaces(scene: Any, path: str, request_: Any, namespace: str) -> None:
    """What can be no namespace is none, in whatever is asked."""
    request = type(request_)()
    request.CopyFrom(request_)
    request.options.namespace = namespace
    assert refused(scene, path, request).startswith("the namespace ")


@pytest.mark.parametrize("namespace", NO_NAMESPACES, ids=lambda text: text[:9])
def test_token_of_no_namespace(scene: Any, namespace: str) -> None:
    """Where no account can be, none is found; and no refresh token is good there."""
    good = scene.token(id="admin", secret="first-secret").refresh
    options = wire.Options(namespace=namespace)
    request = wire.TokenRequest(id="admin", secret="first-secret", options=options)
    assert refused(scene, TOKEN, request) == "Account not found with this ID"
    request = wire.TokenRequest(refresh_token=good, options=options)
    assert refused(scene, TOKEN, request) == "invalid token provided"
    scene.token(refresh_token=good)


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"id": "   "}, "ID required"),
        ({"id": "\0"}, "the account's id has control characters in it"),
        ({"id": "a\x7fb"}, "the account's id has control characters in it"),
        ({"id": "é" * 200}, "the account's id is longer than 256 bytes"),
        ({"id": HUGE}, "the account's id is longer than 256 bytes"),
        ({"name": "a\nb"}, "the account's name has control characters in it"),
        ({"name": HUGE}, "the account's name is longer than 256 bytes"),
        ({"type": "admin"}, "the account's type must be one of: user, service"),
        ({"type": HUGE}, "the account's type must be one of: user, service"),
        ({"secret": "s" * (LONGEST_SECRET + 1)}, f"the secret is longer than {LONGEST_SECRET} characters"),
        ({"secret": "s\0"}, "the secret has a NUL in it"),
        ({"scopes": [""]}, "a scope is missing"),
        ({"scopes": ["a\tb"]}, "a scope has control characters in it"),
        ({"scopes": ["s" * 129]}, "a scope is longer than 128 bytes"),
        (
            {"scopes": [str(number) for number in range(2000)]},
            f"the account's scopes and metadata take more than {MOST_CLAIMS} bytes",
        ),
        (
            {"metadata": {"k": HUGE}},
            f"the account's scopes and metadata take more than {MOST_CLAIMS} bytes",
        ),
    ],
    ids=lambda value: str(value)[:30],
)
def test_generate(scene: Any, fields: dict[str, Any], detail: str) -> None:
    """What can be no account."""
    assert refused(scene, GENERATE, wire.GenerateRequest(**{"id": "x", **fields}, options=FOO)) == detail


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({}, "Credentials or a refresh token required"),
        ({"id": "admin"}, "Credentials or a refresh token required"),
        ({"id": HUGE, "secret": "x"}, "Account not found with this ID"),
        ({"id": "../admin", "secret": "x"}, "Account not found with this ID"),
        ({"id": "admin\0", "secret": "x"}, "Account not found with this ID"),
        ({"id": "admin", "secret": HUGE}, f"the secret is longer than {LONGEST_SECRET} characters"),
        ({"id": "admin", "secret": "first-secret\0"}, "the secret has a NUL in it"),
        ({"refresh_token": HUGE}, "invalid token provided"),
        ({"refresh_token": "." * 2000}, "invalid token provided"),
        ({"refresh_token": "W10.W10"}, "invalid token provided"),
        ({"refresh_token": "é.é"}, "invalid token provided"),
        *(
            (
                {"id": "admin", "secret": "first-secret", "token_expiry": asked},
                f"token_expiry must be between 1 and {LONGEST_LIFETIME} seconds, or 0 for the default",
            )
            for asked in (-1, -(2**63), 2**63 - 1, LONGEST_LIFETIME + 1)
        ),
    ],
    ids=lambda value: str(value)[:30],
)
def test_token(scene: Any, fields: dict[str, Any], detail: str) -> None:
    """What buys no token."""
    assert refused(scene, TOKEN, wire.TokenRequest(**fields)) == detail


@pytest.mark.parametrize("token", ["", ".", "..", "a.b.c", "é.é.é", "." * 5_000_000, HUGE, "\0"], ids=len)
def test_inspect(scene: Any, token: str) -> None:
    """What is no token."""
    assert refused(scene, INSPECT, wire.InspectRequest(token=token)) == "invalid token provided"


@pytest.mark.parametrize(
    ("id", "detail"),
    [
        ("", "Missing ID"),
        (HUGE, "Account not found with this ID"),
        ("admin/../ada", "Account not found with this ID"),
        ("admin", "Can't delete your own account"),
    ],
    ids=lambda text: text[:9],
)
def test_delete(scene: Any, id: str, detail: str) -> None:
    """What cannot be deleted."""
    assert refused(scene, DELETE, wire.DeleteAccountRequest(id=id)) == detail


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"id": "admin"}, "New secret should not be blank"),
        ({"new_secret": "x"}, "Account not found with this ID"),
        ({"id": HUGE, "new_secret": "x"}, "Account not found with this ID"),
        ({"id": "admin", "new_secret": "s\0"}, "the secret has a NUL in it"),
        ({"id": "admin", "new_secret": HUGE}, f"the secret is longer than {LONGEST_SECRET} characters"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_change_secret(scene: Any, fields: dict[str, Any], detail: str) -> None:
    """What is no new secret, and whose it cannot be."""
    assert refused(scene, CHANGE, wire.ChangeSecretRequest(**fields)) == detail


@pytest.mark.parametrize(
    "id", ["nothing", "default/", "../foo/default", "\0", HUGE], ids=lambda text: text[:9]
)
def test_delete_rule(scene: Any, id: str) -> None:
    """What is no rule; see test_rulebook for what can be none."""
    assert refused(scene, DELETE_RULE, wire.DeleteRequest(id=id)) == "Rule not found"


def test_longest(scene: Any) -> None:
    """What is just as long as it may be, is taken."""
    account: dict[str, Any] = {
        "id": "i" * 256,
        "name": "n" * 256,
        "scopes": ["s" * 128],
        "secret": "s" * LONGEST_SECRET,
    }
    scene.call(GENERATE, wire.GenerateRequest(**account, options=FOO), scene.admin)
    token = scene.token("foo", id="n" * 256, secret="s" * LONGEST_SECRET, lifetime=LONGEST_LIFETIME)
    assert scene.auth.inspect_cached(token.access).id == "i" * 256
    scene.token("foo", refresh_token=token.refresh)
