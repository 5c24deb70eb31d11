"""What auth decides. Nothing here can wait: C{now} is an argument."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import replace
from typing import Any

from microd.kernel.caller import DEFAULT_NAMESPACE, Account
from microd.kernel.errors import BadRequest
from microd.kernel.names import require_name, require_text
from microd.services.auth.model import Draft, Enrolment, Session

#: Seconds which an access token is good for unless asked otherwise, and at most (the dashboard asks for the latter).
DEFAULT_LIFETIME = 15 * 60
LONGEST_LIFETIME = 30 * 24 * 3600
#: Seconds which a refresh token is good for after its last use.
SESSION_LIFETIME = 30 * 24 * 3600
#: A use moves the end of a session only when it gains this much, so that most uses write nothing.
SESSION_STEP = 24 * 3600
#: Refresh tokens which an account has at most; the one that ends first makes room.
MOST_SESSIONS = 32
#: Clocks differ: a token is good for so many seconds after its end.
SKEW = 30.0
#: Bytes of metadata and scopes together: they travel in every token.
MOST_CLAIMS = 4096
LONGEST_SECRET = 4096
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
    require_text("the account's id", draft.id, 256)
    require_text("the account's name", draft.name or draft.id, 256)
    require_name("the namespace", namespace)
    type = draft.type or "user"
    if type not in _TYPES:
        raise BadRequest(f"the account's type must be one of: {', '.join(_TYPES)}")
    metadata = dict(draft.metadata)
    metadata.setdefault("created", str(int(now)))
    scopes = tuple(dict.fromkeys(draft.scopes))
    if len(json.dumps([scopes, metadata]).encode()) > MOST_CLAIMS:
        raise BadRequest(f"the account's scopes and metadata take more than {MOST_CLAIMS} bytes")
    return Account(draft.id, type, namespace, draft.name or draft.id, scopes, metadata)


def require_secret(secret: str) -> str:
    """Let a secret pass which can be one.

    @raise BadRequest: it is far too long.
    """
    if len(secret) > LONGEST_SECRET:
        raise BadRequest(f"the secret is longer than {LONGEST_SECRET} characters")
    return secret


def may_skip_old_secret(asking: Account, namespace: str) -> bool:
    """Whether somebody may give an account of C{namespace} a new secret without knowing its old one."""
    if asking.issuer == DEFAULT_NAMESPACE and "admin" in asking.scopes:
        return True
    return asking.type == "service" and asking.issuer == namespace and asking.is_admin


def refresh_token(namespace: str, id: str, random: bytes) -> str:
    """A refresh token: whose it is, and C{random}."""
    whose = json.dumps([namespace, id], separators=(",", ":")).encode()
    return f"{_text(whose)}.{_text(random)}"


def holder(token: str) -> tuple[str, str] | None:
    """The namespace and id which a refresh token claims; None where it is none."""
    whose, dot, random = token.partition(".")
    if not dot or not random or "." in random or len(token) > 2048:
        return None
    try:
        found = json.loads(base64.urlsafe_b64decode(whose + "=" * (-len(whose) % 4)))
    except (ValueError, binascii.Error):
        return None
    match found:
        case [str(namespace), str(id)]:
            return namespace, id
    return None


def with_session(kept: Enrolment, token: str, now: float) -> Enrolment:
    """Remember a new refresh token; forget those that ended, and those that are too many."""
    living = sorted((s for s in kept.sessions if s.expires > now), key=lambda s: s.expires)
    session = Session(_digest(token), now + SESSION_LIFETIME)
    return replace(kept, sessions=(*living[-(MOST_SESSIONS - 1) :], session))


def session_of(kept: Enrolment, token: str, now: float) -> Session | None:
    """The living session of a refresh token; None where there is none."""
    digest = _digest(token)
    for session in kept.sessions:
        if hmac.compare_digest(session.digest, digest):
            return session if session.expires > now else None
    return None


def prolonged(kept: Enrolment, session: Session, now: float) -> Enrolment | None:
    """C{kept}, after a use of C{session}; None where that is not worth a write."""
    expires = now + SESSION_LIFETIME
    if expires - session.expires < SESSION_STEP:
        return None
    return replace(
        kept, sessions=tuple(replace(s, expires=expires) if s is session else s for s in kept.sessions)
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
            "sessions": [[s.digest, s.expires] for s in kept.sessions],
        },
        separators=(",", ":"),
    ).encode()


def load(raw: bytes) -> Enrolment:
    """What L{dump} made."""
    found: dict[str, Any] = json.loads(raw)
    hashed, sessions = found.pop("hashed"), found.pop("sessions")
    account = Account(**found | {"scopes": tuple(found["scopes"])})
    return Enrolment(account, hashed, tuple(Session(digest, expires) for digest, expires in sessions))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
