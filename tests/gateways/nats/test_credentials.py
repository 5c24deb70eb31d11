"""Who a client of NATS is, by what its CONNECT shows."""

from __future__ import annotations

from typing import Any

import pytest

from microd.gateways.nats.credentials import Identity, Rights, identify, place_of, rights
from microd.gateways.nats.model import Connect
from microd.kernel.caller import Account
from microd.kernel.errors import BadRequest, Forbidden, MicroError
from microd.services.auth.model import Resource
from microd.testing.outcome import done

ANN = Account("ann", "user", "acme", "Ann")
TOKEN = "a.good.token"


class Accounts:
    """Auth, as far as it is asked.

    @ivar asked: whose secrets were checked.
    @ivar denied: what nobody may.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str, str]] = []
        self.denied: set[str] = set()

    def inspect_cached(self, token: str) -> Account | None:
        return ANN if token == TOKEN else None

    def end(self, token: str) -> float:
        return 1000.0

    async def verify(self, namespace: str, id: str, secret: str, peer: str = "") -> Account:
        self.asked.append((namespace, id, secret, peer))
        if (namespace, id, secret) != ("acme", "ann", "s3cret"):
            raise BadRequest("Secret not correct")
        return ANN

    def authorize(self, account: Account | None, namespace: str, resource: Resource) -> None:
        assert (account, namespace, resource.core) == (ANN, "micro", True)
        assert resource.name == ("events" if resource.endpoint == "Stream.Publish" else "broker")
        if resource.endpoint in self.denied:
            raise Forbidden("no")


@pytest.fixture
def accounts() -> Accounts:
    """Where ann is known."""
    return Accounts()


def identity(accounts: Accounts, **said: Any) -> Identity:
    """Who is identified."""
    found = done(identify(accounts, Connect(**said), "10.0.0.1:1"))
    assert isinstance(found, Identity)
    return found


def test_secret(accounts: Accounts) -> None:
    """User and secret are checked by auth, which learns where they come from; they do not end."""
    assert identity(accounts, user="acme/ann", password="s3cret") == Identity(ANN, 0)
    assert accounts.asked == [("acme", "ann", "s3cret", "10.0.0.1:1")]


@pytest.mark.parametrize("said", [{"token": TOKEN}, {"jwt": TOKEN}])
def test_token(accounts: Accounts, said: dict[str, str]) -> None:
    """An access token is enough, for as long as it lasts; no secret is checked."""
    assert identity(accounts, **said) == Identity(ANN, 1000)
    assert accounts.asked == []


@pytest.mark.parametrize("user", ["", "acme/ann", "acme/Ann"])
def test_token_as_password(accounts: Accounts, user: str) -> None:
    """A token may stand where the secret does, for clients which know users and passwords only."""
    assert identity(accounts, user=user, password=TOKEN) == Identity(ANN, 1000)


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"user": "acme/ann"},
        {"user": "acme/ann", "password": "guess"},
        {"user": "ann", "password": "s3cret"},
        {"token": "bad"},
        {"jwt": "bad"},
        {"token": "bad", "user": "acme/ann", "password": "s3cret"},
        {"user": "acme/bob", "password": TOKEN},
        {"user": "ann", "password": TOKEN},
        {"user": "acme/ann", "password": "a.bad.token"},
    ],
)
def test_no_good(accounts: Accounts, said: dict[str, str]) -> None:
    """Nothing else will do: no secret, a wrong one, another's, a token that is none or another user's."""
    with pytest.raises(MicroError):
        identity(accounts, **said)


@pytest.mark.parametrize(
    ("user", "place"),
    [
        ("ann", ("micro", "ann")),
        ("acme/ann", ("acme", "ann")),
        ("acme/ann/x", ("acme", "ann/x")),
        ("", ("micro", "")),
        ("/ann", ("", "ann")),
    ],
)
def test_place(user: str, place: tuple[str, str]) -> None:
    """A user without a namespace is the platform's; what stands before the first slash is the namespace."""
    assert place_of(user) == place


def test_rights(accounts: Accounts) -> None:
    """The rules for the gRPC APIs hold for NATS: publishing, subscribing and storing events each by itself."""
    assert rights(accounts, ANN) == Rights(publish=True, subscribe=True, store=True)
    accounts.denied = {"Broker.Publish"}
    assert rights(accounts, ANN) == Rights(publish=False, subscribe=True, store=True)
    accounts.denied = {"Broker.Subscribe"}
    assert rights(accounts, ANN) == Rights(publish=True, subscribe=False, store=True)
    accounts.denied = {"Stream.Publish"}
    assert rights(accounts, ANN) == Rights(publish=True, subscribe=True, store=False)
