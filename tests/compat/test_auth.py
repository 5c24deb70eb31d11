"""Auth on the wire: spec micro-v3-server 5, 7.3, 8, Appendix A."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest

from tests.compat.conftest import Client
from tests.compat.wires import Refused, Shown

GENERATE, TOKEN, INSPECT = (f"/auth.Auth/{name}" for name in ("Generate", "Token", "Inspect"))
ACCOUNTS, DELETE, CHANGE = (f"/auth.Accounts/{name}" for name in ("List", "Delete", "ChangeSecret"))
CREATE_RULE, DELETE_RULE, RULES = (f"/auth.Rules/{name}" for name in ("Create", "Delete", "List"))
ALPHA = {"namespace": "alpha"}


def _generate(call: Client, **draft: Any) -> Shown:
    account: Shown = call(GENERATE, {"id": call.unique, "options": ALPHA, **draft}, by="alpha-admin")[
        "account"
    ]
    return account


def _token(call: Client, **request: Any) -> Shown:
    token: Shown = call(TOKEN, {"options": ALPHA, **request})["token"]
    return token


def test_generate(call: Client) -> None:
    """A new account has the defaults of the reference, and its secret is told this once."""
    account = _generate(call)
    assert account["id"] == account["name"] == call.unique
    assert (account["type"], account["issuer"], account["scopes"]) == ("user", "alpha", [])
    assert len(account["secret"]) == 36
    assert abs(int(account["metadata"]["created"]) - time.time()) < 60
    listed = call(ACCOUNTS, {"options": ALPHA}, by="alpha-admin")["accounts"]
    (found,) = [each for each in listed if each["id"] == call.unique]
    assert found == {**account, "secret": ""}


@pytest.mark.parametrize(
    ("draft", "detail"),
    [
        ({"id": ""}, "ID required"),
        ({"id": "alpha-admin"}, "Account with this ID already exists"),
        ({"name": "alpha-admin"}, "Account with this Name already exists"),
    ],
)
def test_generate_refused(call: Client, draft: Shown, detail: str) -> None:
    """What cannot be an account, or is one already."""
    refused = call.refused(GENERATE, {"id": call.unique, "options": ALPHA, **draft}, by="alpha-admin")
    assert refused == Refused(400, "auth.Auth.Generate", detail)


def test_token(call: Client) -> None:
    """A secret is exchanged for a JWT with the reference's claims, and a token to renew it."""
    _generate(call, secret="s", scopes=["a"])
    token = _token(call, id=call.unique, secret="s", token_expiry=600)
    assert int(token["expiry"]) - int(token["created"]) == 600
    header, payload, _ = token["access_token"].split(".")
    assert json.loads(base64.urlsafe_b64decode(header + "==")) == {"alg": "RS256", "typ": "JWT"}
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    assert (claims["type"], claims["scopes"], claims["name"]) == ("user", ["a"], call.unique)
    assert (claims["iss"], claims["sub"], claims["exp"]) == ("alpha", call.unique, int(token["expiry"]))
    account = call(INSPECT, {"token": token["access_token"]})["account"]
    assert (account["id"], account["issuer"], account["secret"]) == (call.unique, "alpha", "")


def test_token_by_name(call: Client) -> None:
    """An account's name serves as well as its id."""
    _generate(call, secret="s", name=f"{call.unique}-name")
    assert _token(call, id=f"{call.unique}-name", secret="s")["access_token"]


def test_default_lifetime(call: Client) -> None:
    """A token lasts a quarter of an hour unless asked otherwise."""
    _generate(call, secret="s")
    token = _token(call, id=call.unique, secret="s")
    assert int(token["expiry"]) - int(token["created"]) == 900


def test_refresh_rotates(call: Client) -> None:
    """A refresh token gets the next access token, and another refresh token."""
    _generate(call, secret="s")
    first = _token(call, id=call.unique, secret="s")
    second = _token(call, refresh_token=first["refresh_token"], token_expiry=600)
    assert second["refresh_token"] != first["refresh_token"]
    assert call(INSPECT, {"token": second["access_token"]})["account"]["id"] == call.unique


def test_access_token_is_no_credential(call: Client) -> None:
    """An access token cannot be exchanged for another one (defect 11.2 of the reference)."""
    _generate(call, secret="s")
    access = _token(call, id=call.unique, secret="s")["access_token"]
    for request in ({"refresh_token": access}, {"id": call.unique, "secret": access}):
        assert call.refused(TOKEN, {**request, "options": ALPHA}).code == 400


@pytest.mark.parametrize(
    ("request_", "detail"),
    [
        ({}, "Credentials or a refresh token required"),
        ({"id": "alpha-admin"}, "Credentials or a refresh token required"),
        ({"secret": "s"}, "Credentials or a refresh token required"),
        ({"id": "nobody", "secret": "s"}, "Account not found with this ID"),
        ({"id": "alpha-admin", "secret": "s"}, "Secret not correct"),
        ({"refresh_token": "7e0bd1c5-3ab2-4c26-8d0b-0ad7c5e0f0ce"}, "invalid token provided"),
        ({"refresh_token": "a.b.c"}, "invalid token provided"),
    ],
)
def test_token_refused(call: Client, request_: Shown, detail: str) -> None:
    """The texts that clients match; the Go framework falls back to its secret on the last of them."""
    assert call.refused(TOKEN, {**request_, "options": ALPHA}) == Refused(400, "auth.Auth.Token", detail)


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "é.b.c", "." * 5])
def test_inspect_refused(call: Client, token: str) -> None:
    """What is no token."""
    refused = call.refused(INSPECT, {"token": token})
    assert refused == Refused(400, "auth.Auth.Inspect", "invalid token provided")


def test_delete(call: Client) -> None:
    """A deleted account's tokens stop working (defect 11.8)."""
    _generate(call, secret="s")
    token = _token(call, id=call.unique, secret="s")
    call(DELETE, {"id": call.unique, "options": ALPHA}, by="alpha-admin")
    assert call.refused(INSPECT, {"token": token["access_token"]}).detail == "invalid token provided"
    assert call.refused(TOKEN, {"refresh_token": token["refresh_token"], "options": ALPHA}).code == 400
    headers = {"authorization": f"Bearer {token['access_token']}"}
    assert call.refused(RULES, {"options": ALPHA}, headers=headers).code == 401


@pytest.mark.parametrize(
    ("id", "detail"),
    [
        ("", "Missing ID"),
        ("nobody", "Account not found with this ID"),
        ("alpha-admin", "Can't delete your own account"),
    ],
)
def test_delete_refused(call: Client, id: str, detail: str) -> None:
    """What cannot be deleted."""
    refused = call.refused(DELETE, {"id": id, "options": ALPHA}, by="alpha-admin")
    assert refused == Refused(400, "auth.Accounts.Delete", detail)


def test_change_secret(call: Client) -> None:
    """A secret is changed by who knows the old one; afterwards only the new one is good."""
    _generate(call, secret="old")
    access = _token(call, id=call.unique, secret="old")["access_token"]
    change = {"id": call.unique, "old_secret": "old", "new_secret": "new", "options": ALPHA}
    assert call(CHANGE, change, headers={"authorization": f"Bearer {access}"}) == {}
    assert (
        call.refused(TOKEN, {"id": call.unique, "secret": "old", "options": ALPHA}).detail
        == "Secret not correct"
    )
    assert _token(call, id=call.unique, secret="new")["access_token"]


def test_change_secret_refused(call: Client) -> None:
    """The old secret must be right, and the new one not blank."""
    change = {"id": "alpha-user", "old_secret": "wrong", "new_secret": "new", "options": ALPHA}
    assert call.refused(CHANGE, change, by="alpha-user").brief == (400, "Secret not correct")
    blank = {**change, "new_secret": ""}
    assert call.refused(CHANGE, blank, by="alpha-user").brief == (400, "New secret should not be blank")


def _rule(call: Client, **more: Any) -> Shown:
    resource = {"type": "service", "name": call.unique, "endpoint": "*"}
    rule = {"id": call.unique, "scope": "*", "resource": resource, "access": "DENIED", "priority": 5}
    return {"rule": {**rule, **more}, "options": ALPHA}


def _rules(call: Client) -> dict[str, Shown]:
    return {each["id"]: each for each in call(RULES, {"options": ALPHA}, by="alpha-user")["rules"]}


def test_rules(call: Client) -> None:
    """Rules are made, listed for every member, and deleted."""
    assert call(CREATE_RULE, _rule(call), by="alpha-admin") == {}
    assert _rules(call)[call.unique] == _rule(call)["rule"]
    assert call(DELETE_RULE, {"id": call.unique, "options": ALPHA}, by="alpha-admin") == {}
    assert call.unique not in _rules(call)


def test_default_rule(call: Client) -> None:
    """Every namespace begins with a rule that lets everybody call everything (spec 5.2)."""
    rules = call(RULES, {"options": {"namespace": "beta"}}, by="beta-user")["rules"]
    (default,) = [each for each in rules if each["id"] == "default"]
    assert default["resource"] == {"type": "*", "name": "*", "endpoint": "*"}
    assert (default["scope"], default["access"], default["priority"]) == ("", "GRANTED", 0)


@pytest.mark.parametrize(
    ("rule", "detail"),
    [
        ({"id": ""}, "ID missing"),
        ({"resource": None}, "Resource missing"),
        ({"access": "UNKNOWN"}, "Access missing"),
    ],
)
def test_rule_refused(call: Client, rule: Shown, detail: str) -> None:
    """What is no rule."""
    request = _rule(call)
    request["rule"] = {name: each for name, each in {**request["rule"], **rule}.items() if each is not None}
    assert call.refused(CREATE_RULE, request, by="alpha-admin") == Refused(400, "auth.Rules.Create", detail)


def test_rule_missing(call: Client) -> None:
    """No rule at all, one that is there already, one that is not there."""
    refused = call.refused(CREATE_RULE, {"options": ALPHA}, by="alpha-admin")
    assert refused == Refused(400, "auth.Rules.Create", "Rule missing")
    call(CREATE_RULE, _rule(call), by="alpha-admin")
    refused = call.refused(CREATE_RULE, _rule(call), by="alpha-admin")
    assert refused == Refused(400, "auth.Rules.Create", "A rule with this ID already exists")
    call(DELETE_RULE, {"id": call.unique, "options": ALPHA}, by="alpha-admin")
    refused = call.refused(DELETE_RULE, {"id": call.unique, "options": ALPHA}, by="alpha-admin")
    assert refused == Refused(400, "auth.Rules.Delete", "Rule not found")
    refused = call.refused(DELETE_RULE, {"options": ALPHA}, by="alpha-admin")
    assert refused == Refused(400, "auth.Rules.Delete", "ID missing")


@pytest.mark.parametrize("path", [GENERATE, ACCOUNTS, DELETE, CREATE_RULE, DELETE_RULE])
def test_admins_only(call: Client, path: str) -> None:
    """Accounts and rules are the admins'; the others are told so (403; the reference says 401)."""
    request = {"options": ALPHA}
    assert call.refused(path, request).code == 401
    assert call.refused(path, request, by="alpha-user").code == 403
    assert call.refused(path, request, by="beta-admin").brief == (403, "access denied to namespace")
