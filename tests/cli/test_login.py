"""`micro login` and `micro logout`."""

from __future__ import annotations

import pytest

from microd.cli.tokens import Holder, Token, Tokens
from microd.wire import auth_pb2 as pb

from .conftest import Call, Daemon, Refusal, User

TOKEN = "/auth.Auth/Token"


@pytest.fixture
def issuer(daemon: Daemon, refusal: Refusal) -> None:
    """An auth service where everybody's password is C{right}, and ids are names in capitals."""

    def give(call: Call) -> pb.TokenResponse:
        request = pb.TokenRequest.FromString(call.body)
        if request.secret not in ("right", "s3cret"):
            raise refusal(400, "Secret not correct")
        token = pb.Token(access_token=f"of {request.id}", refresh_token="r", expiry=2_000_000_000)
        return pb.TokenResponse(token=token)

    def inspect(call: Call) -> pb.InspectResponse:
        name = pb.InspectRequest.FromString(call.body).token.removeprefix("of ")
        return pb.InspectResponse(account=pb.Account(id=name.upper(), name=name, issuer="micro"))

    daemon.handlers[TOKEN] = give
    daemon.handlers["/auth.Auth/Inspect"] = inspect


def kept(user: User, account: str) -> str | None:
    """The token kept for an account."""
    found = Tokens(user.home / "tokens").find(Holder("127.0.0.1:8081", "micro", account))
    return found.access_token if found else None


def test_flags(user: User, issuer: None) -> None:
    """With both flags nothing is asked; the token is kept for the account's id."""
    got = user.micro("login", "--email", "jane", "--password=right")
    assert (got.code, got.out) == (0, "Successfully logged in.\n")
    assert user.terminal.asked == []
    assert kept(user, "JANE") == "of jane"
    assert user.config()["local"]["current-user"] == "JANE"


def test_asked(user: User, issuer: None) -> None:
    """A person is asked for what is missing; the password is not shown."""
    user.terminal.interactive, user.terminal.answers = True, ["jane", "right"]
    assert user.micro("login").code == 0
    assert user.terminal.asked == [("Enter username: ", False), ("Enter password: ", True)]


def test_standard_input(user: User, issuer: None) -> None:
    """Where nobody sits at a terminal, user name and password are lines of standard input."""
    user.terminal.answers = ["jane", "right"]
    assert user.micro("login").code == 0
    assert kept(user, "JANE") == "of jane"


def test_password_from_standard_input(user: User, issuer: None) -> None:
    """With the user name given, the one line is the password."""
    user.terminal.answers = ["right"]
    assert user.micro("login", "--username=jane").code == 0


def test_nobody_there(user: User, issuer: None) -> None:
    """With nobody to ask, the flag that helps is named."""
    got = user.micro("login")
    assert (got.code, got.err) == (2, "No username given. Run `micro login --username NAME`.\n")


def test_own_daemon(user: User, issuer: None) -> None:
    """On the host of one's own daemon nothing is asked."""
    user.has_a_daemon()
    assert user.micro("login").out == "Successfully logged in.\n"
    assert user.terminal.asked == []
    assert kept(user, "ADMIN") == "of admin"


def test_failed_login_keeps(user: User, issuer: None) -> None:
    """Who was logged in stays so when another login fails, which tells the server's detail."""
    user.micro("login", "--username=jane", "--password=right")
    got = user.micro("login", "--username=jane", "--password=wrong")
    assert (got.code, got.err) == (1, "Secret not correct\n")
    assert kept(user, "JANE") == "of jane"


def test_login_after_logout(user: User, issuer: None) -> None:
    """Logging out forgets the token, silently; logging in again ends that."""
    user.micro("login", "--username=jane", "--password=right")
    got = user.micro("logout")
    assert (got.code, got.out, got.err) == (0, "", "")
    assert kept(user, "JANE") is None
    got = user.micro("user")
    assert (got.code, got.err) == (2, "Not logged in. Run `micro login`.\n")
    user.micro("login", "--username=jane", "--password=right")
    assert user.micro("user").out == "jane\n"


def test_namespace(user: User, daemon: Daemon, issuer: None) -> None:
    """A login is for the namespace one works in."""
    user.micro("login", "--username=jane", "--password=right", "--namespace=foo")
    assert pb.TokenRequest.FromString(daemon.asked(TOKEN)[0].body).options.namespace == "foo"
    assert Tokens(user.home / "tokens").find(Holder("127.0.0.1:8081", "foo", "JANE")) == Token(
        "of jane", "r", 0, 2_000_000_000
    )


@pytest.mark.parametrize("up", [True, False])
def test_logout_tells_the_server(user: User, daemon: Daemon, issuer: None, up: bool) -> None:
    """Logging out ends the session at the server, so that no copy of the tokens is good for more; or only here, if there
    is no server."""
    daemon.answers("/auth.Auth/Logout", pb.LogoutResponse())
    user.micro("login", "--username=jane", "--password=right")
    daemon.up = up
    assert user.micro("logout").code == 0
    assert kept(user, "JANE") is None
    told = [
        pb.LogoutRequest.FromString(call.body).refresh_token for call in daemon.asked("/auth.Auth/Logout")
    ]
    assert told == (["r"] if up else [])
