"""`micro user`."""

from __future__ import annotations

from typing import Any

import pytest

from microd.cli.tokens import Holder, Token, Tokens
from microd.wire import auth_pb2 as pb

from .conftest import Daemon, User

CHANGE = "/auth.Accounts/ChangeSecret"


@pytest.fixture
def jane(user: User, daemon: Daemon) -> None:
    """Somebody who is logged in."""
    Tokens(user.home / "tokens").save(
        Holder("127.0.0.1:8081", "micro", "jane-id"), Token("hers", "", 0, 2_000_000_000)
    )
    user.micro("user", "config", "set", "local.current-user", "jane-id")
    account = pb.Account(id="jane-id", name="jane", type="user", issuer="micro")
    daemon.answers("/auth.Auth/Inspect", pb.InspectResponse(account=account))
    daemon.answers(CHANGE, pb.ChangeSecretResponse())


def test_name(user: User, jane: None) -> None:
    """The account's name is shown."""
    assert user.micro("user").out == "jane\n"
    assert user.micro("user", "--json").json["id"] == "jane-id"


def test_token(user: User, jane: None) -> None:
    """The access token is printed, for scripts."""
    assert user.micro("user", "token").out == "hers\n"


def test_nobody(user: User) -> None:
    """Without a login, the command that helps is named."""
    got = user.micro("user", "token")
    assert (got.code, got.err) == (2, "Not logged in. Run `micro login`.\n")


def test_config(user: User, jane: None) -> None:
    """The settings are five lines; secrets stay hidden."""
    user.micro("user", "config", "set", "git.credentials.github", "s3cret")
    assert user.micro("user", "config").out == (
        "user: jane\nnamespace: micro\nenvironment: local\ngit.credentials: [hidden]\ngit.baseurl: n/a\n"
    )


def test_config_without_server(user: User, daemon: Daemon) -> None:
    """The settings are shown with the server down, too."""
    user.has_a_daemon()
    daemon.up = False
    assert user.micro("user", "config").out.startswith("user: n/a\nnamespace: micro\n")


def test_config_value(user: User) -> None:
    """A setting is kept, shown and blanked by its dotted path; one not set is an empty line."""
    assert user.micro("user", "config", "get", "a.b").out == "\n"
    assert user.micro("user", "config", "set", "a.b", "c").out == ""
    assert user.micro("user", "config", "get", "a.b").out == "c\n"
    assert user.micro("user", "config", "delete", "a.b").out == ""
    assert user.micro("user", "config", "get", "a.b").out == "\n"
    got = user.micro("user", "config", "delete", "")
    assert (got.code, got.err) == (1, "Key cannot be blank\n")


def test_namespaces(user: User) -> None:
    """A namespace is chosen for the environment that the command names, and noted there."""
    user.micro("env", "add", "foo", "h:1")
    assert user.micro("user", "namespace").out == "micro\n"
    assert user.micro("user", "namespace", "set", "bar", "-e", "foo").out == ""
    assert user.micro("user", "namespace").out == "micro\n"
    assert user.micro("-e", "foo", "user", "namespace").out == "bar\n"
    assert user.micro("-e", "foo", "user", "namespace", "list").out == "bar\nmicro\n"


def test_namespace_removed(user: User) -> None:
    """Removing the one in use goes back to the default, which cannot be removed."""
    user.micro("user", "namespace", "set", "bar")
    assert user.micro("user", "namespace", "remove", "bar").code == 0
    assert user.micro("user", "namespace").out == "micro\n"
    assert (
        user.micro("user", "namespace", "remove", "micro").err == "The default namespace cannot be removed\n"
    )
    assert user.micro("user", "namespace", "remove", "bar").err.startswith("Namespace does not exists")


@pytest.mark.parametrize("name", ["*", "a/b", "a,b"])
def test_bad_namespace(user: User, name: Any) -> None:
    """What cannot name a namespace is refused."""
    assert user.micro("user", "namespace", "set", name).code == 1
    assert user.micro("user", "namespace", "set").err.startswith("No namespace specified")


def test_password(user: User, daemon: Daemon, jane: None) -> None:
    """Old and new password are sent for one's own account; nothing is printed."""
    got = user.micro("user", "set", "password", "--old-password=a", "--new-password=b")
    assert (got.code, got.out) == (0, "")
    sent = pb.ChangeSecretRequest.FromString(daemon.asked(CHANGE)[0].body)
    assert (sent.id, sent.old_secret, sent.new_secret) == ("jane-id", "a", "b")


def test_password_asked(user: User, daemon: Daemon, jane: None) -> None:
    """A person types the new one twice, until both are the same."""
    user.terminal.interactive = True
    user.terminal.answers = ["old", "new", "nwe", "new", "new"]
    got = user.micro("user", "set", "password")
    assert got.err == "Passwords do not match. Please try again.\n"
    assert all(hidden for _, hidden in user.terminal.asked)
    assert pb.ChangeSecretRequest.FromString(daemon.asked(CHANGE)[0].body).new_secret == "new"


def test_password_keeps_the_login(user: User, daemon: Daemon, jane: None) -> None:
    """Who changes their own password stays logged in, though all tokens of before are void."""
    fresh = pb.Token(access_token="new", refresh_token="r", created=1, expiry=2_000_000_000)
    daemon.answers("/auth.Auth/Token", pb.TokenResponse(token=fresh))
    user.micro("user", "set", "password", "--old-password=a", "--new-password=b", "--namespace=foo")
    sent = pb.ChangeSecretRequest.FromString(daemon.asked(CHANGE)[0].body)
    assert sent.options.namespace == "micro"
    asked = pb.TokenRequest.FromString(daemon.asked("/auth.Auth/Token")[0].body)
    assert (asked.id, asked.secret, asked.options.namespace) == ("jane-id", "b", "micro")
    assert user.micro("user", "token").out == "new\n"


def test_password_of_another(user: User, daemon: Daemon, jane: None) -> None:
    """An admin who changes somebody else's stays who they are."""
    user.micro(
        "user", "set", "password", "--email=bob", "--old-password=a", "--new-password=b", "--namespace=foo"
    )
    sent = pb.ChangeSecretRequest.FromString(daemon.asked(CHANGE)[0].body)
    assert (sent.id, sent.options.namespace) == ("bob", "foo")
    assert daemon.asked("/auth.Auth/Token") == []
    assert user.micro("user", "token").out == "hers\n"
