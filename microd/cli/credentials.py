"""Which token this command shows: the stored one, a refreshed one, or one for the admin secret of our own daemon.

::

    stored, fresh ───────────────────────────────▶ that one
    stored, within a minute of its end ─ refresh ▶ the new one, stored; one command at a time
    none, or refused, or not refreshable
        ├─ our own daemon, nobody else logged in ▶ one for the admin secret, stored
        └─ else                                  ▶ nobody: the server says what it allows
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from microd.cli.config import Config
from microd.cli.failure import REFUSED, CommandFailed, Unreachable
from microd.cli.naming import DEFAULT_NAMESPACE
from microd.cli.tokens import Holder, Token, Tokens

#: The account that every namespace's first administrator has here.
ADMIN = "admin"
#: Seconds that we ask a token to live, and how long before its end we ask for another (spec micro-v3-server 9).
LIFETIME = 600
_MARGIN = 60


class IIssuer(Protocol):
    """Who gives out tokens (L{microd.cli.issuer.Issuer})."""

    def by_secret(self, id: str, secret: str, namespace: str) -> Token:
        """A token for who knows the secret."""

    def by_refresh(self, refresh_token: str, namespace: str) -> Token:
        """The next token."""


class Login:
    """Who is logged in to an environment: what C{micro login} and C{logout} change."""

    def __init__(self, config: Config, environment: str) -> None:
        self._config = config
        self._environment = environment

    @property
    def user(self) -> str:
        """The account of the last login; empty for none."""
        return self._config.get(f"{self._environment}.current-user")

    @property
    def signed_out(self) -> bool:
        """Whether somebody logged out, so that nobody is to be logged in again unasked."""
        return self._config.get(f"{self._environment}.signed-out") == "true"

    def begin(self, user: str) -> None:
        """Note who is logged in."""
        if self.user != user or self.signed_out:
            self._config.update(
                {f"{self._environment}.current-user": user, f"{self._environment}.signed-out": ""}
            )

    def end(self) -> None:
        """Note that nobody is."""
        self._config.update(
            {f"{self._environment}.current-user": "", f"{self._environment}.signed-out": "true"}
        )


class Credentials:
    """The tokens that may be shown to one address.

    @param address: the door's; a token made for another one is not even looked at.
    @param namespace: where the command works; an account of the platform's namespace may work anywhere, so its token
        is the second choice.
    @param admin_secret: reads the secret of our own daemon at this address; empty where it is not ours.
    @param now: unix seconds.
    """

    def __init__(
        self,
        address: str,
        namespace: str,
        *,
        tokens: Tokens,
        login: Login,
        issuer: IIssuer,
        admin_secret: Callable[[], str],
        now: Callable[[], float],
    ) -> None:
        self._address = address
        self._namespaces = list(dict.fromkeys((namespace, DEFAULT_NAMESPACE)))
        self._tokens = tokens
        self._login = login
        self._issuer = issuer
        self._admin_secret = admin_secret
        self._now = now
        self._shown = ""

    def token(self) -> str:
        """An access token; empty for nobody."""
        self._shown = self._chosen()
        return self._shown

    def _chosen(self) -> str:
        for holder in self._holders():
            stored = self._tokens.find(holder)
            if stored is None:
                continue
            if self._lasts(stored):
                return stored.access_token
            if refreshed := self._refreshed(holder):
                return refreshed
        return self._for_admin_secret()

    def renewed(self) -> str:
        """Another token after the first was refused: its daemon lost its memory, or our clock goes wrong."""
        holder = self.holder()
        return (self._refreshed(holder, self._shown) if holder else "") or self._for_admin_secret()

    def holder(self) -> Holder | None:
        """Whose token would be shown; None where none is stored."""
        return next((holder for holder in self._holders() if self._tokens.find(holder)), None)

    def _holders(self) -> list[Holder]:
        user = self._login.user
        return [Holder(self._address, namespace, user) for namespace in self._namespaces] if user else []

    def _lasts(self, stored: Token) -> bool:
        return stored.expiry - self._now() > _MARGIN

    def _refreshed(self, holder: Holder, refused: str = "") -> str:
        """The next token of C{holder}; empty where there is none.

        @param refused: an access token that the server did not take, however long it should last.
        """
        with self._tokens.refreshing():
            # Another command may have done it while this one waited.
            stored = self._tokens.find(holder)
            if stored is None:
                return ""
            if self._lasts(stored) and stored.access_token != refused:
                return stored.access_token
            if stored.refresh_token:
                try:
                    fresh = self._issuer.by_refresh(stored.refresh_token, holder.namespace)
                except Unreachable:
                    raise
                except CommandFailed as failure:
                    if failure.code == REFUSED:
                        self._tokens.save(holder, stored._replace(refresh_token=""))
                else:
                    self._tokens.save(holder, fresh)
                    return fresh.access_token
        ended = stored.expiry <= self._now() or stored.access_token == refused
        return "" if ended else stored.access_token

    def _for_admin_secret(self) -> str:
        if self._login.signed_out or self._login.user not in ("", ADMIN):
            return ""
        secret = self._admin_secret()
        if not secret:
            return ""
        try:
            token = self._issuer.by_secret(ADMIN, secret, DEFAULT_NAMESPACE)
        except Unreachable:
            raise
        except CommandFailed:
            return ""
        self._tokens.save(Holder(self._address, DEFAULT_NAMESPACE, ADMIN), token)
        self._login.begin(ADMIN)
        return token.access_token
