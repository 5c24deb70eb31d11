"""`micro auth`."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from microd.wire import auth_pb2 as pb

from .conftest import Daemon, User


def test_list(user: User, daemon: Daemon) -> None:
    """Accounts are a table by id; what is empty is n/a."""
    found = [
        pb.Account(id="jane", name="Jane"),
        pb.Account(id="admin", name="admin", scopes=["admin"], metadata={"created": "1"}),
    ]
    daemon.answers("/auth.Accounts/List", pb.ListAccountsResponse(accounts=found))
    assert user.micro("auth", "list", "accounts").out == (
        "ID\t\tName\t\tScopes\t\tMetadata\nadmin\t\tadmin\t\tadmin\t\tcreated=1\njane\t\tJane\t\tn/a\t\tn/a\n"
    )
    assert user.micro("auth", "list", "accounts", "--json").json[1]["id"] == "jane"


def test_create(user: User, daemon: Daemon) -> None:
    """An account is printed as it was made, with its secret."""
    made = pb.Account(id="jane", type="user", issuer="foo", scopes=["admin", "x"], secret="s", name="jane")
    daemon.answers("/auth.Auth/Generate", pb.GenerateResponse(account=made))
    got = user.micro(
        "auth", "create", "account", "--scopes=admin,x", "--namespace", "foo", "jane", "--secret", "s"
    )
    assert got.out.startswith("Account created: {")
    assert json.loads(got.out.removeprefix("Account created: "))["secret"] == "s"
    sent = pb.GenerateRequest.FromString(daemon.calls[-1].body)
    assert (sent.id, list(sent.scopes), sent.secret, sent.options.namespace) == (
        "jane",
        ["admin", "x"],
        "s",
        "foo",
    )


def test_token(user: User, daemon: Daemon) -> None:
    """A token is printed with its times in RFC 3339."""
    token = pb.Token(access_token="a", refresh_token="r", created=0, expiry=60)
    daemon.answers("/auth.Auth/Token", pb.TokenResponse(token=token))
    got = user.micro("auth", "create", "token", "--id=jane", "--secret=s", "--expiry=60", "--json")
    assert got.json == {
        "access_token": "a",
        "refresh_token": "r",
        "created": "1970-01-01T00:00:00Z",
        "expiry": "1970-01-01T00:01:00Z",
    }


def test_delete(user: User, daemon: Daemon) -> None:
    """Deleting an account is silent."""
    daemon.answers("/auth.Accounts/Delete", pb.DeleteAccountResponse())
    got = user.micro("auth", "delete", "account", "jane")
    assert (got.code, got.out) == (0, "")
    assert pb.DeleteAccountRequest.FromString(daemon.calls[-1].body).id == "jane"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("create", "account"), "Missing argument: ID"),
        (("delete", "account"), "Missing argument: ID"),
        (("update", "secret"), "Missing argument: ID"),
        (("update", "secret", "x"), "Missing account secret"),
        (("create", "token"), "Missing account ID"),
        (("create", "token", "--id=x"), "Missing account secret"),
    ],
)
def test_mistakes(user: User, words: Any, told: Any) -> None:
    """What is missing is named, with exit code 1."""
    got = user.micro("auth", *words)
    assert got.code == 1
    assert got.err.startswith(told)


DEFAULT = pb.Rule(
    id="default", resource=pb.Resource(type="*", name="*", endpoint="*"), access=pb.Access.GRANTED
)
RULE = pb.Rule(
    id="rule",
    scope="admin",
    resource=pb.Resource(type="service", name="greeter", endpoint="Greeter.Hello"),
    access=pb.Access.DENIED,
    priority=7,
)


def test_rules(user: User, daemon: Daemon) -> None:
    """Rules are a table, by resource and priority, the last first; a rule without a scope is public."""
    daemon.answers("/auth.Rules/List", pb.ListResponse(rules=[DEFAULT, RULE]))
    assert user.micro("auth", "list", "rules", "--namespace=foo").out == (
        "ID\t\tScope\t\tAccess\t\tResource\t\tPriority\n"
        "rule\t\tadmin\t\tDENIED\t\tservice:greeter:Greeter.Hello\t\t7\n"
        "default\t\t<public>\t\tGRANTED\t\t*:*:*\t\t0\n"
    )
    assert pb.ListRequest.FromString(daemon.calls[-1].body).options.namespace == "foo"
    assert user.micro("auth", "list", "rules", "--json").json[1]["id"] == "default"


def test_create_rule(user: User, daemon: Daemon) -> None:
    """A rule is sent as it was put."""
    daemon.answers("/auth.Rules/Create", pb.CreateResponse())
    words = "--scope=admin --resource=service:greeter:Greeter.Hello --access=denied --priority=7"
    assert user.micro("auth", "create", "rule", *words.split(), "rule").out == "Rule created\n"
    sent = pb.CreateRequest.FromString(daemon.calls[-1].body)
    assert (sent.rule, sent.options.namespace) == (RULE, "micro")


def test_create_public_rule(user: User, daemon: Daemon) -> None:
    """A rule lets everybody in unless it says otherwise."""
    daemon.answers("/auth.Rules/Create", pb.CreateResponse())
    user.micro("auth", "create", "rule", "default", "--resource", "*:*:*")
    assert pb.CreateRequest.FromString(daemon.calls[-1].body).rule == DEFAULT


def test_delete_rule(user: User, daemon: Daemon) -> None:
    """A rule is deleted by its id."""
    daemon.answers("/auth.Rules/Delete", pb.DeleteResponse())
    assert user.micro("auth", "delete", "rule", "default").out == "Rule deleted\n"
    assert pb.DeleteRequest.FromString(daemon.calls[-1].body).id == "default"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("create rule --resource=*:*:*", "Too many arguments, expected one argument: ID"),
        ("create rule a b --resource=*:*:*", "Too many arguments, expected one argument: ID"),
        ("create rule a --access=maybe", "Invalid access: maybe, must be granted or denied"),
        ("create rule a", "Invalid resource, must be in the format type:name:endpoint"),
        ("create rule a --resource=x:y", "Invalid resource, must be in the format type:name:endpoint"),
        ("create rule a --resource=a:b:c --priority=2147483648", "Invalid priority: 2147483648"),
        ("delete rule", "Expected one argument: ID"),
        ("delete rule a b", "Expected one argument: ID"),
    ],
)
def test_rule_mistakes(user: User, daemon: Daemon, words: str, told: str) -> None:
    """What can be no rule is told before anything is sent, with exit code 1."""
    got = user.micro("auth", *words.split())
    assert got.code == 1
    assert got.err.startswith(told)
    assert daemon.calls == []


def test_rule_refused(user: User, daemon: Daemon) -> None:
    """What the server says no to is told as it says it, with exit code 1."""
    daemon.refuses("/auth.Rules/Delete", 400, "Rule not found")
    got = user.micro("auth", "delete", "rule", "x")
    assert (got.code, got.err) == (1, "Error: Rule not found\n")


@pytest.mark.parametrize(
    ("words", "path", "told"),
    [
        ("create account x", "/auth.Auth/Generate", "Error creating account: No"),
        ("list accounts", "/auth.Accounts/List", "Error listing accounts: No"),
        ("list rules", "/auth.Rules/List", "Error listing rules: No"),
        ("create rule x --resource=*:*:*", "/auth.Rules/Create", "Error: No"),
        ("delete account x", "/auth.Accounts/Delete", "Error: No"),
        ("update secret x --new_secret=y", "/auth.Accounts/ChangeSecret", "Error: No"),
    ],
)
def test_refused(user: User, daemon: Daemon, words: str, path: str, told: str) -> None:
    """What the server says no to begins as in the reference, with exit code 1."""
    daemon.refuses(path, 400, "no")
    got = user.micro("auth", *words.split())
    assert (got.code, got.err) == (1, f"{told}\n")


def test_update(user: User, daemon: Daemon) -> None:
    """An account gets another secret; the old one is for those who must know it."""
    daemon.answers("/auth.Accounts/ChangeSecret", pb.ChangeSecretResponse())
    words = "update secret jane --old_secret=a --new_secret=b --namespace=foo"
    assert user.micro("auth", *words.split()).out == "Account updated\n"
    sent = pb.ChangeSecretRequest.FromString(daemon.calls[-1].body)
    assert (sent.id, sent.old_secret, sent.new_secret, sent.options.namespace) == ("jane", "a", "b", "foo")


JANE = pb.Account(id="jane", name="Jane", type="user", issuer="foo", scopes=["a", "b"], metadata={"k": "v"})


def _jwt(claims: object) -> str:
    return f"h.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.s"


def test_inspect(user: User, daemon: Daemon) -> None:
    """A token is shown with whose it is and when it ends."""
    daemon.answers("/auth.Auth/Inspect", pb.InspectResponse(account=JANE))
    token = _jwt({"exp": 60})
    assert user.micro("auth", "inspect", token).out == (
        "id: jane\nname: Jane\ntype: user\nissuer: foo\nscopes: a, b\nmetadata: k=v\n"
        "expires: 1970-01-01T00:01:00Z\n"
    )
    assert pb.InspectRequest.FromString(daemon.calls[-1].body).token == token
    assert user.micro("auth", "inspect", token, "--json").json == {
        "id": "jane",
        "name": "Jane",
        "type": "user",
        "issuer": "foo",
        "scopes": ["a", "b"],
        "metadata": {"k": "v"},
        "expires": "1970-01-01T00:01:00Z",
    }


@pytest.mark.parametrize("token", [_jwt({}), _jwt([]), "a.b.c", "a..c", _jwt({"exp": 1e30})])
def test_inspect_unreadable(user: User, daemon: Daemon, token: str) -> None:
    """Where a token does not tell its end, none is shown."""
    daemon.answers("/auth.Auth/Inspect", pb.InspectResponse(account=JANE))
    assert user.micro("auth", "inspect", token).out.endswith("expires: n/a\n")


def test_inspect_refused(user: User, daemon: Daemon) -> None:
    """What is no token, or no longer, is said to be none."""
    daemon.refuses("/auth.Auth/Inspect", 400, "invalid token provided")
    got = user.micro("auth", "inspect", "x")
    assert (got.code, got.err) == (1, "Invalid token provided\n")


def test_inspect_nobody(user: User, daemon: Daemon) -> None:
    """Without a token, and logged in as nobody, the command that helps is named."""
    got = user.micro("auth", "inspect")
    assert (got.code, got.err) == (2, "Not logged in. Run `micro login`.\n")


@pytest.mark.parametrize(
    "words", ["auth", "auth list rules", "auth create rule", "auth delete rule", "auth inspect"]
)
def test_help(user: User, words: str) -> None:
    """Every command says what it does, and with which words."""
    got = user.micro(*words.split(), "--help")
    assert got.code == 0
    assert got.out.startswith(f"micro {words} - ")
    if words.endswith("delete rule"):
        assert "micro auth create rule default --resource '*:*:*'" in " ".join(got.out.split())
