"""Tokens: how they are signed, read, and remembered once read.

An I{access token} is shown with calls. A I{credential} is what the platform gives to a service which it starts: it
lasts long, and therefore buys access tokens and nothing else. Both are JWTs with the claims of the spec (5.3); a
credential says C{"use": "credential"} besides, and C{gen} tells how often the account had been revoked when it was
made, so that all that was issued before is void.

JWTs are made and read here, not by a library, because there is one kind of them (RS256, RFC 7518 3.3) and because the
signature's check (20 us) is then nearly all that a token costs at its first sight: with joserfc it was 42 us. That one is
our oracle in tests.
"""

from __future__ import annotations

import base64
import math
from binascii import a2b_base64
from collections import OrderedDict
from typing import Any, Literal, NamedTuple

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

from microd.kernel.caller import Account
from microd.services.auth.sessions import SKEW

Use = Literal["access", "credential"]
_USES, _ALL_TEXT, _type = frozenset(("access", "credential")), frozenset((str,)), type
_PADDING, _HASH = PKCS1v15(), SHA256()
#: Characters of a token at most: whoever sends more sends no token of ours.
LONGEST = 16384


class Claims(NamedTuple):
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
        self._key = key
        self._public = key.public_key()

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
        signed = f"{_HEADER}.{_written(orjson.dumps(said))}"
        return f"{signed}.{_written(self._key.sign(signed.encode(), _PADDING, _HASH))}"

    def read(self, token: str, now: float) -> Claims | None:
        """What a token says; None unless we signed it and it has not ended."""
        if len(token) > LONGEST:
            return None
        signed, _, signature = token.rpartition(".")
        header, _, payload = signed.partition(".")
        try:
            if header != _HEADER and not _is_rs256(orjson.loads(_read(header))):
                return None
            self._public.verify(_read(signature), signed.encode(), _PADDING, _HASH)
            said = orjson.loads(_read(payload))
        except (ValueError, InvalidSignature):
            return None
        claims = _claims(said)
        return claims if claims is not None and claims.expires + SKEW > now else None


def _written(raw: bytes) -> str:
    """Base64url without padding (RFC 7515)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _read(text: str) -> bytes:
    """What L{_written} wrote.

    @raise ValueError: it is something else.
    """
    # Twice as fast as base64.b64decode() with other characters.
    plain = text.replace("-", "+").replace("_", "/")
    return a2b_base64(plain + "=" * (-len(plain) % 4), strict_mode=True)


#: The header of all tokens, as the reference writes it too.
_HEADER = _written(b'{"alg":"RS256","typ":"JWT"}')


def _is_rs256(header: Any) -> bool:
    """Whether a header says what all of ours say; one with critical extensions (RFC 7515 4.1.11) says more."""
    return isinstance(header, dict) and header.get("alg") == "RS256" and "crit" not in header


def _claims(said: Any) -> Claims | None:
    """Read claims with care: another holder of the key, such as the reference, may have signed them."""
    if not isinstance(said, dict):
        return None
    get = said.get
    id, issuer, type, expires = get("sub"), get("iss"), get("type"), get("exp")
    generation, use = get("gen", 0), get("use", "access")
    if not (isinstance(id, str) and isinstance(issuer, str) and isinstance(type, str)):
        return None
    if not isinstance(expires, int | float) or not math.isfinite(expires) or not isinstance(generation, int):
        return None
    name, scopes, metadata = get("name") or id, get("scopes") or [], get("metadata") or {}
    if not (isinstance(name, str) and isinstance(scopes, list) and isinstance(metadata, dict)):
        return None
    if use not in _USES or not _ALL_TEXT.issuperset(map(_type, (*scopes, *metadata.values()))):
        return None
    account = Account(id, type, issuer, name, tuple(scopes), metadata)
    return Claims(account, use, generation, int(expires))


class Remembered:
    """Tokens which were read before, so that each signature is checked once. The least recently used make room.

    @ivar hits: how often one was known, and C{misses}: how often not.
    """

    def __init__(self, most: int = 10_000) -> None:
        self.hits = self.misses = 0
        self._most = most
        self._known: OrderedDict[str, tuple[Account, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, token: str, now: float) -> Account | None:
        """Whose it is; None for a token that is not known, or has ended."""
        found = self._known.get(token)
        if found is None or found[1] <= now:
            self.misses += 1
            if found is not None:
                del self._known[token]
            return None
        self.hits += 1
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
