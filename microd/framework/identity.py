"""How a service or a script becomes somebody: the questions it asks the auth service, without asking them itself.

Each function is a generator: it yields a L{Question}, is sent the answer or thrown the error, and returns a L{Token}. So the
same steps serve the client on the reactor and the one that blocks.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Protocol

from google.protobuf.message import Message

from microd.kernel.caller import DEFAULT_NAMESPACE
from microd.kernel.errors import BadRequest, MicroError, Unauthorized
from microd.wire import auth_pb2 as wire

#: Seconds for which a token is asked for, and how long before its end it is renewed.
LIFETIME = 600
MARGIN = 60
#: The account that a daemon makes on its first start.
ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Question:
    """One call of the auth service.

    @ivar token: who asks; empty for nobody.
    """

    path: str
    request: Message
    reply: type[Message]
    token: str = ""


@dataclass(frozen=True, slots=True)
class Token:
    """What shows who we are, until C{expires} (Unix time)."""

    access: str
    refresh: str
    expires: float


Steps = Generator[Question, Any, Token]


class Identity(Protocol):
    """Somebody whom the auth service knows."""

    def log_in(self) -> Steps:
        """Get a first token."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """An account with its secret, as the runtime gives one to each service it starts."""

    id: str
    secret: str
    namespace: str

    def log_in(self) -> Steps:
        """Get a token for them."""
        request = wire.TokenRequest(id=self.id, secret=self.secret, token_expiry=LIFETIME)
        request.options.namespace = self.namespace
        return (yield from _token(request))


@dataclass(frozen=True, slots=True)
class OwnDaemon:
    """A service which somebody runs by hand beside a daemon of his own.

    The admin's secret, which the daemon keeps in its data folder for the same user, gets the service an account of its own:
    C{<service>-standalone}, of type C{service}, with a secret that is derived from the admin's. So the service never acts as
    the admin, and the next run finds the same account.
    """

    service: str
    admin_secret: str
    namespace: str

    def log_in(self) -> Steps:
        """Get a token for the service's account; make the account first where there is none."""
        own = Credentials(f"{self.service}-standalone", self._secret(), self.namespace)
        try:
            return (yield from own.log_in())
        except MicroError as problem:
            if not refused(problem):
                raise
        admin = yield from Credentials(ADMIN, self.admin_secret, DEFAULT_NAMESPACE).log_in()
        try:
            yield from self._enrol(own, admin.access)
            return (yield from own.log_in())
        except MicroError as problem:
            if not refused(problem):
                raise
        try:
            # It is there by now: another copy of the service was quicker,
            return (yield from own.log_in())
        except MicroError as problem:
            if not refused(problem):
                raise
        # or its secret was derived from an earlier one of the admin's.
        change = wire.ChangeSecretRequest(id=own.id, new_secret=own.secret)
        change.options.namespace = self.namespace
        yield Question("/auth.Accounts/ChangeSecret", change, wire.ChangeSecretResponse, admin.access)
        return (yield from own.log_in())

    def _enrol(self, own: Credentials, token: str) -> Generator[Question, Any, None]:
        account = wire.GenerateRequest(
            id=own.id,
            name=own.id,
            secret=own.secret,
            type="service",
            scopes=["service"],
            metadata={"made-by": "framework"},
        )
        account.options.namespace = self.namespace
        yield Question("/auth.Auth/Generate", account, wire.GenerateResponse, token)

    def _secret(self) -> str:
        derived = hmac.new(
            self.admin_secret.encode(), f"{self.namespace}/{self.service}".encode(), hashlib.sha256
        )
        return derived.hexdigest()


@dataclass(frozen=True, slots=True)
class Nobody:
    """Who has no account, and why; each log-in says so."""

    reason: str

    def log_in(self) -> Steps:
        """Refuse."""
        raise Unauthorized(self.reason, "micro.client")
        yield  # pragma: no cover - what makes this a generator


def renew(identity: Identity, token: Token) -> Steps:
    """Get the next token with the refresh token of the last; where that is refused, with what the identity is based on."""
    try:
        return (yield from _token(wire.TokenRequest(refresh_token=token.refresh, token_expiry=LIFETIME)))
    except MicroError as problem:
        if not refused(problem):
            raise
    return (yield from identity.log_in())


def refused(problem: MicroError) -> bool:
    """Whether the auth service said no, rather than nothing."""
    return problem.code in (400, 401, 403, 404, 409)


def identity_of(
    environ: dict[str, str], service: str, namespace: str, admin_secret: Callable[[], str]
) -> Identity:
    """Who we are: C{MICRO_AUTH_ID} and C{MICRO_AUTH_SECRET}, else an account got from a daemon of our own."""
    id, secret = environ.get("MICRO_AUTH_ID", ""), environ.get("MICRO_AUTH_SECRET", "")
    if id and secret:
        return Credentials(id, secret, namespace)
    found = admin_secret()
    if found:
        return OwnDaemon(service, found, namespace)
    return Nobody(
        "no credentials: set MICRO_AUTH_ID and MICRO_AUTH_SECRET, or run beside a daemon of your own "
        "(same user, same host, same MICRO_HOME)"
    )


def _token(request: wire.TokenRequest) -> Steps:
    reply = yield Question("/auth.Auth/Token", request, wire.TokenResponse)
    token = reply.token
    if not token.access_token:
        raise BadRequest("the auth service sent no token", "micro.client")
    return Token(token.access_token, token.refresh_token, float(token.expiry))
