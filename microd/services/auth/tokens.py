"""Tokens: how they are signed, read, and remembered once read.

An I{access token} is shown with calls. A I{credential} is what the platform gives to a service which it starts: it
lasts long, and therefore buys access tokens and nothing else. Both are JWTs with the claims of the spec (5.3); a
credential says C{"use": "credential"} besides, and C{gen} tells how often the account had been revoked when it was
made, so that all that was issued before is void.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from microd.kernel.caller import Account
from microd.services.auth.keys import private_pem
from microd.services.auth.sessions import SKEW

Use = Literal["access", "credential"]
_HEADER = {"alg": "RS256", "typ": "JWT"}
#: Characters of a token at most: whoever sends more sends no token of ours.
LONGEST = 16384


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says.

    @ivar generation: how often the account had been revoked before.
    @ivar expires: Unix seconds.
    """

    account: Account
    use: Use
    generation: int
    expires: int


class Mint:
    """Signs tokens, and reads those which it signed."""

    def __init__(self, key: RSAPrivateKey) -> None:
        self._key = RSAKey.import_key(private_pem(key))

    def sign(self, claims: Claims) -> str:
        """Make a token."""
        account = claims.account
        said: dict[str, Any] = {
            "type": account.type,
            "scopes": list(account.scopes),
            "metadata": dict(account.metadata),
            "name": account.name,
            "exp": claims.expires,
            "iss": account.issuer,
            "sub": account.id,
        }
        if claims.generation:
            said["gen"] = claims.generation
        if claims.use != "access":
            said["use"] = claims.use
        return jwt.encode(_HEADER, said, self._key, algorithms=["RS256"])

    def read(self, token: str, now: float) -> Claims | None:
        """What a token says; None unless we signed it and it has not ended."""
        if token.count(".") != 2 or len(token) > LONGEST:
            return None
        try:
            said = jwt.decode(token, self._key, algorithms=["RS256"]).claims
        except (JoseError, ValueError, TypeError):
            return None
        claims = _claims(said)
        return claims if claims is not None and claims.expires + SKEW > now else None


def _claims(said: Mapping[str, Any]) -> Claims | None:
    """Read claims with care: another holder of the key, such as the reference, may have signed them."""
    id, issuer, type, expires = (said.get(name) for name in ("sub", "iss", "type", "exp"))
    generation, use = said.get("gen", 0), said.get("use", "access")
    if not (isinstance(id, str) and isinstance(issuer, str) and isinstance(type, str)):
        return None
    if not isinstance(expires, int | float) or not isinstance(generation, int):
        return None
    name, scopes, metadata = said.get("name") or id, said.get("scopes") or [], said.get("metadata") or {}
    if not (isinstance(name, str) and isinstance(scopes, list) and isinstance(metadata, dict)):
        return None
    texts = (*scopes, *metadata.values())
    if use not in ("access", "credential") or not all(isinstance(text, str) for text in texts):
        return None
    account = Account(id, type, issuer, name, tuple(scopes), metadata)
    return Claims(account, use, generation, int(expires))


class Remembered:
    """Tokens which were read before, so that each signature is checked once. The least recently used make room."""

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._known: OrderedDict[str, tuple[Account, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, token: str, now: float) -> Account | None:
        """Whose it is; None for a token that is not known, or has ended."""
        found = self._known.get(token)
        if found is None:
            return None
        if found[1] <= now:
            del self._known[token]
            return None
        self._known.move_to_end(token)
        return found[0]

    def end(self, token: str) -> float:
        """When a token ends, in Unix seconds; 0 for a token that is not known."""
        found = self._known.get(token)
        return 0.0 if found is None else found[1]

    def keep(self, token: str, claims: Claims) -> None:
        """Remember until it ends."""
        self._known[token] = (claims.account, claims.expires + SKEW)
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    def forget(self, namespace: str, id: str) -> None:
        """Forget all tokens of an account."""
        gone = [
            token
            for token, (account, _) in self._known.items()
            if account.id == id and account.issuer == namespace
        ]
        for token in gone:
            del self._known[token]
