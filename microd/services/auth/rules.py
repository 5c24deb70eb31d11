"""What auth decides. Nothing here can wait: C{now} is an argument."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from microd.kernel.caller import DEFAULT_NAMESPACE, Account
from microd.kernel.errors import BadRequest
from microd.kernel.names import require_name, require_text
from microd.services.auth.model import Draft, Enrolment, Session

#: Seconds which an access token is good for unless asked otherwise, and at most (the dashboard asks for the latter).
DEFAULT_LIFETIME = 15 * 60
LONGEST_LIFETIME = 30 * 24 * 3600
#: Bytes of metadata and scopes together: they travel in every token.
MOST_CLAIMS = 4096
LONGEST_SECRET = 4096
#: Bytes of an account's id, and of its name.
LONGEST_ID = 256
LONGEST_SCOPE = 128
_TYPES = ("user", "service")


def lifetime_of(asked: int) -> int:
    """How long an access token shall be good for, in seconds.

    @raise BadRequest: nobody gets one for as long as that.
    """
    if asked == 0:
        return DEFAULT_LIFETIME
    if not 0 < asked <= LONGEST_LIFETIME:
        raise BadRequest(
            f"token_expiry must be between 1 and {LONGEST_LIFETIME} seconds, or 0 for the default"
        )
    return asked


def account_from(draft: Draft, namespace: str, now: float) -> Account:
    """Fill in what C{draft} leaves open.

    @raise BadRequest: there can be no such account.
    """
    if not draft.id.strip():
        raise BadRequest("ID required")
    require_text("the account's id", draft.id, LONGEST_ID)
    require_text("the account's name", draft.name or draft.id, LONGEST_ID)
    require_name("the namespace", namespace)
    type = draft.type or "user"
    if type not in _TYPES:
        raise BadRequest(f"the account's type must be one of: {', '.join(_TYPES)}")
    metadata = dict(draft.metadata)
    metadata.setdefault("created", str(int(now)))
    scopes = tuple(dict.fromkeys(require_text("a scope", scope, LONGEST_SCOPE) for scope in draft.scopes))
    if len(json.dumps([scopes, metadata]).encode()) > MOST_CLAIMS:
        raise BadRequest(f"the account's scopes and metadata take more than {MOST_CLAIMS} bytes")
    return Account(draft.id, type, namespace, draft.name or draft.id, scopes, metadata)


def require_secret(secret: str) -> str:
    """Let a secret pass which can be one.

    @raise BadRequest: it is far too long; or it has a NUL in it: to scrypt, "a" and "a" with a NUL behind it are the same,
        since HMAC fills its key up with NULs.
    """
    if len(secret) > LONGEST_SECRET:
        raise BadRequest(f"the secret is longer than {LONGEST_SECRET} characters")
    if "\0" in secret:
        raise BadRequest("the secret has a NUL in it")
    return secret


def may_skip_old_secret(asking: Account, namespace: str) -> bool:
    """Whether somebody may give an account of C{namespace} a new secret without knowing its old one."""
    if asking.issuer == DEFAULT_NAMESPACE and "admin" in asking.scopes:
        return True
    return asking.type == "service" and asking.issuer == namespace and asking.is_admin


def administers_platform(account: Account) -> bool:
    """Whether it is one of those accounts of which the platform must have one: a user of C{micro} with the scope admin."""
    return account.issuer == DEFAULT_NAMESPACE and account.type == "user" and account.is_admin


def require_another_admin(leaving: Account, present: Iterable[Account]) -> None:
    """Let an account go where another one administers the platform.

    @raise BadRequest: it is the last.
    """
    if not any(each.id != leaving.id and administers_platform(each) for each in present):
        raise BadRequest(
            f"{leaving.id} is the last admin of the platform: make another one before "
            "(`micro auth create account ID --scopes=admin`)"
        )


def dump(kept: Enrolment) -> bytes:
    """An enrolment as bytes to keep."""
    account = kept.account
    return json.dumps(
        {
            "id": account.id,
            "type": account.type,
            "issuer": account.issuer,
            "name": account.name,
            "scopes": account.scopes,
            "metadata": dict(account.metadata),
            "hashed": kept.hashed,
            "sessions": [[s.digest, s.turn, s.turned, s.expires] for s in kept.sessions],
        },
        separators=(",", ":"),
    ).encode()


def load(raw: bytes) -> Enrolment:
    """What L{dump} made."""
    found: dict[str, Any] = json.loads(raw)
    hashed, sessions = found.pop("hashed"), found.pop("sessions")
    account = Account(**found | {"scopes": tuple(found["scopes"])})
    # Sessions of before refresh tokens were replaced with each use have two parts: they are over.
    return Enrolment(account, hashed, tuple(Session(*each) for each in sessions if len(each) == 4))
