"""`micro auth`."""

from __future__ import annotations

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
        (("create", "token"), "Missing account ID"),
        (("create", "token", "--id=x"), "Missing account secret"),
    ],
)
def test_mistakes(user: User, words: Any, told: Any) -> None:
    """What is missing is named, with exit code 1."""
    got = user.micro("auth", *words)
    assert got.code == 1
    assert got.err.startswith(told)
