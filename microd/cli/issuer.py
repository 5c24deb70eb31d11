"""The auth service, as this CLI asks it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from microd.cli.credentials import LIFETIME
from microd.cli.remote import Remote
from microd.cli.tokens import Token

if TYPE_CHECKING:
    from microd.wire import auth_pb2


class Issuer:
    """Exchanges secrets and refresh tokens for access tokens.

    @param remote: calls as nobody: who asks for a token has none yet.
    """

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    def by_secret(self, id: str, secret: str, namespace: str) -> Token:
        """A token for who knows the secret."""
        from microd.wire.auth_pb2 import TokenRequest

        return self._ask(TokenRequest(id=id, secret=secret), namespace)

    def by_refresh(self, refresh_token: str, namespace: str) -> Token:
        """The next token."""
        from microd.wire.auth_pb2 import TokenRequest

        return self._ask(TokenRequest(refresh_token=refresh_token), namespace)

    def end(self, refresh_token: str) -> None:
        """Let a refresh token buy nothing any more."""
        from microd.wire.auth_pb2 import LogoutRequest, LogoutResponse

        self._remote.unary("/auth.Auth/Logout", LogoutRequest(refresh_token=refresh_token), LogoutResponse)

    def account(self, access_token: str, namespace: str) -> auth_pb2.Account:
        """Whom a token stands for."""
        from microd.wire.auth_pb2 import InspectRequest, InspectResponse, Options

        request = InspectRequest(token=access_token, options=Options(namespace=namespace))
        return self._remote.unary("/auth.Auth/Inspect", request, InspectResponse).account

    def _ask(self, request: auth_pb2.TokenRequest, namespace: str) -> Token:
        from microd.wire.auth_pb2 import TokenResponse

        request.token_expiry = LIFETIME
        request.options.namespace = namespace
        made = self._remote.unary("/auth.Auth/Token", request, TokenResponse).token
        return Token(made.access_token, made.refresh_token, made.created, made.expiry)
