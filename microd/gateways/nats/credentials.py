"""Who a client of NATS is, and what they may.

::

    auth_token, jwt ─────────────▶ an access token
    user, pass ──▶ pass a token? ─▶ an access token, of that user
                └─ else ─────────▶ an account's secret, or a service's credential

A user is an account's id or name, C{namespace/id} outside of the platform's own namespace.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from microd.gateways.nats.model import Connect
from microd.kernel.caller import DEFAULT_NAMESPACE, Account
from microd.kernel.errors import MicroError, Unauthorized
from microd.services.auth.model import Resource

#: What is asked of auth's rules: the same as for the gRPC APIs.
PUBLISH = Resource("service", "broker", "Broker.Publish", core=True)
SUBSCRIBE = Resource("service", "broker", "Broker.Subscribe", core=True)
STORE = Resource("service", "events", "Stream.Publish", core=True)


class Accounts(Protocol):
    """The part of auth which is asked."""

    def inspect_cached(self, token: str) -> Account | None:
        """Whose access token it is; None for one which is not, or no longer, good."""

    def end(self, token: str) -> float:
        """When an access token that was just read ends, in Unix seconds."""

    async def verify(self, namespace: str, id: str, secret: str, peer: str = "") -> Account:
        """Whose secret it is.

        @raise MicroError: nobody's.
        """

    def authorize(self, account: Account | None, namespace: str, resource: Resource) -> None:
        """May they?

        @raise MicroError: they may not.
        """


class Identity(NamedTuple):
    """Who somebody is.

    @ivar until: when the token ends which says so, in Unix seconds; 0: it was a secret.
    """

    account: Account
    until: float = 0.0


class Rights(NamedTuple):
    """What an account may.

    @ivar store: publish events.
    """

    publish: bool
    subscribe: bool
    store: bool


async def identify(accounts: Accounts, connect: Connect, peer: str) -> Identity:
    """Who shows what a CONNECT has in it.

    @param peer: C{host:port}; turns to have a secret checked go by it.
    @raise MicroError: it is no good, or too many secrets are being checked.
    """
    token = connect.token or connect.jwt
    if token:
        return _bearer(accounts, token)
    if not connect.password:
        raise Unauthorized("an account is required")
    namespace, id = place_of(connect.user)
    if connect.password.count(".") == 2 and accounts.inspect_cached(connect.password) is not None:
        found = _bearer(accounts, connect.password)
        if not connect.user or _names(found.account, namespace, id):
            return found
        raise Unauthorized("the token is of another account")
    return Identity(await accounts.verify(namespace, id, connect.password, peer))


def rights(accounts: Accounts, account: Account) -> Rights:
    """What the rules let an account do."""
    return Rights(*(_may(accounts, account, each) for each in (PUBLISH, SUBSCRIBE, STORE)))


def place_of(user: str) -> tuple[str, str]:
    """The namespace and the id that a user's name tells: C{acme/ann}, or C{ann} of the platform."""
    namespace, slash, id = user.partition("/")
    return (namespace, id) if slash else (DEFAULT_NAMESPACE, user)


def _bearer(accounts: Accounts, token: str) -> Identity:
    account = accounts.inspect_cached(token)
    if account is None:
        raise Unauthorized("the token is not, or no longer, good")
    return Identity(account, accounts.end(token))


def _names(account: Account, namespace: str, id: str) -> bool:
    return account.issuer == namespace and id in (account.id, account.name)


def _may(accounts: Accounts, account: Account, resource: Resource) -> bool:
    try:
        accounts.authorize(account, DEFAULT_NAMESPACE, resource)
    except MicroError:
        return False
    return True
